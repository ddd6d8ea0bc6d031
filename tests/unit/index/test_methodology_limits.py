"""Numbers of methodology.toml that must fit each other, or stop the start with their names."""

import json

import pytest

from streams.flow.chunk import Chunk, SourcePartition
from streams.flow.fold import SourceFold
from streams.flow.source_state import SourceState
from streams.index.methodology import MethodologyError, parse
from streams.index.panes import rfc3339
from tests.support.methodologies import DEMO_TEXT as TEXT

NOW = 1_790_000_000_000


def with_numbers(**numbers) -> str:
    lines = TEXT.splitlines()
    for name, number in numbers.items():
        (at,) = [index for index, line in enumerate(lines) if line.startswith(f"{name} =")]
        lines[at] = f"{name} = {number}"
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("numbers", "panes"),
    [
        ({}, 128),
        ({"open_panes_max": 500}, 500),
        ({"grace_ms": 3_600_000}, 814),
        ({"pane_ms": 1_000}, 454),
        ({"grace_ms": 86_400_000}, 17_374),
    ],
)
def test_as_many_panes_may_be_open_as_the_grace_needs(numbers, panes):
    assert parse(with_numbers(**numbers)).open_panes_max == panes


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ({"open_panes_max": 1}, "open_panes_max must be at least 118"),
        ({"open_panes_max": 117}, "open_panes_max must be at least 118"),
        ({"open_panes_max": 127, "grace_ms": 3_600_000}, "open_panes_max must be at least 128"),
        ({"pane_ms": 0}, "pane_ms must be"),
        ({"edition": 2**53}, "edition must be between 1 and 9007199254740991"),
        ({"edition": 2**63}, "edition must be between 1 and 9007199254740991"),
    ],
)
def test_a_number_that_would_be_ignored_or_misread_is_refused_with_its_name(numbers, expected):
    with pytest.raises(MethodologyError, match=expected):
        parse(with_numbers(**numbers))


def test_the_largest_edition_is_one():
    assert parse(with_numbers(edition=2**53 - 1)).edition == 2**53 - 1


def test_markets_of_one_name_are_told_apart_by_their_codes():
    """Messages and the page say the name alone."""
    named = parse(TEXT.replace('name = "Nepal"', 'name = "pakistan "'))
    assert [named.markets[code].name for code in ("PK", "NP", "BD")] == [
        "Pakistan (PK)",
        "pakistan (NP)",
        "Bangladesh",
    ]


def test_a_grace_that_needs_too_many_panes_is_refused_with_its_name():
    with pytest.raises(MethodologyError, match=r"grace_ms 86400000 .* pane_ms 1000"):
        parse(with_numbers(pane_ms=1_000, grace_ms=86_400_000))


@pytest.mark.parametrize("order", ["ascending", "descending", "two phones"])
def test_an_hour_of_old_orders_and_what_is_sold_now_all_count(order):
    back = range(3_000, 0, -12)  # one order in each second pane of the last fifty minutes
    if order == "descending":
        back = back[::-1]
    if order == "two phones":
        back = [*back[::2], *back[1::2]]
    values = [order_at(NOW - 1_000 * each, f"q{each}") for each in back]
    values += [order_at(NOW, f"n{each}") for each in range(10)]
    methodology = parse(with_numbers(grace_ms=3_600_000))
    fold = SourceFold(SourceState(SourcePartition("orders", 0), methodology, payments=False))
    count = len(values)
    chunk = Chunk(SourcePartition("orders", 0), 0, count - 1, [None] * count, values, [NOW] * count)
    folded = fold.fold(chunk)
    assert folded.outcomes["late"] + folded.outcomes["accepted"] == 260
    assert fold.source.floors() == {}


def order_at(at_ms: int, event_id: str) -> bytes:
    event = {
        "event_id": event_id,
        "type": "order.placed",
        "occurred_at": rfc3339(at_ms),
        "market": "PK",
        "currency": "PKR",
        "lines": [{"quantity": 1, "unit_price_minor": 100}],
    }
    return json.dumps(event).encode()

"""Member rows of label rows: definitions unite labels, and an order is one order of a member."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streams.index.label_rows import CANCELLED, REFUNDED, PackedRow, item
from streams.index.label_text import MORE
from streams.index.member_rows import MemberRows
from streams.index.partials import Layout
from tests.support.by_name import named
from tests.support.flow_harness import METHODOLOGY

MARKET = replace(
    METHODOLOGY.markets["PK"],
    categories=("a_b", "books", "other"),
    methods=("card", "cod", "other"),
    regions=("punjab", "other"),
    channels=("app", "other"),
    method_aliases={"cash": "cod", "credit_card": "card"},
    channel_aliases={"ios": "app"},
)
LAYOUT = Layout(MARKET)


def members(book: str, labels: list[str], counts: dict, sets=()) -> dict:
    """Counts by member of a label row of which some columns are given."""
    numbers = [each for pair in sorted(counts.items()) for each in pair]
    packed = PackedRow(numbers, labels, [list(each) for each in sets])
    rows = MemberRows(LAYOUT)
    return dict(named(LAYOUT, book, (rows.live if book == "live" else rows.day)(packed)))


def test_labels_that_are_written_alike_or_mean_one_member_are_added():
    labels = ["0books", "0a b", "0a-b", "1cod", "1cash", "3ios", "3app", "2punjab"]
    first = {24: 1, 25: 10, 26: 100, 27: 2, 30: 4, 33: 8, 39: 16, 45: 32, 48: 64, 51: 128}
    assert members("live", labels, {0: 7, 13: 3} | first) == {
        ("orders",): 7,
        ("uncertain",): 3,
        ("orders", "category", "books"): 1,
        ("units", "category", "books"): 10,
        ("sales", "category", "books"): 100,
        ("orders", "category", "a_b"): 6,
        ("orders", "payment_method", "cod"): 24,
        ("orders", "channel", "app"): 96,
        ("orders", "region", "punjab"): 128,
    }


@pytest.mark.parametrize("label", ["", MORE, "never heard of", "other", "---", "Other!"])
def test_what_no_definition_knows_is_other(label):
    assert members("live", [f"0{label}"], {24: 5}) == {("orders", "category", "other"): 5}
    assert members("day", [f"1{label}"], {32 + 18: 5}) == {
        ("payments", "payment_method", "other"): 5
    }


def test_an_order_of_two_labels_of_one_member_is_one_order_of_it():
    labels = ["0a b", "0a-b", "0books", "0toys", "0"]
    counts = {24: 3, 25: 6, 26: 60, 27: 2, 28: 4, 29: 40, 30: 2, 33: 2, 36: 1}
    both, all_five = (2, 0, item(24), item(27)), (1, 0, *map(item, (24, 27, 30, 33, 36)))
    found = members("live", labels, counts, [both, all_five])
    assert found == {
        ("orders", "category", "a_b"): 5 - 2 - 1,
        ("units", "category", "a_b"): 10,
        ("sales", "category", "a_b"): 100,
        ("orders", "category", "books"): 2,
        ("orders", "category", "other"): 3 - 1,
    }


@pytest.mark.parametrize(("part", "ledger"), [(0, ""), (1, "late_")])
def test_placed_orders_of_a_day_are_united_in_their_own_ledger(part, ledger):
    at = {"": 0, "late_": 9}[ledger]
    found = members(
        "day", ["0a b", "0a-b"], {32 + at: 4, 50 + at: 4}, [(3, part, item(32), item(50))]
    )
    assert found == {(f"{ledger}orders", "category", "a_b"): 5}


@pytest.mark.parametrize(("part", "waiting"), [(2, ""), (3, "waiting_")])
@pytest.mark.parametrize(
    ("tags", "cancelled", "refunded"),
    [
        ((CANCELLED, CANCELLED, CANCELLED), 1, 0),
        ((CANCELLED, CANCELLED, REFUNDED), 1, 0),
        ((CANCELLED, REFUNDED, REFUNDED), 1, 0),
        ((REFUNDED, REFUNDED, REFUNDED), 0, 1),
        ((None, REFUNDED, CANCELLED), 1, 0),
        ((None, REFUNDED, REFUNDED), 0, 1),
    ],
)
def test_an_order_is_cancelled_in_a_member_or_else_refunded(
    part, waiting, tags, cancelled, refunded
):
    base, counts, items = 9 if waiting else 0, {}, []
    for number, tag in enumerate(tags):
        column = 32 + 18 * number
        if tag is not None:
            counts[column + base + {CANCELLED: 3, REFUNDED: 6}[tag]] = 1
            items.append(item(column, tag))
    found = members("day", ["0a b", "0a-b", "0A_B"], counts, [(1, part, *items)])
    wanted = {"cancelled": cancelled, "refunded": refunded}
    assert found == {
        (f"{waiting}{kind}_orders", "category", "a_b"): count
        for kind, count in wanted.items()
        if count
    }


def test_an_order_that_left_a_set_for_a_smaller_one_is_counted_as_it_is_now():
    """Sets are sums of moves: one may be below nothing where what had been taken was taken anew."""
    labels = ["0a b", "0a-b", "0A_B"]
    refunds = {32 + 6: 1, 50 + 6: 1, 68 + 6: 0}
    both = [item(32, REFUNDED), item(50, REFUNDED)]
    sets = [(1, 2, *both), (-1, 2, *both, item(68, REFUNDED)), (1, 2, *both, item(68, REFUNDED))]
    assert members("day", labels, refunds, sets) == {("refunded_orders", "category", "a_b"): 1}


def test_a_day_has_no_members_of_regions_and_channels():
    found = members("day", ["2punjab", "0books", "3ios"], {32: 9, 33: 4, 51: 9})
    assert found == {("orders", "category", "books"): 4}


def test_sums_beyond_64_bits_are_read_as_they_are():
    packed = PackedRow([24, str(2**70), 27, 1], ["0a b", "0a-b"])
    found = named(LAYOUT, "live", MemberRows(LAYOUT).live(packed))
    assert found == {("orders", "category", "a_b"): 2**70 + 1}


def test_many_labels_do_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr("streams.index.member_rows._KNOWN_MAX", 2)
    rows = MemberRows(LAYOUT)
    for _ in range(2):
        found = rows.live(PackedRow([24, 1, 27, 1, 30, 1], ["0books", "0toys", "0a b"]))
        assert named(LAYOUT, "live", found) == {
            ("orders", "category", "books"): 1,
            ("orders", "category", "other"): 1,
            ("orders", "category", "a_b"): 1,
        }

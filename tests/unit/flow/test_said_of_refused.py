"""What is said of a refused record has no text of the shop: it stands on the page, in Redis, in logs."""

from __future__ import annotations

import json

import pytest

from streams.flow.chunk import Chunk, SourcePartition
from streams.flow.fold import SourceFold
from streams.flow.source_state import SourceState
from tests.support.events import METHODOLOGY, T0
from tests.support.flow_harness import order, payment

MARK = "maria.planted@example.org"
EVENTS = {"orders": order("a", T0), "payments": payment("a", T0)}
WRITTEN = (MARK, f"\u0007{MARK}", {MARK: MARK}, [MARK], MARK * 1_000)


def said_of(topic, *events):
    payments = topic == "payments"
    sp = SourcePartition(topic, 0)
    fold = SourceFold(SourceState(sp, METHODOLOGY, payments=payments))
    values = [json.dumps(event).encode() for event in events]
    count = len(values)
    chunk = Chunk(sp, 0, count - 1, [MARK.encode()] * count, values, [T0] * count)
    folded = fold.fold(chunk)
    dead = [f"{each.reason} {each.detail}" for each in (*folded.dead, *folded.late)]
    return dead, [f"{reason} {part.detail}" for reason, part in folded.parts.items()]


@pytest.mark.parametrize("topic", EVENTS)
def test_no_field_of_a_shop_is_in_what_is_said(topic):
    event = EVENTS[topic]
    events = [event | {name: text} for name in event for text in WRITTEN]
    if topic == "orders":
        line = event["lines"][0]
        events += [event | {"lines": [line | {name: text}]} for name in line for text in WRITTEN]
    dead, parts = said_of(topic, *events)
    assert len(dead) > 10
    assert not [text for text in (*dead, *parts) if MARK[:8] in text]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"market": "XX"}, "unknown_market market 'XX' is not in methodology.toml"),
        ({"market": "Maria"}, "unknown_market market of 5 characters is not in methodology.toml"),
        ({"currency": "EUR"}, "wrong_currency 'EUR', expected PKR"),
        ({"currency": "a b"}, "wrong_currency of 3 characters, expected PKR"),
        ({"occurred_at": "yesterday, about noon"}, "invalid_time occurred_at is not RFC 3339"),
    ],
)
@pytest.mark.parametrize("topic", EVENTS)
def test_a_code_is_shown_and_of_a_longer_text_its_length(topic, changes, said):
    assert said_of(topic, EVENTS[topic] | changes) == ([said], [])

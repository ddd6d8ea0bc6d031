"""The door refuses what workers would make a dead letter, in the same words, and nothing else."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from support.events import T0
from support.flow_harness import METHODOLOGY, Flow

from streams.door.event_checks import UNKNOWN_TYPE, Checked, EventChecks, place_of
from streams.index.event_types import Rejected
from streams.index.instants import parse_instant
from streams.index.panes import rfc3339
from tests.property.test_events import GOOD, records
from tests.support.draws import examples

CHECKS = EventChecks(METHODOLOGY.markets, METHODOLOGY.ahead_ms)
MINUTE_MS = 60_000
SENT_MS = parse_instant(GOOD["occurred_at"]) + 1_000
ORDER = {
    "event_id": "e1",
    "type": "order.placed",
    "occurred_at": rfc3339(T0),
    "market": "PK",
    "currency": "PKR",
    "lines": [{"quantity": 2, "unit_price_minor": 15000}],
}
PAYMENT = {
    "event_id": "p1",
    "type": "payment.captured",
    "occurred_at": rfc3339(T0),
    "market": "PK",
    "currency": "PKR",
    "amount_minor": 30000,
    "order_id": 12,
}


def encoded(event, **changes):
    both = event | changes
    return json.dumps({key: value for key, value in both.items() if value is not ...}).encode()


def check(*values, now_ms=T0):
    return CHECKS.check(values, now_ms)


def fate(value, topic):
    """What a worker's fold does with a record that arrives at once: its dead letter, its outcomes."""
    flow = Flow(METHODOLOGY, partitions=1)
    sp = flow.sps[topic][0]
    flow.logs[sp].append(value, SENT_MS)
    folded = flow.fold(sp)
    return [(each.reason, each.detail) for each in folded.dead], folded.outcomes


@given(records())
@examples(400)
def test_what_is_accepted_is_no_dead_letter_and_what_is_refused_would_be_one(value):
    (found,) = check(value, now_ms=SENT_MS)
    if isinstance(found, Checked):
        dead, outcomes = fate(value, found.record.topic)
        assert not dead
        assert not outcomes.get("ignored")
        return
    fates = [fate(value, topic) for topic in ("orders", "payments")]
    if found == UNKNOWN_TYPE:
        assert all(outcomes.get("ignored") for _, outcomes in fates)
    else:
        assert [(found.reason, found.detail)] in [dead for dead, _ in fates]


@pytest.mark.parametrize(
    ("changes", "reason", "path"),
    [
        ({"event_id": ...}, "schema", "$.event_id"),
        ({"event_id": "x" * 129}, "schema", "$.event_id"),
        ({"event_id": "é" * 100}, "id_too_long", "$.event_id"),
        ({"market": "XX"}, "unknown_market", "$.market"),
        ({"currency": "EUR"}, "wrong_currency", "$.currency"),
        ({"occurred_at": "yesterday at noon"}, "invalid_time", "$.occurred_at"),
        ({"occurred_at": rfc3339(T0 + 6 * MINUTE_MS)}, "ahead", "$.occurred_at"),
        ({"placed_at": rfc3339(T0 + 6 * MINUTE_MS)}, "placed_after_occurred", "$.placed_at"),
        ({"type": "order.cancelled"}, "schema", "$.order_id"),
        ({"type": "order.refunded", "order_id": "o"}, "placed_at_missing", "$.placed_at"),
        (
            {"type": "order.refunded", "order_id": "o", "placed_at": "x" * 20},
            "invalid_time",
            "$.placed_at",
        ),
        ({"type": "order.refunded", "order_id": "o", "lines": []}, "schema", "$.lines"),
        ({"lines": ...}, "schema", "$.lines"),
        ({"type": "order.updated"}, "unknown_type", "$.type"),
        ({"type": 7}, "schema", "$.type"),
    ],
)
def test_a_refusal_names_the_field_and_the_workers_reason(changes, reason, path):
    good, refused = check(encoded(ORDER, event_id="good"), encoded(ORDER, **changes))
    assert isinstance(good, Checked)
    assert isinstance(refused, Rejected)
    assert (refused.reason, place_of(refused, "$")[0]) == (reason, path)


def test_what_was_expected_and_found_is_said_without_the_path():
    (refused,) = check(encoded(ORDER, market=...))
    assert place_of(refused, "$.data") == ("$.data.market", "expected text, found nothing")


def test_records_go_to_the_topic_of_their_type_with_their_order_as_key():
    found = check(
        encoded(ORDER, order_id="o1"),
        encoded(PAYMENT),
        encoded(ORDER),
        encoded(PAYMENT, order_id=""),
    )
    assert [(each.record.topic, each.record.key) for each in found] == [
        ("orders", b"o1"),
        ("payments", b"12"),
        ("orders", b"e1"),
        ("payments", b"p1"),
    ]
    assert found[1].record.value == encoded(PAYMENT)
    assert found[1].record.timestamp_ms == T0


def test_what_cannot_be_counted_is_named_and_the_rest_counts():
    lines = [{"quantity": 2, "unit_price_minor": 15}, {"quantity": "two", "unit_price_minor": 15}]
    (found,) = check(encoded(ORDER, lines=lines))
    assert found.parts["quantity"].detail.endswith("found text - at `$.lines[1].quantity`")


def test_a_payment_behind_a_byte_order_mark_is_a_payment():
    (found,) = check(b"\xef\xbb\xbf" + encoded(PAYMENT))
    assert found.record.topic == "payments"


def test_bytes_that_are_no_json_and_an_envelope_without_an_event_are_refused():
    envelope = Rejected("cloud_event", "expected an event, found nothing - at `$.data`")
    broken, own = check(b'{"type":', envelope)
    assert (broken.reason, own) == ("invalid_json", envelope)
    assert place_of(own, "$.data")[0] == "$.data"

"""The generic CSV source: contract columns, a row a line."""

from __future__ import annotations

import msgspec
import pytest

from streams.sources.csv_events import csv_events
from streams.sources.imports import SourceError

ORDER = {
    "event_id": "e1",
    "type": "order.placed",
    "occurred_at": "2026-01-01T10:00:00+05:00",
    "market": "PK",
    "order_id": "o1",
    "currency": "PKR",
    "placed_at": "",
    "new_shopper": "true",
    "sku": "a",
    "category": "books",
    "quantity": "2",
    "unit_price_minor": "500",
}
PAYMENT = {
    "event_id": "p1",
    "type": "payment.captured",
    "occurred_at": "2026-01-01T05:00:10Z",
    "market": "PK",
    "order_id": "o1",
    "currency": "PKR",
    "method": "cod",
    "amount_minor": "1000",
    "provider": "x",
}


def records(found):
    return [msgspec.json.decode(event.value) for event in found.events]


def test_rows_of_one_event_are_its_lines():
    other = ORDER | {"event_id": "e0", "order_id": "o0"}
    rows = [ORDER, other, ORDER | {"sku": "b", "category": "toys"}]
    found = csv_events(rows, [PAYMENT])
    assert found.count == 3
    first, second, payment = records(found)
    assert (first["event_id"], second["event_id"]) == ("e0", "e1"), "ties go by id"
    assert second == {
        "event_id": "e1",
        "type": "order.placed",
        "occurred_at": "2026-01-01T10:00:00+05:00",
        "market": "PK",
        "order_id": "o1",
        "currency": "PKR",
        "new_shopper": True,
        "lines": [
            {"sku": "a", "category": "books", "quantity": 2, "unit_price_minor": 500},
            {"sku": "b", "category": "toys", "quantity": 2, "unit_price_minor": 500},
        ],
    }
    assert payment["amount_minor"] == 1000
    assert payment["provider"] == "x"


def test_a_row_without_a_quantity_adds_no_line():
    (record,) = records(csv_events([ORDER | {"sku": "", "quantity": ""}], None))
    assert record["lines"] == []


def test_events_of_both_files_come_in_event_time_order():
    late = PAYMENT | {"event_id": "p0", "occurred_at": "2026-01-02T00:00:00Z"}
    events = list(csv_events([ORDER], [late, PAYMENT]).events)
    assert [event.topic for event in events] == ["orders", "payments", "payments"]
    assert [event.timestamp_ms for event in events] == sorted(e.timestamp_ms for e in events)
    assert all(event.key == b"o1" for event in events)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"currency": "", "event_id": ""}, "orders: schema"),
        ({"type": "order.lost"}, "orders: unknown_type"),
        ({"event_id": "a\nb"}, "orders: control_character"),
        ({"occurred_at": "2026-01-01 10:00:00 o'clock"}, "orders: invalid_time"),
    ],
)
def test_what_would_be_a_dead_letter_is_left_out_under_its_reason(change, reason):
    found = csv_events([ORDER | change, ORDER | {"event_id": "good"}], None)
    assert [record["event_id"] for record in records(found)] == ["good"]
    assert dict(found.tally.skipped) == {reason: 1}


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"quantity": "0"}, "quantity"),
        ({"quantity": "two"}, "quantity"),
        ({"unit_price_minor": "9" * 19}, "price"),
        ({"unit_price_minor": "9" * 40}, "price"),
        ({"unit_price_minor": "-1"}, "price"),
        ({"new_shopper": "maybe"}, "new_shopper"),
    ],
)
def test_what_will_not_be_counted_of_an_event_is_said(change, part):
    found = csv_events([ORDER | change], None)
    assert len(records(found)) == 1
    assert found.tally.filled[f"orders: {part} that cannot be counted"] == 1


def test_rows_that_contradict_each_other_are_left_out():
    found = csv_events([ORDER, ORDER | {"market": "BD"}], None)
    assert records(found) == []
    assert dict(found.tally.skipped) == {"orders: rows of one event differ": 1}
    assert found.tally.read["orders"] == 2


def test_columns_nobody_knows_are_named():
    found = csv_events(None, [PAYMENT | {"colour": "red"}])
    assert len(records(found)) == 1
    assert dict(found.tally.filled) == {"payments: column colour ignored": 1}


def test_missing_columns_are_named():
    without = {name: value for name, value in PAYMENT.items() if name != "amount_minor"}
    with pytest.raises(SourceError, match="amount_minor"):
        csv_events(None, [without])

"""Refunds and captures in records of their own: which record is what, and what each says."""

from __future__ import annotations

import json

import pytest

from streams.translate.compiled_source import compile_source
from streams.translate.order_state import advance
from streams.translate.refused_records import RefusedRecord
from streams.translate.whole_orders import LooseCapture, LooseRefund, WholeOrder

SOURCE = compile_source("""
name = "shop"
format = "json"

[refund]
when = { path = "refund_lines", present = true }
order_id = "order_id"
id = "id"
occurred_at = "at"
currency = "transactions[kind=refund][first].currency"
[refund.lines]
each = "refund_lines"
line = "line.id"
quantity = "quantity"
amount = "subtotal"

[capture]
when = { all = [{ path = "kind", in = ["sale", "capture"] }, { path = "status", is = "success" }] }
order_id = "order_id"
id = "id"
occurred_at = "at"
amount = "amount"
currency = "currency"
method = { lower = "gateway" }

[order]
when = { path = "lines", present = true }
id = "id"
market = { constant = "DE" }
currency = "currency"
placed_at = "at"
cancelled = { path = "cancelled_at", present = true }
cancelled_at = "cancelled_at"
[order.lines]
each = "lines"
id = "id"
quantity = "quantity"
unit_price = "price"
[order.captures]
each = "payments"
when = { path = "ok", is = true }
id = "id"
occurred_at = "at"
amount = "amount"
""")
AT = "2026-11-24T10:00:00Z"
LATER = "2026-11-25T10:00:00Z"
ORDER = {
    "id": 7,
    "currency": "EUR",
    "at": AT,
    "lines": [{"id": 1, "quantity": 2, "price": "9.99"}],
    "payments": [{"ok": False}, {"ok": True, "id": "p1", "at": AT, "amount": 5}],
}
REFUND = {
    "id": 70,
    "order_id": 7,
    "at": LATER,
    "transactions": [{"kind": "void"}, {"kind": "refund", "currency": "EUR"}],
    "refund_lines": [
        {"line": {"id": 1}, "quantity": 1, "subtotal": "9.50"},
        {"line": {"id": 1}, "quantity": 0, "subtotal": 0},
    ],
}
CAPTURE = {
    "id": 71,
    "order_id": "7",
    "kind": "sale",
    "status": "success",
    "at": AT,
    "amount": "4.98",
    "currency": "EUR",
    "gateway": "PayPal",
}


def read(record):
    found = SOURCE.read(json.dumps(record).encode())
    return found[0] if isinstance(found, list) else found


def test_a_record_is_what_its_condition_says():
    assert isinstance(read(REFUND), LooseRefund)
    assert isinstance(read(CAPTURE), LooseCapture)
    assert isinstance(read(ORDER), WholeOrder)
    assert (
        read(CAPTURE | {"status": "pending"}).expected == "a record that a `when` of the file takes"
    )


@pytest.mark.parametrize("first", [0, 1, 2])
def test_records_of_one_order_lead_to_the_same_events_whichever_comes_first(first):
    records = [ORDER, REFUND, CAPTURE]
    state, events = None, {}
    for record in [*records[first:], *records[:first], *records]:
        advanced = advance("shop", state, read(record))
        state = advanced.state
        for event in advanced.events:
            body = json.loads(event.value)
            assert body["event_id"] not in events
            events[body["event_id"]] = body
    assert sorted(events) == [
        "shop:7:capture:71",
        "shop:7:capture:p1",
        "shop:7:placed",
        "shop:7:refund:70",
    ]
    taken = events["shop:7:refund:70"]
    assert taken["lines"] == [{"sku": "", "category": "", "quantity": 1, "unit_price_minor": 950}]
    assert (taken["placed_at"], taken["occurred_at"]) == (
        "2026-11-24T10:00:00.000Z",
        "2026-11-25T10:00:00.000Z",
    )
    assert events["shop:7:capture:71"]["method"] == "paypal"
    assert events["shop:7:capture:p1"]["amount_minor"] == 500


def test_a_cancel_has_the_time_that_its_source_gives():
    state = advance("shop", None, read(ORDER)).state
    (cancel,) = advance("shop", state, read(ORDER | {"cancelled_at": LATER})).events
    assert json.loads(cancel.value)["occurred_at"] == "2026-11-25T10:00:00.000Z"


@pytest.mark.parametrize(
    ("record", "path"),
    [
        (CAPTURE | {"amount": "-4.98"}, "$.amount"),
        (REFUND | {"refund_lines": [{"line": {"id": 1}, "quantity": -1}]}, "$.refund_lines[0]"),
        (REFUND | {"refund_lines": [{"quantity": 1}]}, "$.refund_lines[0].line.id"),
        (ORDER | {"payments": [{"ok": True, "id": 1, "at": AT}]}, "$.payments[0].amount"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_path(record, path):
    found = read(record)
    assert isinstance(found, RefusedRecord)
    assert found.path == path

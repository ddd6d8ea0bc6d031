"""Olist's tables -> events of market BR."""

from __future__ import annotations

import msgspec
import pytest

from streams.index.event_types import IncompleteOrder
from streams.index.events import Rejected, decode_orders, decode_payments
from streams.sources.olist import OlistTables, olist_events


def order(order_id="o1", customer="c1", status="delivered", bought="2017-10-02 10:56:33", **later):
    columns = {
        "approved": "order_approved_at",
        "carrier": "order_delivered_carrier_date",
        "delivered": "order_delivered_customer_date",
    }
    times = {column: later.get(name, "") for name, column in columns.items()}
    return {
        "order_id": order_id,
        "customer_id": customer,
        "order_status": status,
        "order_purchase_timestamp": bought,
        **times,
    }


def item(order_id="o1", number="1", product="p1", price="199.9", seller="s1"):
    return {
        "order_id": order_id,
        "order_item_id": number,
        "product_id": product,
        "seller_id": seller,
        "price": price,
    }


def payment(order_id="o1", number="1", method="credit_card", value="217.77"):
    return {
        "order_id": order_id,
        "payment_sequential": number,
        "payment_type": method,
        "payment_value": value,
    }


CUSTOMERS = [{"customer_id": "c1", "customer_unique_id": "u1", "customer_state": "SP"}]
PRODUCTS = [
    {"product_id": "p1", "product_category_name": "beleza_saude"},
    {"product_id": "p2", "product_category_name": "pc_gamer"},
    {"product_id": "p3", "product_category_name": ""},
]
TRANSLATIONS = [
    {
        "product_category_name": "beleza_saude",
        "product_category_name_english": "health_beauty",
    }
]


def imported(orders=(), items=(), payments=()):
    return olist_events(OlistTables(orders, CUSTOMERS, items, payments, PRODUCTS, TRANSLATIONS))


def records(found):
    events = list(found.events)
    assert len(events) == found.count
    for topic, decode in (("orders", decode_orders), ("payments", decode_payments)):
        values = [event.value for event in events if event.topic == topic]
        assert not [event for event in decode(values) if isinstance(event, Rejected)]
    return [msgspec.json.decode(event.value) for event in events]


def test_an_order_is_placed_at_its_purchase_with_a_line_an_item():
    lines = [item(number="2", product="p2", price="0.01"), item()]
    (record,) = records(imported([order()], lines))
    assert record == {
        "event_id": "o1:placed",
        "type": "order.placed",
        "occurred_at": "2017-10-02T13:56:33.000Z",
        "market": "BR",
        "order_id": "o1",
        "currency": "BRL",
        "lines": [
            {"sku": "p1", "category": "health_beauty", "quantity": 1, "unit_price_minor": 19_990},
            {"sku": "p2", "category": "pc_gamer", "quantity": 1, "unit_price_minor": 1},
        ],
        "shopper_id": "u1",
        "seller_id": "s1",
        "region": "SP",
    }


def test_a_product_without_a_category_is_unknown_and_counted():
    found = imported([order()], [item(product="p3"), item(number="2", product="absent")])
    (record,) = records(found)
    assert [line["category"] for line in record["lines"]] == ["unknown", "unknown"]
    assert found.tally.filled["category: unknown"] == 2


def test_an_order_without_items_has_no_lines():
    (record,) = records(imported([order()]))
    assert record["lines"] == []
    assert "seller_id" not in record


def test_a_seller_is_named_only_where_there_is_one():
    (record,) = records(imported([order()], [item(), item(number="2", seller="s2")]))
    assert "seller_id" not in record


def test_each_payment_is_captured_when_the_order_was_approved():
    found = records(
        imported(
            [order(approved="2017-10-03 11:00:00")],
            payments=[payment(), payment(number="2", method="voucher", value="0.00")],
        )
    )
    placed, card, voucher = found
    assert placed["payment_method"] == "credit_card", "that of the largest payment"
    assert card == {
        "event_id": "o1:paid:1",
        "type": "payment.captured",
        "occurred_at": "2017-10-03T14:00:00.000Z",
        "market": "BR",
        "order_id": "o1",
        "method": "credit_card",
        "amount_minor": 21_777,
        "currency": "BRL",
        "placed_at": "2017-10-02T13:56:33.000Z",
    }
    assert (voucher["event_id"], voucher["amount_minor"]) == ("o1:paid:2", 0)


@pytest.mark.parametrize("approved", ["", "2017-10-02 10:56:32", "nonsense"])
def test_without_a_usable_approval_it_is_captured_at_the_purchase(approved):
    found = imported([order(approved=approved)], payments=[payment()])
    paid, placed = sorted(records(found), key=lambda record: record["type"], reverse=True)
    assert paid["occurred_at"] == placed["occurred_at"]
    assert found.tally.filled["order_approved_at: unusable"] == bool(approved)


@pytest.mark.parametrize(
    ("later", "occurred_at"),
    [
        ({}, "2017-10-02T13:56:33.000Z"),
        ({"approved": "2017-10-03 11:00:00"}, "2017-10-03T14:00:00.000Z"),
        (
            {"approved": "2017-10-05 11:00:00", "carrier": "2017-10-04 11:00:00"},
            "2017-10-05T14:00:00.000Z",
        ),
        ({"carrier": "2017-10-01 11:00:00"}, "2017-10-02T13:56:33.000Z"),
    ],
)
def test_a_cancelled_order_is_cancelled_at_its_latest_known_time(later, occurred_at):
    placed, cancelled = records(imported([order(status="canceled", **later)], [item()]))
    assert (placed["type"], cancelled["type"]) == ("order.placed", "order.cancelled")
    assert cancelled["occurred_at"] == occurred_at
    assert cancelled["placed_at"] == placed["occurred_at"]
    assert cancelled["lines"] == placed["lines"]


def test_a_cancelled_order_without_items_takes_back_the_order_alone():
    placed, cancelled = imported([order(status="canceled")]).events
    assert msgspec.json.decode(placed.value)["lines"] == []
    (event,) = decode_orders([cancelled.value])
    assert isinstance(event, IncompleteOrder)
    assert event.lines == []


def test_events_come_in_event_time_order_whatever_the_order_of_rows():
    orders = [
        order("o3", bought="2018-01-03 00:00:00", approved="2018-01-09 00:00:00"),
        order("o1", bought="2018-01-01 00:00:00", status="canceled"),
        order("o2", bought="2018-01-02 00:00:00", approved="2018-01-04 00:00:00"),
    ]
    found = imported(orders, payments=[payment("o3"), payment("o2")])
    events = list(found.events)
    times = [event.timestamp_ms for event in events]
    assert times == sorted(times)
    kinds = [msgspec.json.decode(event.value)["event_id"] for event in events]
    assert kinds == ["o1:placed", "o1:voided", "o2:placed", "o3:placed", "o2:paid:1", "o3:paid:1"]


def test_whatever_is_left_out_is_counted_with_its_reason():
    found = imported(
        [order(), order(), order("o9", bought="soon"), order("o5", customer="absent")],
        [item(), item("o8"), item(price="1.999"), item(price="-1"), item(number="x")],
        [payment(), payment("o8"), payment(value="a lot"), payment(number="")],
    )
    assert len(records(found)) == 3
    assert dict(found.tally.read) == {
        "customers": 1, "orders": 4, "items": 5, "payments": 4, "products": 3, "translations": 1,
    }  # fmt: skip
    assert dict(found.tally.skipped) == {
        "order: id seen before": 1,
        "order: purchase time": 1,
        "item: no such order": 1,
        "item: price": 2,
        "item: number": 1,
        "payment: no such order": 1,
        "payment: amount": 1,
        "payment: number": 1,
    }
    assert found.tally.filled["customer: none"] == 1

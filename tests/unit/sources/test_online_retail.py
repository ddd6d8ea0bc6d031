"""UCI Online Retail -> events of market GB."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from streams.index.events import Rejected, decode_orders
from streams.sources.imports import SourceError
from streams.sources.online_retail import online_retail_events

JULY = datetime(2011, 7, 1, 9, 30)  # noqa: DTZ001 - the source's times are naive


def row(
    description="WHITE  HANGING HEART T-LIGHT HOLDER",
    quantity=6,
    at=JULY,
    price=2.55,
    customer=17850.0,
    country="United Kingdom",
):
    return description, quantity, at, price, customer, country


def records(found):
    events = list(found.events)
    assert len(events) == found.count
    decoded = decode_orders([event.value for event in events])
    assert not [event for event in decoded if isinstance(event, Rejected)]
    return [msgspec.json.decode(event.value) for event in events]


def test_a_row_is_an_order_of_its_own():
    (record,) = records(online_retail_events([row()]))
    assert record == {
        "event_id": "uci-000000",
        "type": "order.placed",
        "occurred_at": "2011-07-01T08:30:00.000Z",
        "market": "GB",
        "order_id": "uci-000000",
        "currency": "GBP",
        "lines": [
            {
                "sku": "white_hanging_heart_t_light_holder",
                "category": "general",
                "quantity": 6,
                "unit_price_minor": 255,
            }
        ],
        "shopper_id": "17850",
        "region": "united_kingdom",
    }


def test_a_return_is_a_refund_of_the_day_it_came_back():
    (record,) = records(online_retail_events([row(quantity=-2)]))
    assert record["type"] == "order.refunded"
    assert record["placed_at"] == record["occurred_at"]
    assert record["lines"][0]["quantity"] == 2


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"quantity": 0}, "quantity 0"),
        ({"price": 0.0}, "price 0 or below"),
        ({"price": -11062.06}, "price 0 or below"),
        ({"price": float("nan")}, "price 0 or below"),
        ({"price": 0.001}, "price finer than a penny"),
        ({"price": float("inf")}, "price finer than a penny"),
        ({"quantity": 10**9, "price": 100.01}, "larger than an event may be"),
        ({"quantity": -(10**9), "price": 100.01}, "larger than an event may be"),
        ({"description": "AMAZON FEE"}, "not a purchase"),
        ({"at": datetime(2011, 7, 1, tzinfo=UTC)}, "time with an offset"),
    ],
)
def test_rows_without_sense_are_left_out_and_counted(changes, reason):
    found = online_retail_events([row(**changes), row()])
    (record,) = records(found)
    assert record["event_id"] == "uci-000001", "ids are row numbers"
    assert dict(found.tally.skipped) == {reason: 1}
    assert found.tally.read["rows"] == 2


def test_what_is_missing_is_filled_in_and_counted():
    found = online_retail_events([row(description=None, customer=None)])
    (record,) = records(found)
    assert record["lines"][0]["sku"] == "unknown"
    assert "shopper_id" not in record
    assert dict(found.tally.filled) == {"description: unknown": 1, "customer: none": 1}


def test_a_long_description_becomes_a_legal_id():
    (record,) = records(online_retail_events([row(description="é" * 100)]))
    assert len(record["lines"][0]["sku"].encode()) <= 128


def test_rows_of_the_same_minute_keep_their_order():
    rows = [row(at=JULY.replace(hour=10)), *(row(quantity=n + 1) for n in range(12))]
    found = [record["event_id"] for record in records(online_retail_events(rows))]
    assert found == [f"uci-{n:06d}" for n in (*range(1, 13), 0)]


def test_another_kind_of_table_is_refused():
    with pytest.raises(SourceError, match="row 0"):
        online_retail_events([row(at="2011-07-01")])

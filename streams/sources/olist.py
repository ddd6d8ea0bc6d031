"""Olist's Brazilian marketplace (CSV tables) -> events of market BR.

* ``order.placed`` occurs at the purchase. Each item is a line with quantity 1. The region is the
  customer's state and the shopper is ``customer_unique_id``. A seller is given only where all items have
  the same one. The payment method is that of the largest payment (the first among equals). An order
  without items has no lines.
* ``payment.captured`` occurs, for each payment, when the order was approved, else at the purchase, and
  never before the purchase.
* ``order.cancelled`` occurs for orders of status ``canceled``, at the latest known time (approved,
  handed to the carrier, delivered), and never before the purchase. It has the lines of its order. A
  cancel must say what it takes back, so that of an order without items has one line that cannot be
  counted: then it takes back the order alone.

Times are naive local times of America/Sao_Paulo. ``LocalTimes`` says how times that occur twice or not
at all are read. Event ids derive from Olist's own ids, so events that are imported twice count once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from streams.index.event_types import Line
from streams.index.panes import rfc3339
from streams.sources.imports import Imported, LocalTimes, Row, Tally, minor_units
from streams.sources.outgoing import (
    OrderRecord,
    Outgoing,
    PaymentRecord,
    order_out,
    payment_out,
)

MARKET, CURRENCY, ZONE = "BR", "BRL", "America/Sao_Paulo"
UNKNOWN = "unknown"
"""Category of a product that has none. It is no member, so it counts as `other`."""
_LATER_TIMES = (
    "order_approved_at",
    "order_delivered_carrier_date",
    "order_delivered_customer_date",
)

_NOTHING = Line("", "", 0, 0)
"""A line that cannot be counted."""


@dataclass(frozen=True, slots=True)
class OlistTables:
    """The tables, with rows in any order. ``translations``: Portuguese category to English."""

    orders: Iterable[Row]
    customers: Iterable[Row]
    items: Iterable[Row]
    payments: Iterable[Row]
    products: Iterable[Row]
    translations: Iterable[Row]


REQUIRED_COLUMNS: dict[str, tuple[str, ...]] = {
    "orders": (
        "order_id",
        "customer_id",
        "order_status",
        "order_purchase_timestamp",
        *_LATER_TIMES,
    ),
    "customers": ("customer_id", "customer_unique_id", "customer_state"),
    "items": ("order_id", "order_item_id", "product_id", "seller_id", "price"),
    "payments": ("order_id", "payment_sequential", "payment_type", "payment_value"),
    "products": ("product_id", "product_category_name"),
    "translations": ("product_category_name", "product_category_name_english"),
}
"""Columns that each table must have."""


class _OlistPayment(NamedTuple):
    sequence: int
    method: str
    amount_minor: int


@dataclass(slots=True)
class _Order:
    id: str
    placed_ms: int
    paid_ms: int
    cancelled_ms: int | None
    shopper: str | None
    region: str | None
    items: list[tuple[int, Line]] = field(default_factory=list)
    sellers: set[str] = field(default_factory=set)
    payments: list[_OlistPayment] = field(default_factory=list)

    def lines(self) -> list[Line]:
        return [line for _, line in sorted(self.items, key=lambda item: item[0])]

    def method(self) -> str | None:
        if not self.payments:
            return None
        return max(self.payments, key=lambda p: (p.amount_minor, -p.sequence)).method


class _PlannedEvent(NamedTuple):
    occurred_ms: int
    event_id: str
    order: _Order
    payment: _OlistPayment | None
    cancels: bool


def olist_events(tables: OlistTables) -> Imported:
    """Events of the tables. The tables are read at once; events are encoded when they are consumed."""
    tally = Tally()
    orders = _read_orders(tables, tally)
    _read_items(tables, orders, tally)
    _read_payments(tables, orders, tally)
    planned = sorted(_plan(orders.values()), key=lambda event: event[:2])
    return Imported(len(planned), map(_written, planned), tally, frozenset({MARKET}))


def _read_orders(tables: OlistTables, tally: Tally) -> dict[str, _Order]:
    customers: dict[str, Row] = {}
    for row in tables.customers:
        tally.read["customers"] += 1
        customers[row["customer_id"]] = row
    times = LocalTimes(ZONE)
    orders: dict[str, _Order] = {}
    for row in tables.orders:
        tally.read["orders"] += 1
        order_id, placed_ms = row["order_id"], times.instant_ms(row["order_purchase_timestamp"])
        if placed_ms is None:
            tally.skipped["order: purchase time"] += 1
        elif order_id in orders:
            tally.skipped["order: id seen before"] += 1
        else:
            customer = customers.get(row["customer_id"])
            if customer is None:
                tally.filled["customer: none"] += 1
            orders[order_id] = _order(row, placed_ms, customer, times, tally)
    return orders


def _order(
    row: Row, placed_ms: int, customer: Row | None, times: LocalTimes, tally: Tally
) -> _Order:
    later = [placed_ms]
    paid_ms = placed_ms
    for column in _LATER_TIMES:
        if not row[column]:
            continue
        at = times.instant_ms(row[column])
        if at is None or at < placed_ms:
            tally.filled[f"{column}: unusable"] += 1
            continue
        later.append(at)
        if column == "order_approved_at":
            paid_ms = at
    return _Order(
        id=row["order_id"],
        placed_ms=placed_ms,
        paid_ms=paid_ms,
        cancelled_ms=max(later) if row["order_status"] == "canceled" else None,
        shopper=(customer["customer_unique_id"] or None) if customer else None,
        region=(customer["customer_state"] or None) if customer else None,
    )


def _read_items(tables: OlistTables, orders: dict[str, _Order], tally: Tally) -> None:
    english: dict[str, str] = {}
    for row in tables.translations:
        tally.read["translations"] += 1
        english[row["product_category_name"]] = row["product_category_name_english"]
    categories: dict[str, str] = {}
    for row in tables.products:
        tally.read["products"] += 1
        name = row["product_category_name"]
        categories[row["product_id"]] = english.get(name) or name or UNKNOWN
    for row in tables.items:
        tally.read["items"] += 1
        order = orders.get(row["order_id"])
        price = minor_units(row["price"], CURRENCY)
        if order is None:
            tally.skipped["item: no such order"] += 1
        elif price is None or price < 0:
            tally.skipped["item: price"] += 1
        elif not row["order_item_id"].isdecimal():
            tally.skipped["item: number"] += 1
        else:
            category = categories.get(row["product_id"], UNKNOWN)
            if category == UNKNOWN:
                tally.filled["category: unknown"] += 1
            line = Line(row["product_id"], category, 1, price)
            order.items.append((int(row["order_item_id"]), line))
            order.sellers.add(row["seller_id"])


def _read_payments(tables: OlistTables, orders: dict[str, _Order], tally: Tally) -> None:
    for row in tables.payments:
        tally.read["payments"] += 1
        order = orders.get(row["order_id"])
        amount, sequence = minor_units(row["payment_value"], CURRENCY), row["payment_sequential"]
        if order is None:
            tally.skipped["payment: no such order"] += 1
        elif amount is None or amount < 0:
            tally.skipped["payment: amount"] += 1
        elif not sequence.isdecimal():
            tally.skipped["payment: number"] += 1
        else:
            order.payments.append(_OlistPayment(int(sequence), row["payment_type"], amount))


def _plan(orders: Iterable[_Order]) -> Iterator[_PlannedEvent]:
    for order in orders:
        yield _PlannedEvent(order.placed_ms, f"{order.id}:placed", order, None, cancels=False)
        for payment in order.payments:
            event_id = f"{order.id}:paid:{payment.sequence}"
            yield _PlannedEvent(order.paid_ms, event_id, order, payment, cancels=False)
        if order.cancelled_ms is not None:
            event_id = f"{order.id}:voided"  # sorts after other events of the same time
            yield _PlannedEvent(order.cancelled_ms, event_id, order, None, cancels=True)


def _written(event: _PlannedEvent) -> Outgoing:
    order, payment = event.order, event.payment
    occurred_at = rfc3339(event.occurred_ms)
    if payment is not None:
        paid = PaymentRecord(
            event_id=event.event_id,
            type="payment.captured",
            occurred_at=occurred_at,
            market=MARKET,
            order_id=order.id,
            method=payment.method,
            amount_minor=payment.amount_minor,
            currency=CURRENCY,
            placed_at=rfc3339(order.placed_ms),
        )
        return payment_out(paid, event.occurred_ms)
    record = OrderRecord(
        event_id=event.event_id,
        type="order.cancelled" if event.cancels else "order.placed",
        occurred_at=occurred_at,
        market=MARKET,
        order_id=order.id,
        currency=CURRENCY,
        lines=order.lines() or ([_NOTHING] if event.cancels else []),
        placed_at=rfc3339(order.placed_ms) if event.cancels else None,
        payment_method=order.method(),
        shopper_id=order.shopper,
        seller_id=next(iter(order.sellers)) if len(order.sellers) == 1 else None,
        region=order.region,
    )
    return order_out(record, event.occurred_ms)

"""What one event adds to the rows of its slots: the definition that compiled code must equal.

``plain_orders.pyx`` repeats ``add_order`` for the most common form of event. A property test holds the
two equal.
"""

from __future__ import annotations

from collections.abc import Iterable

from streams.flow.remembered import Place
from streams.flow.state import MarketState
from streams.index import partials as col
from streams.index.event_types import OrderEvent, PaymentEvent
from streams.index.partials import Row


def order_sums(event: OrderEvent) -> tuple[int, int]:
    """Return (units, sales in minor units) of an order event."""
    units = sales = 0
    for line in event.lines:
        units += line.quantity
        sales += line.quantity * line.unit_price_minor
    return units, sales


def add_order(row: Row, event: OrderEvent, state: MarketState) -> None:
    """Add an order event to the live row of the pane it occurred in."""
    if event.type != "order.placed":
        row[col.CANCELLED if event.type == "order.cancelled" else col.REFUNDED] += 1
        return
    units, sales = order_sums(event)
    _add3(row, col.ORDERS, units, sales)
    category, method, region, channel = state.labels
    seen: list[int] = []
    for line in event.lines:
        at, _, unknown = category.get(line.category)
        row[at + 1] += line.quantity
        row[at + 2] += line.quantity * line.unit_price_minor
        if at not in seen:
            seen.append(at)
            row[at] += 1
            row[col.OTHER_CATEGORY] += unknown
    if event.payment_method:
        at, _, unknown = method.get(event.payment_method)
        row[col.CHOSEN] += 1
        _add3(row, at, units, sales)
        row[col.OTHER_METHOD] += unknown
    at, _, unknown = region.get(event.region)
    _add3(row, at, units, sales)
    row[col.OTHER_REGION] += unknown
    at, _, unknown = channel.get(event.channel)
    _add3(row, at, units, sales)
    row[col.OTHER_CHANNEL] += unknown
    row[col.SHOPPER_ORDERS] += event.shopper_id is not None
    row[col.NEW_KNOWN] += event.new_shopper is not None
    row[col.NEW_SHOPPERS] += bool(event.new_shopper)


def day_places(event: OrderEvent, state: MarketState) -> list[Place]:
    """Return what an order event adds to each place of a day's row: market, categories, method."""
    units, sales = order_sums(event)
    found = [Place(0, 1, units, sales)]
    category, method, _, _ = state.labels
    by_category: dict[int, list[int]] = {}
    for line in event.lines:
        held = by_category.setdefault(category.get(line.category)[1], [0, 0])
        held[0] += line.quantity
        held[1] += line.quantity * line.unit_price_minor
    found += [
        Place(at, 1, its_units, its_sales) for at, (its_units, its_sales) in by_category.items()
    ]
    if event.payment_method:
        found.append(Place(method.get(event.payment_method)[1], 1, units, sales))
    return found


def add_places(row: Row, ledger: int, places: Iterable[Place], sign: int = 1) -> None:
    """Add places to a ledger (``PLACED_AT``, ``CANCELLED_AT`` or ``REFUNDED_AT``) of a day's row."""
    for at, orders, units, sales in places:
        row[at + ledger] += sign * orders
        row[at + ledger + 1] += sign * units
        row[at + ledger + 2] += sign * sales


def add_payment(row: Row, day_row: Row | None, event: PaymentEvent, state: MarketState) -> None:
    """Add a payment event to its pane's row and, where the day is open, to the day's.

    A payment without ``placed_at`` cannot be assigned to its order's day. It counts on the day it
    occurred (the caller gives that day's row), and is counted apart too, so that the coverage of
    the day book can be stated.
    """
    at, day_at, unknown = state.labels[1].get(event.method)
    row[col.OTHER_METHOD] += unknown
    amount = event.amount_minor
    day_at += col.DAY_METHOD_PAYMENTS_AT
    if event.type == "payment.captured":
        row[col.PAYMENTS] += 1
        row[col.AMOUNT] += amount
        row[at + col.CAPTURED_AT] += 1
        row[at + col.AMOUNT_AT] += amount
        if day_row is not None:
            day_row[col.DAY_PAYMENTS] += 1
            day_row[col.DAY_AMOUNT] += amount
            day_row[day_at] += 1
            day_row[day_at + 1] += amount
            day_row[col.UNPLACED_PAYMENTS] += event.placed_at is None
    elif event.type == "payment.failed":
        row[col.FAILED] += 1
        row[at + col.FAILED_AT] += 1
        if day_row is not None:
            day_row[col.DAY_FAILED] += 1
            day_row[day_at + 2] += 1
    else:
        row[col.PAYMENT_REFUNDS] += 1
        row[col.REFUND_AMOUNT] += amount
        if day_row is not None:
            day_row[col.DAY_PAYMENT_REFUNDS] += 1
            day_row[col.DAY_REFUND_AMOUNT] += amount
            day_row[day_at + 3] += 1
            day_row[day_at + 4] += amount


def _add3(row: Row, at: int, units: int, sales: int) -> None:
    row[at] += 1
    row[at + 1] += units
    row[at + 2] += sales

"""What one event adds to the rows of its slots: the definition that compiled code must equal.

``plain_orders.pyx`` repeats ``add_order`` and ``add_placed`` for the most common form of event. A
property test holds the two equal.
"""

from __future__ import annotations

from streams.index import partials as col
from streams.index.event_types import OrderEvent, PaymentEvent
from streams.index.known_labels import KnownLabels
from streams.index.label_rows import (
    CATEGORY,
    CHANNEL,
    METHOD,
    PLACED_PART,
    REGION,
    LabelRow,
    item,
)

LATE_PART, CORRECTED_PART, WAITING_PART = 1, 2, 3
"""Parts of a day's orders of which label sets are kept, beside ``PLACED_PART``, which panes have too."""
PAYMENT_TOTALS = {
    "payment.captured": (col.PAYMENTS, col.AMOUNT),
    "payment.refunded": (col.PAYMENT_REFUNDS, col.REFUND_AMOUNT),
    "payment.refund_failed": (col.REFUND_FAILURES, col.UNREFUNDED_AMOUNT),
    "payment.disputed": (col.DISPUTES, col.DISPUTED_AMOUNT),
    "payment.reversed": (col.REVERSALS, col.REVERSED_AMOUNT),
}
"""Columns of a pane's row that each type of payment event adds to: its number and its amount."""
DAY_PAYMENT_TOTALS = {
    "payment.captured": (col.DAY_PAYMENTS, col.DAY_AMOUNT),
    "payment.refunded": (col.DAY_PAYMENT_REFUNDS, col.DAY_REFUND_AMOUNT),
    "payment.refund_failed": (col.DAY_REFUND_FAILURES, col.DAY_UNREFUNDED_AMOUNT),
    "payment.disputed": (col.DAY_DISPUTES, col.DAY_DISPUTED_AMOUNT),
    "payment.reversed": (col.DAY_REVERSALS, col.DAY_REVERSED_AMOUNT),
}
"""The same of a day's row. What a failed payment would have been is not read."""


def order_sums(event: OrderEvent) -> tuple[int, int]:
    """Return (units, sales in minor units) of an order event."""
    units = sales = 0
    for line in event.lines:
        units += line.quantity
        sales += line.quantity * line.unit_price_minor
    return units, sales


def add_order(row: LabelRow, event: OrderEvent, labels: KnownLabels) -> None:
    """Add an order event to the live row of the pane it occurred in."""
    numbers = row.numbers
    if event.type != "order.placed":
        numbers[col.CANCELLED if event.type == "order.cancelled" else col.REFUNDED] += 1
        return
    units, sales = order_sums(event)
    _add3(row, col.ORDERS, units, sales)
    _add_categories(row, 0, PLACED_PART, event, labels)
    if event.payment_method:
        numbers[col.CHOSEN] += 1
        _add3(row, row.column(METHOD, labels.get(event.payment_method)), units, sales)
    _add3(row, row.column(REGION, labels.get(event.region)), units, sales)
    _add3(row, row.column(CHANNEL, labels.get(event.channel)), units, sales)
    numbers[col.SHOPPER_ORDERS] += event.shopper_id is not None
    numbers[col.NEW_KNOWN] += event.new_shopper is not None
    numbers[col.NEW_SHOPPERS] += bool(event.new_shopper)


def add_placed(
    row: LabelRow, ledger: int, part: int, event: OrderEvent, labels: KnownLabels
) -> None:
    """Add a placed order to a ledger (``PLACED_AT`` or ``LATE_AT``) of its day's row."""
    units, sales = order_sums(event)
    _add3(row, ledger, units, sales)
    _add_categories(row, ledger, part, event, labels)
    if event.payment_method:
        _add3(row, row.column(METHOD, labels.get(event.payment_method)) + ledger, units, sales)
    if part == PLACED_PART:
        row.numbers[row.column(REGION, labels.get(event.region))] += 1
        row.numbers[row.column(CHANNEL, labels.get(event.channel))] += 1


def _add_categories(
    row: LabelRow, ledger: int, part: int, event: OrderEvent, labels: KnownLabels
) -> None:
    numbers = row.numbers
    seen: list[int] = []
    named = set()
    for line in event.lines:
        label = labels.get(line.category)
        named.add(label)
        column = row.column(CATEGORY, label)
        at = column + ledger
        numbers[at + 1] += line.quantity
        numbers[at + 2] += line.quantity * line.unit_price_minor
        if column not in seen:
            seen.append(column)
            numbers[at] += 1
    if part == PLACED_PART:
        row.note_placed(frozenset(named))
    else:
        row.note_set(part, map(item, seen))


def add_payment(
    row: LabelRow, day_row: LabelRow | None, event: PaymentEvent, labels: KnownLabels
) -> None:
    """Add a payment event to its pane's row and, where the day is open, to the day's.

    A payment without ``placed_at`` cannot be assigned to its order's day. It counts on the day it
    occurred (the caller gives that day's row), and is counted apart too, so that the coverage of
    the day book can be stated.
    """
    label, amount = labels.get(event.method), event.amount_minor
    at, numbers = row.column(METHOD, label), row.numbers
    if event.type == "payment.failed":
        numbers[col.FAILED] += 1
        numbers[at + col.FAILED_AT] += 1
    else:
        count, total = PAYMENT_TOTALS[event.type]
        numbers[count] += 1
        numbers[total] += amount
    if event.type == "payment.captured":
        numbers[at + col.CAPTURED_AT] += 1
        numbers[at + col.AMOUNT_AT] += amount
    if day_row is not None:
        _add_payment_to_day(day_row, event, label)


def _add_payment_to_day(row: LabelRow, event: PaymentEvent, label: str) -> None:
    at = row.column(METHOD, label) + col.DAY_METHOD_PAYMENTS_AT
    amount, numbers = event.amount_minor, row.numbers
    if event.type == "payment.failed":
        numbers[col.DAY_FAILED] += 1
        numbers[at + 2] += 1
        return
    count, total = DAY_PAYMENT_TOTALS[event.type]
    numbers[count] += 1
    numbers[total] += amount
    if event.type == "payment.captured":
        numbers[at] += 1
        numbers[at + 1] += amount
        numbers[col.UNPLACED_PAYMENTS] += event.placed_at is None
    elif event.type == "payment.refunded":
        numbers[at + 3] += 1
        numbers[at + 4] += amount


def _add3(row: LabelRow, at: int, units: int, sales: int) -> None:
    numbers = row.numbers
    numbers[at] += 1
    numbers[at + 1] += units
    numbers[at + 2] += sales

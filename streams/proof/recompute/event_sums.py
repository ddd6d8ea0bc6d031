"""What one event adds to the rows of its slots, by label."""

from __future__ import annotations

from streams.index.event_types import OrderEvent, PaymentEvent
from streams.index.label_text import ABSENT, label_of
from streams.proof.recompute import shopper_registers
from streams.proof.recompute.label_sums import (
    CATEGORY,
    CHANNEL,
    METHOD,
    REGION,
    WHOLE,
    GrowingRow,
    Place,
)
from streams.proof.recompute.sums import LATE, LEDGERS

_LABELS_MAX = 20_000
_BACK = {
    "payment.refunded": ("payment_refunds", "refund_amount"),
    "payment.refund_failed": ("refund_failures", "unrefunded_amount"),
    "payment.disputed": ("disputes", "disputed_amount"),
    "payment.reversed": ("reversals", "reversed_amount"),
}
"""Sums of what happens to captured money later: its number and its amount."""
AMOUNTS = ("amount", *(total for _, total in _BACK.values()))
"""Sums of money of payments, each of which may be full."""


class Labels:
    """Raw text -> label, with a bounded cache."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def find(self, text: str | None) -> str:
        """Return the label of a text; of none, or an empty one, the label of saying nothing."""
        if not text:
            return ABSENT
        found = self._known.get(text)
        if found is None:
            if len(self._known) >= _LABELS_MAX:
                self._known.clear()
            found = self._known[text] = label_of(text)
        return found


class EventSums:
    """Adds events to the pane in which each occurred, and to its order's day."""

    def __init__(self) -> None:
        self.labels = Labels()

    def order_live(self, row: GrowingRow, event: OrderEvent) -> None:
        """Add to the live book: the sums of a placed order, only the number of any other."""
        if event.type != "order.placed":
            row.add(WHOLE, "", LEDGERS[event.type], 1)
            return
        units, sales = totals(event)
        self._placed(row, "", event)
        row.add(WHOLE, "", "chosen", int(bool(event.payment_method)))
        for dimension, text in ((REGION, event.region), (CHANNEL, event.channel)):
            row.add_three(row.name(dimension, self.labels.find(text)), "", 1, units, sales)
        if event.shopper_id is not None:
            row.add(WHOLE, "", "shopper_orders", 1)
            row.buyers = row.buyers or shopper_registers.Registers(shopper_registers.REGISTERS)
            shopper_registers.add_shopper(row.buyers, event.shopper_id)
        row.add(WHOLE, "", "new_known", int(event.new_shopper is not None))
        row.add(WHOLE, "", "new_shoppers", int(event.new_shopper is True))

    def order_day(self, row: GrowingRow, event: OrderEvent, *, late: bool = False) -> None:
        """Add a placed order to its day. ``late``: beside the others, as it came after the grace.

        Of a region and channel the day counts only the orders that were not late.
        """
        if late:
            self._placed(row, f"{LATE}placed", event)
            return
        self._placed(row, "placed", event)
        for dimension, text in ((REGION, event.region), (CHANNEL, event.channel)):
            row.add(row.name(dimension, self.labels.find(text)), "placed", "orders", 1)

    def _placed(self, row: GrowingRow, ledger: str, event: OrderEvent) -> None:
        """Add to the totals, the categories and the method; labels are named in that order."""
        units, sales = totals(event)
        row.add_three(WHOLE, ledger, 1, units, sales)
        named: dict[Place, None] = {}
        for line in event.lines:
            place = row.name(CATEGORY, self.labels.find(line.category))
            named[place] = None
            worth = line.quantity * line.unit_price_minor
            row.add_three(place, ledger, 0, line.quantity, worth)
        for place in named:
            row.add(place, ledger, "orders", 1)
        row.name_set(CATEGORY, ((label, ledger) for _, label in named))
        if event.payment_method:
            method = row.name(METHOD, self.labels.find(event.payment_method))
            row.add_three(method, ledger, 1, units, sales)

    def name_all(self, row: GrowingRow, event: OrderEvent) -> None:
        """Find room in a day for all labels of a correction."""
        for line in event.lines:
            row.name(CATEGORY, self.labels.find(line.category))
        if event.payment_method:
            row.name(METHOD, self.labels.find(event.payment_method))

    def payment_live(self, row: GrowingRow, event: PaymentEvent) -> None:
        """Add a payment to the live book."""
        method = row.name(METHOD, self.labels.find(event.method))
        if event.type == "payment.captured":
            row.add(WHOLE, "", "payments", 1)
            row.add(WHOLE, "", "amount", event.amount_minor)
            row.add(method, "", "captured", 1)
            row.add(method, "", "amount", event.amount_minor)
        elif event.type == "payment.failed":
            row.add(WHOLE, "", "failed", 1)
            row.add(method, "", "failed", 1)
        else:
            count, total = _BACK[event.type]
            row.add(WHOLE, "", count, 1)
            row.add(WHOLE, "", total, event.amount_minor)

    def payment_day(self, row: GrowingRow, event: PaymentEvent) -> None:
        """Add a payment to its order's day; one that names no order's day, to its own day."""
        if event.placed_at is None and event.type == "payment.captured":
            row.add(WHOLE, "", "unplaced_payments", 1)
        method = row.name(METHOD, self.labels.find(event.method))
        count, total = {
            "payment.captured": ("payments", "amount"),
            "payment.failed": ("failed", ""),
            **_BACK,
        }[event.type]
        row.add(WHOLE, "", count, 1)
        if total:
            row.add(WHOLE, "", total, event.amount_minor)
        if event.type in ("payment.captured", "payment.failed", "payment.refunded"):
            row.add(method, "", "captured" if count == "payments" else count, 1)
            if total:
                row.add(method, "", total, event.amount_minor)


def totals(event: OrderEvent) -> tuple[int, int]:
    """(units, sales in minor units)."""
    units = sum(line.quantity for line in event.lines)
    return units, sum(line.quantity * line.unit_price_minor for line in event.lines)

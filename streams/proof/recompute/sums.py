"""Named sums by member, and the names of the columns in which level 2 stores its rows.

A row is ``{"orders": 3, "category/books/units": 5, ..}`` here, so that a person can read a
difference, and a wrong column cannot hide behind an equally wrong column of the oracle.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from streams.index import partials as col
from streams.index.partials import Layout
from streams.proof.recompute import shopper_registers


class Sums(dict[str, int]):
    """Integers by name, of which zeros may be missing, and the registers of a pane's shoppers."""

    __slots__ = ("buyers",)

    def __init__(self, sums: Mapping[str, int] | None = None) -> None:
        super().__init__(sums or {})
        self.buyers: shopper_registers.Registers | None = None

    def copy(self) -> Sums:
        """Return an independent copy."""
        found = Sums(self)
        found.buyers = shopper_registers.together(self.buyers, None)
        return found


LEDGERS = {
    "order.placed": "placed",
    "order.cancelled": "cancelled",
    "order.refunded": "refunded",
}
LATE = "late_"
"""Prefix of what orders add that came later than the grace."""
WAITING = "waiting_"
"""Prefix of what corrections would take that wait, as their order was refused."""
BESIDE = (f"{LATE}placed", f"{WAITING}cancelled", f"{WAITING}refunded")
"""What a day keeps beside its ledgers."""
DAY_LEDGERS = {
    "placed": col.PLACED_AT,
    "cancelled": col.CANCELLED_AT,
    "refunded": col.REFUNDED_AT,
    BESIDE[0]: col.LATE_AT,
    BESIDE[1]: col.WAITING_AT + col.CANCELLED_AT,
    BESIDE[2]: col.WAITING_AT + col.REFUNDED_AT,
}
"""Ledger -> its first column, of the day as of each place of it; three columns each."""
THREE = ("orders", "units", "sales")

LIVE_TOTALS = {
    col.ORDERS: "orders",
    col.UNITS: "units",
    col.SALES: "sales",
    col.PAYMENTS: "payments",
    col.AMOUNT: "amount",
    col.FAILED: "failed",
    col.PAYMENT_REFUNDS: "payment_refunds",
    col.REFUND_AMOUNT: "refund_amount",
    col.REFUND_FAILURES: "refund_failures",
    col.UNREFUNDED_AMOUNT: "unrefunded_amount",
    col.DISPUTES: "disputes",
    col.DISPUTED_AMOUNT: "disputed_amount",
    col.REVERSALS: "reversals",
    col.REVERSED_AMOUNT: "reversed_amount",
    col.CANCELLED: "cancelled",
    col.REFUNDED: "refunded",
    col.SHOPPER_ORDERS: "shopper_orders",
    col.NEW_KNOWN: "new_known",
    col.NEW_SHOPPERS: "new_shoppers",
    col.UNCERTAIN: "uncertain",
    col.CHOSEN: "chosen",
}
_QUARTER = {0: "shopper_orders", 1: "new_known", 2: "new_shoppers"}
DAY_TOTALS = {
    col.DAY_PAYMENTS: "payments",
    col.DAY_AMOUNT: "amount",
    col.DAY_FAILED: "failed",
    col.DAY_PAYMENT_REFUNDS: "payment_refunds",
    col.DAY_REFUND_AMOUNT: "refund_amount",
    col.DAY_REFUND_FAILURES: "refund_failures",
    col.DAY_UNREFUNDED_AMOUNT: "unrefunded_amount",
    col.DAY_DISPUTES: "disputes",
    col.DAY_DISPUTED_AMOUNT: "disputed_amount",
    col.DAY_REVERSALS: "reversals",
    col.DAY_REVERSED_AMOUNT: "reversed_amount",
    col.UNPLACED_PAYMENTS: "unplaced_payments",
    col.DAY_UNCERTAIN: "uncertain",
}
METHOD_LIVE = {
    col.CHOSEN_AT: "orders",
    col.CHOSEN_UNITS_AT: "units",
    col.CHOSEN_SALES_AT: "sales",
    col.CAPTURED_AT: "captured",
    col.AMOUNT_AT: "amount",
    col.FAILED_AT: "failed",
}
METHOD_DAY = ("captured", "amount", "failed", "payment_refunds", "refund_amount")


def of_buyers(sums: Sums) -> Sums:
    """Return only the sums and registers of a pane that concern shoppers."""
    found = Sums({name: sums[name] for name in _QUARTER.values() if name in sums})
    found.buyers = shopper_registers.together(sums.buyers, None)
    return found


def add_sums(total: Sums, sums: Sums) -> None:
    """Add ``sums`` to ``total``."""
    for name, value in sums.items():
        total[name] = total.get(name, 0) + value
    total.buyers = shopper_registers.together(total.buyers, sums.buyers)


def differing(expected: Sums, found: Sums) -> Iterator[tuple[str, int, int]]:
    """Yield (name, expected, found) of every sum, and of the first register, that differs."""
    for name in sorted(expected.keys() | found.keys()):
        left, right = expected.get(name, 0), found.get(name, 0)
        if left != right:
            yield name, left, right
    yield from shopper_registers.differing(expected.buyers, found.buyers)


class ColumnNames:
    """Names of a layout's columns, by which stored rows are read."""

    def __init__(self, layout: Layout) -> None:
        self.live = dict(LIVE_TOTALS)
        self.day = dict(DAY_TOTALS)
        for ledger, base in DAY_LEDGERS.items():
            self._name_three(self.day, base, f"{ledger}/")
            for member in layout.market.categories:
                at = layout.day_category.at(member) + base
                self._name_three(self.day, at, f"category/{member}/{ledger}/")
            for member in layout.market.methods:
                at = layout.day_method.at(member) + base
                self._name_three(self.day, at, f"method/{member}/{ledger}/")
        for dimension, block in (
            ("category", layout.category),
            ("region", layout.region),
            ("channel", layout.channel),
        ):
            for member in block.members:
                self._name_three(self.live, block.at(member), f"{dimension}/{member}/")
        for member in layout.market.methods:
            for offset, what in METHOD_LIVE.items():
                self.live[layout.method.at(member) + offset] = f"method/{member}/{what}"
            paid = layout.day_method.at(member) + col.DAY_METHOD_PAYMENTS_AT
            for offset, what in enumerate(METHOD_DAY):
                self.day[paid + offset] = f"method/{member}/{what}"

    @staticmethod
    def _name_three(names: dict[int, str], at: int, prefix: str) -> None:
        for offset, what in enumerate(THREE):
            names[at + offset] = f"{prefix}{what}"

    def read(self, sparse: list[int | str], *, day: bool, sketch: bytes = b"") -> Sums:
        """Return the sums of a stored row. A column without a name is kept under its number.

        ``sketch``: of the shoppers, stored beside the row. Raises ValueError if it is malformed.
        """
        found = self._read(sparse, self.day if day else self.live)
        found.buyers = shopper_registers.read(sketch)
        return found

    def read_quarter(self, sparse: list[int | str], sketch: bytes) -> Sums:
        """Return the sums and registers of a stored quarter of an hour, which hold only shoppers."""
        found = self._read(sparse, _QUARTER)
        found.buyers = shopper_registers.read(sketch)
        return found

    @staticmethod
    def _read(sparse: list[int | str], names: Mapping[int, str]) -> Sums:
        pairs = iter(sparse)
        found = Sums()
        for column, value in zip(pairs, pairs, strict=True):
            found[names.get(int(column), f"column {column}")] = int(value)
        return found

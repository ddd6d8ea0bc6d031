"""Named sums: what one event adds, and the names of the columns in which the system stores rows.

A row is ``{"orders": 3, "category/books/units": 5, ..}`` here, so that a person can read a
difference, and a wrong column cannot hide behind an equally wrong column of the oracle.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from streams.index import partials as col
from streams.index.event_types import OrderEvent, PaymentEvent
from streams.index.methodology import OTHER, Market
from streams.index.partials import Layout
from streams.index.slugs import slug
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
_THREE = ("orders", "units", "sales")
_LABELS_MAX = 20_000

_LIVE_TOTALS = {
    col.ORDERS: "orders",
    col.UNITS: "units",
    col.SALES: "sales",
    col.PAYMENTS: "payments",
    col.AMOUNT: "amount",
    col.FAILED: "failed",
    col.PAYMENT_REFUNDS: "payment_refunds",
    col.REFUND_AMOUNT: "refund_amount",
    col.CANCELLED: "cancelled",
    col.REFUNDED: "refunded",
    col.SHOPPER_ORDERS: "shopper_orders",
    col.NEW_KNOWN: "new_known",
    col.NEW_SHOPPERS: "new_shoppers",
    col.OTHER_CATEGORY: "unknown_category",
    col.OTHER_METHOD: "unknown_method",
    col.OTHER_REGION: "unknown_region",
    col.OTHER_CHANNEL: "unknown_channel",
    col.CHOSEN: "chosen",
}
_QUARTER = {0: "shopper_orders", 1: "new_known", 2: "new_shoppers"}
_DAY_PAYMENTS = {
    col.DAY_PAYMENTS: "payments",
    col.DAY_AMOUNT: "amount",
    col.DAY_FAILED: "failed",
    col.DAY_PAYMENT_REFUNDS: "payment_refunds",
    col.DAY_REFUND_AMOUNT: "refund_amount",
    col.UNPLACED_PAYMENTS: "unplaced_payments",
}
_METHOD_LIVE = {
    col.CHOSEN_AT: "orders",
    col.CHOSEN_UNITS_AT: "units",
    col.CHOSEN_SALES_AT: "sales",
    col.CAPTURED_AT: "captured",
    col.AMOUNT_AT: "amount",
    col.FAILED_AT: "failed",
}
_METHOD_DAY = ("captured", "amount", "failed", "payment_refunds", "refund_amount")


class Members:
    """Raw label -> (member, 1 if it was unknown), with a bounded cache."""

    def __init__(self, members: tuple[str, ...], aliases: dict[str, str]) -> None:
        self._members = frozenset(members)
        self._aliases = aliases
        self._known: dict[str, tuple[str, int]] = {}

    def find(self, label: str | None) -> tuple[str, int]:
        """Return the member of a label. A missing or empty one is ``other``, but not unknown."""
        if not label:
            return OTHER, 0
        found = self._known.get(label)
        if found is None:
            name = slug(label)
            member = self._aliases.get(name, name)
            found = (member, 0) if member in self._members else (OTHER, 1)
            if len(self._known) >= _LABELS_MAX:
                self._known.clear()
            self._known[label] = found
        return found


class EventSums:
    """Adds events of one market to the pane in which each occurred, and to its order's day."""

    def __init__(self, market: Market) -> None:
        self.category = Members(market.categories, {})
        self.method = Members(market.methods, market.method_aliases)
        self.region = Members(market.regions, {})
        self.channel = Members(market.channels, market.channel_aliases)

    def order_live(self, sums: Sums, event: OrderEvent) -> None:
        """Add to the live book: the sums of a placed order, only the number of any other."""
        if event.type != "order.placed":
            _add(sums, LEDGERS[event.type], 1)
            return
        units, sales = totals(event)
        _add_three(sums, "", 1, units, sales)
        unknown = self._categories(sums, "", event)
        _add(sums, "unknown_category", unknown)
        if event.payment_method:
            member, unknown = self.method.find(event.payment_method)
            _add(sums, "chosen", 1)
            _add(sums, "unknown_method", unknown)
            _add_three(sums, f"method/{member}/", 1, units, sales)
        for dimension, members, label in (
            ("region", self.region, event.region),
            ("channel", self.channel, event.channel),
        ):
            member, unknown = members.find(label)
            _add_three(sums, f"{dimension}/{member}/", 1, units, sales)
            _add(sums, f"unknown_{dimension}", unknown)
        if event.shopper_id is not None:
            _add(sums, "shopper_orders", 1)
            sums.buyers = sums.buyers or shopper_registers.Registers(shopper_registers.REGISTERS)
            shopper_registers.add_shopper(sums.buyers, event.shopper_id)
        _add(sums, "new_known", int(event.new_shopper is not None))
        _add(sums, "new_shoppers", int(event.new_shopper is True))

    def order_day(self, sums: Sums, event: OrderEvent, *, late: bool = False) -> None:
        """Add an order event to its ledger of the day on which the order was placed.

        ``late``: beside it, as one that came later than the grace.
        """
        ledger = f"{LATE if late else ''}{LEDGERS[event.type]}"
        units, sales = totals(event)
        _add_three(sums, f"{ledger}/", 1, units, sales)
        self._categories(sums, f"{ledger}/", event)
        if event.payment_method:
            member, _ = self.method.find(event.payment_method)
            _add_three(sums, f"method/{member}/{ledger}/", 1, units, sales)

    def _categories(self, sums: Sums, ledger: str, event: OrderEvent) -> int:
        found: dict[str, list[int]] = {}
        unknown_orders = 0
        for line in event.lines:
            member, unknown = self.category.find(line.category)
            if member not in found:
                found[member] = [0, 0]
                unknown_orders += unknown
            found[member][0] += line.quantity
            found[member][1] += line.quantity * line.unit_price_minor
        for member, (units, sales) in found.items():
            _add_three(sums, f"category/{member}/{ledger}", 1, units, sales)
        return unknown_orders

    def payment_live(self, sums: Sums, event: PaymentEvent) -> None:
        """Add a payment to the live book."""
        member, unknown = self.method.find(event.method)
        _add(sums, "unknown_method", unknown)
        if event.type == "payment.captured":
            _add(sums, "payments", 1)
            _add(sums, "amount", event.amount_minor)
            _add(sums, f"method/{member}/captured", 1)
            _add(sums, f"method/{member}/amount", event.amount_minor)
        elif event.type == "payment.failed":
            _add(sums, "failed", 1)
            _add(sums, f"method/{member}/failed", 1)
        else:
            _add(sums, "payment_refunds", 1)
            _add(sums, "refund_amount", event.amount_minor)

    def payment_day(self, sums: Sums, event: PaymentEvent) -> None:
        """Add a payment to its order's day; one that names no order's day, to its own day."""
        amount = event.amount_minor
        if event.placed_at is None and event.type == "payment.captured":
            _add(sums, "unplaced_payments", 1)
        member, _ = self.method.find(event.method)
        count, total = {
            "payment.captured": ("payments", "amount"),
            "payment.failed": ("failed", ""),
            "payment.refunded": ("payment_refunds", "refund_amount"),
        }[event.type]
        own = "captured" if count == "payments" else count
        _add(sums, count, 1)
        _add(sums, f"method/{member}/{own}", 1)
        if total:
            _add(sums, total, amount)
            _add(sums, f"method/{member}/{total}", amount)


def totals(event: OrderEvent) -> tuple[int, int]:
    """(units, sales in minor units)."""
    units = sum(line.quantity for line in event.lines)
    return units, sum(line.quantity * line.unit_price_minor for line in event.lines)


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
    nobody = shopper_registers.Registers(shopper_registers.REGISTERS)
    ranks = zip(expected.buyers or nobody, found.buyers or nobody, strict=True)
    for register, (left, right) in enumerate(ranks):
        if left != right:
            yield f"register {register} of the shoppers", left, right
            return  # one register is enough


class ColumnNames:
    """Names of a layout's columns, by which stored rows are read."""

    def __init__(self, layout: Layout) -> None:
        self.live = dict(_LIVE_TOTALS)
        self.day = dict(_DAY_PAYMENTS)
        for ledger, base in (
            ("placed", col.PLACED_AT),
            ("cancelled", col.CANCELLED_AT),
            ("refunded", col.REFUNDED_AT),
            (BESIDE[0], col.LATE_AT),
            (BESIDE[1], col.WAITING_AT + col.CANCELLED_AT),
            (BESIDE[2], col.WAITING_AT + col.REFUNDED_AT),
        ):
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
            for offset, what in _METHOD_LIVE.items():
                self.live[layout.method.at(member) + offset] = f"method/{member}/{what}"
            paid = layout.day_method.at(member) + col.DAY_METHOD_PAYMENTS_AT
            for offset, what in enumerate(_METHOD_DAY):
                self.day[paid + offset] = f"method/{member}/{what}"

    @staticmethod
    def _name_three(names: dict[int, str], at: int, prefix: str) -> None:
        for offset, what in enumerate(_THREE):
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


def _add(sums: Sums, name: str, value: int) -> None:
    if value:
        sums[name] = sums.get(name, 0) + value


def _add_three(sums: Sums, prefix: str, orders: int, units: int, sales: int) -> None:
    _add(sums, f"{prefix}orders", orders)
    _add(sums, f"{prefix}units", units)
    _add(sums, f"{prefix}sales", sales)

"""Rows of streams/ as counters by name, to compare them with the reference."""

from __future__ import annotations

from collections import Counter

from streams.index import partials as col
from streams.index.partials import Layout, Row
from streams.index.shoppers import ShopperSketch
from tests.support.reference import registers_of

_LIVE = {
    ("orders",): col.ORDERS,
    ("units",): col.UNITS,
    ("sales",): col.SALES,
    ("payments",): col.PAYMENTS,
    ("amount",): col.AMOUNT,
    ("failed",): col.FAILED,
    ("payment_refunds",): col.PAYMENT_REFUNDS,
    ("refund_amount",): col.REFUND_AMOUNT,
    ("cancelled",): col.CANCELLED,
    ("refunded",): col.REFUNDED,
    ("shopper_orders",): col.SHOPPER_ORDERS,
    ("new_known",): col.NEW_KNOWN,
    ("new_shoppers",): col.NEW_SHOPPERS,
    ("unknown", "category"): col.OTHER_CATEGORY,
    ("unknown", "payment_method"): col.OTHER_METHOD,
    ("unknown", "region"): col.OTHER_REGION,
    ("unknown", "channel"): col.OTHER_CHANNEL,
    ("chosen",): col.CHOSEN,
}
_IN_TIME = {"": col.PLACED_AT, "cancelled_": col.CANCELLED_AT, "refunded_": col.REFUNDED_AT}
_LEDGERS = _IN_TIME | {
    "late_": col.LATE_AT,
    "waiting_cancelled_": col.WAITING_AT + col.CANCELLED_AT,
    "waiting_refunded_": col.WAITING_AT + col.REFUNDED_AT,
}
_PAYMENTS = ("payments", "amount", "failed", "payment_refunds", "refund_amount")


def live_names(layout: Layout) -> dict[int, tuple]:
    """Names of the columns of a live row."""
    names = {column: name for name, column in _LIVE.items()}
    for dimension, block in (
        ("category", layout.category),
        ("payment_method", layout.method),
        ("region", layout.region),
        ("channel", layout.channel),
    ):
        for member in block.members:
            at = block.at(member)
            for offset, index in enumerate(("orders", "units", "sales")):
                names[at + offset] = (index, dimension, member)
            if dimension == "payment_method":
                names[at + col.CAPTURED_AT] = ("payments", dimension, member)
                names[at + col.AMOUNT_AT] = ("amount", dimension, member)
                names[at + col.FAILED_AT] = ("failed", dimension, member)
    return names


def day_names(layout: Layout) -> dict[int, tuple]:
    """Names of the columns of a day row."""
    names: dict[int, tuple] = {col.UNPLACED_PAYMENTS: ("unplaced_payments",)}
    for offset, name in enumerate(_PAYMENTS):
        names[col.DAY_PAYMENTS + offset] = (name,)
    for dimension, block in (
        ("category", layout.day_category),
        ("payment_method", layout.day_method),
    ):
        for member in block.members:
            at = block.at(member)
            for ledger, base in _LEDGERS.items():
                for offset, index in enumerate(("orders", "units", "sales")):
                    names[at + base + offset] = (f"{ledger}{index}", dimension, member)
            if dimension == "payment_method":
                for offset, name in enumerate(_PAYMENTS):
                    names[at + col.DAY_METHOD_PAYMENTS_AT + offset] = (name, dimension, member)
    for ledger, base in _LEDGERS.items():
        for offset, index in enumerate(("orders", "units", "sales")):
            names[base + offset] = (f"{ledger}{index}",)
    return names


def named(layout: Layout, book: str, row: Row, sketch: bytes = b"") -> Counter:
    """Nonzero columns of a row by name, with the filled (register, rank) pairs of its sketch."""
    names = live_names(layout) if book == "live" else day_names(layout)
    assert len(row) == (layout.live_width if book == "live" else layout.day_width)
    found = Counter({names[column]: value for column, value in enumerate(row) if value})
    if sketch:
        found["shoppers",] = registers_in(sketch)
    return found


def registers_in(sketch: bytes) -> tuple[tuple[int, int], ...]:
    held = ShopperSketch.from_bytes(sketch)
    assert held.to_bytes() == sketch  # canonical, as it was stored
    return tuple((int(at), int(held.registers[at])) for at in held.registers.nonzero()[0])


def without_zeros(counts: Counter) -> Counter:
    """The reference's counts in the form of ``named``: shoppers become the registers of their sketch."""
    found = Counter({n: value for n, value in counts.items() if value and n[0] != "shopper"})
    registers = registers_of(counts)
    if registers:
        found["shoppers",] = registers
    return found

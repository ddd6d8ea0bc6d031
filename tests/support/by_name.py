"""Rows of streams/ as counters by name, to compare them with the reference."""

from __future__ import annotations

from collections import Counter

from streams.index import partials as col
from streams.index.label_rows import PackedRow
from streams.index.partials import Layout, Row
from streams.index.shoppers import ShopperSketch
from tests.support.reference import SourceReference, registers_of

_LIVE = {
    ("orders",): col.ORDERS,
    ("units",): col.UNITS,
    ("sales",): col.SALES,
    ("payments",): col.PAYMENTS,
    ("amount",): col.AMOUNT,
    ("failed",): col.FAILED,
    ("payment_refunds",): col.PAYMENT_REFUNDS,
    ("refund_amount",): col.REFUND_AMOUNT,
    ("refund_failures",): col.REFUND_FAILURES,
    ("unrefunded_amount",): col.UNREFUNDED_AMOUNT,
    ("disputes",): col.DISPUTES,
    ("disputed_amount",): col.DISPUTED_AMOUNT,
    ("reversals",): col.REVERSALS,
    ("reversed_amount",): col.REVERSED_AMOUNT,
    ("cancelled",): col.CANCELLED,
    ("refunded",): col.REFUNDED,
    ("shopper_orders",): col.SHOPPER_ORDERS,
    ("new_known",): col.NEW_KNOWN,
    ("new_shoppers",): col.NEW_SHOPPERS,
    ("uncertain",): col.UNCERTAIN,
    ("chosen",): col.CHOSEN,
}
_IN_TIME = {"": col.PLACED_AT, "cancelled_": col.CANCELLED_AT, "refunded_": col.REFUNDED_AT}
_LEDGERS = _IN_TIME | {
    "late_": col.LATE_AT,
    "waiting_cancelled_": col.WAITING_AT + col.CANCELLED_AT,
    "waiting_refunded_": col.WAITING_AT + col.REFUNDED_AT,
}
_PAYMENTS = ("payments", "amount", "failed", "payment_refunds", "refund_amount")
_CLAIMS = (
    "refund_failures", "unrefunded_amount", "disputes", "disputed_amount", "reversals",
    "reversed_amount",
)  # fmt: skip

_DIMENSIONS = ("category", "payment_method", "region", "channel")
_TAGS = ("placed", "cancelled", "refunded")
_PARTS = ("placed", "late", "corrected", "waiting")
_THREE = tuple(enumerate(("orders", "units", "sales")))
_PAID = {"payments": col.CAPTURED_AT, "amount": col.AMOUNT_AT, "failed": col.FAILED_AT}
_OF_DAY = {
    base + offset: f"{ledger}{index}"
    for ledger, base in _LEDGERS.items()
    for offset, index in _THREE
}
_PAID_OF_DAY = {col.DAY_METHOD_PAYMENTS_AT + offset: name for offset, name in enumerate(_PAYMENTS)}
_WIDTHS = {"live": (3, 6, 3, 3), "day": (18, 23, 1, 1)}
"""Columns of a label, by dimension."""


def _of_label(book: str, dimension: str) -> dict[int, str]:
    """Names of the columns of a label or member, counted from its first."""
    method = dimension == "payment_method"
    if book == "day" and dimension in ("region", "channel"):
        return {0: "orders"}
    if book == "day":
        return _OF_DAY | (_PAID_OF_DAY if method else {})
    return dict(_THREE) | ({at: name for name, at in _PAID.items()} if method else {})


def _of_totals(book: str) -> dict[int, tuple]:
    if book == "live":
        return {column: name for name, column in _LIVE.items()}
    names = {column: (name,) for column, name in _OF_DAY.items()}
    names |= {col.DAY_PAYMENTS + offset: (name,) for offset, name in enumerate(_PAYMENTS)}
    names |= {col.DAY_REFUND_FAILURES + offset: (name,) for offset, name in enumerate(_CLAIMS)}
    return names | {
        col.UNPLACED_PAYMENTS: ("unplaced_payments",),
        col.DAY_UNCERTAIN: ("uncertain",),
    }


def member_names(layout: Layout, book: str) -> dict[int, tuple]:
    """Names of the columns of a member row."""
    names = _of_totals(book)
    blocks = (layout.category, layout.method, layout.region, layout.channel)
    if book == "day":
        blocks = (layout.day_category, layout.day_method)
    for dimension, block in zip(_DIMENSIONS, blocks, strict=False):
        for member in block.members:
            for offset, name in _of_label(book, dimension).items():
                names[block.at(member) + offset] = (name, dimension, member)
    return names


def said_row(book: str, packed: PackedRow, sketch: bytes = b"") -> tuple[Counter, list, list]:
    """A label row by name: its nonzero counts, its labels in order, its label sets in order."""
    names, columns = _of_totals(book), {}
    labels = [(_DIMENSIONS[int(text[0])], text[1:]) for text in packed.labels]
    at = 24 if book == "live" else 32
    for dimension, label in labels:
        columns[at] = dimension, label
        for offset, name in _of_label(book, dimension).items():
            names[at + offset] = (name, dimension, label)
        at += _WIDTHS[book][_DIMENSIONS.index(dimension)]
    numbers = list(map(int, packed.numbers))
    assert 0 not in numbers[1::2]
    assert numbers[::2] == sorted(set(numbers[::2]))
    found = Counter({names[column]: n for column, n in zip(*[iter(numbers)] * 2, strict=True)})
    sets = []
    for orders, part, *items in packed.sets:
        assert items == sorted(set(items))
        dimensions = {columns[each >> 2][0] for each in items}
        tags = tuple(sorted((columns[each >> 2][1], _TAGS[each & 3]) for each in items))
        sets.append(("set", _PARTS[part], *dimensions, tags))
        if orders:
            found[sets[-1]] = orders
    assert len(set(sets)) == len(sets)
    if sketch:
        found["shoppers",] = registers_in(sketch)
    return found, labels, sets


def expected_row(
    reference: SourceReference, slot: tuple, through: int
) -> tuple[Counter, list, list]:
    """What ``said_row`` is of the reference's slot."""
    labels, sets = reference.admitted(*slot, through)
    # A stored row has the sets of placed orders first.
    sets = sorted(sets, key=lambda found: found[1] != _PARTS[0])
    return without_zeros(reference.said(*slot, through)), labels, sets


def named(layout: Layout, book: str, row: Row, sketch: bytes = b"") -> Counter:
    """Nonzero columns of a row by name, with the filled (register, rank) pairs of its sketch."""
    names = member_names(layout, book)
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

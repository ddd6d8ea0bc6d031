"""Reads the rows by label that level 1 stores, by the audit's own table of their columns.

Columns become names, so that a number in the wrong column differs. What no row can be is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from streams.index import partials as col
from streams.index.label_rows import PackedRow
from streams.proof.recompute import shopper_registers
from streams.proof.recompute.label_sums import (
    CATEGORY,
    CHANNEL,
    METHOD,
    REGION,
    WHOLE,
    LabelSet,
    LabelSums,
    NumberName,
)
from streams.proof.recompute.sums import (
    DAY_LEDGERS,
    DAY_TOTALS,
    LATE,
    LIVE_TOTALS,
    METHOD_DAY,
    METHOD_LIVE,
    THREE,
    WAITING,
)

Column = tuple[str, str]
"""(ledger, what it counts)"""
_TAGS = 4


class _Book(NamedTuple):
    totals: Mapping[int, Column]
    width: int
    """Columns before those of the first label."""
    dimensions: Sequence[tuple[str, Sequence[Column]]]
    """By number: the columns of each label."""
    ledgers: Mapping[tuple[int, int], str]
    """(part of a label set, tag of its item) -> ledger."""


def _plain(names: Sequence[str]) -> list[Column]:
    return [("", name) for name in names]


_OF_ORDERS = [(ledger, what) for ledger in DAY_LEDGERS for what in THREE]
_PLACED = [("placed", "orders")]
_LIVE = _Book(
    {at: ("", name) for at, name in LIVE_TOTALS.items()},
    col.LIVE_TOTALS,
    (
        (CATEGORY, _plain(THREE)),
        (METHOD, _plain([METHOD_LIVE[at] for at in range(len(METHOD_LIVE))])),
        (REGION, _plain(THREE)),
        (CHANNEL, _plain(THREE)),
    ),
    {(0, 0): ""},
)
_DAY = _Book(
    {**dict(enumerate(_OF_ORDERS)), **{at: ("", name) for at, name in DAY_TOTALS.items()}},
    col.DAY_TOTALS,
    (
        (CATEGORY, _OF_ORDERS),
        (METHOD, [*_OF_ORDERS, *_plain(METHOD_DAY)]),
        (REGION, _PLACED),
        (CHANNEL, _PLACED),
    ),
    {
        (0, 0): "placed", (1, 0): f"{LATE}placed", (2, 1): "cancelled", (2, 2): "refunded",
        (3, 1): f"{WAITING}cancelled", (3, 2): f"{WAITING}refunded",
    },
)  # fmt: skip


def read_row(packed: PackedRow, *, day: bool, sketch: bytes = b"") -> LabelSums:
    """Return the sums of a stored row; ValueError, which says why, for what cannot be one.

    ``sketch``: of the shoppers, stored beside the row.
    """
    book = _DAY if day else _LIVE
    found = LabelSums()
    names = {at: NumberName(WHOLE, *column) for at, column in book.totals.items()}
    first: dict[int, tuple[str, str]] = {}
    end = book.width
    for text in packed.labels:
        number, label = text[:1], text[1:]
        if number not in map(str, range(len(book.dimensions))):
            raise ValueError(f"label {text!r}: no dimension of this book")
        dimension, columns = book.dimensions[int(number)]
        place = dimension, label
        if place in found.labels:
            raise ValueError(f"{dimension} {label!r} is there twice")
        found.labels.add(place)
        first[end] = place
        names |= {at: NumberName(place, *column) for at, column in enumerate(columns, end)}
        end += len(columns)
    if len(packed.numbers) % 2:
        raise ValueError("a column without a number")
    columns_of = map(int, packed.numbers[::2])
    for at, value in zip(columns_of, map(int, packed.numbers[1::2]), strict=True):
        name = names.get(at)
        if name is None or name in found.numbers:
            raise ValueError(f"column {at}: {'none of this row' if name is None else 'twice'}")
        found.numbers[name] = value
    for orders, part, *items in packed.sets:
        each = _set(book, part, items, first)
        if each in found.sets:
            raise ValueError(f"{each} is there twice")
        found.sets[each] = orders
    found.buyers = shopper_registers.read(sketch)
    return found


def _set(
    book: _Book, part: int, items: Sequence[int], first: Mapping[int, tuple[str, str]]
) -> LabelSet:
    if list(items) != sorted(set(items)):
        raise ValueError(f"label set {list(items)}: not in order")
    found = []
    for column, tag in (divmod(item, _TAGS) for item in items):
        place, ledger = first.get(column), book.ledgers.get((part, tag))
        if place is None or ledger is None:
            raise ValueError(f"label set {list(items)} of part {part}: no label of this row")
        found.append((place, ledger))
    dimensions = {dimension for (dimension, _), _ in found}
    if len(dimensions) != 1:
        raise ValueError(
            f"label set {list(items)}: labels of one dimension, not of {len(dimensions)}"
        )
    return LabelSet(dimensions.pop(), frozenset((label, ledger) for (_, label), ledger in found))

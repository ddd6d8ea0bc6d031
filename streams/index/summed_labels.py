"""Label sums: label rows of many slots and source partitions, added up. Any definitions read the sum.

Members are linear in labels and label sets. So the member row of a sum is the sum of the member rows,
whatever the definitions and in whatever order the rows came.

A sum has room for every label until it is cut. A cut sum keeps the labels that it has. What names any
other counts as the member that this one was of, or as ``MORE`` where it was of none.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Container, Iterable
from itertools import groupby

import msgspec

from streams.index import partials as col
from streams.index.formats import msgpack_reader
from streams.index.label_rows import (
    CANCELLED,
    DAY_BOOK,
    LIVE_BOOK,
    PLACED,
    REFUNDED,
    TAG_BITS,
    Book,
    LabelSet,
    PackedRow,
    column_and_tag,
    item,
)
from streams.index.label_text import ABSENT, MORE
from streams.index.member_rows import DAY_PARTS, LIVE_PARTS, unite

LABEL_EVENTS_MIN = 5
"""Events for which a cut sum keeps a label. What few said may be a name, and nobody defines it later."""
LABELS_MAX = 2_000
"""Labels of a dimension that a cut sum keeps: the largest."""

_TAGS = (1 << TAG_BITS) - 1

_LIVE_EVENTS = ((0,), (col.CHOSEN_AT, col.CAPTURED_AT, col.FAILED_AT), (0,), (0,))
_DAY_ORDERS = tuple(range(0, col.DAY_METHOD_PAYMENTS_AT, 3))
_DAY_PAYMENTS = tuple(
    col.DAY_METHOD_PAYMENTS_AT + column - col.DAY_PAYMENTS
    for column in (col.DAY_PAYMENTS, col.DAY_FAILED, col.DAY_PAYMENT_REFUNDS)
)
_DAY_EVENTS = (_DAY_ORDERS, _DAY_ORDERS + _DAY_PAYMENTS, (0,), (0,))
_EVENTS = {LIVE_BOOK.parts: _LIVE_EVENTS, DAY_BOOK.parts: _DAY_EVENTS}
"""By book: of each dimension the columns of a label that count events."""
_PARTS = {LIVE_BOOK.parts: LIVE_PARTS, DAY_BOOK.parts: DAY_PARTS}

CountedAs = Callable[[str], str]
"""Label -> the label that it counts as, both as rows store them."""

encode_row = msgspec.msgpack.Encoder().encode
decode_row = msgpack_reader(PackedRow)


class LabelSum:
    """The sum of rows of one book."""

    __slots__ = ("_columns", "_numbers", "_sets", "book")

    def __init__(self, book: Book, labels: Iterable[str] = ()) -> None:
        """``labels``: those that it has from the beginning, as rows store them."""
        self.book = book
        self._numbers: list[int] = [0] * book.totals
        self._columns: dict[str, int] = {}
        """Label as rows store it -> its first column."""
        self._sets: dict[LabelSet, int] = {}
        for stored in labels:
            self._append(stored)

    def add(self, row: PackedRow, counted_as: CountedAs | None = None) -> None:
        """Add a row, or another sum. LookupError or ValueError for what its book cannot have written."""
        widths = self.book.widths
        end = self.book.totals
        moved = [*range(end)]
        columns: dict[int, int] = {}
        for stored in row.labels:
            name = stored if counted_as is None else counted_as(stored)
            at = self._columns.get(name)
            if at is None:
                at = self._append(name)
            columns[end] = at
            width = widths[int(stored[0])]
            moved += range(at, at + width)
            end += width
        numbers = self._numbers
        pairs = iter(row.numbers)
        for column, value in zip(pairs, pairs, strict=True):
            numbers[moved[column]] += int(value)  # type: ignore[index]  # a column is never a text
        sets = self._sets
        for orders, part, *items in row.sets:
            if counted_as is not None:
                self._add_set(orders, part, items, columns)
                continue
            own = [columns[each >> TAG_BITS] << TAG_BITS | each & _TAGS for each in items]
            own.sort()
            key = (part, *own)
            sets[key] = sets.get(key, 0) + orders

    def _append(self, stored: str) -> int:
        at = self._columns[stored] = len(self._numbers)
        self._numbers.extend([0] * self.book.widths[int(stored[0])])
        return at

    def _add_set(self, orders: int, part: int, items: list[int], columns: dict[int, int]) -> None:
        """Add orders that name several labels: of those that count as one, an order is one of it."""
        unite(self._numbers, orders, _PARTS[self.book.parts][part], items, columns)
        found = sorted((columns[column], tag) for column, tag in map(column_and_tag, items))
        own = [
            item(column, _one_tag([tag for _, tag in tags]))
            for column, tags in groupby(found, key=lambda each: each[0])
        ]
        if len(own) > 1:
            key = (part, *own)
            self._sets[key] = self._sets.get(key, 0) + orders

    def packed(self) -> PackedRow:
        """Return the sum as a row is stored."""
        sets = [[orders, *key] for key, orders in self._sets.items()]
        return PackedRow(col.to_wire(self._numbers), list(self._columns), sets)


def _one_tag(tags: list[int]) -> int:
    """What an order did to the union of labels: cancelled anything of it, it is not refunded there."""
    if PLACED in tags:
        return PLACED
    return CANCELLED if CANCELLED in tags else REFUNDED


def cut_to(kept: Container[str], cut_as: CountedAs) -> CountedAs:
    """Return as what labels count where only some are kept. ``cut_as``: ``MemberRows.cut``."""
    return lambda stored: stored if stored in kept else cut_as(stored)


class LargestLabels:
    """Finds the labels that a cut sum of some rows keeps."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._counts: dict[str, int] = {}

    def add(self, row: PackedRow) -> None:
        """Count the events of a row's labels."""
        counts, widths, events = self._counts, self._book.widths, _EVENTS[self._book.parts]
        numbers = dict(zip(row.numbers[::2], row.numbers[1::2], strict=True))
        at = self._book.totals
        for stored in row.labels:
            dimension = int(stored[0])
            found = 0
            for each in events[dimension]:
                found += int(numbers.get(at + each, 0))
            counts[stored] = counts.get(stored, 0) + found
            at += widths[dimension]

    def kept(self) -> list[str]:
        """Return the labels, as rows store them.

        ``MORE`` and ``ABSENT`` are kept always: they name nobody.
        """
        kept = [stored for stored in self._counts if stored[1:] in (ABSENT, MORE)]
        large = [
            (-count, stored)
            for stored, count in self._counts.items()
            if count >= LABEL_EVENTS_MIN and stored[1:] not in (ABSENT, MORE)
        ]
        for dimension in range(len(self._book.widths)):
            own = [each for each in large if each[1][0] == str(dimension)]
            kept += [stored for _, stored in heapq.nsmallest(LABELS_MAX, own)]
        return kept

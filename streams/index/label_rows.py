"""Label rows: what level 1 counts, by what the events said. Definitions turn them into member rows.

A row is one flat list of integers, as in ``partials``: its totals, then a stretch of columns for each
label in the order in which the row first met it. So a row needs no methodology to be written, and the
labels of its market may be united in any way when it is read.

A row keeps what it can hold, and that follows from the events alone: a label finds room when it is first
counted in the row, or never. What finds none is ``MORE``. Nothing outlives the row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from streams.index import partials as col
from streams.index.label_text import MORE

CATEGORY, METHOD, REGION, CHANNEL = range(4)
"""Dimensions of a row by number, in the order of ``DIMENSIONS``."""
ROW_BYTES_MAX = 128 * 1024
"""What the labels and label sets of a row may take. A record of 1 MB is refused by the broker."""
LABEL_BYTES = 16
"""What a label is taken to need beside its text."""
SETS_MAX = 512
SET_SIZE_MAX = 32
"""Labels of a set; an order that names more is counted in ``Book.uncertain``."""
_SET_BYTES, _SET_ITEM_BYTES = 8, 4

PLACED_PART = 0
"""Part of a row's orders: those that were placed, in time. The others: ``flow/rows.py``."""
PLACED, CANCELLED, REFUNDED = 0, 1, 2
"""What an order did to a label that it names: the tag of an item of a label set."""
TAG_BITS = 2

LabelSet = tuple[int, ...]
"""``(part, item, ..)``: which part of the row's orders, and the labels that one order names, sorted: of
each ``column << 2 | tag``."""


class Book(NamedTuple):
    """The shape of the rows of one book."""

    totals: int
    widths: tuple[int, ...]
    """Columns of a label, by dimension."""
    labels_max: int
    """Labels of a dimension that a row keeps."""
    uncertain: int
    """Column of what is not known of the orders that name several labels, see ``LabelRow.note_set``."""
    parts: int
    """Parts of its orders of which label sets are kept."""


LIVE_BOOK = Book(
    col.LIVE_TOTALS,
    (col.CATEGORY_WIDTH, col.METHOD_WIDTH, col.REGION_WIDTH, col.CHANNEL_WIDTH),
    1_024,
    col.UNCERTAIN,
    1,
)
DAY_BOOK = Book(
    col.DAY_TOTALS,
    (col.DAY_CATEGORY_WIDTH, col.DAY_METHOD_WIDTH, col.DAY_PLACED_WIDTH, col.DAY_PLACED_WIDTH),
    4_096,
    col.DAY_UNCERTAIN,
    4,
)
"""Regions and channels have no ledgers: of each label the orders that were placed are counted."""


class PackedRow(msgspec.Struct, array_like=True):
    """A row as it is stored: its nonzero numbers, its labels in their order, its label sets.

    ``labels``: the number of the dimension as one digit, then the text. ``sets``: of each the orders
    that name it, then the set.
    """

    numbers: list[int | str]
    labels: list[str] = []
    sets: list[list[int]] = []


class LabelRow:
    """A row of one book. ``numbers`` is read and added to as it stands."""

    __slots__ = ("book", "columns", "numbers", "placed", "room", "sets")

    def __init__(self, book: Book) -> None:
        self.book = book
        self.numbers: list[int] = [0] * book.totals
        self.columns: tuple[dict[str, int], ...] = tuple({} for _ in book.widths)
        """Of each dimension: label -> its first column."""
        self.placed: dict[frozenset[str], int] = {}
        """Placed orders that name several categories, by these labels. A set of texts knows its hash,
        and is one for all rows: half of a shop's orders may name several."""
        self.sets: dict[LabelSet, int] = {}
        """Orders of the other parts that name several labels of one dimension, by these labels."""
        self.room = ROW_BYTES_MAX
        """Bytes that labels and label sets may still take."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LabelRow):
            return NotImplemented
        return (
            self.numbers == other.numbers
            and self.columns == other.columns
            and self.placed == other.placed
            and self.sets == other.sets
        )

    __hash__ = None  # type: ignore[assignment]

    def column(self, dimension: int, label: str) -> int:
        """Return the first column of a label, which gets one now if it can; else that of ``MORE``."""
        found = self.columns[dimension].get(label)
        return self._admit(dimension, label) if found is None else found

    def _admit(self, dimension: int, label: str) -> int:
        columns = self.columns[dimension]
        if label != MORE:
            size = LABEL_BYTES + len(label.encode())
            if size > self.room or len(columns) - (MORE in columns) >= self.book.labels_max:
                found = columns.get(MORE)
                return self._admit(dimension, MORE) if found is None else found
            self.room -= size
        return self._append(dimension, label)

    def _append(self, dimension: int, label: str) -> int:
        at = self.columns[dimension][label] = len(self.numbers)
        self.numbers.extend([0] * self.book.widths[dimension])
        return at

    def note_placed(self, labels: frozenset[str], count: int = 1) -> None:
        """Count placed orders that name all of these categories, each of which was counted before.

        A set of one label is in its columns already. A set that finds no room is not kept: then it is
        known only by how much, at most, the orders of its labels exceed those of any union of them.
        """
        held = self.placed.get(labels)
        if held is not None:
            self.placed[labels] = held + count
            return
        columns = self.columns[CATEGORY]
        if MORE in columns:
            labels = frozenset(label if label in columns else MORE for label in labels)
            held = self.placed.get(labels)
        if len(labels) > 1 and (held is not None or self._has_room(len(labels), count)):
            self.placed[labels] = (held or 0) + count

    def note_set(self, part: int, items: Iterable[int], count: int = 1) -> None:
        """Count orders of another part that name these labels (``column << 2 | tag``)."""
        key = (part, *sorted(items))
        held = self.sets.get(key)
        if len(key) > 2 and (held is not None or self._has_room(len(key) - 1, count)):  # noqa: PLR2004
            self.sets[key] = (held or 0) + count

    def _has_room(self, labels: int, count: int) -> bool:
        """Take the room of a new set of so many labels; without room, note what is not known of it."""
        size = _SET_BYTES + _SET_ITEM_BYTES * (labels + 1)
        full = len(self.placed) + len(self.sets) >= SETS_MAX
        if full or labels > SET_SIZE_MAX or size > self.room:
            self.numbers[self.book.uncertain] += count * (labels - 1)
            return False
        self.room -= size
        return True

    def labels(self) -> Iterator[tuple[int, str, int]]:
        """Yield (dimension, label, first column) in the order in which the row met them."""
        found = [
            (column, dimension, label)
            for dimension, columns in enumerate(self.columns)
            for label, column in columns.items()
        ]
        found.sort()
        return ((dimension, label, column) for column, dimension, label in found)

    def packed(self) -> PackedRow:
        """Return the row as it is stored."""
        columns = self.columns[CATEGORY]
        placed = [
            [orders, PLACED_PART, *sorted(item(columns[label]) for label in labels)]
            for labels, orders in self.placed.items()
        ]
        return PackedRow(
            col.to_wire(self.numbers),
            [f"{dimension}{label}" for dimension, label, _ in self.labels()],
            placed + [[orders, *key] for key, orders in self.sets.items()],
        )


def unpacked(book: Book, packed: PackedRow) -> LabelRow:
    """Return a stored row. LookupError or ValueError for what this book cannot have written."""
    row = LabelRow(book)
    for text in packed.labels:
        dimension, label = int(text[:1]), text[1:]
        if dimension >= len(book.widths) or label in row.columns[dimension]:
            raise ValueError(f"no label of this book, or one twice: {text!r}")
        if label != MORE:
            row.room -= LABEL_BYTES + len(label.encode())
        row._append(dimension, label)  # noqa: SLF001 - of this class
    row.numbers = col.from_wire(packed.numbers, len(row.numbers))
    labels = {at: (each, of) for each, found in enumerate(row.columns) for of, at in found.items()}
    for orders, part, *items in packed.sets:
        key, columns = (part, *items), [each >> TAG_BITS for each in items]
        known = key not in row.sets and part in range(book.parts)
        one = len({labels[column][0] for column in columns}) == 1 and len(columns) > 1
        if not known or not one or columns != sorted(set(columns)):
            raise ValueError(f"no label set of this row, or one twice: {key}")
        row.room -= _SET_BYTES + _SET_ITEM_BYTES * len(key)
        if part != PLACED_PART:
            row.sets[key] = orders
            continue
        names = frozenset(labels[column][1] for column in columns)
        if names in row.placed or items != [item(column) for column in columns]:
            raise ValueError(f"no label set of placed orders, or one twice: {key}")
        row.placed[names] = orders
    return row


def item(column: int, tag: int = PLACED) -> int:
    """Item of a label set."""
    return column << TAG_BITS | tag


def column_and_tag(of: int) -> tuple[int, int]:
    """(first column of the label, tag) of an item of a label set."""
    return of >> TAG_BITS, of & (1 << TAG_BITS) - 1

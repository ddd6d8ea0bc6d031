"""Member rows of label rows: definitions say which label is which member, and a row is read by them.

Orders of labels that a member unites are no sum: an order that names two of them is one order of it. The
label sets of the row say how often that was. A label of a member that has a parent counts in both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from streams.index import partials as col
from streams.index.definitions import aliases_of, label_of_id, slug_of_id
from streams.index.identifiers import DIMENSIONS
from streams.index.label_rows import (
    CANCELLED,
    DAY_BOOK,
    LIVE_BOOK,
    TAG_BITS,
    Book,
    PackedRow,
    column_and_tag,
)
from streams.index.label_text import ABSENT, CUT, MORE
from streams.index.methodology import OTHER
from streams.index.partials import Block, Layout, Row
from streams.index.slugs import slug

_KNOWN_MAX = 60_000
"""Labels remembered. Days of eight source partitions, of 4,096 labels each, are read every second."""
_ORDER_COLUMNS = (col.ORDERS, col.UNITS, col.SALES)
_METHOD_COLUMNS = (col.CHOSEN, col.UNITS, col.SALES, col.PAYMENTS, col.AMOUNT, col.FAILED)


class Ledgers(NamedTuple):
    """Columns, behind a label's first, of the orders that the label sets of one part are about."""

    placed: int | None
    cancelled: int = 0
    refunded: int = 0


LIVE_PARTS = (Ledgers(0),)
DAY_PARTS = (
    Ledgers(col.PLACED_AT),
    Ledgers(col.LATE_AT),
    Ledgers(None, col.CANCELLED_AT, col.REFUNDED_AT),
    Ledgers(None, col.WAITING_AT + col.CANCELLED_AT, col.WAITING_AT + col.REFUNDED_AT),
)
"""By the part that a label set begins with (``flow/rows.py``)."""


class MemberRows:
    """Reads the label rows of one market."""

    def __init__(self, layout: Layout) -> None:
        market = layout.market
        self._layout = layout
        self._live = _BookReading(
            LIVE_BOOK,
            (layout.category, layout.method, layout.region, layout.channel),
            LIVE_PARTS,
            layout.live_width,
        )
        self._day = _BookReading(
            DAY_BOOK, (layout.day_category, layout.day_method), DAY_PARTS, layout.day_width
        )
        aliases = aliases_of(market)
        self._names = tuple(market.members().values())
        self._indices = [{name: at for at, name in enumerate(names)} for names in self._names]
        self._places = [
            _by_slug(places, aliases[each])
            for each, places in zip(DIMENSIONS, self._indices, strict=True)
        ]
        self._exact = [market.exact_labels.get(each, {}) for each in DIMENSIONS]
        self._renamed = market.renamed
        self._above = [
            _numbered(places, market.parents.get(each, {}))
            for each, places in zip(DIMENSIONS, self._indices, strict=True)
        ]
        self._has_parents = any(self._above)
        self._known: dict[str, tuple[int, int, bool]] = {}
        """Label as it is stored -> (dimension, number of its member, whether that one has it)."""

    def live(self, packed: PackedRow) -> Row:
        """Return the member row of a row of the live book."""
        return self._read(self._live, packed)

    def day(self, packed: PackedRow) -> Row:
        """Return the member row of a row of the day book."""
        return self._read(self._day, packed)

    def unsaid(self, totals: Sequence[int]) -> Row:
        """Return the live row of what nobody knows the labels of: its totals, and all of it `other`."""
        row = [0] * self.live_width
        row[: col.LIVE_TOTALS] = totals[: col.LIVE_TOTALS]
        layout = self._layout
        for block in (layout.category, layout.region, layout.channel):
            _put(row, block.end - block.width, totals, _ORDER_COLUMNS)
        _put(row, layout.method.end - layout.method.width, totals, _METHOD_COLUMNS)
        return row

    @property
    def live_width(self) -> int:
        """Columns of a live row."""
        return self._layout.live_width

    def named(self, dimension: int, label: str) -> str | None:
        """Return the member that a label names; None where it is no member's, and so in `other`."""
        stored = f"{dimension}{label}"
        _, at, declared = self._known.get(stored) or self._learn(stored)
        return self._names[dimension][at] if declared else None

    def cut(self, stored: str) -> str:
        """Return as what a label counts once it is cut: as its member, or ``MORE`` if it has none.

        Both are as rows store them.
        """
        dimension, at, _ = self._known.get(stored) or self._learn(stored)
        member = self._names[dimension][at]
        return stored[0] + (MORE if member == OTHER else CUT + member)

    def _read(self, reading: _BookReading, packed: PackedRow) -> Row:
        """LookupError or ValueError for what its book cannot have written."""
        end, widths, blocks = reading.book.totals, reading.book.widths, reading.blocks
        ends: list[int] = [end]
        shifts: list[int | None] = [0]
        columns: dict[int, int] = {}
        for stored in packed.labels:
            dimension, index, _ = self._known.get(stored) or self._learn(stored)
            shift = None  # the day book has no members of its last dimensions
            if dimension < len(blocks):
                block = blocks[dimension]
                to = columns[end] = block.base + block.width * index
                shift = to - end
            end += widths[dimension]
            ends.append(end)
            shifts.append(shift)
        row = [0] * reading.width
        _add(row, packed, ends, shifts)
        if self._has_parents:
            self._add_to_parents(row, reading, packed, ends, columns)
        else:
            for orders, part, *items in packed.sets:
                unite(row, orders, reading.parts[part], items, columns)
        return row

    def _add_to_parents(
        self,
        row: Row,
        reading: _BookReading,
        packed: PackedRow,
        ends: list[int],
        columns: dict[int, int],
    ) -> None:
        """Count what labels of children say in their parents too, and unite the labels of each."""
        shifts: list[int | None] = [None]
        above: dict[int, int] = {}
        for stored, begin in zip(packed.labels, ends, strict=False):
            dimension, index, _ = self._known.get(stored) or self._learn(stored)
            parent, shift = self._above[dimension].get(index), None
            if parent is not None and begin in columns:
                block = reading.blocks[dimension]
                above[begin] = block.base + block.width * parent
                if parent == index:
                    del columns[begin]  # counted there already, and united with its children's
                else:
                    shift = above[begin] - begin
            shifts.append(shift)
        _add(row, packed, ends, shifts)
        for orders, part, *items in packed.sets:
            named = [column_and_tag(each)[0] for each in items]
            if not all(column in columns or column in above for column in named):
                raise LookupError(f"a label set of a column that is no label's: {items}")
            for of in (columns, above):
                within = [each for each, column in zip(items, named, strict=True) if column in of]
                unite(row, orders, reading.parts[part], within, of)

    def _learn(self, stored: str) -> tuple[int, int, bool]:
        dimension, label = int(stored[:1]), stored[1:]
        if len(self._known) >= _KNOWN_MAX:
            self._known.clear()
        member = self._find(dimension, label)
        other = len(self._indices[dimension]) - 1
        found = (dimension, other if member is None else member, member is not None)
        self._known[stored] = found
        return found

    def _find(self, dimension: int, label: str) -> int | None:
        if label in (ABSENT, MORE):
            return None
        if label[0] == CUT:
            return self._successor(dimension, label[1:])
        listed = self._exact[dimension].get(label)
        if listed is not None:
            return self._indices[dimension][listed]
        return self._places[dimension].get(slug(label))

    def _successor(self, dimension: int, member: str) -> int | None:
        """Return the number of a member of any definitions: under its id, as renamed, or as merged."""
        places = self._indices[dimension]
        now = member
        if member not in places:
            now = self._renamed.get((DIMENSIONS[dimension], member), member)
        if now in places:
            return places[now]
        return self._find(dimension, label_of_id(member))


class _BookReading(NamedTuple):
    book: Book
    blocks: tuple[Block, ...]
    parts: tuple[Ledgers, ...]
    width: int


def _put(row: Row, at: int, totals: Sequence[int], columns: Iterable[int]) -> None:
    for place, column in enumerate(columns, at):
        row[place] = totals[column]


def _by_slug(places: dict[str, int], aliases: dict[str, str]) -> dict[str, int]:
    """Return slug -> number of the member that labels of that slug are of."""
    found = {name: places[member] for name, member in aliases.items() if member in places}
    found |= {slug_of_id(member): at for member, at in places.items()}
    found.pop("", None)
    return found


def _numbered(places: dict[str, int], parents: dict[str, str]) -> dict[int, int]:
    """Return number of a child, or of a parent, -> that of the parent; all by their places."""
    above = {places[member]: places[parent] for member, parent in parents.items()}
    return above | {parent: parent for parent in above.values()}


def _add(row: Row, packed: PackedRow, ends: list[int], shifts: list[int | None]) -> None:
    """Add the numbers of each stretch of columns at its shift; of a shift of None, nothing."""
    # The numbers are those that are not 0, in the order of their columns: a day of 4,096 labels has
    # three of eighteen.
    begin = place = 0
    pairs = iter(packed.numbers)
    for each, value in zip(pairs, pairs, strict=True):
        column = int(each)
        while column >= ends[place]:
            begin = ends[place]
            place += 1
        if column < begin:
            raise ValueError(f"column {column} after column {begin}")
        shift = shifts[place]
        if shift is not None:
            row[column + shift] += int(value)


def unite(
    row: Row, orders: int, ledgers: Ledgers, items: Iterable[int], columns: dict[int, int]
) -> None:
    """Take from members what their labels count of the same orders more than once."""
    placed = ledgers.placed
    if placed is not None:
        once: set[int] = set()
        for each in items:
            at = columns[each >> TAG_BITS]
            if at in once:
                row[at + placed] -= orders
            else:
                once.add(at)
        return
    tags: dict[int, list[int]] = {}
    for each in items:
        column, tag = column_and_tag(each)
        tags.setdefault(columns[column], []).append(tag)
    for at, found in tags.items():
        if len(found) == 1:
            continue
        cancels = found.count(CANCELLED)
        refunds = len(found) - cancels
        # An order that cancelled anything of the member is cancelled there, and not refunded.
        row[at + ledgers.cancelled] -= orders * max(0, cancels - 1)
        row[at + ledgers.refunded] -= orders * (refunds if cancels else refunds - 1)

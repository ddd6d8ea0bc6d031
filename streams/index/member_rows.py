"""Member rows of label rows: definitions say which label is which member, and a row is read by them.

Orders of labels that a member unites are no sum: an order that names two of them is one order of it. The
label sets of the row say how often that was.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from streams.index import partials as col
from streams.index.label_rows import (
    CANCELLED,
    DAY_BOOK,
    LIVE_BOOK,
    Book,
    PackedRow,
    column_and_tag,
)
from streams.index.label_text import ABSENT, MORE
from streams.index.partials import Block, Layout, Row
from streams.index.slugs import slug

_KNOWN_MAX = 20_000


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
        members = (market.categories, market.methods, market.regions, market.channels)
        self._indices = [{name: at for at, name in enumerate(names)} for names in members]
        self._aliases: tuple[dict[str, str], ...] = (
            {}, market.method_aliases, {}, market.channel_aliases,
        )  # fmt: skip
        self._known: dict[tuple[int, str], int] = {}
        self._undeclared: set[tuple[int, str]] = set()
        """Those of the known labels that no member has."""
        self._names = members

    def live(self, packed: PackedRow) -> Row:
        """Return the member row of a row of the live book."""
        return self._read(self._live, packed)

    def day(self, packed: PackedRow) -> Row:
        """Return the member row of a row of the day book."""
        return self._read(self._day, packed)

    def named(self, dimension: int, label: str) -> str | None:
        """Return the member that a label names; None where it is no member's, and so in `other`."""
        at = self._index(dimension, label)
        return None if (dimension, label) in self._undeclared else self._names[dimension][at]

    def _read(self, reading: _BookReading, packed: PackedRow) -> Row:
        """LookupError or ValueError for what its book cannot have written."""
        book, blocks = reading.book, reading.blocks
        places, at = [], book.totals
        for text in packed.labels:
            dimension = int(text[:1])
            places.append((dimension, at, text[1:]))
            at += book.widths[dimension]
        numbers = col.from_wire(packed.numbers, at)
        row = numbers[: book.totals] + [0] * (reading.width - book.totals)
        columns: dict[int, int] = {}
        for dimension, at, label in places:
            if dimension >= len(blocks):
                continue  # the day book has no members of it
            block = blocks[dimension]
            to = columns[at] = block.base + block.width * self._index(dimension, label)
            for offset in range(block.width):
                value = numbers[at + offset]
                if value:
                    row[to + offset] += value
        for orders, part, *items in packed.sets:
            _unite(row, orders, reading.parts[part], items, columns)
        return row

    def _index(self, dimension: int, label: str) -> int:
        """Return the number of the member that a label is of, in its dimension."""
        found = self._known.get((dimension, label))
        if found is None:
            if len(self._known) >= _KNOWN_MAX:
                self._known.clear()
                self._undeclared.clear()
            member = self._find(dimension, label)
            if member is None:
                self._undeclared.add((dimension, label))
                member = len(self._indices[dimension]) - 1
            found = self._known[dimension, label] = member
        return found

    def _find(self, dimension: int, label: str) -> int | None:
        if label in (ABSENT, MORE):
            return None
        name = slug(label)
        return self._indices[dimension].get(self._aliases[dimension].get(name, name))


class _BookReading(NamedTuple):
    book: Book
    blocks: tuple[Block, ...]
    parts: tuple[Ledgers, ...]
    width: int


def _unite(
    row: Row, orders: int, ledgers: Ledgers, items: Iterable[int], columns: dict[int, int]
) -> None:
    """Take from members what their labels count of the same orders more than once."""
    tags: dict[int, list[int]] = {}
    for each in items:
        column, tag = column_and_tag(each)
        tags.setdefault(columns[column], []).append(tag)
    for at, found in tags.items():
        if len(found) == 1:
            continue
        if ledgers.placed is not None:
            row[at + ledgers.placed] -= orders * (len(found) - 1)
            continue
        cancels = found.count(CANCELLED)
        refunds = len(found) - cancels
        # An order that cancelled anything of the member is cancelled there, and not refunded.
        row[at + ledgers.cancelled] -= orders * max(0, cancels - 1)
        row[at + ledgers.refunded] -= orders * (refunds if cancels else refunds - 1)

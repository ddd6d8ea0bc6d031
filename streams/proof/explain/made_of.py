"""The rows that a count is made of: which input, read how far, and in which records they lie. No IO.

A value counts what level 2 had applied when it was published (``applied``): rows of ``ecindex.partials``
and merged slots of the table, each of which names the rows in it. Without them, "1023 = 1023" was the
whole evidence of a live count.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from streams.flow.chunk import SourcePartition
from streams.flow.incarnation import base_of, through_in_log
from streams.flow.merged import (
    DAY_KIND,
    HOUR,
    LENGTH_MS,
    MINUTE,
    Merged,
    MergedRecord,
    decode_merged,
    restore,
)
from streams.flow.state import DAY, LIVE
from streams.flow.wire import PartialKey, PartialRecord
from streams.index.changes import AGO_DAYS
from streams.index.hours import LocalHours
from streams.index.indices import SHOPPER_INDICES, live_entries
from streams.index.label_rows import PackedRow
from streams.index.ledgers import NET, VALID, book_entries
from streams.index.member_rows import MemberRows
from streams.index.methodology import Market, Methodology
from streams.index.panes import HOUR_MS, MINUTE_MS, day_number
from streams.index.partials import DAY_TOTALS, LIVE_TOTALS, Layout, Row, add_into, sum_rows
from streams.proof.explain.explanation_types import CountedRows, MadeOf, PublishedValue
from streams.proof.explain.journal_query import query_of, span_of

STAYS_MS = 55 * MINUTE_MS
"""So long a row is in its topic for certain, whatever compaction does; a bit less than it is told to."""


def why_not_rows(held: PublishedValue, edition: int) -> str:
    """Return why a value cannot be made of rows; empty if it can. ``edition``: of methodology.toml."""
    value = held.value
    if value.index in SHOPPER_INDICES:
        return "shoppers are estimated from sketches: no row says how many they are"
    if value.index in AGO_DAYS:
        return "it compares whole hours as they closed, which are named below"
    if value.edition != edition:
        return f"its rows are of edition {value.edition}, which this methodology.toml does not describe"
    return ""


@dataclass(slots=True)
class _OfSource:
    """Best known row of one source partition for one slot."""

    through: int
    row: Row
    offset: int


@dataclass(slots=True)
class _Sum:
    """Rows added up, and where they were read."""

    row: Row
    slots: int = 0
    through: int | None = None
    offsets: list[int] = field(default_factory=list)

    def add(self, row: Row, offset: int) -> None:
        add_into(self.row, row)
        self.slots += 1
        self.offsets.append(offset)


class RowsRead:
    """Rows and merged slots of one value's span, taken as they were read."""

    def __init__(
        self, held: PublishedValue, market: Market, methodology: Methodology, hours: LocalHours
    ) -> None:
        self._value = held.value
        self._applied = held.version.applied
        self._base = base_of(max(0, self._applied))
        self._span = span_of(held.value, hours)
        self._closing = query_of(held.value, market, hours).closing
        self._layout = Layout(market)
        self._code = market.code
        self._pane_ms = methodology.pane_ms
        self._day = None if held.value.day is None else day_number(held.value.day)
        self._width = self._layout.live_width if self._day is None else self._layout.day_width
        members = MemberRows(self._layout)
        self._read = members.live if self._day is None else members.day
        self._rows: dict[int, dict[SourcePartition, _OfSource]] = {}
        self._table: dict[bytes, tuple[int, Merged, int]] = {}
        self.log_end = -1
        """Last offset of the partials as they were read."""
        self._newest_ms = 0
        self._later_rows = 0
        self._unsaid_versions: set[int] = set()
        """Versions by which slots were read whose labels are not all there any more."""

    @property
    def since_ms(self) -> int:
        """From where on rows of the span may have been sent, by the broker's stamps."""
        return self._span.start_ms

    # -- taken as read ---------------------------------------------------------------------------

    def take_row(self, key: PartialKey, record: PartialRecord, offset: int, stamp_ms: int) -> None:
        """Take a row of ``ecindex.partials`` with the offset and stamp of its record."""
        self._newest_ms = stamp_ms
        slot = key.slot
        if slot.market != self._code or record.edition != self._value.edition:
            return
        if self._day is None:
            wanted = slot.book == LIVE and self._span.start_ms <= slot.slot < self._span.end_ms
        else:
            wanted = slot.book == DAY and slot.slot == self._day
        if not wanted:
            return
        if self._base + offset > self._applied:
            self._later_rows += 1
            return
        rows = self._rows.setdefault(slot.slot, {})
        known = rows.get(key.sp)
        if known is None or record.through > known.through:
            row = self._read(record.row)
            rows[key.sp] = _OfSource(record.through, row, offset)

    def take_table(self, key: bytes, value: bytes | None, offset: int) -> None:
        """Take a record of the merged table's changelog, with its offset."""
        self._table.pop(key, None)
        if value is None:
            return
        kind, code, start, *_ = key.decode().split("|")
        if code == self._code and self._holds(kind, start):
            record = decode_merged(value)
            merged = self._slot(record, kind)
            if merged is not None:
                self._table[key] = record.applied, merged, offset

    def _slot(self, record: MergedRecord, kind: str) -> Merged | None:
        """Return a merged slot by the value's definitions, whatever version its flat row is by.

        None for an hour that has no labels of its own: its minutes have them.
        """
        if record.definitions == self._layout.market.definitions:
            return restore(record, self._width, kind)
        totals = DAY_TOTALS if kind == DAY_KIND else LIVE_TOTALS
        merged = restore(record, self._width, kind, totals)
        if merged.labels is None or not record.labels:
            self._unsaid_versions.add(record.definitions)
            return None if kind == HOUR else merged
        if merged.cut_by is not None:
            self._unsaid_versions.add(record.definitions)
        merged.row = self._sum(merged.label_rows())
        merged.panes = {at: self._read(of.packed()) for at, of in merged.pane_labels.items()}
        return merged

    def _sum(self, rows: Iterable[PackedRow]) -> Row:
        return sum_rows([self._read(row) for row in rows], self._width)

    def _holds(self, kind: str, start: str) -> bool:
        if self._day is not None:
            return kind == DAY_KIND and int(start) == self._day
        first_ms, end_ms = self._span.start_ms, self._span.end_ms
        return (
            kind in (MINUTE, HOUR)
            and first_ms < int(start) + LENGTH_MS[kind]
            and int(start) < end_ms
        )

    # -- added up --------------------------------------------------------------------------------

    def made_of(self, partials: str, table: str) -> CountedRows:
        """Add up the parts, and say what may be missing.

        ``partials`` and ``table``: ``topic-partition`` of the records that were taken.
        """
        sums: dict[str, _Sum] = {}
        gone = self._add_up(sums)
        parts = [
            MadeOf(
                source=name,
                observed=self._observed(found.row),
                slots=found.slots,
                through=None if found.through is None else through_in_log(found.through),
                where=f"{table if found.through is None else partials}@{_range(found.offsets)}",
            )
            for name, found in sorted(sums.items())
        ]
        parts = [part for part in parts if part.observed]
        total = sum(part.observed for part in parts)
        return CountedRows(parts, total, self._doubt(gone=gone))

    def _doubt(self, *, gone: bool) -> str:
        if self._unsaid_versions:
            named = ", ".join(map(str, sorted(self._unsaid_versions)))
            return (
                f"slots of its span were read by version {named} of the definitions, and not all of "
                "their labels are left"
            )
        if self._later_rows:
            return f"{self._later_rows} rows of its span have come since; ask again"
        if any(merged.changed > self._applied for _, merged, _ in self._table.values()):
            return "rows that came since are in the merged slots; ask again"
        if self.log_end < through_in_log(self._applied):
            return "the partials were created again since"
        if gone or self._day is not None or self._newest_ms - self._span.start_ms > STAYS_MS:
            return "rows of that time are no longer all there"
        return ""

    def _add_up(self, sums: dict[str, _Sum]) -> bool:
        """Add up what the span is made of, by its source. True if a pane is no longer known apart."""
        slots: dict[tuple[str, int], tuple[int, Merged, int]] = {}
        for key, held in self._table.items():
            kind, _, start, *_ = key.decode().split("|")
            known = slots.get((kind, int(start)))
            if known is None or held[0] > known[0]:
                slots[kind, int(start)] = held
        if self._day is not None:
            self._add_slot(sums, slots.get((DAY_KIND, self._day)), "merged days", {0: self._day})
            return False
        gone, at_ms = False, self._span.start_ms
        while at_ms < self._span.end_ms:
            length_ms, slot, name = self._unit(slots, at_ms)
            start_ms = at_ms - at_ms % (max(length_ms, MINUTE_MS))
            panes = {
                (pane_ms - start_ms) // self._pane_ms: pane_ms
                for pane_ms in range(at_ms, at_ms + length_ms, self._pane_ms)
            }
            gone |= self._add_slot(sums, slot, name, panes)
            at_ms += length_ms
        return gone

    def _unit(
        self, slots: dict[tuple[str, int], tuple[int, Merged, int]], at_ms: int
    ) -> tuple[int, tuple[int, Merged, int] | None, str]:
        """Return the longest whole slot from ``at_ms`` on, its merged record, and how it is called."""
        end_ms = self._span.end_ms
        hour = slots.get((HOUR, at_ms))
        if hour is not None and at_ms + HOUR_MS <= end_ms:
            return HOUR_MS, hour, "merged hours"
        minute = slots.get((MINUTE, at_ms - at_ms % MINUTE_MS))
        if at_ms % MINUTE_MS == 0 and at_ms + MINUTE_MS <= end_ms:
            return MINUTE_MS, minute, "merged minutes"
        return self._pane_ms, minute, "merged panes"

    def _add_slot(
        self,
        sums: dict[str, _Sum],
        held: tuple[int, Merged, int] | None,
        name: str,
        slots: dict[int, int],
    ) -> bool:
        """Add a merged slot and the rows that it does not contain. ``slots``: by their bit in it."""
        gone = False
        merged = None if held is None else held[1]
        if held is not None and merged is not None:
            row: Row | None = merged.row
            if name == "merged panes":
                (bit, pane_ms) = next(iter(slots.items()))
                row = merged.panes.get(pane_ms)
                gone = row is None and any(bits >> bit & 1 for bits in merged.folded.values())
            if row is not None:
                sums.setdefault(name, _Sum([0] * self._width)).add(row, held[2])
        for bit, slot in slots.items():
            for sp, own in self._rows.get(slot, {}).items():
                if merged is not None and merged.contains(str(sp), bit):
                    continue
                found = sums.setdefault(str(sp), _Sum([0] * self._width))
                found.add(own.row, own.offset)
                found.through = max(own.through, -1 if found.through is None else found.through)
        return gone

    def _observed(self, row: Row) -> int:
        index, dimension, member = self._closing
        entries = live_entries(self._layout, row, row)
        if self._day is not None:
            entries = book_entries(self._layout, row)
        counts = {
            each.name: each.observed or 0
            for each in entries
            if (each.dimension, each.member) == (dimension, member)
        }
        # A row without a cancel or refund of the member has its gross alone.
        return counts.get(index, counts.get(index.removesuffix(VALID).removesuffix(NET), 0))


def _range(offsets: list[int]) -> str:
    first, last = min(offsets), max(offsets)
    return str(first) if first == last else f"{first}..{last}"

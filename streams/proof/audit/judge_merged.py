"""Judges level 2's table: every merged minute, hour and day is the sum of exactly what it names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from streams.flow.chunk import SourcePartition
from streams.flow.compile import (
    BUYERS_KIND,
    FENCE_KIND,
    PARTS_KIND,
    SHIFTS_KIND,
    SHOWN_KIND,
    VINTAGE_KIND,
)
from streams.flow.merged import (
    DAY_KIND,
    HOUR,
    LENGTH_MS,
    MINUTE,
    PANES_KEPT_MS,
    QUARTER,
    MergedRecord,
    decode_merged,
)
from streams.flow.shifts_record import ShiftsRecord, decode_shifts
from streams.flow.state import DAY, LIVE, SlotKey
from streams.index.methodology import Methodology
from streams.index.panes import MINUTE_MS, day_name, rfc3339
from streams.index.partials import Layout
from streams.proof.audit.judge_labels import SlotLabels, labels_of
from streams.proof.audit.report import MERGED, Report
from streams.proof.recompute.defined_markets import DefinedMarkets
from streams.proof.recompute.label_sums import LabelSums
from streams.proof.recompute.member_sums import SumsByVersion
from streams.proof.recompute.shopper_registers import Registers
from streams.proof.recompute.slots import GONE, Blind, slot_name
from streams.proof.recompute.sums import ColumnNames, Sums, add_sums, differing, of_buyers
from streams.records.kafka_logs import Stored

_NO_SUMS = {
    FENCE_KIND: "floors for the next owner: versions, not sums",
    VINTAGE_KIND: "expectations: learnt from final hours, which are judged",
    BUYERS_KIND: "days as they were last published: their values are judged",
    SHOWN_KIND: "days as they were last published: their values are judged",
    PARTS_KIND: "parts of the labels of merged slots: their rows are judged",
    SHIFTS_KIND: "detectors: fed by final minutes, which are judged, as are the shifts they keep",
}
"""Kinds of records that hold no merged slot -> why they are not judged."""
_KINDS = {MINUTE: "minute", QUARTER: "quarter", HOUR: "hour", DAY_KIND: "day"}
_MINUTES_OF_SHOPPERS_MS = 50 * MINUTE_MS
"""Time before the horizon for which every writer certainly keeps the sketches of minutes."""


@dataclass(slots=True)
class Slot:
    """One merged record, and the sums that it must hold."""

    kind: str
    market: str
    start: int
    record: MergedRecord
    folded: dict[str, int]
    where: str
    expected: Sums = field(default_factory=Sums)
    panes: dict[int, Sums] = field(default_factory=dict)
    blind: bool = False
    labels: SlotLabels | None = None

    @property
    def name(self) -> str:
        """Name of the slot in reports."""
        start = day_name(self.start) if self.kind == DAY_KIND else rfc3339(self.start)
        return f"{self.market} {_KINDS[self.kind]} {start}"


class MergedLog:
    """The records of the merged table's changelog, as compaction will leave them."""

    def __init__(self, methodology: Methodology, report: Report, defined: DefinedMarkets) -> None:
        self._pane_ms = methodology.pane_ms
        self._report = report
        self._markets = methodology.markets
        self._defined = defined
        self._columns: dict[tuple[str, int], ColumnNames] = {}
        self.shifts: dict[str, ShiftsRecord] = {}
        """State of the detectors, by market."""
        self._from_cut: dict[tuple[str, str, int, int], Sums] = {}
        """By kind, market, start, version: sums by labels that others had cut, where they differ."""
        self._cut: dict[tuple[str, str, int], tuple[SlotLabels, Registers | None]] = {}
        """By kind, market, start: labels that were cut, and who bought."""
        self._records: dict[bytes, Stored] = {}
        self._slots: dict[tuple[str, str, int], list[Slot]] = defaultdict(list)

    def apply_record(self, stored: Stored) -> None:
        """Apply the next record of the log."""
        if stored.key is None:
            return
        if stored.value is None:
            self._records.pop(stored.key, None)
        else:
            self._records[stored.key] = stored

    def finish(self) -> None:
        """Decode, at the end of the log, what each record claims to contain."""
        for key, stored in self._records.items():
            kind, _, rest = key.decode(errors="replace").partition("|")
            reason = _NO_SUMS.get(kind)
            if kind == SHIFTS_KIND:
                self._detectors(rest.partition("|")[0], stored)
            if reason is not None:
                self._report.skip(MERGED, reason, stored.where)
                continue
            try:
                market, start, _writer = rest.split("|")
                record = decode_merged(stored.value or b"")
                slot = Slot(
                    kind,
                    market,
                    int(start),
                    record,
                    {sp: int.from_bytes(bits, "little") for sp, bits in record.folded.items()},
                    stored.where,
                )
                slot.labels = labels_of(kind, record, self._records)
                slot.panes = {pane: Sums() for pane in record.panes}
            except (ValueError, msgspec.DecodeError) as error:
                self._report.differs(
                    MERGED, repr(key), "record", "a merged slot", str(error), stored.where
                )
                continue
            self._slots[kind, market, slot.start].append(slot)
        self._records = {}

    def _detectors(self, market: str, stored: Stored) -> None:
        """Keep the market's record of the largest rank, as a new owner does."""
        try:
            record = decode_shifts(stored.value or b"")
        except msgspec.DecodeError as error:
            self._report.differs(MERGED, market, "detectors", "a record", str(error), stored.where)
            return
        known = self.shifts.get(market)
        if known is None or record.rank > known.rank:
            self.shifts[market] = record

    def add(
        self,
        sp: SourcePartition,
        key: SlotKey,
        by: SumsByVersion,
        by_label: LabelSums,
        blind: Blind,
    ) -> None:
        """Add a closed row to every merged record that names it. ``by_label``: the row by label."""
        name = str(sp)
        for slot, bit in self._slots_of(key):
            if slot.labels is not None:
                slot.labels.add(name, bit, by_label)
            if not slot.folded.get(name, 0) >> bit & 1:
                continue
            sums = by.of(slot.record.definitions)
            if sums is None:
                continue  # it is not judged
            add_sums(slot.expected, of_buyers(sums) if slot.kind == QUARTER else sums)
            if slot.kind == HOUR:
                slot.expected.buyers = None  # its quarters keep them
            slot.folded[name] &= ~(1 << bit)
            slot.blind |= blind.of(sp, key)
            if key.slot in slot.panes:
                add_sums(slot.panes[key.slot], sums)

    def _slots_of(self, key: SlotKey) -> Iterator[tuple[Slot, int]]:
        """Yield the merged records that may contain a row, and the row's number in each."""
        if key.book == DAY:
            yield from ((slot, 0) for slot in self._slots.get((DAY_KIND, key.market, key.slot), ()))
            return
        for kind, length_ms in LENGTH_MS.items():
            start = key.slot - key.slot % length_ms
            bit = (key.slot - start) // self._pane_ms
            yield from ((slot, bit) for slot in self._slots.get((kind, key.market, start), ()))

    def judge(self, panes_from_ms: dict[str, int], blind: Blind) -> None:
        """Compare all slots; panes within a minute only from their market's ``panes_from_ms`` on."""
        for slots in self._slots.values():
            for slot in slots:
                self._judge(slot, panes_from_ms.get(slot.market), blind)

    def _judge(self, slot: Slot, panes_from_ms: int | None, blind: Blind) -> None:
        report = self._report
        if slot.market not in self._markets:
            report.skip(MERGED, "a market that is not in methodology.toml", slot.name)
            return
        columns = self._columns_of(slot)
        if columns is None:
            report.skip(MERGED, "by definitions that ecindex.definitions no longer has", slot.name)
            return
        if slot.blind or (blind and self._names_blind(slot, blind)):
            report.skip(MERGED, GONE, slot.name)
            return
        report.judge(MERGED)
        for sp, bits in slot.folded.items():
            if bits:
                named = self._named(slot, sp, bits)
                report.differs(
                    MERGED, slot.name, "contains", "only closed rows of the log", named, slot.where
                )
        self._judge_sums(slot, columns, panes_from_ms)
        members = self._defined.members(slot.market)
        for difference in () if slot.labels is None else slot.labels.differing(members):
            report.differs(MERGED, f"{slot.name} by label", *difference, slot.where)
        for pane, row in slot.record.panes.items():
            found_row = columns.read(row, day=False)
            slot.panes[pane].buyers = None  # the minute keeps them
            differences = list(differing(slot.panes[pane], found_row))
            if differences and (panes_from_ms is None or pane < panes_from_ms):
                # A source partition that folded the pane late no longer kept it apart.
                report.skip(MERGED, "a pane that no window reads any more", slot.name)
                continue
            report.judge(MERGED)
            key = slot_name(SlotKey(slot.market, LIVE, pane))
            for difference in differences:
                report.differs(MERGED, key, *difference, slot.where)

    def _columns_of(self, slot: Slot) -> ColumnNames | None:
        """Return the columns by the definitions that a record names; None: they are not known."""
        key = slot.market, slot.record.definitions
        market = self._defined.market(*key)
        if market is None:
            return None
        return self._columns.get(key) or self._columns.setdefault(key, ColumnNames(Layout(market)))

    def _judge_sums(self, slot: Slot, columns: ColumnNames, panes_from_ms: int | None) -> None:
        report = self._report
        try:
            held = self._held(slot, columns)
        except ValueError as error:
            report.differs(MERGED, slot.name, "shoppers", "a sketch", str(error), slot.where)
            return
        if slot.kind == MINUTE and (
            panes_from_ms is None
            or slot.start < panes_from_ms + PANES_KEPT_MS - _MINUTES_OF_SHOPPERS_MS
        ):
            report.skip(MERGED, "shoppers of a minute that no window reads any more", slot.name)
            held.buyers = slot.expected.buyers
        key = slot.kind, slot.market, slot.start
        if slot.labels is not None and slot.labels.cut_by is not None:
            self._cut[key] = slot.labels, slot.expected.buyers
        cut = self._cut_sums(slot)
        if cut is not None and list(differing(slot.expected, cut)):
            self._from_cut[*key, slot.record.definitions] = cut
        for name, expected, found in differing(slot.expected if cut is None else cut, held):
            report.differs(MERGED, slot.name, name, expected, found, slot.where)

    def _cut_sums(self, slot: Slot) -> Sums | None:
        """Return what definitions make of labels that others have cut; None: none have."""
        version, labels = slot.record.definitions, slot.labels
        if labels is None or labels.cut_by in (None, version):
            return None
        members = self._defined.members(slot.market)[version]
        sums = members.of(labels.found)
        sums.buyers = slot.expected.buyers
        return sums

    def holds(self, kind: str, market: str, start: int) -> bool:
        """Return whether the table has a slot."""
        return bool(self._slots.get((kind, market, start)))

    def made_of_cut(self, kind: str, market: str, start: int, version: int) -> Sums | None:
        """Return what a slot holds by a version that read it from labels that were cut, if it did."""
        return self._from_cut.get((kind, market, start, version))

    def read_from_cut(self, kind: str, market: str, start: int, version: int) -> Sums | None:
        """Return what any version makes of labels that another has cut; None: no other has.

        The record holds a slot by the last version alone. One before it may have read cut labels too.
        """
        held, members = self._cut.get((kind, market, start)), self._defined.members(market)
        if held is None or held[0].cut_by == version or version not in members:
            return None
        sums = members[version].of(held[0].found)
        sums.buyers = held[1]
        return sums

    def _held(self, slot: Slot, columns: ColumnNames) -> Sums:
        row, sketch = slot.record.row, slot.record.shoppers
        if slot.kind == QUARTER:
            return columns.read_quarter(row, sketch)
        return columns.read(row, day=slot.kind == DAY_KIND, sketch=sketch)

    def _names_blind(self, slot: Slot, blind: Blind) -> bool:
        book = DAY if slot.kind == DAY_KIND else LIVE
        key = SlotKey(slot.market, book, slot.start)
        return any(blind.of(_source(sp), key) for sp in slot.folded)

    def _named(self, slot: Slot, sp: str, bits: int) -> str:
        if slot.kind == DAY_KIND:
            return f"a row of {sp} that is not closed or has no event"
        panes = [
            slot.start + bit * self._pane_ms for bit in range(bits.bit_length()) if bits >> bit & 1
        ]
        return f"{sp} panes {', '.join(map(rfc3339, panes[:3]))}"


def _source(text: str) -> SourcePartition:
    topic, _, partition = text.rpartition("-")
    return SourcePartition(topic, int(partition))

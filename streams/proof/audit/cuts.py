"""Finds the prefix of each source log that a publication includes, and so what its values must be.

A publication names the offset in ``ecindex.partials`` that it includes. The partials up to that offset
say how far level 2 knew each slot of each source partition. If the best mark has closed the slot, level
2 knew its last row; otherwise it knew the row with the largest ``through``. A value can therefore be
recomputed exactly while the stack runs, whatever has arrived since.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from streams.flow.chunk import SourcePartition
from streams.flow.merged import MINUTES_KEPT_MS, PANES_KEPT_MS
from streams.flow.state import DAY, NEVER_MS, SlotKey
from streams.flow.wire import (
    MarkKey,
    MarkRecord,
    decode_mark,
    decode_partial,
    parse_key,
)
from streams.index.label_rows import PackedRow
from streams.index.methodology import Methodology
from streams.index.panes import HOUR_MS, MINUTE_MS, QUARTER_MS, LocalDays, rfc3339
from streams.index.values import MINUTE_STEP_WINDOWS, WINDOWS_MS
from streams.proof.audit.report import PARTIALS, Report
from streams.proof.recompute.slots import SlotCalendar
from streams.proof.recompute.sums import Sums, add_sums, of_buyers
from streams.records.kafka_logs import Stored

BUYERS_STEP_MS = {"1h": MINUTE_MS, "24h": QUARTER_MS}
"""Windows in which shoppers are counted, and the step of each."""
_SWEEP_ROWS = 2_000
_PANES_MAX = 4_000


@dataclass(slots=True)
class Cut:
    """One publication of one market, and the sums it must have been made of."""

    market: str
    edition: int
    applied: int
    as_of_ms: dict[str, int]
    """Per input topic."""
    step_ms: int
    orders_topic: str
    local_days: LocalDays
    quarters_kept_ms: int
    horizon_ms: int = NEVER_MS
    """Level 2 keeps rows for a fixed time before this. A window that reaches further back is cut."""
    definitions: int = 0
    """Version of the definitions that its members are of."""
    marks: dict[SourcePartition, MarkRecord] = field(default_factory=dict)
    rows: dict[tuple[SourcePartition, SlotKey], int] = field(default_factory=dict)
    """``through`` of the row that the publication knew, for each slot that was not closed."""
    windows: dict[tuple[str, str], Sums] = field(default_factory=dict)
    """(topic, window) -> sums."""
    days: dict[int, Sums] = field(default_factory=dict)
    buyers: dict[str, Sums] = field(default_factory=dict)
    """Window -> sums and registers of its shoppers."""
    days_of_buyers: dict[int, Sums] = field(default_factory=dict)
    """Local day -> sums and registers of its shoppers."""
    first_ms: dict[str, int] = field(default_factory=dict)
    """Start of the first known pane, per topic."""

    def ends_ms(self, topic: str, window: str) -> int | None:
        """End of a window counted from ``topic``; None while the topic has no ``as_of``."""
        as_of_ms = self.as_of_ms.get(topic)
        if as_of_ms is None:
            return None
        step_ms = MINUTE_MS if window in MINUTE_STEP_WINDOWS else self.step_ms
        return as_of_ms // step_ms * step_ms

    def span_ms(self, topic: str, window: str) -> tuple[int, int] | None:
        """[start, end) of a window, cut to the time for which rows are kept; None without ``as_of``."""
        end_ms = self.ends_ms(topic, window)
        if end_ms is None:
            return None
        kept_ms = MINUTES_KEPT_MS if window in MINUTE_STEP_WINDOWS else PANES_KEPT_MS
        start_ms = max(end_ms - WINDOWS_MS[window], min(self.horizon_ms - kept_ms, end_ms))
        return start_ms, end_ms

    def closed(self, sp: SourcePartition, slot: SlotKey, calendar: SlotCalendar) -> bool:
        """Whether the publication knew the last row of the slot from this source partition."""
        return is_closed(self.marks.get(sp), slot, calendar)

    def add(self, sp: SourcePartition, slot: SlotKey, sums: Sums) -> None:
        """Add the sums of a slot from one source partition."""
        if slot.book == DAY:
            add_sums(self.days.setdefault(slot.slot, Sums()), sums)
            return
        self.first_ms[sp.topic] = min(slot.slot, self.first_ms.get(sp.topic, slot.slot))
        for window in WINDOWS_MS:
            span = self.span_ms(sp.topic, window)
            if span is not None and span[0] <= slot.slot < span[1]:
                add_sums(self.windows.setdefault((sp.topic, window), Sums()), sums)
        if sp.topic == self.orders_topic:
            self._add_buyers(slot.slot, of_buyers(sums))

    def _add_buyers(self, pane_ms: int, bought: Sums) -> None:
        for window in BUYERS_STEP_MS:
            span = self.buyers_span_ms(window)
            if span is not None and span[0] <= pane_ms < span[1]:
                add_sums(self.buyers.setdefault(window, Sums()), bought)
        until_ms = self.buyers_until_ms
        if until_ms is not None and pane_ms < until_ms:
            day = self.local_days.day_of(pane_ms)
            add_sums(self.days_of_buyers.setdefault(day, Sums()), bought)

    @property
    def buyers_until_ms(self) -> int | None:
        """End of the shoppers that local days include: the last whole quarter of an hour."""
        as_of_ms = self.as_of_ms.get(self.orders_topic)
        return None if as_of_ms is None else as_of_ms // QUARTER_MS * QUARTER_MS

    def buyers_span_ms(self, window: str) -> tuple[int, int] | None:
        """[start, end) of a window of shoppers; 1h moves by minutes, 24h by quarters of an hour."""
        as_of_ms = self.as_of_ms.get(self.orders_topic)
        if as_of_ms is None:
            return None
        step_ms = BUYERS_STEP_MS[window]
        kept_ms = HOUR_MS if window == "1h" else self.quarters_kept_ms
        end_ms = as_of_ms // step_ms * step_ms
        start_ms = max(end_ms - WINDOWS_MS[window], min(self.horizon_ms - kept_ms, end_ms))
        return -(-start_ms // step_ms) * step_ms, end_ms


def is_closed(mark: MarkRecord | None, slot: SlotKey, calendar: SlotCalendar) -> bool:
    """Whether a mark's watermark has closed the slot for its source partition."""
    watermark_ms = None if mark is None else mark.watermarks.get(slot.market)
    return watermark_ms is not None and calendar.closes_ms(slot) <= watermark_ms


@dataclass(slots=True)
class PartialRow:
    """Row with the largest ``through`` of one source partition and slot."""

    through: int
    packed: PackedRow
    sketch: bytes
    where: str


@dataclass(slots=True)
class MarketChanges:
    """Offsets in ``ecindex.partials`` at which the rows of a market last changed."""

    days: int = -1
    panes: dict[int, int] = field(default_factory=dict)

    def note(self, slot: SlotKey, offset: int) -> None:
        """Note that a row changed at ``offset``."""
        if slot.book == DAY:
            self.days = offset
            return
        self.panes[slot.slot] = offset
        if len(self.panes) > _PANES_MAX:
            newest = sorted(self.panes)[_PANES_MAX // 2 :]
            self.panes = {start: self.panes[start] for start in newest}

    def shown_until(self, as_of_ms: int) -> int:
        """Last offset that a publication at ``as_of_ms`` must include."""
        return max(
            [self.days, *(offset for start, offset in self.panes.items() if start < as_of_ms)]
        )


class PartialsLog:
    """One partition of ``ecindex.partials``, read once in order. Cuts are taken at their offsets."""

    def __init__(
        self,
        methodology: Methodology,
        calendar: SlotCalendar,
        cuts: Iterable[Cut],
        report: Report,
    ) -> None:
        self.marks: dict[SourcePartition, MarkRecord] = {}
        self.rows: dict[tuple[SourcePartition, SlotKey], PartialRow] = {}
        self.changes: dict[str, MarketChanges] = {}
        self._edition = methodology.edition
        self._calendar = calendar
        self._waiting = sorted(cuts, key=lambda cut: cut.applied)
        self._report = report
        self._sweep_at = _SWEEP_ROWS

    def apply_record(self, stored: Stored) -> None:
        """Apply the next record of the log."""
        while self._waiting and self._waiting[0].applied < stored.offset:
            self._take_cut(self._waiting.pop(0))
        if stored.key is None or stored.value is None:
            return
        try:
            key = parse_key(stored.key)
            if isinstance(key, MarkKey):
                self._mark(key.sp, decode_mark(stored.value), stored)
                return
            record = decode_partial(stored.value)
        except (ValueError, msgspec.DecodeError) as error:
            self._report.differs(
                PARTIALS, repr(stored.key), "record", "a row or a mark", str(error), stored.where
            )
            return
        if record.edition != self._edition:
            return
        known = self.rows.get((key.sp, key.slot))
        if known is not None and record.through <= known.through:
            return
        if known is None or (known.packed, known.sketch) != (record.row, record.shoppers):
            changes = self.changes.setdefault(key.slot.market, MarketChanges())
            changes.note(key.slot, stored.offset)
        row = PartialRow(record.through, record.row, record.shoppers, stored.where)
        self.rows[key.sp, key.slot] = row
        if len(self.rows) > self._sweep_at:
            self._sweep()

    def finish(self) -> None:
        """Take the cuts that are left, at the end of what is read."""
        while self._waiting:
            self._take_cut(self._waiting.pop(0))
        self._sweep()

    def _mark(self, sp: SourcePartition, mark: MarkRecord, stored: Stored) -> None:
        if mark.edition != self._edition:
            return
        claimed_ms = max(mark.caught_up_at or 0, mark.sent_at)
        if stored.arrival == "LogAppendTime" and claimed_ms > stored.timestamp_ms:
            # Its writer believed its own clock: as_of may have passed events that came in time.
            known = f"no later than {rfc3339(stored.timestamp_ms)}, its own stamp"
            self._report.differs(
                PARTIALS, str(sp), "caught_up_at", known, rfc3339(claimed_ms), stored.where
            )
        old = self.marks.get(sp)
        if old is None or mark.through >= old.through:
            self.marks[sp] = mark

    def _take_cut(self, cut: Cut) -> None:
        cut.marks = dict(self.marks)
        cut.rows = {
            (sp, slot): row.through
            for (sp, slot), row in self.rows.items()
            if slot.market == cut.market and not cut.closed(sp, slot, self._calendar)
        }

    def _sweep(self) -> None:
        """Drop the rows of closed slots: level 2 has merged them."""
        self.rows = {
            (sp, slot): row
            for (sp, slot), row in self.rows.items()
            if not is_closed(self.marks.get(sp), slot, self._calendar)
        }
        self._sweep_at = max(_SWEEP_ROWS, 2 * len(self.rows))

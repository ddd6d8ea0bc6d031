"""A market's rows in level 2: open rows of each source partition, and the merged slots.

A value is the sum of merged and open rows. A row moves from open to merged when ITS source
partition closed the slot, whatever the others do. The move does not change the sum, so cached sums
stay valid.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from streams.flow.changed_slots import ChangedSlots
from streams.flow.chunk import SourcePartition
from streams.flow.merged import (
    DAY_KIND,
    DAYS_KEPT,
    DAYS_UNCUT,
    HOUR,
    HOURS_KEPT_MS,
    HOURS_LABELLED_MS,
    LENGTH_MS,
    MINUTE,
    MINUTES_KEPT_MS,
    PANES_KEPT_MS,
    QUARTER,
    QUARTERS_KEPT_MS,
    SHOPPERS_OF_MINUTES_KEPT_MS,
    Merged,
    MergedRecord,
    SlotId,
    restore,
)
from streams.flow.merged_labels import MergedLabels
from streams.flow.state import DAY, FOREVER_MS, LIVE, NEVER_MS, SlotKey
from streams.index.label_rows import PackedRow
from streams.index.member_rows import MemberRows
from streams.index.methodology import Market, Methodology
from streams.index.panes import DAY_MS, HOUR_MS, MINUTE_MS, QUARTER_MS, LocalDays
from streams.index.partials import BOUGHT, DAY_TOTALS, LIVE_TOTALS, Layout, Row, add_into, sum_rows
from streams.index.shoppers import NOBODY
from streams.index.summed_labels import decode_row

CUT_IN_A_STEP = 5_000
"""Labels of old hours that a step reads to cut them. A minute is read at once: one of 10,000 new labels
takes 10 ms to be counted, and 100 ms to be added."""


class OpenRow:
    """The best known row of one source partition for a slot it may still add to."""

    __slots__ = ("keys", "labels", "offset", "row", "sketch", "through")

    def __init__(
        self, through: int, row: Row, sketch: bytes, key: bytes, offset: int, labels: bytes
    ) -> None:
        self.through = through
        self.offset = offset
        """Offset of the partials record that first held this row."""
        self.row = row
        self.sketch = sketch
        self.keys = {key}
        self.labels = labels
        """The row as level 1 sent it, encoded: a day's may have thousands of labels."""


class Ledger:
    """All rows of one market."""

    def __init__(
        self,
        market: Market,
        methodology: Methodology,
        market_of: Callable[[int], Market | None] = lambda _: None,
    ) -> None:
        """``market_of``: the market by a version of the definitions; None: nobody knows it."""
        self._code = market.code
        self.layout = Layout(market)
        self.members = MemberRows(self.layout)
        self.local_days = LocalDays(market.time_zone)
        self.pane_ms = self._pane_ms = methodology.pane_ms
        self.grace_ms = methodology.grace_ms
        self._day_grace_ms = methodology.day_grace_ms
        self.quarters_kept_ms = QUARTERS_KEPT_MS + methodology.grace_ms
        self.merged: dict[SlotId, Merged] = {}
        self._labels = MergedLabels(
            self.merged, self.layout, self.members, self._pane_ms, market_of
        )
        self._of_others: set[SlotId] = set()
        """Restored slots whose rows were made by other definitions: ``project_anew``."""
        self._read_anew: set[SlotId] = set()
        """Those of them that were read already."""
        self._rows_ahead: dict[tuple[SlotKey, SourcePartition], tuple[bytes, Row]] = {}
        """Labels of open rows that are about to be taken over, and what these definitions read."""
        self.rows_before: dict[SlotId, tuple[int, list[int | str]]] = {}
        """Of hours and days that were read anew: their former definitions and row, until it is said what
        that changed (``redefined_slots``)."""
        self._cutting: dict[int, Iterator[int]] = {}
        """Start of an hour whose labels are being cut -> what goes on with it."""
        self._to_write: list[SlotId] = []
        """Slots that were read anew, and whose records are still by other definitions."""
        self._open_panes: dict[int, dict[SourcePartition, OpenRow]] = {}
        self._open_days: dict[int, dict[SourcePartition, OpenRow]] = {}
        self._by_sp: dict[SourcePartition, set[SlotKey]] = {}
        self._pane_sums: dict[int, Row] = {}
        self._minute_sums: dict[int, Row] = {}
        self._hour_sums: dict[int, Row] = {}
        self._opened: set[SlotId] = set()
        """Minutes, quarters and hours in which a row was once open: few of a small market's."""
        self.garbage: dict[bytes, None] = {}
        """Keys of partials that merged slots contain: tombstoned once the slots were acknowledged."""
        self.expired_rows = 0
        """How many rows were of hours and days that are no longer kept."""
        self.horizon_ms = NEVER_MS
        self.panes_read_ms = FOREVER_MS
        """Up to here the shift detectors have read all panes: later ones are kept, however old."""
        self.first_day = NEVER_MS
        """Number of the oldest day that is kept."""
        self.first_ms: dict[str, int] = {}
        """For each input topic, start of the first pane with a row: there its log begins to cover."""
        self._changed_panes: set[int] = set()
        self._changed_days: set[int] = set()

    @property
    def definitions(self) -> int:
        """Version of the definitions by which rows are read."""
        return self.layout.market.definitions

    # -- rows arrive -----------------------------------------------------------------------------

    def apply_row(
        self,
        slot: SlotKey,
        sp: SourcePartition,
        through: int,
        row: Row,
        sketch: bytes,
        key: bytes,
        *,
        offset: int,
        labels: bytes,
        news: bool = True,
    ) -> None:
        """Apply a row that level 1 sent; the larger ``through`` over all writers wins.

        ``offset``: offset of its partials record. ``labels``: the row as level 1 sent it.
        ``news``: no acknowledged publication contains this record, so the slot counts as changed.
        """
        live = slot.book == LIVE
        if live:
            self.note_first(sp.topic, slot.slot)  # a row that is no longer kept counts too
        if self._is_merged(slot, sp, row):
            self.garbage[key] = None
            return
        rows = (self._open_panes if live else self._open_days).setdefault(slot.slot, {})
        known = rows.get(sp)
        if known is None:
            rows[sp] = OpenRow(through, row, sketch, key, offset, labels)
            self._by_sp.setdefault(sp, set()).add(slot)
        else:
            known.keys.add(key)
            if through <= known.through:
                return
            known.through = through
            known.labels = labels
            if known.row == row:
                return  # the shoppers are the same too: each has an order in it
            known.row = row
            known.sketch = sketch
            known.offset = offset
        if live:
            minute_ms = slot.slot - slot.slot % MINUTE_MS
            self._pane_sums.pop(slot.slot, None)
            self._minute_sums.pop(minute_ms, None)
            hour_ms, quarter_ms = (slot.slot - slot.slot % each for each in (HOUR_MS, QUARTER_MS))
            self._hour_sums.pop(hour_ms, None)
            self._opened |= {(MINUTE, minute_ms), (QUARTER, quarter_ms), (HOUR, hour_ms)}
            if news:
                self._changed_panes.add(slot.slot)
        elif news:
            self._changed_days.add(slot.slot)

    def note_first(self, topic: str, pane_ms: int) -> None:
        """Note that the topic had a row for the pane that starts at ``pane_ms``, kept or not."""
        if pane_ms < self.first_ms.get(topic, FOREVER_MS):
            self.first_ms[topic] = pane_ms

    def first_hour_ms(self, topic: str) -> int | None:
        """First hour (ms) that the topic's log covers wholly; None: it covers nothing yet."""
        first_ms = self.first_ms.get(topic)
        return None if first_ms is None else -(-first_ms // HOUR_MS) * HOUR_MS

    def recover_first(self) -> None:
        """Find where the log begins to cover in the merged hours: no fence record may hold it yet."""
        for (kind, start_ms), merged in self.merged.items():
            if kind == HOUR:
                for name, bits in merged.folded.items():
                    first = (bits & -bits).bit_length() - 1
                    self.note_first(name.rpartition("-")[0], start_ms + first * self._pane_ms)

    def _is_merged(self, slot: SlotKey, sp: SourcePartition, row: Row) -> bool:
        if slot.book != LIVE:
            if slot.slot < self.first_day:
                self.expired_rows += 1
                return True
            return self._contains((DAY_KIND, slot.slot), sp, 0)
        if not self._is_kept(HOUR, slot.slot - slot.slot % HOUR_MS):
            self.expired_rows += 1
            return True
        for kind, length_ms in LENGTH_MS.items():
            start_ms = slot.slot - slot.slot % length_ms
            bit = (slot.slot - start_ms) // self._pane_ms
            wanted = self._is_wanted(kind, start_ms, row)
            if wanted and not self._contains((kind, start_ms), sp, bit):
                return False
        hour_ms = slot.slot - slot.slot % HOUR_MS
        bit = (slot.slot - hour_ms) // self._pane_ms
        return not self.merged[HOUR, hour_ms].lacks_labels(str(sp), bit)

    def _is_wanted(self, kind: str, start_ms: int, row: Row) -> bool:
        """Whether the merged slot of this kind and start takes this row."""
        if kind == QUARTER and not any(row[BOUGHT]):
            return False  # payments, or orders that do not say who bought
        return self._is_kept(kind, start_ms)

    def _is_kept(self, kind: str, start_ms: int) -> bool:
        """Whether retention still keeps the slot of this kind and start.

        It judges the slot's start, as ``expire`` does. Judged by its own start, a row of the later
        half of a dropped quarter would be taken for news, and its final hour for revised.
        """
        kept_ms = {MINUTE: MINUTES_KEPT_MS, QUARTER: self.quarters_kept_ms, HOUR: HOURS_KEPT_MS}
        return start_ms >= self.horizon_ms - kept_ms[kind]

    def _contains(self, slot_id: SlotId, sp: SourcePartition, bit: int) -> bool:
        merged = self.merged.get(slot_id)
        return merged is not None and merged.contains(str(sp), bit)

    # -- what changed is taken -------------------------------------------------------------------

    def changed_before(self, end_ms: int) -> bool:
        """Whether a pane that starts before ``end_ms`` changed since the last ``drain``."""
        return any(pane < end_ms for pane in self._changed_panes)

    @property
    def days_changed(self) -> bool:
        """Whether a day changed since the last ``drain``."""
        return bool(self._changed_days)

    def drain(self) -> ChangedSlots:
        """Return the panes and days whose row changed since the last call, and forget them."""
        changed = ChangedSlots(frozenset(self._changed_panes), frozenset(self._changed_days))
        self._changed_panes.clear()
        self._changed_days.clear()
        return changed

    def take_garbage(self) -> list[bytes]:
        """Return the keys in ``garbage``; the caller has them deleted."""
        garbage = list(self.garbage)
        self.garbage.clear()
        return garbage

    def forget_garbage(self, key: bytes) -> None:
        """Forget a partials key that has its tombstone: nobody needs to delete it again."""
        self.garbage.pop(key, None)

    # -- rows are folded -------------------------------------------------------------------------

    def fold_closed(self, sp: SourcePartition, watermark_ms: int) -> None:
        """Fold the rows of slots that this source partition's watermark has closed."""
        slots = self._by_sp.get(sp)
        if not slots:
            return
        for slot in sorted(slot for slot in slots if self._is_closed(slot, watermark_ms)):
            if slot.book == LIVE:
                self._label_hour(slot.slot - slot.slot % HOUR_MS)
            slots.discard(slot)
            rows = (self._open_panes if slot.book == LIVE else self._open_days)[slot.slot]
            open_row = rows.pop(sp)
            self.garbage.update(dict.fromkeys(open_row.keys))
            if slot.book == LIVE:
                if not rows:
                    del self._open_panes[slot.slot]
                self._fold_pane(slot.slot, str(sp), open_row)
            else:
                if not rows:
                    del self._open_days[slot.slot]
                day = self._slot((DAY_KIND, slot.slot))
                row = self._row_in(day, open_row, self.members.day)
                day.fold(str(sp), 0, row, None, offset=open_row.offset)
                day.fold_labels(str(sp), 0, self._labels_in(day, open_row))

    def _is_closed(self, slot: SlotKey, watermark_ms: int) -> bool:
        if slot.book == LIVE:
            return slot.slot + self._pane_ms + self.grace_ms <= watermark_ms
        return self.local_days.end_ms(slot.slot) + self._day_grace_ms <= watermark_ms

    def _fold_pane(self, start_ms: int, sp: str, closed: OpenRow) -> None:
        for kind, length_ms in LENGTH_MS.items():
            slot_start = start_ms - start_ms % length_ms
            if not self._is_wanted(kind, slot_start, closed.row):
                continue
            merged = self._slot((kind, slot_start))
            bit = (start_ms - slot_start) // self._pane_ms
            pane_ms = start_ms if kind == MINUTE and start_ms >= self._panes_limit_ms else None
            # A takeover replays a row that reached the minute's record but not the hour's.
            if merged.contains(sp, bit):
                if merged.lacks_labels(sp, bit):
                    merged.fold_labels(sp, bit, self._labels_in(merged, closed))
                continue
            row, sketch = self._row_in(merged, closed, self.members.live), closed.sketch
            if kind == QUARTER:
                row = row[BOUGHT]
            elif kind == HOUR or slot_start < self.horizon_ms - SHOPPERS_OF_MINUTES_KEPT_MS:
                sketch = NOBODY
            merged.fold(sp, bit, row, pane_ms, sketch, offset=closed.offset)
            if kind == MINUTE or merged.lacks_labels(sp, bit):
                merged.fold_labels(sp, bit, self._labels_in(merged, closed), pane_ms)

    def _row_in(
        self, merged: Merged | None, open_row: OpenRow, read: Callable[[PackedRow], Row]
    ) -> Row:
        """Return what an open row adds to its slot, by members."""
        if merged is None or not self._labels.is_read_otherwise(merged):
            return open_row.row
        return read(decode_row(self._labels_in(merged, open_row)))

    def _labels_in(self, merged: Merged, open_row: OpenRow) -> bytes:
        return self._labels.as_held(merged, open_row.labels)

    def _label_hour(self, start_ms: int) -> None:
        """Give an hour labels of its own before it takes a row that its minutes may no longer take."""
        if not self._is_kept(HOUR, start_ms) or not self._needs_labels(start_ms):
            return
        if self._slot((HOUR, start_ms)).labels is None:
            self._begin_cutting(start_ms)
            deque(self._cutting.pop(start_ms), maxlen=0)

    def _needs_labels(self, hour_ms: int) -> bool:
        return hour_ms < self.horizon_ms - HOURS_LABELLED_MS

    def _begin_cutting(self, hour_ms: int) -> None:
        def open_rows() -> Iterator[PackedRow]:
            found = self.open_rows((HOUR, hour_ms), HOUR_MS)
            return (decode_row(row.labels) for row in found)

        if hour_ms not in self._cutting:
            self._cutting[hour_ms] = self._labels.cutting_hour(hour_ms, open_rows)

    def _go_on_cutting(self) -> None:
        """Cut labels of hours for a few hundredths of a second: there is an hour of time."""
        left = CUT_IN_A_STEP
        for hour_ms in sorted(self._cutting):
            for count in self._cutting[hour_ms]:
                left -= count
                if left <= 0:
                    return
            del self._cutting[hour_ms]

    def _cut_day(self, day: int) -> None:
        open_rows = self._open_days.get(day, {}).values()
        self._labels.cut_day(day, [decode_row(row.labels) for row in open_rows])

    def restore(self, slot_id: SlotId, record: MergedRecord) -> None:
        """Restore a merged slot from its table record; ``project_anew`` once all are restored."""
        kind = slot_id[0]
        others = record.definitions != self.definitions and kind != QUARTER
        totals = DAY_TOTALS if kind == DAY_KIND else LIVE_TOTALS
        restored = restore(record, self.width_of(kind), kind, totals if others else None)
        self.merged[slot_id] = restored
        if others:
            self._of_others.add(slot_id)
        if record.before is not None:
            self.rows_before[slot_id] = record.before
        elif others and kind != MINUTE:
            self.rows_before[slot_id] = record.definitions, record.row

    def project_anew(self) -> None:
        """Read restored slots that other definitions made anew."""
        self._project_others()
        self._to_write = sorted(self._read_anew, key=lambda slot: (slot[0] == MINUTE, slot[1]))
        self._read_anew.clear()

    def _project_others(self) -> None:
        self._labels.project_anew(self._of_others)
        self._read_anew |= self._of_others
        self._of_others.clear()

    def write_anew(self, most: int) -> None:
        """Have the table hold some of the slots that were read anew as they are read now.

        Not all at once: there are thousands. Until then their records are as they were, which whoever
        restores them reads anew again.
        """
        for slot_id in self._to_write[-most:]:
            merged = self.merged.get(slot_id)
            if merged is not None and slot_id not in self.rows_before:
                merged.written = False
        del self._to_write[-most:]

    def write_acknowledged(self, slots: Iterable[SlotId]) -> None:
        """Have the table hold slots as they are read now: what that changed is acknowledged."""
        for slot_id in slots:
            if self.rows_before.pop(slot_id, None) is not None and slot_id in self.merged:
                self.merged[slot_id].written = False

    def start_ms(self, slot_id: SlotId) -> int:
        """Return the instant (ms) at which a slot begins."""
        kind, start = slot_id
        return self.local_days.start_ms(start) if kind == DAY_KIND else start

    def take_over(self, old: Ledger, slots: Iterable[SlotId], *, applied: int) -> None:
        """Restore merged slots of a ledger by other definitions, as from their table records.

        Slots that it has not any more are dropped. ``applied``: partials offset that it includes.
        """
        self.first_ms |= old.first_ms
        for slot_id in slots:
            self.rows_before.pop(slot_id, None)
            merged = old.merged.get(slot_id)
            if merged is None:
                self.merged.pop(slot_id, None)
                self._read_anew.discard(slot_id)
                continue
            # What was not said of earlier definitions is said with these.
            before = old.rows_before.get(slot_id)
            record = merged.record(max(merged.applied, applied), old.definitions, before)
            self.restore(slot_id, record)
            self.merged[slot_id].written = merged.written
        self._project_others()

    def read_ahead(self, old: Ledger, most: int) -> bool:
        """Read some open rows of days of a ledger by other definitions; return whether any was left."""
        left = (
            (key, each)
            for day, rows in old._open_days.items()
            for sp, each in rows.items()
            if (key := (SlotKey(self._code, DAY, day), sp)) not in self._rows_ahead
        )
        found = list(islice(left, most))
        for key, each in found:
            self._rows_ahead[key] = each.labels, self.members.day(decode_row(each.labels))
        return bool(found)

    def take_over_open(self, old: Ledger) -> None:
        """Apply the open rows of a ledger by other definitions again, and what it has still to give."""
        self.expired_rows += old.expired_rows
        self.garbage |= old.garbage
        for book, slots, read in (
            (LIVE, old._open_panes, self.members.live),
            (DAY, old._open_days, self.members.day),
        ):
            for start, rows in slots.items():
                for sp, each in rows.items():
                    self._apply_again(SlotKey(self._code, book, start), sp, each, read)
        self._rows_ahead.clear()
        self._changed_panes |= old._changed_panes
        self._changed_days |= old._changed_days

    def _apply_again(
        self, slot: SlotKey, sp: SourcePartition, known: OpenRow, read: Callable[[PackedRow], Row]
    ) -> None:
        first, *others = known.keys
        read_of, row = self._rows_ahead.get((slot, sp), (b"", []))
        self.apply_row(
            slot,
            sp,
            known.through,
            row if read_of == known.labels else read(decode_row(known.labels)),
            known.sketch,
            first,
            offset=known.offset,
            labels=known.labels,
            news=False,
        )
        rows = (self._open_panes if slot.book == LIVE else self._open_days).get(slot.slot, {})
        if sp in rows:
            rows[sp].keys.update(others)
        else:
            self.garbage.update(dict.fromkeys(others))

    def _slot(self, slot_id: SlotId) -> Merged:
        merged = self.merged.get(slot_id)
        if merged is None:
            merged = self.merged[slot_id] = Merged(self.width_of(slot_id[0]), slot_id[0])
        return merged

    def width_of(self, kind: str) -> int:
        """Return the number of columns in the row of a merged slot, by its kind."""
        if kind == QUARTER:
            return BOUGHT.stop - BOUGHT.start
        return self.layout.day_width if kind == DAY_KIND else self.layout.live_width

    # -- sums are read ---------------------------------------------------------------------------

    def pane_sum(self, start_ms: int) -> Row:
        """Row of one recent pane over all source partitions."""
        cached = self._pane_sums.get(start_ms)
        if cached is None:
            cached = [0] * self.layout.live_width
            merged = self.merged.get((MINUTE, start_ms - start_ms % MINUTE_MS))
            if merged is not None and start_ms in merged.panes:
                add_into(cached, merged.panes[start_ms])
            bit = start_ms % MINUTE_MS // self._pane_ms
            for sp, open_row in self._open_panes.get(start_ms, {}).items():
                if merged is None or not merged.contains(str(sp), bit):
                    add_into(cached, open_row.row)
            self._pane_sums[start_ms] = cached
        return cached

    def keeps_panes(self, minute_ms: int) -> bool:
        """Whether the panes of a minute are still known, not its sum alone."""
        merged = self.merged.get((MINUTE, minute_ms))
        return merged is None or bool(merged.panes)

    def minute_sum(self, start_ms: int) -> Row | None:
        """Row of one minute over all source partitions; None when nothing happened in it."""
        cached = self._minute_sums.get(start_ms)
        if cached is None:
            cached = self.minute_total(start_ms)
            if cached is not None:
                self._minute_sums[start_ms] = cached
        return cached

    def minute_total(self, start_ms: int) -> Row | None:
        """Row of one minute, not cached: for a caller that reads each minute of a day once."""
        return self._total((MINUTE, start_ms), MINUTE_MS)

    def hour_sum(self, start_ms: int) -> Row | None:
        """Row of one hour; None when nothing happened in it."""
        cached = self._hour_sums.get(start_ms)
        if cached is None:
            cached = self._total((HOUR, start_ms), HOUR_MS)
            if cached is not None:
                self._hour_sums[start_ms] = cached
        return cached

    def hours_sum(self, hours: Iterable[int]) -> Row:
        """Row of several hours."""
        rows = [row for hour_ms in hours if (row := self.hour_sum(hour_ms)) is not None]
        return sum_rows(rows, self.layout.live_width)

    def _total(self, slot_id: SlotId, length_ms: int) -> Row | None:
        merged = self.merged.get(slot_id)
        rows = [merged.row] if merged is not None else []
        rows += [
            self._row_in(merged, open_row, self.members.live)
            for open_row in self.open_rows(slot_id, length_ms)
        ]
        return sum_rows(rows, self.layout.live_width) if rows else None

    def open_rows(self, slot_id: SlotId, length_ms: int) -> Iterator[OpenRow]:
        """Yield the rows of a minute, quarter or hour that its merged slot does not contain."""
        if slot_id not in self._opened:
            return
        merged = self.merged.get(slot_id)
        start_ms = slot_id[1]
        panes: Iterable[int] = range(start_ms, start_ms + length_ms, self._pane_ms)
        if len(self._open_panes) < length_ms // self._pane_ms:  # so in an import of years
            panes = [at for at in self._open_panes if start_ms <= at < start_ms + length_ms]
        for pane in panes:
            bit = (pane - start_ms) // self._pane_ms
            for sp, open_row in self._open_panes.get(pane, {}).items():
                if merged is None or not merged.contains(str(sp), bit):
                    yield open_row

    def window_sum(self, start_ms: int, end_ms: int) -> Row:
        """Row of ``[start, end)``, both on pane boundaries, summed from whole hours and minutes.

        A day is then 24 rows to add, not 1,440: a late event has it summed anew at every step.
        """
        rows: list[Row] = []
        at = start_ms
        while at < end_ms:
            if at % HOUR_MS == 0 and at + HOUR_MS <= end_ms:
                hour = self.hour_sum(at)
                if hour is not None:
                    rows.append(hour)
                at += HOUR_MS
            elif at % MINUTE_MS == 0 and at + MINUTE_MS <= end_ms:
                minute = self.minute_sum(at)
                if minute is not None:
                    rows.append(minute)
                at += MINUTE_MS
            else:
                rows.append(self.pane_sum(at))
                at += self._pane_ms
        return sum_rows(rows, self.layout.live_width)

    def day_sum(self, day: int) -> Row | None:
        """Row of a local day; None when nothing is known of it."""
        merged = self.merged.get((DAY_KIND, day))
        rows = [merged.row] if merged is not None else []
        for sp, open_row in self._open_days.get(day, {}).items():
            if merged is None or not merged.contains(str(sp), 0):
                rows.append(self._row_in(merged, open_row, self.members.day))
        return sum_rows(rows, self.layout.day_width) if rows else None

    def label_rows(self, slot_id: SlotId) -> list[PackedRow]:
        """Label rows that add up to a minute, an hour or a local day."""
        kind, start = slot_id
        merged = self.merged.get(slot_id)
        held = [] if merged is None else merged.label_rows()
        if kind == HOUR and not held:
            held = self._labels.of_minutes(start)
        return held + self.open_labels(slot_id)

    def open_labels(self, slot_id: SlotId) -> list[PackedRow]:
        """Return the label rows of a minute, an hour or a local day that its merged slot lacks."""
        kind, start = slot_id
        opened: Iterable[OpenRow] = self._open_days.get(start, {}).values()
        if kind != DAY_KIND:
            opened = self.open_rows(slot_id, LENGTH_MS[kind])
        return [decode_row(row.labels) for row in opened]

    def hours(self) -> set[int]:
        """Starts of the hours that have rows."""
        merged = {start for kind, start in self.merged if kind == HOUR}
        return merged | {start - start % HOUR_MS for start in self._open_panes}

    def quarters(self) -> set[int]:
        """Starts of the quarters of an hour that have rows."""
        merged = {start for kind, start in self.merged if kind == QUARTER}
        return merged | {start - start % QUARTER_MS for start in self._open_panes}

    def open_slots(self) -> set[SlotId]:
        """Return the hours and days that have rows not merged yet."""
        hours = {(HOUR, start - start % HOUR_MS) for start in self._open_panes}
        return hours | {(DAY_KIND, day) for day in self._open_days}

    def open_days(self) -> set[int]:
        """Numbers of the days that have rows not merged yet."""
        return set(self._open_days)

    def days(self) -> set[int]:
        """Numbers of the days that have rows."""
        return {day for kind, day in self.merged if kind == DAY_KIND} | set(self._open_days)

    # -- bounds ----------------------------------------------------------------------------------

    def expire(self, horizon_ms: int) -> Iterator[SlotId]:
        """Drop what lies before the retention of each kind; yields the slots dropped."""
        if horizon_ms <= self.horizon_ms:
            self._go_on_cutting()
            return
        self.horizon_ms = horizon_ms
        self.first_day = self.local_days.day_of(horizon_ms) - DAYS_KEPT
        limits = {
            MINUTE: horizon_ms - MINUTES_KEPT_MS,
            QUARTER: horizon_ms - self.quarters_kept_ms,
            HOUR: horizon_ms - HOURS_KEPT_MS,
            DAY_KIND: self.first_day,
        }
        self._cut_labels(limits)
        gone = [slot_id for slot_id in self.merged if slot_id[1] < limits[slot_id[0]]]
        for slot_id in gone:
            del self.merged[slot_id]
            self.rows_before.pop(slot_id, None)
            yield slot_id
        # Open rows of source partitions that have not closed a dropped slot go with it: alone they
        # would read as its value.
        self._drop_open(LIVE, self._open_panes, -(-limits[HOUR] // HOUR_MS) * HOUR_MS)
        self._drop_open(DAY, self._open_days, limits[DAY_KIND])
        panes_limit = self._panes_limit_ms
        shoppers_limit = horizon_ms - SHOPPERS_OF_MINUTES_KEPT_MS
        for (kind, start), merged in self.merged.items():
            if kind == MINUTE and start < panes_limit and merged.panes:
                merged.drop_panes()
            if kind == MINUTE and start < shoppers_limit:
                merged.sketch = NOBODY
        self._opened = {slot_id for slot_id in self._opened if slot_id[1] >= limits[slot_id[0]]}
        for sums, limit in (
            (self._pane_sums, panes_limit),
            (self._minute_sums, limits[MINUTE]),
            (self._hour_sums, limits[MINUTE]),  # no window reaches further back
        ):
            for start in [start for start in sums if start < limit]:
                del sums[start]

    def _cut_labels(self, limits: dict[str, int]) -> None:
        """Cut labels of hours whose minutes are about to be dropped, and of days that are complete."""
        for (kind, start), merged in self.merged.items():
            if start < limits[kind]:
                continue
            if kind == HOUR and merged.labels is None and self._needs_labels(start):
                self._begin_cutting(start)
                if start < limits[MINUTE]:
                    self._label_hour(start)
            elif kind == DAY_KIND and merged.cut_by is None and self._is_complete(start):
                self._cut_day(start)
        for start in [start for start in self._cutting if start < limits[HOUR]]:
            del self._cutting[start]
        self._go_on_cutting()

    def _is_complete(self, day: int) -> bool:
        """Whether all partitions that are read have closed a local day some time ago."""
        uncut_ms = self._day_grace_ms + DAYS_UNCUT * DAY_MS
        return self.local_days.end_ms(day) + uncut_ms <= self.horizon_ms

    @property
    def _panes_limit_ms(self) -> int:
        """Instant (ms) before which minutes keep their sum only, and no panes."""
        return min(self.horizon_ms - PANES_KEPT_MS, self.panes_read_ms // MINUTE_MS * MINUTE_MS)

    def _drop_open(
        self, book: str, slots: dict[int, dict[SourcePartition, OpenRow]], limit: int
    ) -> None:
        for start in [start for start in slots if start < limit]:
            for sp, open_row in slots.pop(start).items():
                self._by_sp[sp].discard(SlotKey(self._code, book, start))
                self.garbage.update(dict.fromkeys(open_row.keys))
                self.expired_rows += 1

"""Level 1's state of one source partition: both books, what is to be sent, recovery.

It reads no event. The folds of orders and payments add to its rows and report what they touched. It
returns what to send, and sends nothing itself. What it returns is a pure function of (edition,
source partition, log prefix): two workers that fold the same prefix (a zombie and the new owner)
return the same.
"""

from __future__ import annotations

from array import array
from collections import Counter

from streams.flow.admission import ACCEPTED, DAY_CLOSED, DOUBTED, DUPLICATE, LATE, Admission
from streams.flow.chunk import SourcePartition
from streams.flow.remembered import (
    CANCELLED_NOTE,
    EARLY_NOTE,
    LATE_NOTE,
    REFUNDED_NOTE,
    REFUSED_NOTE,
    Note,
    Remembered,
    key_of,
)
from streams.flow.set_aside import Folded
from streams.flow.state import (
    CHECKPOINT,
    DAY,
    FOREVER_MS,
    LIVE,
    NEVER_MS,
    ORDERS,
    PARTIAL,
    Day,
    MarketState,
    Pane,
    SlotKey,
)
from streams.index.event_types import OrderEvent, PaymentEvent
from streams.index.known_labels import KnownLabels
from streams.index.label_rows import LabelRow
from streams.index.methodology import Methodology
from streams.index.panes import DAY_MS

BOTH = CHECKPOINT | PARTIAL
"""Flags of a slot that the next checkpoint and the next partials hold: nothing is left to note."""


class SourceState:
    """What level 1 keeps of one source partition."""

    def __init__(self, sp: SourcePartition, methodology: Methodology, *, payments: bool) -> None:
        self.sp = sp
        self.methodology = methodology
        self.payments = payments
        """Whether its records are payments."""
        self.through = -1
        """Last offset included; -1 before the first."""
        labels = KnownLabels()
        self.markets = {
            code: MarketState(market, methodology, labels)
            for code, market in methodology.markets.items()
        }
        self.admission = Admission(methodology)
        self.volume = 0
        """An upper bound of the sums in all rows: while it is below 63 bits, no row needs a check."""
        self.held_ids = 0
        self.notes: Counter[int] = Counter()
        """Number of notes held about orders, by kind."""
        self._touched: dict[int, dict[SlotKey, Pane | Day]] = {CHECKPOINT: {}, PARTIAL: {}}
        self._days_taken: dict[str, int] = {}
        """Local day of each market's `as_of` when rows of days were last taken."""
        self._noted: dict[SlotKey, Remembered] = {}
        """Where notes were added since the last checkpoint."""
        self._new_ids = 0

    # -- what the folds report -------------------------------------------------------------------

    def arrive(
        self,
        state: MarketState,
        arrived_ms: int,
        event: OrderEvent | PaymentEvent,
        folded: Folded,
        *,
        doubtful: bool,
    ) -> None:
        """Move the market's watermark by an event, or doubt its arrival; close what it has passed."""
        before_ms = state.watermark_ms
        if arrived_ms <= before_ms and not state.doubts:
            return
        if self.admission.arrive(state, arrived_ms, key_of(event), doubtful=doubtful):
            folded.outcomes[DOUBTED] += 1
        if state.watermark_ms > before_ms and state.watermark_ms >= state.next_close_ms:
            self.close(state)

    def count(
        self, folded: Folded, accepted: int, late: int, duplicates: int, day_closed: int
    ) -> None:
        """Add to the outcomes: of many events at once, or of one order that the Python half folds."""
        self._new_ids += accepted + late
        self.held_ids += accepted + late
        for name, count in (
            (ACCEPTED, accepted),
            (LATE, late),
            (DUPLICATE, duplicates),
            (DAY_CLOSED, day_closed),
        ):
            if count:
                folded.outcomes[name] += count

    def remember(self, state: MarketState, pane: Pane, event_hash: int) -> None:
        """Hold the id of an event that counts, and note that its pane was touched."""
        if pane.ids is not None:
            pane.ids.add(event_hash)
        pane.order.append(event_hash)
        if pane.flags != BOTH:
            self.touch_pane(state, pane)

    @property
    def corrections(self) -> int:
        """How many cancels and refunds are remembered."""
        return self.notes[CANCELLED_NOTE] + self.notes[REFUNDED_NOTE]

    @property
    def late_orders(self) -> int:
        """How many orders are remembered that came late, or from before the log begins."""
        return self.notes[LATE_NOTE] + self.notes[EARLY_NOTE]

    def note(self, state: MarketState, note: Note, arrived_ms: int = 0) -> None:
        """Remember something about an order.

        ``arrived_ms``: when it arrived, where the market may not have been seen before.
        """
        known = state.watermark_ms > NEVER_MS
        arrived_day = (state.watermark_ms if known else arrived_ms) // DAY_MS
        held = state.remembered.get(arrived_day) or state.remember_on(arrived_day)
        self._new_ids += held.add(note)
        self.notes[note.kind] += 1
        self._noted[SlotKey(state.code, ORDERS, arrived_day)] = held
        if note.kind == REFUSED_NOTE:
            state.note_refused(note)

    def close(self, state: MarketState) -> None:
        """Drop the slots that the market's watermark or floor has closed."""
        panes, forgotten = state.close()
        for pane in panes:
            # The row stays referenced by ``_touched`` until it was sent; its ids are useless now.
            self.held_ids -= len(pane.order)
            self._new_ids -= len(pane.order) - pane.saved
            pane.saved = len(pane.order)
        for each in forgotten:
            self.notes -= each.kinds
            self._new_ids -= len(each.order) - each.saved
            self._noted.pop(SlotKey(state.code, ORDERS, each.arrived_day), None)

    def open_pane(self, state: MarketState, start_ms: int) -> Pane:
        """Open the pane of an event that counts; where it is one too many, the oldest is closed.

        The caller has asked ``is_below_floor``: the new pane is not the oldest itself.
        """
        while len(state.panes) >= self.admission.panes_max:
            state.floor_ms = min(state.panes) + self.admission.pane_ms
            self.close(state)
        return state.open_pane(start_ms)

    # -- what to send ----------------------------------------------------------------------------

    def touch_pane(self, state: MarketState, pane: Pane) -> None:
        """Note that a pane changed."""
        self._touch(SlotKey(state.code, LIVE, pane.start_ms), pane)

    def touch_day(self, state: MarketState, day: Day) -> None:
        """Note that a day changed."""
        if day.flags != BOTH:
            self._touch(SlotKey(state.code, DAY, day.day), day)

    def _touch(self, key: SlotKey, slot: Pane | Day) -> None:
        for flag in (CHECKPOINT, PARTIAL):
            if not slot.flags & flag:
                self._touched[flag][key] = slot
        slot.flags = BOTH

    def take_touched(self, flag: int) -> dict[SlotKey, Pane | Day]:
        """Return the slots touched since the last call with this flag, and forget them."""
        touched = self._touched[flag]
        self._touched[flag] = {}
        for slot in touched.values():
            slot.flags &= ~flag
        if flag == CHECKPOINT:
            self._new_ids = 0
        return touched

    def take_noted(self) -> dict[SlotKey, Remembered]:
        """Return where notes were added since the last call, and forget it."""
        noted, self._noted = self._noted, {}
        return noted

    def take_touched_live(self, covered_ms: int) -> dict[SlotKey, Pane | Day]:
        """Return the panes touched since their last partial, and the touched days that have closed.

        Only panes that ``as_of`` may reach by a mark of now, when the source partition was caught
        up at ``covered_ms``. The rest can wait: nobody reads a pane before it is complete.
        """
        touched = self._touched[PARTIAL]
        taken = {key: slot for key, slot in touched.items() if self._is_due(key, slot, covered_ms)}
        for key, slot in taken.items():
            del touched[key]
            slot.flags &= ~PARTIAL
        return taken

    def _is_due(self, key: SlotKey, slot: Pane | Day, covered_ms: int) -> bool:
        if not isinstance(slot, Pane):
            return not self.is_open(key)
        # From then on an event of the pane is late: as_of may have passed the pane.
        return slot.late_from_ms <= max(covered_ms, self.markets[key.market].watermark_ms)

    def ends_a_day(self) -> bool:
        """Whether a mark of now may end a day whose row waits.

        As of its watermark a market is in another local day than when rows of days were last taken.
        """
        return self._as_of_days() != self._days_taken

    def _as_of_days(self) -> dict[str, int]:
        behind_ms = self.methodology.out_of_order_ms
        return {
            code: state.local_days.day_of(state.watermark_ms - behind_ms)
            for code, state in self.markets.items()
        }

    def take_touched_days(self) -> dict[SlotKey, Pane | Day]:
        """Return the days touched since their last partial."""
        self._days_taken = self._as_of_days()
        touched = self._touched[PARTIAL]
        taken = {key: slot for key, slot in touched.items() if key.book == DAY}
        for key, slot in taken.items():
            del touched[key]
            slot.flags &= ~PARTIAL
        return taken

    def pending_days_close_ms(self) -> int:
        """Return when (ms) the first day closes whose row was not sent since it changed."""
        ends = [slot.end_ms for slot in self._touched[PARTIAL].values() if isinstance(slot, Day)]
        return min(ends, default=FOREVER_MS) + self.methodology.day_grace_ms

    @property
    def pending_slots(self) -> int:
        """How many slots the next checkpoint will hold."""
        return len(self._touched[CHECKPOINT])

    @property
    def pending_ids(self) -> int:
        """How many ids, and words of notes, the next checkpoint will hold."""
        return self._new_ids

    @property
    def open_panes(self) -> int:
        """Open panes over all markets."""
        return sum(len(state.panes) for state in self.markets.values())

    def begins(self) -> dict[str, int]:
        """Return when (ms) the log of each market began to arrive."""
        return {
            code: state.begins_ms
            for code, state in self.markets.items()
            if state.begins_ms is not None
        }

    def watermarks(self) -> dict[str, int]:
        """Return the arrival watermark (ms) of each market that this log prefix has seen."""
        return {
            code: state.watermark_ms
            for code, state in self.markets.items()
            if state.watermark_ms > -(2**61)
        }

    def floors(self) -> dict[str, int]:
        """Return the floor (ms) of each market whose open panes once were too many."""
        return {
            code: state.floor_ms
            for code, state in self.markets.items()
            if state.floor_ms > NEVER_MS
        }

    def doubts(self) -> dict[str, list[tuple[int, int]]]:
        """Return the doubted arrivals of each market that has any: (hash of the order, ms)."""
        return {code: list(state.doubts) for code, state in self.markets.items() if state.doubts}

    def is_open(self, key: SlotKey) -> bool:
        """Whether the slot can still grow."""
        return self.slot(key) is not None

    def is_unsent(self, key: SlotKey) -> bool:
        """Whether the slot changed since its last partial."""
        return key in self._touched[PARTIAL]

    def slot(self, key: SlotKey) -> Pane | Day | Remembered | None:
        """Return the open slot of the key; None when it is not open."""
        state = self.markets[key.market]
        if key.book == LIVE:
            return state.panes.get(key.slot)
        return (state.days if key.book == DAY else state.remembered).get(key.slot)

    # -- recovery --------------------------------------------------------------------------------

    def restore_progress(
        self,
        watermarks: dict[str, int],
        floors: dict[str, int],
        begins: dict[str, int],
        doubts: dict[str, list[tuple[int, int]]],
    ) -> None:
        """Restore what closes slots; slots come after it."""
        for code, watermark_ms in watermarks.items():
            self.markets[code].watermark_ms = watermark_ms
        for code, floor_ms in floors.items():
            self.markets[code].floor_ms = floor_ms
        for code, begins_ms in begins.items():
            self.markets[code].begins_ms = begins_ms
        for code, doubted in doubts.items():
            self.markets[code].doubts = list(doubted)

    def restore_slot(self, key: SlotKey, row: LabelRow, sketch: bytes) -> None:
        """Restore a slot from a checkpoint unless it was closed, by what ``restore_progress`` set.

        The slot takes the row over, and adds to it.
        """
        state = self.markets[key.market]
        if state.is_closed(key):
            return
        if key.book == LIVE:
            pane = state.open_pane(key.slot)
            pane.row = row
            pane.sketch = sketch
        else:
            state.new_day(key.slot).row = row
        self.volume = max(self.volume, *row.numbers)

    def restore_notes(self, key: SlotKey, words: array[int]) -> tuple[int, int] | None:
        """Restore notes; return the range they take in their slot, None when it was closed."""
        state = self.markets[key.market]
        if state.is_closed(key):
            return None
        held = state.remembered.get(key.slot) or state.remember_on(key.slot)
        start = len(held.order)
        self.notes += held.extend(words)
        for note in held.refused():
            state.note_refused(note)
        return start, len(held.order)

    def restore_ids(self, key: SlotKey, ids: array[int]) -> tuple[int, int] | None:
        """Restore ids of an open pane; return the range they take in it, None when it was closed."""
        pane = self.markets[key.market].panes.get(key.slot)
        if pane is None:
            return None
        start = len(pane.order)
        pane.order.extend(ids)
        if pane.ids is not None:
            pane.ids.update(ids)
        pane.saved = len(pane.order)
        self.held_ids += len(ids)
        return start, len(pane.order)

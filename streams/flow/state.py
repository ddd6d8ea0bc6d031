"""What level 1 keeps of one (source partition, market): open panes with their ids, open days.

All of it is a pure function of (edition, source partition, log prefix); nothing here knows a clock.
"""

from __future__ import annotations

from array import array
from itertools import islice
from typing import NamedTuple

from streams.flow.remembered import (
    COUNTED_NOTES,
    REFUSED_BITS,
    REFUSED_NOTE,
    Note,
    Remembered,
    closes_ms,
    hash_of_label,
    notes_of,
)
from streams.index.known_labels import KnownLabels
from streams.index.label_rows import DAY_BOOK, LIVE_BOOK, LabelRow
from streams.index.label_text import MORE
from streams.index.methodology import Market, Methodology
from streams.index.panes import LocalDays
from streams.index.shoppers import NOBODY, coupon_of, with_coupons

LIVE, DAY, ORDERS = "live", "day", "orders"
"""Books of a slot. ``ORDERS``: what is remembered of orders, by the UTC day of arrival."""

NEVER_MS = -(2**62)
"""Watermark of a market that the log prefix has not seen."""
FOREVER_MS = 2**62
"""Later than any instant."""

CHECKPOINT, PARTIAL = 1, 2
"""Flags of a slot: touched since the last checkpoint / since its last partial."""

_WARM_PANES_MAX = 4
"""How many panes keep a set of their ids: the newest of a market and source partition, where nearly
all events fall that are less than 15 s out of order. One more costs a worker 5 MB at 10,000 events
a second: 136 bytes an id, not 8."""
_COLD_HITS_MAX = 64
"""After this many scans of a pane's packed array, a set of its ids pays."""
COUPONS_MAX = 4096
"""Shoppers that may wait for a pane's sketch: more than any sketch has registers is waste."""


class SlotKey(NamedTuple):
    """One slot of one market: a pane of the live book (its start, ms) or a day (its number).

    In the book ``ORDERS``, the slot is the number of a UTC day; it has no row.
    """

    market: str
    book: str
    slot: int


class Pane:
    """An open pane: its row and the ids counted in it, in the order of the log."""

    __slots__ = (
        "cold_hits", "coupons", "day", "flags", "ids", "late_from_ms", "order", "row", "saved",
        "sketch", "start_ms",
    )  # fmt: skip

    def __init__(self, start_ms: int) -> None:
        self.start_ms = start_ms
        self.row = LabelRow(LIVE_BOOK)
        self.day = 0
        """Number of the local day in which the pane begins: that of an order placed now."""
        self.late_from_ms = 0
        self.order = array("Q")
        self.ids: set[int] | None = set()
        self.saved = 0
        """How many of ``order`` are in a checkpoint record already."""
        self.flags = 0
        self.cold_hits = 0
        self.coupons = array("I")
        """Coupons of shoppers that ``sketch`` does not have yet; see ``shoppers.coupon_of``."""
        self.sketch = NOBODY

    def add_shopper(self, shopper_id: str | None) -> None:
        """Count a shopper; None: nobody knows who bought."""
        if shopper_id is None:
            return
        self.coupons.append(coupon_of(shopper_id))
        if len(self.coupons) >= COUPONS_MAX:
            self.shoppers()

    def shoppers(self) -> bytes:
        """Sketch of the shoppers of the orders placed in this pane."""
        if self.coupons:
            self.sketch = with_coupons(self.sketch, self.coupons)
            del self.coupons[:]
        return self.sketch

    def seen(self, event_hash: int) -> bool:
        """Whether the id was counted in this pane; without a set, the packed array is scanned."""
        if self.ids is not None:
            return event_hash in self.ids
        self.cold_hits += 1
        if self.cold_hits > _COLD_HITS_MAX:
            self.build_id_set()
            return event_hash in self.order_set()
        return event_hash in self.order

    def order_set(self) -> set[int]:
        """Return the ids as a set, built when missing."""
        if self.ids is None:
            self.ids = set(self.order)
        return self.ids

    def build_id_set(self) -> None:
        """Keep a set of the ids again: this pane is asked often."""
        self.order_set()
        self.cold_hits = 0

    def drop_id_set(self) -> None:
        """Keep the packed array alone: 8 bytes an id instead of about 70."""
        self.ids = None
        self.cold_hits = 0


class Day:
    """An open day of the day book."""

    __slots__ = ("_by_hash", "day", "end_ms", "flags", "row")

    def __init__(self, day: int, end_ms: int) -> None:
        self.day = day
        self.row = LabelRow(DAY_BOOK)
        self.flags = 0
        self.end_ms = end_ms
        self._by_hash: tuple[dict[int, int], ...] = tuple({} for _ in DAY_BOOK.widths)
        """Of each dimension: hash of a label of the row -> its first column."""

    def column_of(self, dimension: int, label_hash: int) -> int:
        """Return the first column of the label of this hash; that of ``MORE`` if the row has none."""
        known, columns = self._by_hash[dimension], self.row.columns[dimension]
        if len(known) < len(columns):
            for label, column in islice(columns.items(), len(known), None):
                known[hash_of_label(label)] = column
        found = known.get(label_hash)
        return self.row.column(dimension, MORE) if found is None else found

    def shoppers(self) -> bytes:
        """Return the empty sketch: shoppers are counted in panes, when they bought."""
        return NOBODY


class MarketState:
    """Everything one source partition keeps of one market."""

    __slots__ = (
        "begins_ms", "code", "currency", "day_grace_ms", "days", "doubts", "floor_ms", "grace_ms",
        "labels", "local_days", "next_close_ms", "out_of_order_ms", "pane_ms", "panes",
        "refused", "refused_quick", "remembered", "warm_panes", "watermark_ms",
    )  # fmt: skip

    def __init__(self, market: Market, methodology: Methodology, labels: KnownLabels) -> None:
        self.code = market.code
        self.currency = market.currency
        self.labels = labels
        self.local_days = LocalDays(market.time_zone)
        self.pane_ms = methodology.pane_ms
        self.grace_ms = methodology.grace_ms
        self.day_grace_ms = methodology.day_grace_ms
        self.out_of_order_ms = methodology.out_of_order_ms
        self.watermark_ms = NEVER_MS
        self.doubts: list[tuple[int, int]] = []
        """(hash of the order, its arrival) of the doubted records since the last one that was not: at
        most two. They are part of the checkpoint."""
        self.begins_ms: int | None = None
        """Arrival of the market's first record; None before it."""
        self.floor_ms = NEVER_MS
        """Panes that start before it are closed, within the grace too: newer ones needed room. It never
        falls, and is part of the checkpoint: a pane that opened again would replace its own row."""
        self.panes: dict[int, Pane] = {}
        self.days: dict[int, Day] = {}
        self.remembered: dict[int, Remembered] = {}
        self.refused: bytearray | None = None
        """Filter of the refused orders: the bit of each, by its hash; None while there is none."""
        self.refused_quick: bytearray | None = None
        """Filter for the compiled half: the bit of each refused order, by its ``quick_hash``."""
        self.next_close_ms = NEVER_MS  # so that the first arrival closes nothing, but is noted
        self.warm_panes: list[Pane] = []

    def open_pane(self, start_ms: int) -> Pane:
        """Create the pane; the caller has checked the limit."""
        pane = self.panes[start_ms] = Pane(start_ms)
        pane.day = self.local_days.day_of(start_ms)
        pane.late_from_ms = start_ms + self.pane_ms + self.out_of_order_ms
        self.next_close_ms = min(self.next_close_ms, start_ms + self.pane_ms + self.grace_ms)
        self.warm_panes.append(pane)
        if len(self.warm_panes) > _WARM_PANES_MAX:
            self.warm_panes.pop(0).drop_id_set()
        return pane

    def day_is_closed(self, day: int, arrived_ms: int = NEVER_MS) -> bool:
        """Whether the day is closed for this source partition, or for a doubted event that arrived then.

        The latter: the watermark stays behind a doubted arrival, but the log's time has passed the day.
        """
        reached_ms = max(self.watermark_ms, arrived_ms)
        return self.local_days.end_ms(day) + self.day_grace_ms <= reached_ms

    @property
    def newest_ms(self) -> int:
        """The latest arrival that the market's watermark has reached or that is doubted."""
        return max([self.watermark_ms, *(arrived_ms for _, arrived_ms in self.doubts)])

    def is_before_log(self, placed_ms: int) -> bool:
        """Whether an order placed then is in the log only if it came late, or says so itself."""
        return self.begins_ms is not None and placed_ms < self.begins_ms - self.grace_ms

    def open_day(self, day: int, arrived_ms: int) -> Day | None:
        """Return the day's row, or None when the day is closed for an event that arrived then."""
        found = self.days.get(day)
        if found is None:
            return None if self.day_is_closed(day, arrived_ms) else self.new_day(day)
        # By its own end, without a search in the calendar: each payment asks.
        end_ms = found.end_ms + self.day_grace_ms
        return found if end_ms > self.watermark_ms and end_ms > arrived_ms else None

    def new_day(self, day: int) -> Day:
        """Create the day's row; the caller knows that the day was open for what it adds."""
        end_ms = self.local_days.end_ms(day)
        found = self.days[day] = Day(day, end_ms)
        self.next_close_ms = min(self.next_close_ms, end_ms + self.day_grace_ms)
        return found

    def remember_on(self, arrived_day: int) -> Remembered:
        """Begin to remember the orders of an arrival day."""
        found = self.remembered[arrived_day] = Remembered(arrived_day)
        self.next_close_ms = min(self.next_close_ms, closes_ms(arrived_day))
        return found

    def note_refused(self, note: Note) -> None:
        """Enter a refused order into the filters."""
        if self.refused is None or self.refused_quick is None:
            self.refused = bytearray(1 << (REFUSED_BITS - 3))
            self.refused_quick = bytearray(1 << (REFUSED_BITS - 3))
        bit = note.order >> (64 - REFUSED_BITS)
        self.refused[bit >> 3] |= 1 << (bit & 7)
        self.refused_quick[note.key >> 3] |= 1 << (note.key & 7)

    def is_refused(self, order: int) -> bool:
        """Whether a placement of the order (its hash) was refused, and none is known to count."""
        bit = order >> (64 - REFUSED_BITS)
        if self.refused is None or not self.refused[bit >> 3] >> (bit & 7) & 1:
            return False
        kinds = {note.kind for note in notes_of(order, self.remembered.values())}
        return REFUSED_NOTE in kinds and not kinds & COUNTED_NOTES

    def _filter_refused(self) -> None:
        """Build the filters anew from what is still remembered."""
        self.refused = self.refused_quick = None
        for each in self.remembered.values():
            for note in each.refused():
                self.note_refused(note)

    def close(self) -> tuple[list[Pane], list[Remembered]]:
        """Remove the slots that the watermark or the floor has closed: they can never grow again.

        Returns the panes removed, and what was remembered.
        """
        watermark = self.watermark_ms
        if self.begins_ms is None:
            self.begins_ms = watermark
        pane_margin = self.pane_ms + self.grace_ms
        open_from_ms = max(watermark - pane_margin + 1, self.floor_ms)
        panes = [pane for pane in self.panes.values() if pane.start_ms < open_from_ms]
        for pane in panes:
            del self.panes[pane.start_ms]
        days = [day for day in self.days.values() if day.end_ms + self.day_grace_ms <= watermark]
        for day in days:
            del self.days[day.day]
        forgotten = [each for day, each in self.remembered.items() if closes_ms(day) <= watermark]
        for each in forgotten:
            del self.remembered[each.arrived_day]
        if any(each.kinds[REFUSED_NOTE] for each in forgotten):
            self._filter_refused()
        if panes:
            self.warm_panes = [pane for pane in self.warm_panes if pane.start_ms in self.panes]
        self.next_close_ms = min(
            min((start + pane_margin for start in self.panes), default=FOREVER_MS),
            min((day.end_ms + self.day_grace_ms for day in self.days.values()), default=FOREVER_MS),
            min(map(closes_ms, self.remembered), default=FOREVER_MS),
        )
        return panes, forgotten

    def is_closed(self, key: SlotKey) -> bool:
        """Whether the slot is closed, by the watermark or the floor."""
        if key.book == LIVE:
            closes_at_ms = key.slot + self.pane_ms + self.grace_ms
            return closes_at_ms <= self.watermark_ms or key.slot < self.floor_ms
        if key.book == ORDERS:
            return closes_ms(key.slot) <= self.watermark_ms
        return self.day_is_closed(key.slot)

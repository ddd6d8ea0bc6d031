"""Replays the log of one source partition by offset, and computes what must come of it.

It is written plainly from the rules (docs/guarantees.md), not from flow/fold.py. Open slots and the ids
of open panes bound its memory: a closed slot goes to the sink and is dropped, unless it was asked for.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from xxhash import xxh3_64_intdigest

from streams.flow.chunk import SourcePartition
from streams.flow.ids import ID_SEED
from streams.flow.state import DAY, LIVE, NEVER_MS, SlotKey
from streams.index.events import (
    SUM_MAX,
    OrderEvent,
    PaymentEvent,
    Rejected,
    decode_orders,
    decode_payments,
    instant_ms,
)
from streams.index.methodology import Market, Methodology
from streams.index.panes import LocalDays
from streams.proof.recompute.asking import Ask, PrefixState
from streams.proof.recompute.sums import EventSums, Sums, totals

SET_ASIDE_MAX = 2_000_000
TOO_LATE = "too_late"
_LEDGERS = ("placed", "cancelled", "refunded")

Event = OrderEvent | PaymentEvent
Sink = Callable[[SourcePartition, SlotKey, Sums, bool], None]
"""(source partition, slot, its sums, whether it is closed): each slot once."""


@dataclass(slots=True)
class _Pane:
    sums: Sums = field(default_factory=Sums)
    ids: set[str] = field(default_factory=set)
    hashes: array[int] = field(default_factory=lambda: array("Q"))


class _MarketReplay:
    """State of one market in one source partition."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self.adds = EventSums(market)
        self.local_days = LocalDays(market.time_zone)
        self.watermark_ms: int | None = None
        self.panes: dict[int, _Pane] = {}
        self.days: dict[int, Sums] = {}
        self.next_close_ms: int | None = None


class SourceBatch:
    """Replays the log of one source partition."""

    def __init__(
        self,
        sp: SourcePartition,
        methodology: Methodology,
        *,
        payments: bool,
        sink: Sink,
        ask: Ask | None = None,
        blind_before_ms: int = NEVER_MS,
    ) -> None:
        """``blind_before_ms``: see ``blind_before``; NEVER_MS: the log is complete."""
        self.sp = sp
        self.outcomes: Counter[str] = Counter()
        self.set_aside: dict[int, str] = {}
        """Offset -> reason why its record was not counted, up to ``state_at``."""
        self.set_aside_left_out = 0
        self.state: PrefixState | None = None
        self.rows: dict[tuple[int, SlotKey], Sums] = {}
        """Answers to ``rows_at``; a slot without an event has none."""
        self.watermarks_at: dict[int, dict[str, int]] = {}
        """Answers to ``watermarks_at``."""
        self.through = -1
        self.blind_before_ms = blind_before_ms
        self._methodology = methodology
        self._payments = payments
        self._sink = sink
        self._ask = ask or Ask()
        stops = {*self._ask.rows_at, *self._ask.watermarks_at}
        if self._ask.state_at is not None:
            stops.add(self._ask.state_at)
        self._stops = sorted(stops)
        self._wanted = self._ask.keep.union(*self._ask.rows_at.values())
        self._kept: dict[SlotKey, Sums] = {}
        self._markets = {code: _MarketReplay(each) for code, each in methodology.markets.items()}

    @property
    def blind(self) -> bool:
        """Whether the beginning of the log is gone."""
        return self.blind_before_ms > NEVER_MS

    @property
    def state_through(self) -> int | None:
        """Offset up to which ``state`` and ``set_aside`` reach."""
        return self._ask.state_at

    def feed(
        self,
        offsets: Sequence[int],
        values: Sequence[bytes | None],
        timestamps_ms: Sequence[int],
    ) -> None:
        """Apply the next records."""
        decode: Callable[[Sequence[bytes | None]], Sequence[Event | Rejected]]
        decode = decode_payments if self._payments else decode_orders
        for offset, event, arrived_ms in zip(offsets, decode(values), timestamps_ms, strict=True):
            while self._stops and self._stops[0] < offset:
                self._answer(self._stops.pop(0))
            outcome = self._admit(event, arrived_ms)
            self.outcomes[outcome] += 1
            if outcome not in ("accepted", "duplicate"):
                self._add_set_aside(offset, outcome)
            self.through = offset

    def finish(self) -> None:
        """Answer what is still asked at the end of the log, and give the open slots to the sink."""
        for stop in self._stops:
            self._answer(stop)
        self._stops = []
        for code, market in self._markets.items():
            for start, pane in market.panes.items():
                self._sink(self.sp, SlotKey(code, LIVE, start), pane.sums, False)
            for day, sums in market.days.items():
                self._sink(self.sp, SlotKey(code, DAY, day), sums, False)

    def watermarks(self) -> dict[str, int]:
        """Arrival watermark of each market seen."""
        return {
            code: market.watermark_ms
            for code, market in self._markets.items()
            if market.watermark_ms is not None
        }

    # -- admission -------------------------------------------------------------------------------

    def _admit(self, event: Event | Rejected, arrived_ms: int) -> str:  # noqa: C901, PLR0911, PLR0912 - the rules, in order
        """Return ``accepted``, ``duplicate``, ``too_late`` or the reason of a dead letter."""
        if isinstance(event, Rejected):
            return event.reason
        market = self._markets.get(event.market)
        occurred_ms = instant_ms(event.occurred_at)
        if market is None:
            return "unknown_market"
        if occurred_ms is None:
            return "invalid_time"
        if event.currency != market.market.currency:
            return "wrong_currency"
        rules = self._methodology
        if market.watermark_ms is None or arrived_ms > market.watermark_ms:
            market.watermark_ms = arrived_ms
            self._close(market)
        if occurred_ms > arrived_ms + rules.ahead_ms:
            return "ahead"
        if market.watermark_ms - occurred_ms > rules.grace_ms:
            return TOO_LATE
        placed_ms = occurred_ms
        if event.placed_at is not None:
            found_ms = instant_ms(event.placed_at)
            if found_ms is None:
                return "invalid_time"
            if found_ms > occurred_ms:
                return "placed_after_occurred"
            placed_ms = found_ms
        elif event.type in ("order.cancelled", "order.refunded"):
            return "placed_at_missing"
        start_ms = occurred_ms // rules.pane_ms * rules.pane_ms
        pane = market.panes.get(start_ms)
        if pane is None and len(market.panes) >= rules.open_panes_max:
            return "pane_limit"
        if pane is not None and event.event_id in pane.ids:
            return "duplicate"
        day = market.local_days.day_of(placed_ms)
        day_open = self._day_closes_ms(market, day) > market.watermark_ms
        if self._overflows(event, pane, market.days.get(day) if day_open else None):
            return "overflow"
        if pane is None:
            pane = market.panes[start_ms] = _Pane()
            self._closes_at(market, start_ms + rules.pane_ms + rules.grace_ms)
        if day_open and day not in market.days:
            market.days[day] = Sums()
            self._closes_at(market, self._day_closes_ms(market, day))
        self._count(event, market, pane, market.days[day] if day_open else None)
        return "accepted"

    def _count(self, event: Event, market: _MarketReplay, pane: _Pane, day: Sums | None) -> None:
        pane.ids.add(event.event_id)
        pane.hashes.append(xxh3_64_intdigest(event.event_id.encode(), ID_SEED))
        if isinstance(event, OrderEvent):
            market.adds.order_live(pane.sums, event)
            if day is not None:
                market.adds.order_day(day, event)
        else:
            market.adds.payment_live(pane.sums, event)
            if day is not None:
                market.adds.payment_day(day, event)

    @staticmethod
    def _overflows(event: Event, pane: _Pane | None, day: Sums | None) -> bool:
        """Whether a sum of the pane or the day would exceed 63 bits."""
        live = Sums() if pane is None else pane.sums
        book = day or Sums()
        if isinstance(event, OrderEvent):
            units, sales = totals(event)
            held_units = [
                live.get("units", 0),
                *(book.get(f"{each}/units", 0) for each in _LEDGERS),
            ]
            held_sales = [
                live.get("sales", 0),
                *(book.get(f"{each}/sales", 0) for each in _LEDGERS),
            ]
            return max(held_units) + units > SUM_MAX or max(held_sales) + sales > SUM_MAX
        names = ("amount", "refund_amount", "unplaced_amount")
        held = [sums.get(name, 0) for sums in (live, book) for name in names]
        return max(held) + event.amount_minor > SUM_MAX

    def _add_set_aside(self, offset: int, reason: str) -> None:
        if self._ask.state_at is None or offset > self._ask.state_at:
            return
        if len(self.set_aside) < SET_ASIDE_MAX:
            self.set_aside[offset] = reason
        else:
            self.set_aside_left_out += 1

    # -- closing ---------------------------------------------------------------------------------

    def _day_closes_ms(self, market: _MarketReplay, day: int) -> int:
        return market.local_days.end_ms(day) + self._methodology.day_grace_ms

    @staticmethod
    def _closes_at(market: _MarketReplay, at_ms: int) -> None:
        if market.next_close_ms is None or at_ms < market.next_close_ms:
            market.next_close_ms = at_ms

    def _close(self, market: _MarketReplay) -> None:
        watermark_ms = market.watermark_ms
        assert watermark_ms is not None
        if market.next_close_ms is None or watermark_ms < market.next_close_ms:
            return
        market.next_close_ms = None
        code = market.market.code
        after_ms = self._methodology.pane_ms + self._methodology.grace_ms
        for start in list(market.panes):
            if start + after_ms <= watermark_ms:
                self._emit(SlotKey(code, LIVE, start), market.panes.pop(start).sums)
            else:
                self._closes_at(market, start + after_ms)
        for day in list(market.days):
            closes_ms = self._day_closes_ms(market, day)
            if closes_ms <= watermark_ms:
                self._emit(SlotKey(code, DAY, day), market.days.pop(day))
            else:
                self._closes_at(market, closes_ms)

    def _emit(self, slot: SlotKey, sums: Sums) -> None:
        if slot in self._wanted:
            self._kept[slot] = sums
        self._sink(self.sp, slot, sums, True)

    # -- answers ---------------------------------------------------------------------------------

    def _answer(self, offset: int) -> None:
        for slot in self._ask.rows_at.get(offset, ()):
            sums = self._row(slot)
            if sums is not None:
                self.rows[offset, slot] = sums.copy()
        if offset in self._ask.watermarks_at:
            self.watermarks_at[offset] = self.watermarks()
        if offset == self._ask.state_at:
            self.state = self._state()

    def _row(self, slot: SlotKey) -> Sums | None:
        market = self._markets[slot.market]
        if slot.book == DAY:
            open_row = market.days.get(slot.slot)
        else:
            pane = market.panes.get(slot.slot)
            open_row = None if pane is None else pane.sums
        return self._kept.get(slot) if open_row is None else open_row

    def _state(self) -> PrefixState:
        rows = {slot: self._kept[slot].copy() for slot in self._ask.keep if slot in self._kept}
        ids: dict[SlotKey, array[int]] = {}
        open_slots: set[SlotKey] = set()
        for code, market in self._markets.items():
            for start, pane in market.panes.items():
                slot = SlotKey(code, LIVE, start)
                open_slots.add(slot)
                rows[slot] = pane.sums.copy()
                ids[slot] = array("Q", sorted(pane.hashes))
            for day, sums in market.days.items():
                slot = SlotKey(code, DAY, day)
                open_slots.add(slot)
                rows[slot] = sums.copy()
        return PrefixState(self.watermarks(), rows, frozenset(open_slots), ids)

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
from streams.flow.state import DAY, LIVE, NEVER_MS, ORDERS, SlotKey
from streams.index.event_types import (
    SUM_MAX,
    Ignored,
    OrderEvent,
    PaymentEvent,
    Placement,
    Rejected,
)
from streams.index.events import decode_orders, decode_payments, instant_ms
from streams.index.methodology import Market, Methodology
from streams.index.panes import LocalDays
from streams.proof.recompute.asking import Ask, PrefixState
from streams.proof.recompute.corrected_orders import Move, claim_of
from streams.proof.recompute.event_sums import AMOUNTS, EventSums, totals
from streams.proof.recompute.label_sums import (
    DAY_LABELS_MOST,
    PANE_LABELS_MOST,
    GrowingRow,
    LabelSums,
)
from streams.proof.recompute.remembered_orders import (
    CORRECTIONS_KEPT_MOST,
    ORDERS_KEPT_MOST,
    REFUSED_KEPT_MOST,
    RememberedOrders,
)
from streams.proof.recompute.sums import BESIDE, LEDGERS

SET_ASIDE_MAX = 2_000_000
ORDERS_THAT_AGREE = 3
PANES_OF_DOUBTED = 32
_STAMPS_END_MS = 4_102_444_800_000  # 2100-01-01
TOO_LATE = "too_late"
DAY_ONLY = "day_only"
COUNTED = ("accepted", "duplicate", "ignored", DAY_ONLY)
_LEDGERS = (*LEDGERS.values(), *BESIDE)

Event = OrderEvent | PaymentEvent
Sink = Callable[[SourcePartition, SlotKey, LabelSums, bool], None]
"""(source partition, slot, its row, whether it is closed): each slot once."""


@dataclass(slots=True)
class _Pane:
    row: GrowingRow = field(default_factory=lambda: GrowingRow(PANE_LABELS_MOST))
    ids: set[str] = field(default_factory=set)
    hashes: array[int] = field(default_factory=lambda: array("Q"))


class _MarketReplay:
    """State of one market in one source partition."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self.local_days = LocalDays(market.time_zone)
        self.watermark_ms: int | None = None
        self.doubted: dict[str, int] = {}
        """Order -> first arrival, of the records that came far ahead of the others in a row."""
        self.begins_ms = 0
        """Arrival of the first record."""
        self.remembered = RememberedOrders()
        self.floor_ms = NEVER_MS
        """Start of the first pane that may open: an older one gave way to newer ones."""
        self.panes: dict[int, _Pane] = {}
        self.days: dict[int, GrowingRow] = {}
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
        self.rows: dict[tuple[int, SlotKey], LabelSums] = {}
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
        self._kept: dict[SlotKey, LabelSums] = {}
        self._adds = EventSums()
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
        doubtful: Sequence[bool] | None = None,
    ) -> None:
        """Apply the next records. ``doubtful``: the stamp is a producer's word alone; None: none is."""
        doubtful = doubtful or [False] * len(offsets)
        decode: Callable[[Sequence[bytes | None]], Sequence[Event | Rejected | Ignored]]
        decode = decode_payments if self._payments else decode_orders
        columns = zip(offsets, decode(values), timestamps_ms, doubtful, strict=True)
        for offset, event, arrived_ms, alone in columns:
            while self._stops and self._stops[0] < offset:
                self._answer(self._stops.pop(0))
            outcome = self._admit(event, arrived_ms, alone=alone)
            self.outcomes[outcome] += 1
            if outcome not in COUNTED:
                self._remember_refused(event, arrived_ms, too_late=outcome == TOO_LATE)
            if outcome not in ("accepted", "duplicate", "ignored"):
                self._add_set_aside(offset, outcome)
            self.through = offset

    def finish(self) -> None:
        """Answer what is still asked at the end of the log, and give the open slots to the sink."""
        for stop in self._stops:
            self._answer(stop)
        self._stops = []
        for code, market in self._markets.items():
            for start, pane in market.panes.items():
                self._sink(self.sp, SlotKey(code, LIVE, start), pane.row, False)
            for day, row in market.days.items():
                self._sink(self.sp, SlotKey(code, DAY, day), row, False)

    def watermarks(self) -> dict[str, int]:
        """Arrival watermark of each market seen."""
        return {
            code: market.watermark_ms
            for code, market in self._markets.items()
            if market.watermark_ms is not None
        }

    # -- admission -------------------------------------------------------------------------------

    def _admit(  # noqa: C901, PLR0911, PLR0912 - the rules, in order
        self, event: Event | Rejected | Ignored, arrived_ms: int, *, alone: bool
    ) -> str:
        """Return an outcome (``accepted``, ``duplicate``, ..) or the reason of a dead letter.

        ``alone``: the arrival is the word of the producer alone.
        """
        if isinstance(event, Rejected):
            return event.reason
        if isinstance(event, Ignored):
            return "ignored"
        market = self._markets.get(event.market)
        occurred_ms = instant_ms(event.occurred_at)
        if market is None:
            return "unknown_market"
        if occurred_ms is None:
            return "invalid_time"
        if event.currency != market.market.currency:
            return "wrong_currency"
        if not 0 <= arrived_ms < _STAMPS_END_MS:
            return "invalid_time"
        rules = self._methodology
        watermark_ms = self._arrive(market, event, arrived_ms, alone=alone)
        if occurred_ms > arrived_ms + rules.ahead_ms:
            return "ahead"
        late = max(watermark_ms, arrived_ms) - occurred_ms > rules.grace_ms
        start_ms = occurred_ms // rules.pane_ms * rules.pane_ms
        pane = market.panes.get(start_ms)
        full = pane is None and len(market.panes) >= rules.open_panes_max
        late = late or start_ms < market.floor_ms or (full and start_ms < min(market.panes))
        if late and isinstance(event, PaymentEvent):
            return TOO_LATE
        far = arrived_ms - watermark_ms > rules.ahead_ms
        if far and pane is None and not late and self._keeps(market, start_ms):
            return "ahead"
        placed_ms = self._placed(event, occurred_ms)
        if isinstance(placed_ms, str):
            return TOO_LATE if late else placed_ms
        if late:
            assert isinstance(event, OrderEvent)
            return self._admit_late(event, market, occurred_ms, placed_ms, arrived_ms)
        if pane is not None and event.event_id in pane.ids:
            return "duplicate"
        day = market.local_days.day_of(placed_ms)
        day_open = self._day_closes_ms(market, day) > max(watermark_ms, arrived_ms)
        if self._overflows(event, pane, market.days.get(day)):
            return "overflow"
        if full:
            oldest = min(market.panes)
            market.floor_ms = oldest + rules.pane_ms
            self._emit(SlotKey(event.market, LIVE, oldest), market.panes.pop(oldest).row)
        if pane is None:
            pane = market.panes[start_ms] = _Pane()
            self._closes_at(market, start_ms + rules.pane_ms + rules.grace_ms)
        self._count(event, pane)
        if event.type == "order.placed":
            self._count_mended(event, market, arrived_ms)
        if day_open:
            self._count_on_day(event, market, day, placed_ms)
        return "accepted"

    def _remember_refused(
        self, event: Event | Rejected | Ignored, arrived_ms: int, *, too_late: bool
    ) -> None:
        """Remember the order that a refused record would have placed.

        ``too_late``: not where its day is closed, as no correction changes that day.
        """
        found = event.placement if isinstance(event, Rejected) else event
        if isinstance(found, OrderEvent) and found.type != "order.placed":
            return
        if not isinstance(found, OrderEvent | Placement) or not found.order_id:
            return
        market = self._markets.get(found.market)
        if market is None:
            return
        if too_late and isinstance(found, OrderEvent) and market.watermark_ms is not None:
            placed_ms = self._placed(found, instant_ms(found.occurred_at) or 0)
            if isinstance(placed_ms, int):
                day = market.local_days.day_of(placed_ms)
                if self._day_closes_ms(market, day) <= max(market.watermark_ms, arrived_ms):
                    return
        self._forget()
        held = sum(each.remembered.refused for each in self._markets.values())
        if not market.remembered.knows_of(found.order_id) and held < REFUSED_KEPT_MOST:
            at_ms = arrived_ms if market.watermark_ms is None else market.watermark_ms
            market.remembered.remember_refused(found.order_id, at_ms)

    def _arrive(self, market: _MarketReplay, event: Event, arrived_ms: int, *, alone: bool) -> int:
        """Move the market's watermark as far as the arrival is believed; return it."""
        before_ms, ahead_ms = market.watermark_ms, self._methodology.ahead_ms
        if before_ms is None:
            market.watermark_ms = market.begins_ms = arrived_ms
        elif alone and arrived_ms - before_ms > ahead_ms:
            market.doubted.setdefault(event.order_id or f"event {event.event_id}", arrived_ms)
            if len(market.doubted) < ORDERS_THAT_AGREE:
                return before_ms
            agreed_ms = min(market.doubted.values())
            market.watermark_ms = agreed_ms
            market.doubted = {
                order: at_ms
                for order, at_ms in market.doubted.items()
                if at_ms - agreed_ms > ahead_ms
            }
        else:
            market.doubted = {}
            market.watermark_ms = max(before_ms, arrived_ms)
        if market.watermark_ms != before_ms:
            self._close(market)
        return market.watermark_ms

    def _keeps(self, market: _MarketReplay, start_ms: int) -> bool:
        """Whether a new pane is kept from an event whose arrival is doubted."""
        rules = self._methodology
        assert market.watermark_ms is not None
        if len(market.panes) >= rules.open_panes_max:
            return True
        after_ms = start_ms - market.watermark_ms
        if after_ms <= rules.ahead_ms:
            return False
        waiting = [each for each in market.panes if each - market.watermark_ms > rules.ahead_ms]
        return after_ms > rules.day_grace_ms or len(waiting) >= PANES_OF_DOUBTED

    def _placed(self, event: Event, occurred_ms: int) -> int | str:
        """Return when the order was placed, or the reason why nobody knows."""
        if event.placed_at is not None:
            found_ms = instant_ms(event.placed_at)
            if found_ms is None:
                return "invalid_time"
            after_ms = found_ms - occurred_ms
            return "placed_after_occurred" if after_ms > self._methodology.ahead_ms else found_ms
        if event.type in ("order.cancelled", "order.refunded"):
            return "placed_at_missing"
        return occurred_ms

    def _admit_late(
        self,
        event: OrderEvent,
        market: _MarketReplay,
        occurred_ms: int,
        placed_ms: int,
        arrived_ms: int,
    ) -> str:
        """Return the outcome of an order event that is too late for the live book."""
        watermark_ms = market.watermark_ms
        assert watermark_ms is not None
        pane = market.panes.get(
            occurred_ms // self._methodology.pane_ms * self._methodology.pane_ms
        )
        if pane is not None and event.event_id in pane.ids:
            return "duplicate"
        day = market.local_days.day_of(placed_ms)
        if self._day_closes_ms(market, day) <= max(watermark_ms, arrived_ms):
            return TOO_LATE
        if self._overflows(event, None, market.days.get(day)):
            return TOO_LATE
        self._forget()
        if event.type != "order.placed":
            why = self._correct(event, market, day, placed_ms)
            return {"repeated": "duplicate", "unmatched": TOO_LATE}.get(why, DAY_ONLY)
        if market.remembered.came_late_as(event):
            return "duplicate"
        self._count_mended(event, market, arrived_ms)
        self._adds.order_day(self._day(market, day), event, late=True)
        full = self._late_ones >= ORDERS_KEPT_MOST
        market.remembered.remember_order(event, day, watermark_ms, late=True, full=full)
        return DAY_ONLY

    def _count(self, event: Event, pane: _Pane) -> None:
        pane.ids.add(event.event_id)
        pane.hashes.append(xxh3_64_intdigest(event.event_id.encode(), ID_SEED))
        if isinstance(event, OrderEvent):
            self._adds.order_live(pane.row, event)
        else:
            self._adds.payment_live(pane.row, event)

    def _count_on_day(self, event: Event, market: _MarketReplay, day: int, placed_ms: int) -> None:
        if isinstance(event, PaymentEvent):
            self._adds.payment_day(self._day(market, day), event)
        elif event.type != "order.placed":
            self._correct(event, market, day, placed_ms)
        else:
            self._adds.order_day(self._day(market, day), event)
            if self._is_before_log(market, placed_ms):
                assert market.watermark_ms is not None
                self._forget()
                full = self._late_ones >= ORDERS_KEPT_MOST
                market.remembered.remember_order(
                    event, day, market.watermark_ms, late=False, full=full
                )

    def _day(self, market: _MarketReplay, day: int) -> GrowingRow:
        if day not in market.days:
            market.days[day] = GrowingRow(DAY_LABELS_MOST)
            self._closes_at(market, self._day_closes_ms(market, day))
        return market.days[day]

    def _count_mended(self, event: OrderEvent, market: _MarketReplay, arrived_ms: int) -> None:
        """Note that an order counts; corrections that came while it was refused change their days."""
        assert market.watermark_ms is not None
        self._forget()
        found = market.remembered.remember_mended(event, market.watermark_ms)
        reached_ms = max(market.watermark_ms, arrived_ms)
        for day, moves in found.items():
            if self._day_closes_ms(market, day) <= reached_ms:
                continue
            row = self._day(market, day)
            if not any(_is_full(row, move) for move in moves):
                for move in moves:
                    move.change_row(row)

    def _is_before_log(self, market: _MarketReplay, placed_ms: int) -> bool:
        return placed_ms < market.begins_ms - self._methodology.grace_ms

    def _forget(self) -> None:
        for each in self._markets.values():
            if each.watermark_ms is not None:
                each.remembered.forget(each.watermark_ms)

    @property
    def _late_ones(self) -> int:
        return sum(each.remembered.late_ones for each in self._markets.values())

    def _correct(self, event: OrderEvent, market: _MarketReplay, day: int, placed_ms: int) -> str:
        """Change the day by what a cancel or refund takes from it; return why nothing else is taken."""
        assert market.watermark_ms is not None
        self._forget()
        held = sum(each.remembered.corrections for each in self._markets.values())
        move, why = market.remembered.correct(
            event,
            day,
            claim_of(event, self._adds.labels),
            market.watermark_ms,
            before_log=self._is_before_log(market, placed_ms),
            full=held >= CORRECTIONS_KEPT_MOST,
        )
        if move is not None:
            row = self._day(market, day)
            self._adds.name_all(row, event)
            move.change_row(row)
        return why

    @staticmethod
    def _overflows(event: Event, pane: _Pane | None, day: LabelSums | None) -> bool:
        """Whether a sum of the pane or the day would exceed 63 bits."""
        live = LabelSums() if pane is None else pane.row
        book = day or LabelSums()
        if isinstance(event, OrderEvent):
            return any(
                max(live.total(what), *(book.total(what, each) for each in _LEDGERS)) + more
                > SUM_MAX
                for what, more in zip(("units", "sales"), totals(event), strict=True)
            )
        held = [row.total(what) for row in (live, book) for what in AMOUNTS]
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
                self._emit(SlotKey(code, LIVE, start), market.panes.pop(start).row)
            else:
                self._closes_at(market, start + after_ms)
        for day in list(market.days):
            closes_ms = self._day_closes_ms(market, day)
            if closes_ms <= watermark_ms:
                self._emit(SlotKey(code, DAY, day), market.days.pop(day))
            else:
                self._closes_at(market, closes_ms)

    def _emit(self, slot: SlotKey, row: LabelSums) -> None:
        if slot in self._wanted:
            self._kept[slot] = row
        self._sink(self.sp, slot, row, True)

    # -- answers ---------------------------------------------------------------------------------

    def _answer(self, offset: int) -> None:
        for slot in self._ask.rows_at.get(offset, ()):
            row = self._row(slot)
            if row is not None:
                self.rows[offset, slot] = row.copy()
        if offset in self._ask.watermarks_at:
            self.watermarks_at[offset] = self.watermarks()
        if offset == self._ask.state_at:
            self.state = self._state()

    def _row(self, slot: SlotKey) -> LabelSums | None:
        market = self._markets[slot.market]
        open_row: LabelSums | None
        if slot.book == DAY:
            open_row = market.days.get(slot.slot)
        else:
            pane = market.panes.get(slot.slot)
            open_row = None if pane is None else pane.row
        return self._kept.get(slot) if open_row is None else open_row

    def _state(self) -> PrefixState:
        rows = {slot: self._kept[slot].copy() for slot in self._ask.keep if slot in self._kept}
        ids: dict[SlotKey, array[int]] = {}
        notes: dict[SlotKey, list[tuple[int, int]]] = {}
        open_slots: set[SlotKey] = set()
        for code, market in self._markets.items():
            for start, pane in market.panes.items():
                slot = SlotKey(code, LIVE, start)
                open_slots.add(slot)
                rows[slot] = pane.row.copy()
                ids[slot] = array("Q", sorted(pane.hashes))
            for day, row in market.days.items():
                slot = SlotKey(code, DAY, day)
                open_slots.add(slot)
                rows[slot] = row.copy()
            for arrived_day, order, kind in market.remembered.notes(market.watermark_ms):
                hashed = xxh3_64_intdigest(order.encode(), ID_SEED)
                slot = SlotKey(code, ORDERS, arrived_day)
                notes.setdefault(slot, []).append((hashed, kind))
        floors = {
            code: market.floor_ms
            for code, market in self._markets.items()
            if market.floor_ms > NEVER_MS
        }
        doubts = {
            code: [
                (xxh3_64_intdigest(order.encode(), ID_SEED), at_ms)
                for order, at_ms in market.doubted.items()
            ]
            for code, market in self._markets.items()
            if market.doubted
        }
        return PrefixState(
            self.watermarks(), rows, frozenset(open_slots), ids, floors, notes, doubts
        )


def _is_full(row: GrowingRow, move: Move) -> bool:
    """Whether a number of the row would exceed 63 bits."""
    return any(row.numbers[name] + more > SUM_MAX for name, more in move.changes(row).items())

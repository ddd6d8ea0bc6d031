"""Level 1: one source partition's chunks -> rows of its slots.

``SourceFold`` is the whole state of one source partition. It folds, and says what to send; it sends
nothing itself. What it says is a pure function of (edition, source partition, log prefix): two
workers that fold the same prefix (a zombie and its heir) say the same.
"""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from xxhash import xxh3_64_intdigest

from streams.flow.admission import (
    ACCEPTED,
    DAY_CLOSED,
    DEAD,
    DUPLICATE,
    LATE,
    TOO_LATE,
    Admission,
)
from streams.flow.chunk import Chunk, SourcePartition
from streams.flow.rows import add_order, add_order_to_day, add_payment, order_sums
from streams.flow.state import (
    CHECKPOINT,
    DAY,
    FOREVER_MS,
    LIVE,
    PARTIAL,
    Day,
    MarketState,
    Pane,
    SlotKey,
)
from streams.index import partials as col
from streams.index.events import (
    SUM_MAX,
    OrderEvent,
    PaymentEvent,
    Rejected,
    decode_orders,
    decode_payments,
)
from streams.index.instants import MINUTES, PREFIX, RESTS, parse_instant
from streams.index.methodology import Methodology
from streams.index.partials import Row

ID_SEED = 0x65_63_69_6E_64_65_78
"""Key of the 64-bit hashes of event ids: fixed for ever, or a replay would not know its own ids."""

_BOTH = CHECKPOINT | PARTIAL
_OVERFLOW = Rejected("overflow", "a sum would pass 63 bits")


@dataclass(frozen=True, slots=True)
class SetAside:
    """A record that was not counted: too late, or dead with its reason. Original bytes kept."""

    offset: int
    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    reason: str
    detail: str


@dataclass(slots=True)
class Folded:
    """What folding part of a chunk did. ``outcomes`` counts records by admission outcome."""

    outcomes: Counter[str] = field(default_factory=Counter)
    late: list[SetAside] = field(default_factory=list)
    dead: list[SetAside] = field(default_factory=list)


class SourceFold:
    """Level-1 state of one source partition."""

    def __init__(self, sp: SourcePartition, methodology: Methodology, *, payments: bool) -> None:
        self.sp = sp
        self.methodology = methodology
        self.through = -1
        """Last offset included; -1 before the first."""
        self.markets = {
            code: MarketState(market, methodology) for code, market in methodology.markets.items()
        }
        self._payments = payments
        self._admission = Admission(methodology)
        self._touched: dict[int, dict[SlotKey, Pane | Day]] = {CHECKPOINT: {}, PARTIAL: {}}
        self._new_ids = 0
        self._volume = 0
        """At least the largest sum in any row: below 63 bits no row needs to be looked at."""
        self.held_ids = 0

    # -- folding ---------------------------------------------------------------------------------

    def fold(self, chunk: Chunk, start: int = 0, stop: int | None = None) -> Folded:
        """Fold the records ``start <= position < stop`` of a chunk and move ``through``.

        The caller checked that the chunk continues this state (exactness rule 2). When the last
        record is included, ``through`` becomes the chunk's ``last_offset``.
        """
        stop = len(chunk) if stop is None else min(stop, len(chunk))
        folded = Folded()
        if self._payments:
            self._fold_payments(chunk, start, stop, folded)
        else:
            self._fold_orders(chunk, start, stop, folded)
        self.through = chunk.last_offset if stop == len(chunk) else chunk.offset_at(stop - 1)
        return folded

    def _fold_orders(self, chunk: Chunk, start: int, stop: int, folded: Folded) -> None:  # noqa: C901, PLR0912, PLR0915 - the hot path: a call per step would cost a third of its speed
        timestamps = chunk.timestamps_ms
        markets = self.markets
        admission = self._admission
        pane_ms, grace_ms = admission.pane_ms, admission.grace_ms
        ahead_ms = admission.ahead_ms
        minute_of, rest_of = MINUTES.get, RESTS.get
        accepted = late = duplicates = day_closed = 0
        for position, event in enumerate(decode_orders(chunk.values[start:stop]), start):
            if event.__class__ is Rejected:
                self._bury(chunk, position, event, folded)
                continue
            if TYPE_CHECKING:
                assert isinstance(event, OrderEvent)
            state = markets.get(event.market)
            text = event.occurred_at
            minute = minute_of(text[:PREFIX])
            rest = rest_of(text[PREFIX:])
            if minute is not None and rest is not None:
                occurred_ms: int | None = minute + rest
            else:
                occurred_ms = parse_instant(text)
            if state is None or occurred_ms is None or event.currency != state.currency:
                self._bury(chunk, position, _refuse(event, state, occurred_ms), folded)
                continue
            arrived_ms = timestamps[position]
            watermark_ms = state.watermark_ms
            if arrived_ms > watermark_ms:
                state.watermark_ms = watermark_ms = arrived_ms
                if watermark_ms >= state.next_close_ms:
                    self._close(state)
            if occurred_ms > arrived_ms + ahead_ms:
                self._bury(chunk, position, _ahead(occurred_ms, arrived_ms), folded)
                continue
            if watermark_ms - occurred_ms > grace_ms:
                detail = f"lateness {watermark_ms - occurred_ms} ms"
                folded.late.append(_aside(chunk, position, TOO_LATE, detail))
                continue
            units = sales = 0
            lines = event.lines
            for line in lines:
                quantity = line.quantity
                units += quantity
                sales += quantity * line.unit_price_minor
            pane_start = occurred_ms - occurred_ms % pane_ms
            pane = state.panes.get(pane_start)
            placed = event.type == "order.placed"
            self._volume += units + sales
            if pane is None or self._volume > SUM_MAX or not placed or event.placed_at is not None:
                day_closed += self._fold_unusual(chunk, position, event, state, occurred_ms, folded)
                continue
            event_hash = xxh3_64_intdigest(event.event_id.encode(), ID_SEED)
            ids = pane.ids
            if ids is not None:
                if event_hash in ids:
                    duplicates += 1
                    continue
                ids.add(event_hash)
            elif pane.seen(event_hash):
                duplicates += 1
                continue
            elif pane.ids is not None:
                pane.ids.add(event_hash)  # ``seen`` has built the set just now
            pane.order.append(event_hash)
            if pane.flags != _BOTH:
                self._touch_pane(state, pane)
            row = pane.row
            row[0] += 1
            row[1] += units
            row[2] += sales
            category_of = state.category_of
            if len(lines) == 1:
                at, _, unknown = category_of(line.category) or state.labels[0].learn(line.category)
                row[at] += 1
                row[at + 1] += units
                row[at + 2] += sales
                row[13] += unknown
            else:
                seen: list[int] = []
                for line in lines:
                    label = line.category
                    at, _, unknown = category_of(label) or state.labels[0].learn(label)
                    quantity = line.quantity
                    row[at + 1] += quantity
                    row[at + 2] += quantity * line.unit_price_minor
                    if at not in seen:
                        seen.append(at)
                        row[at] += 1
                        row[13] += unknown
            chosen = event.payment_method
            if chosen is not None:
                at, _, unknown = state.method_of(chosen) or state.labels[1].learn(chosen)
                row[17] += 1
                row[at] += 1
                row[at + 1] += units
                row[at + 2] += sales
                row[14] += unknown
            at, _, unknown = state.region_of(event.region) or state.labels[2].learn(event.region)
            row[at] += 1
            row[at + 1] += units
            row[at + 2] += sales
            row[15] += unknown
            at, _, unknown = state.channel_of(event.channel) or state.labels[3].learn(event.channel)
            row[at] += 1
            row[at + 1] += units
            row[at + 2] += sales
            row[16] += unknown
            if event.shopper_id is not None:
                row[10] += 1
            if event.new_shopper is not None:
                row[11] += 1
                row[12] += event.new_shopper
            if pane.late_from_ms <= watermark_ms:
                late += 1
            else:
                accepted += 1
        self._count(folded, accepted, late, duplicates, day_closed)

    def _fold_unusual(
        self,
        chunk: Chunk,
        position: int,
        event: OrderEvent,
        state: MarketState,
        occurred_ms: int,
        folded: Folded,
    ) -> int:
        """Fold an order event that the hot path passed on; 1 when its day was closed.

        First of its pane, cancelled, refunded, placed at another time than it occurred, or so large
        that a sum must be looked at. One path with every check, in the order of admission.
        """
        placed_ms = occurred_ms
        if event.placed_at is not None:
            found = parse_instant(event.placed_at)
            if found is None or found > occurred_ms:
                self._bury(chunk, position, _placed(found), folded)
                return 0
            placed_ms = found
        elif event.type != "order.placed":
            missing = Rejected("placed_at_missing", f"{event.type} without placed_at")
            self._bury(chunk, position, missing, folded)
            return 0
        pane = self._admission.pane(state, occurred_ms)
        if pane is None:
            self._bury(chunk, position, _pane_limit(self._admission.panes_max), folded)
            return 0
        event_hash = xxh3_64_intdigest(event.event_id.encode(), ID_SEED)
        if pane.seen(event_hash):
            folded.outcomes[DUPLICATE] += 1
            return 0
        day_number = state.local_days.day_of(placed_ms)
        if self._volume > SUM_MAX:
            self._book(state)
            units, sales = order_sums(event)
            held = state.days.get(day_number)
            day_row = [0] * 9 if held is None else held.row
            if _overflows(pane.row, units, sales) or _overflows(day_row, units, sales):
                self._bury(chunk, position, _OVERFLOW, folded)
                self._volume -= units + sales
                state.drop_empty(pane)
                return 0
        day = state.days.get(day_number) or state.open_day(day_number)
        self._remember(state, pane, event_hash)
        add_order(pane.row, event, state)
        if event.type == "order.placed":
            add_order(pane.booked, event, state)  # the day book gets this one here, not in bulk
        if day is not None:
            add_order_to_day(day.row, event, state)
            self._touch_day(state, day)
        is_late = pane.late_from_ms <= state.watermark_ms
        folded.outcomes[LATE if is_late else ACCEPTED] += 1
        self._new_ids += 1
        self.held_ids += 1
        return int(day is None)

    def _fold_payments(self, chunk: Chunk, start: int, stop: int, folded: Folded) -> None:  # noqa: C901, PLR0912, PLR0915 - as above
        accepted = late = duplicates = day_closed = 0
        admission = self._admission
        for position, event in enumerate(decode_payments(chunk.values[start:stop]), start):
            if isinstance(event, Rejected):
                self._bury(chunk, position, event, folded)
                continue
            state = self.markets.get(event.market)
            occurred_ms = parse_instant(event.occurred_at)
            if state is None or occurred_ms is None or event.currency != state.currency:
                self._bury(chunk, position, _refuse(event, state, occurred_ms), folded)
                continue
            arrived_ms = chunk.timestamps_ms[position]
            if arrived_ms > state.watermark_ms:
                state.watermark_ms = arrived_ms
                if arrived_ms >= state.next_close_ms:
                    self._close(state)
            verdict = admission.verdict(state, occurred_ms, arrived_ms)
            if verdict == "ahead":
                self._bury(chunk, position, _ahead(occurred_ms, arrived_ms), folded)
                continue
            if verdict == TOO_LATE:
                lateness_ms = state.watermark_ms - occurred_ms
                folded.late.append(_aside(chunk, position, TOO_LATE, f"lateness {lateness_ms} ms"))
                continue
            placed_ms: int | None = None
            if event.placed_at is not None:
                placed_ms = parse_instant(event.placed_at)
                if placed_ms is None or placed_ms > occurred_ms:
                    self._bury(chunk, position, _placed(placed_ms), folded)
                    continue
            pane = admission.pane(state, occurred_ms)
            if pane is None:
                self._bury(chunk, position, _pane_limit(admission.panes_max), folded)
                continue
            event_hash = xxh3_64_intdigest(event.event_id.encode(), ID_SEED)
            if pane.seen(event_hash):
                duplicates += 1
                continue
            day_number = pane.day if placed_ms is None else state.local_days.day_of(placed_ms)
            if _payment_overflows(pane.row, state.days.get(day_number), event.amount_minor):
                self._bury(chunk, position, _OVERFLOW, folded)
                state.drop_empty(pane)
                continue
            day = state.days.get(day_number) or state.open_day(day_number)
            self._remember(state, pane, event_hash)
            add_payment(pane.row, None if day is None else day.row, event, state)
            if day is None:
                day_closed += 1
            else:
                self._touch_day(state, day)
            if verdict == LATE:
                late += 1
            else:
                accepted += 1
        self._count(folded, accepted, late, duplicates, day_closed)

    def _count(
        self, folded: Folded, accepted: int, late: int, duplicates: int, day_closed: int
    ) -> None:
        self._new_ids += accepted + late
        self.held_ids += accepted + late
        counts = {
            ACCEPTED: accepted,
            LATE: late,
            DUPLICATE: duplicates,
            TOO_LATE: len(folded.late),
            DEAD: len(folded.dead),
            DAY_CLOSED: day_closed,
        }
        folded.outcomes.update({name: count for name, count in counts.items() if count})

    def _bury(self, chunk: Chunk, position: int, rejected: Rejected, folded: Folded) -> None:
        folded.dead.append(_aside(chunk, position, rejected.reason, rejected.detail))

    def _remember(self, state: MarketState, pane: Pane, event_hash: int) -> None:
        if pane.ids is not None:
            pane.ids.add(event_hash)
        pane.order.append(event_hash)
        if pane.flags != _BOTH:
            self._touch_pane(state, pane)

    def _book(self, state: MarketState) -> None:
        """Bring the day book up to the panes: placed orders of their own day are added in bulk.

        Adding each order to both books costs the fold a fifth of its speed; the difference between
        a pane's row and what was booked of it says the same.
        """
        for pane in state.unbooked.values():
            row, booked = pane.row, pane.booked
            if row == booked:
                continue
            added = [
                (day_column, row[column] - booked[column])
                for column, day_column in state.layout.placed_columns
                if row[column] != booked[column]
            ]
            pane.booked = row[:]
            if not added:
                continue  # cancellations and refunds: they went to their orders' days at once
            # Not ``open_day``: the arrival that closes the day may be what calls for the booking.
            day = state.days.get(pane.day) or state.new_day(pane.day)
            for day_column, value in added:
                day.row[day_column] += value
            self._touch_day(state, day)
        # The hot path enters a pane here only when it sets the pane's flags; one that has both
        # flags still will not be entered again and must stay.
        state.unbooked = {
            start: pane for start, pane in state.unbooked.items() if pane.flags == _BOTH
        }

    def _close(self, state: MarketState) -> None:
        self._book(state)
        panes, _ = state.close()
        for pane in panes:
            state.unbooked.pop(pane.start_ms, None)
            # The row stays referenced by ``_touched`` until it was sent; its ids are useless now.
            self.held_ids -= len(pane.order)
            self._new_ids -= len(pane.order) - pane.saved
            pane.saved = len(pane.order)

    # -- what to send ----------------------------------------------------------------------------

    def _touch_pane(self, state: MarketState, pane: Pane) -> None:
        self._touch(SlotKey(state.code, LIVE, pane.start_ms), pane)
        if not self._payments:
            state.unbooked[pane.start_ms] = pane

    def _touch_day(self, state: MarketState, day: Day) -> None:
        if day.flags != _BOTH:
            self._touch(SlotKey(state.code, DAY, day.day), day)

    def _touch(self, key: SlotKey, slot: Pane | Day) -> None:
        for flag in (CHECKPOINT, PARTIAL):
            if not slot.flags & flag:
                self._touched[flag][key] = slot
        slot.flags = _BOTH

    def take_touched(self, flag: int) -> dict[SlotKey, Pane | Day]:
        """Slots touched since the last call with this flag; forgets them."""
        for state in self.markets.values():
            self._book(state)
        touched = self._touched[flag]
        self._touched[flag] = {}
        for slot in touched.values():
            slot.flags &= ~flag
        if flag == CHECKPOINT:
            self._new_ids = 0
        return touched

    def take_touched_live(self) -> dict[SlotKey, Pane | Day]:
        """Like ``take_touched(PARTIAL)``, but of the days only those that have closed."""
        touched = self._touched[PARTIAL]
        taken = {
            key: slot for key, slot in touched.items() if key.book == LIVE or not self.is_open(key)
        }
        for key, slot in taken.items():
            del touched[key]
            slot.flags &= ~PARTIAL
        return taken

    def pending_days_close_ms(self) -> int:
        """When the first of the days closes whose row was not sent since it changed."""
        for state in self.markets.values():
            self._book(state)
        closes = (
            slot.end_ms + self.methodology.day_grace_ms
            for slot in self._touched[PARTIAL].values()
            if isinstance(slot, Day)
        )
        return min(closes, default=FOREVER_MS)

    @property
    def pending_slots(self) -> int:
        """How many slots the next checkpoint will hold."""
        return len(self._touched[CHECKPOINT])

    @property
    def pending_ids(self) -> int:
        """How many ids the next checkpoint will hold."""
        return self._new_ids

    @property
    def open_panes(self) -> int:
        """Open panes over all markets."""
        return sum(len(state.panes) for state in self.markets.values())

    def watermarks(self) -> dict[str, int]:
        """Arrival watermark of each market that this log prefix has seen."""
        return {
            code: state.watermark_ms
            for code, state in self.markets.items()
            if state.watermark_ms > -(2**61)
        }

    def is_open(self, key: SlotKey) -> bool:
        """Whether the slot can still grow."""
        state = self.markets[key.market]
        return key.slot in (state.panes if key.book == LIVE else state.days)

    def slot(self, key: SlotKey) -> Pane | Day | None:
        """Open slot of the key."""
        state = self.markets[key.market]
        return state.panes.get(key.slot) if key.book == LIVE else state.days.get(key.slot)

    # -- recovery --------------------------------------------------------------------------------

    def restore_slot(self, key: SlotKey, row: Row) -> None:
        """Put back a slot from a checkpoint, unless it was closed; watermarks were set before."""
        state = self.markets[key.market]
        if state.is_closed(key):
            return
        if key.book == LIVE:
            pane = state.open_pane(key.slot)
            pane.row = row[:]
            pane.booked = row[:]  # a checkpoint is taken with both books level
        else:
            day = state.open_day(key.slot)
            assert day is not None
            day.row = row[:]
        self._volume = max(self._volume, *row)

    def restore_ids(self, key: SlotKey, ids: array[int]) -> tuple[int, int] | None:
        """Put back ids of an open pane; the stretch they take in it, or None when it was closed."""
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


def _aside(chunk: Chunk, position: int, reason: str, detail: str) -> SetAside:
    return SetAside(
        offset=chunk.offset_at(position),
        key=chunk.keys[position],
        value=chunk.values[position],
        timestamp_ms=chunk.timestamps_ms[position],
        reason=reason,
        detail=detail,
    )


def _refuse(
    event: OrderEvent | PaymentEvent, state: MarketState | None, occurred_ms: int | None
) -> Rejected:
    if state is None:
        return Rejected(
            "unknown_market", f"market {event.market[:40]!r} is not in methodology.toml"
        )
    if occurred_ms is None:
        return Rejected("invalid_time", f"occurred_at {event.occurred_at!r} is not RFC 3339")
    return Rejected("wrong_currency", f"{event.currency[:16]!r}, expected {state.currency}")


def _ahead(occurred_ms: int, arrived_ms: int) -> Rejected:
    return Rejected("ahead", f"{occurred_ms - arrived_ms} ms after its arrival")


def _placed(placed_ms: int | None) -> Rejected:
    if placed_ms is None:
        return Rejected("invalid_time", "placed_at is not RFC 3339")
    return Rejected("placed_after_occurred", "placed_at lies after occurred_at")


def _pane_limit(panes_max: int) -> Rejected:
    return Rejected("pane_limit", f"{panes_max} panes are open in this partition and market")


def _overflows(row: Row, units: int, sales: int) -> bool:
    """Whether the units or sales of any ledger in the first nine columns could pass 63 bits.

    A live row has one ledger there; its payment columns are only larger limits than needed.
    """
    return max(row[2], row[5], row[8]) + sales > SUM_MAX or (
        max(row[1], row[4], row[7]) + units > SUM_MAX
    )


def _payment_overflows(row: Row, day: Day | None, amount: int) -> bool:
    if max(row[col.AMOUNT], row[col.REFUND_AMOUNT]) + amount > SUM_MAX:
        return True
    if day is None:
        return False
    held = (day.row[col.DAY_AMOUNT], day.row[col.DAY_REFUND_AMOUNT], day.row[col.UNPLACED_AMOUNT])
    return max(held) + amount > SUM_MAX

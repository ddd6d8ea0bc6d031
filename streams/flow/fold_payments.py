"""Folding payment events."""

from __future__ import annotations

from xxhash import xxh3_64_intdigest

from streams.flow.admission import LATE, NO_ROOM, TOO_LATE
from streams.flow.chunk import Chunk
from streams.flow.ids import ID_SEED
from streams.flow.rows import DAY_PAYMENT_TOTALS, PAYMENT_TOTALS, add_payment
from streams.flow.set_aside import BAD_STAMP, OVERFLOW, Folded, ahead, no_room, placed, refused
from streams.flow.source_state import SourceState
from streams.flow.state import Day, Pane
from streams.index.event_types import (
    SUM_MAX,
    Ignored,
    IncompletePayment,
    PaymentEvent,
    Rejected,
)
from streams.index.events import decode_payments
from streams.index.instants import parse_instant
from streams.index.stamps import STAMPS_MS


def fold_payments(source: SourceState, chunk: Chunk, start: int, stop: int, folded: Folded) -> None:
    """Fold the payment records ``start <= position < stop`` of a chunk."""
    accepted = late = duplicates = day_closed = 0
    for position, event in enumerate(decode_payments(chunk.values[start:stop]), start):
        if isinstance(event, (Rejected, Ignored)):
            folded.set_aside_undecoded(chunk, position, event)
            continue
        outcome, without_day = _fold_one(source, chunk, position, event, folded)
        day_closed += without_day
        if outcome == "duplicate":
            duplicates += 1
        elif outcome == LATE:
            late += 1
        elif outcome:
            accepted += 1
    source.count(folded, accepted, late, duplicates, day_closed)


def _fold_one(  # noqa: C901, PLR0911 - one return per outcome
    source: SourceState, chunk: Chunk, position: int, event: PaymentEvent, folded: Folded
) -> tuple[str, int]:
    """Fold one payment event; return (outcome, 1 if its day was closed, else 0).

    The outcome is ``accepted``, ``late``, ``duplicate``, or empty when the event was set aside.
    """
    state = source.markets.get(event.market)
    occurred_ms = parse_instant(event.occurred_at)
    if state is None or occurred_ms is None or event.currency != state.currency:
        folded.add_dead_letter(chunk, position, refused(event, state, occurred_ms))
        return "", 0
    arrived_ms = chunk.timestamps_ms[position]
    if arrived_ms not in STAMPS_MS:
        folded.add_dead_letter(chunk, position, BAD_STAMP)
        return "", 0
    source.arrive(state, arrived_ms, event, folded, doubtful=chunk.is_doubtful(position))
    verdict = source.admission.verdict(state, occurred_ms, arrived_ms)
    if verdict == "ahead":
        folded.add_dead_letter(chunk, position, ahead(occurred_ms, arrived_ms))
        return "", 0
    if verdict == TOO_LATE:
        folded.add_late(chunk, position, max(state.watermark_ms, arrived_ms) - occurred_ms)
        return "", 0
    if verdict == NO_ROOM:
        folded.add_dead_letter(chunk, position, no_room(arrived_ms, state.watermark_ms))
        return "", 0
    placed_ms: int | None = None
    if event.placed_at is not None:
        found = placed(event.placed_at, occurred_ms, source.admission.ahead_ms)
        if isinstance(found, Rejected):
            folded.add_dead_letter(chunk, position, found)
            return "", 0
        placed_ms = found
    start_ms = occurred_ms - occurred_ms % source.admission.pane_ms
    pane = state.panes.get(start_ms)
    event_hash = xxh3_64_intdigest(event.event_id.encode(), ID_SEED)
    if pane is not None and pane.seen(event_hash):
        return "duplicate", 0
    day_number = state.local_days.day_of(start_ms if placed_ms is None else placed_ms)
    if _overflows(pane, state.days.get(day_number), event.amount_minor):
        folded.add_dead_letter(chunk, position, OVERFLOW)
        return "", 0
    pane = pane or source.open_pane(state, start_ms)
    if isinstance(event, IncompletePayment):
        folded.add_parts(chunk, position, event.parts)
    day = state.open_day(day_number, arrived_ms)
    source.remember(state, pane, event_hash)
    add_payment(pane.row, None if day is None else day.row, event, state.labels)
    if day is not None:
        source.touch_day(state, day)
    return verdict, int(day is None)


def _overflows(pane: Pane | None, day: Day | None, amount: int) -> bool:
    held = [0]
    if pane is not None:
        held += [pane.row.numbers[total] for _, total in PAYMENT_TOTALS.values()]
    if day is not None:
        held += [day.row.numbers[total] for _, total in DAY_PAYMENT_TOTALS.values()]
    return max(held) + amount > SUM_MAX

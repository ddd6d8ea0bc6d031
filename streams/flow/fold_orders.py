"""Folding order events: the definition, with every check spelled out.

``rows`` says what an event adds to a row, this module whether and where it counts. The compiled half
(``plain_orders.pyx``) repeats both for the most common form of event, many times faster; property
tests hold the two equal.
"""

from __future__ import annotations

from xxhash import xxh3_64_intdigest

from streams.flow.admission import DAY_CLOSED, DAY_ONLY, DUPLICATE, LATE, NO_ROOM, TOO_LATE
from streams.flow.chunk import Chunk
from streams.flow.fold_corrections import correct
from streams.flow.fold_late import fold_late
from streams.flow.ids import ID_SEED
from streams.flow.order_checks import overflows, placed_instant
from streams.flow.refused_orders import placement_of, remember_mended, remember_refused
from streams.flow.remembered import EARLY_NOTE, LATE_MAX, Note, hash_of, key_of
from streams.flow.rows import add_order, add_placed, order_sums
from streams.flow.set_aside import (
    BAD_STAMP,
    OVERFLOW,
    Folded,
    ahead,
    no_room,
    refused,
)
from streams.flow.source_state import SourceState
from streams.flow.state import MarketState, Pane
from streams.index import partials as col
from streams.index.event_types import Ignored, IncompleteOrder, OrderEvent, Rejected
from streams.index.events import decode_orders
from streams.index.instants import parse_instant
from streams.index.label_rows import PLACED_PART
from streams.index.stamps import STAMPS_MS


def fold_orders(source: SourceState, chunk: Chunk, start: int, stop: int, folded: Folded) -> None:
    """Fold the order records ``start <= position < stop`` of a chunk."""
    for position, event in enumerate(decode_orders(chunk.values[start:stop]), start):
        if isinstance(event, (Rejected, Ignored)):
            _set_aside(source, chunk, position, event, folded)
        else:
            _fold_one(source, chunk, position, event, folded)


def _fold_one(  # noqa: C901, PLR0911 - one return per outcome
    source: SourceState, chunk: Chunk, position: int, event: OrderEvent, folded: Folded
) -> None:
    """Fold one order event; the checks come in the order of admission."""
    state = source.markets.get(event.market)
    occurred_ms = parse_instant(event.occurred_at)
    if state is None or occurred_ms is None or event.currency != state.currency:
        _refuse(source, chunk, position, event, refused(event, state, occurred_ms), folded)
        return
    arrived_ms = chunk.timestamps_ms[position]
    if arrived_ms not in STAMPS_MS:
        _refuse(source, chunk, position, event, BAD_STAMP, folded)
        return
    source.arrive(state, arrived_ms, event, folded, doubtful=chunk.is_doubtful(position))
    verdict = source.admission.verdict(state, occurred_ms, arrived_ms)
    if verdict == "ahead":
        _refuse(source, chunk, position, event, ahead(occurred_ms, arrived_ms), folded)
        return
    if verdict == TOO_LATE:
        _fold_too_late(source, chunk, position, event, state, occurred_ms, folded)
        return
    if verdict == NO_ROOM:
        rejected = no_room(arrived_ms, state.watermark_ms)
        _refuse(source, chunk, position, event, rejected, folded)
        return
    placed_ms = placed_instant(event, occurred_ms, source.admission.ahead_ms)
    if isinstance(placed_ms, Rejected):
        _refuse(source, chunk, position, event, placed_ms, folded)
        return
    start_ms = occurred_ms - occurred_ms % source.admission.pane_ms
    pane = state.panes.get(start_ms)
    event_hash = xxh3_64_intdigest(event.event_id.encode(), ID_SEED)
    if pane is not None and pane.seen(event_hash):
        folded.outcomes[DUPLICATE] += 1
        return
    day_number = state.local_days.day_of(placed_ms)
    units, sales = order_sums(event)
    if overflows(source, state, pane, day_number, units, sales):
        _refuse(source, chunk, position, event, OVERFLOW, folded)
        return
    source.volume += units + sales
    pane = pane or source.open_pane(state, start_ms)
    source.remember(state, pane, event_hash)
    add_order(pane.row, event, state.labels)
    if isinstance(event, IncompleteOrder):
        folded.add_parts(chunk, position, event.parts)
    source.count(folded, int(verdict != LATE), int(verdict == LATE), 0, 0)
    if event.type == "order.placed":
        _place(source, state, pane, event, placed_ms, day_number, arrived_ms, folded)
        return
    outcome = correct(source, state, event, placed_ms, day_number, arrived_ms, folded)
    if outcome:
        folded.outcomes[outcome] += 1


def _place(
    source: SourceState,
    state: MarketState,
    pane: Pane,
    event: OrderEvent,
    placed_ms: int,
    day_number: int,
    arrived_ms: int,
    folded: Folded,
) -> None:
    """Count the shopper of a placed order, and the order in its day."""
    pane.add_shopper(event.shopper_id)
    remember_mended(source, state, event, arrived_ms)
    day = state.open_day(day_number, arrived_ms)
    if day is None:
        folded.outcomes[DAY_CLOSED] += 1
        return
    add_placed(day.row, col.PLACED_AT, PLACED_PART, event, state.labels)
    source.touch_day(state, day)
    if state.is_before_log(placed_ms) and source.late_orders < LATE_MAX:
        source.note(state, Note(hash_of(key_of(event)), EARLY_NOTE, day_number))


def _set_aside(
    source: SourceState, chunk: Chunk, position: int, found: Rejected | Ignored, folded: Folded
) -> None:
    """Set a record aside that could not be decoded."""
    folded.set_aside_undecoded(chunk, position, found)
    if isinstance(found, Rejected):
        remember_refused(source, found.placement, folded, chunk.timestamps_ms[position])


def _refuse(
    source: SourceState,
    chunk: Chunk,
    position: int,
    event: OrderEvent,
    rejected: Rejected,
    folded: Folded,
) -> None:
    """Make an event a dead letter."""
    folded.add_dead_letter(chunk, position, rejected)
    remember_refused(source, placement_of(event), folded, chunk.timestamps_ms[position])


def _fold_too_late(
    source: SourceState,
    chunk: Chunk,
    position: int,
    event: OrderEvent,
    state: MarketState,
    occurred_ms: int,
    folded: Folded,
) -> None:
    """Fold an order event that the live book takes no more; its day may."""
    arrived_ms = chunk.timestamps_ms[position]
    outcome = fold_late(source, state, event, occurred_ms, arrived_ms, folded)
    if outcome == DUPLICATE:
        folded.outcomes[DUPLICATE] += 1
        return
    reached_ms = max(state.watermark_ms, arrived_ms)
    folded.add_late(chunk, position, reached_ms - occurred_ms, outcome)
    if outcome == DAY_ONLY and isinstance(event, IncompleteOrder):
        folded.add_parts(chunk, position, event.parts)

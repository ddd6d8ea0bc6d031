"""Folding order events: the hot path, and the careful path for all that it passes on.

The hot path repeats ``rows.add_order`` for the common shape of event (placed now, its pane open)
without a call for each step. It adds into cells by raw labels: an order changes twenty of the forty
columns of a row, but only three numbers of a cell. ``rows.settle`` turns cells into columns once a
flush. A property test holds the two paths equal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xxhash import xxh3_64_intdigest

from streams.flow.admission import DAY_ONLY, DOUBTED, DUPLICATE
from streams.flow.chunk import Chunk
from streams.flow.fold_corrections import correct
from streams.flow.fold_late import fold_late
from streams.flow.ids import ID_SEED
from streams.flow.order_checks import overflows, placed_instant
from streams.flow.refused_orders import placement_of, remember_mended, remember_refused
from streams.flow.remembered import EARLY_NOTE, LATE_MAX, Note, hash_of, key_of
from streams.flow.rows import add_order, add_places, day_places, order_sums
from streams.flow.set_aside import (
    BAD_STAMP,
    OVERFLOW,
    Folded,
    ahead,
    no_room,
    refused,
)
from streams.flow.source_state import BOTH, SourceState
from streams.flow.state import MarketState
from streams.index import partials as col
from streams.index.event_types import (
    SUM_MAX,
    Ignored,
    IncompleteOrder,
    OrderEvent,
    Rejected,
)
from streams.index.events import SHAPES, decode_orders_unproven, learn_shape, recheck_order
from streams.index.instants import MINUTES, PREFIX, RESTS, parse_instant
from streams.index.stamps import STAMPS_MS


def fold_orders(source: SourceState, chunk: Chunk, start: int, stop: int, folded: Folded) -> None:  # noqa: C901, PLR0912, PLR0915 - the hot path: a call per step would cost a third of its speed
    """Fold the order records ``start <= position < stop`` of a chunk."""
    values = chunk.values[start:stop]
    events, quotes = decode_orders_unproven(values)
    timestamps = chunk.timestamps_ms
    markets = source.markets
    admission = source.admission
    pane_ms, grace_ms, ahead_ms = admission.pane_ms, admission.grace_ms, admission.ahead_ms
    minute_of, rest_of = MINUTES.get, RESTS.get
    digest, shape_of = xxh3_64_intdigest, SHAPES.get
    volume = source.volume
    accepted = late = duplicates = day_closed = 0
    position = start - 1
    for event in events:
        position += 1
        plain = event.__class__ is OrderEvent
        if not plain and isinstance(event, (Rejected, Ignored)):
            _set_aside(source, chunk, position, event, folded)
            continue
        if TYPE_CHECKING:
            assert isinstance(event, OrderEvent)
        lines = event.lines
        method, region, channel = event.payment_method, event.region, event.channel
        profile = (
            method,
            region,
            channel,
            event.new_shopper,
            event.shopper_id is None,
            event.seller_id is None,
            event.placed_at is None,
        )
        state = markets.get(event.market)
        text = event.occurred_at
        minute = minute_of(text[:PREFIX])
        rest = rest_of(text[PREFIX:])
        if minute is not None and rest is not None:
            occurred_ms: int | None = minute + rest
        else:
            occurred_ms = parse_instant(text)
        pane = None
        if state is not None and occurred_ms is not None:
            pane = state.panes.get(occurred_ms - occurred_ms % pane_ms)
        if pane is None:
            profile_cell = None
            shape = shape_of(profile) or learn_shape(profile)
        else:
            profile_cell = pane.profile_cells.get(profile) or pane.profile_cell(profile)
            shape = profile_cell[3]
        if quotes is not None and quotes[position - start] != shape + 12 * len(lines):
            rejected = recheck_order(values[position - start])
            if rejected is not None:
                _set_aside(source, chunk, position, rejected, folded)
                continue
        if state is None or occurred_ms is None or event.currency != state.currency:
            _refuse(source, chunk, position, event, refused(event, state, occurred_ms), folded)
            continue
        arrived_ms = timestamps[position]
        if arrived_ms not in STAMPS_MS:
            _refuse(source, chunk, position, event, BAD_STAMP, folded)
            continue
        watermark_ms = state.watermark_ms
        if arrived_ms > watermark_ms or state.doubts:
            doubtful = chunk.is_doubtful(position)
            if admission.arrive(state, arrived_ms, key_of(event), doubtful=doubtful):
                folded.outcomes[DOUBTED] += 1
            moved = state.watermark_ms > watermark_ms
            # Where the watermark stayed behind, the event is late by its own arrival.
            watermark_ms = max(state.watermark_ms, arrived_ms)
            if moved and state.watermark_ms >= state.next_close_ms:
                # Closing may remove the pane, and books what is in the cells of all others.
                source.close(state)
                pane = state.panes.get(occurred_ms - occurred_ms % pane_ms)
                if pane is not None:
                    profile_cell = pane.profile_cells.get(profile) or pane.profile_cell(profile)
        if occurred_ms > arrived_ms + ahead_ms:
            _refuse(source, chunk, position, event, ahead(occurred_ms, arrived_ms), folded)
            continue
        if watermark_ms - occurred_ms > grace_ms:
            source.volume = volume
            _fold_too_late(source, chunk, position, event, state, occurred_ms, folded)
            volume = source.volume
            continue
        if (
            pane is None
            or profile_cell is None
            or not plain
            or event.type != "order.placed"
            or event.placed_at is not None
            or volume > SUM_MAX
            or (state.refused is not None and state.is_refused(hash_of(event.order_id)))
        ):
            source.volume = volume
            day_closed += _fold_checked(source, chunk, position, event, state, occurred_ms, folded)
            volume = source.volume
            continue
        event_hash = digest(event.event_id.encode(), ID_SEED)
        ids = pane.ids
        if ids is None:
            if pane.seen(event_hash):
                duplicates += 1
                continue
            ids = pane.ids  # ``seen`` may have built the set just now
        elif event_hash in ids:
            duplicates += 1
            continue
        cells = pane.category_cells
        units = sales = 0
        if len(lines) == 1:
            line = lines[0]
            label = line.category
            cell = cells.get(label) or state.category_cell(pane, label)
            units = line.quantity
            sales = units * line.unit_price_minor
            cell[0] += 1
            cell[1] += units
            cell[2] += sales
        else:
            seen = []
            for line in lines:
                label = line.category
                cell = cells.get(label) or state.category_cell(pane, label)
                quantity = line.quantity
                amount = quantity * line.unit_price_minor
                units += quantity
                sales += amount
                cell[1] += quantity
                cell[2] += amount
                if cell[3] not in seen:
                    seen.append(cell[3])
                    cell[0] += 1
        volume += units + sales
        if volume > SUM_MAX:
            # So large that each sum needs a check: undo it, and take the careful path.
            _take_back(pane.category_cells, event)
            source.volume = volume - units - sales
            day_closed += _fold_checked(source, chunk, position, event, state, occurred_ms, folded)
            volume = source.volume
            continue
        if ids is not None:
            ids.add(event_hash)
        pane.order.append(event_hash)
        pane.add_shopper(event.shopper_id)
        if pane.flags != BOTH:
            source.touch_pane(state, pane)
        profile_cell[0] += 1
        profile_cell[1] += units
        profile_cell[2] += sales
        if pane.late_from_ms <= watermark_ms:
            late += 1
        else:
            accepted += 1
    source.volume = volume
    source.count(folded, accepted, late, duplicates, day_closed)


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


def _take_back(cells: dict[str, list[int]], event: OrderEvent) -> None:
    """Undo what the hot path added for the lines of an event."""
    seen = []
    for line in event.lines:
        cell = cells[line.category]
        cell[1] -= line.quantity
        cell[2] -= line.quantity * line.unit_price_minor
        if cell[3] not in seen:
            seen.append(cell[3])
            cell[0] -= 1


def _placed(
    source: SourceState, event: OrderEvent, state: MarketState, occurred_ms: int, arrived_ms: int
) -> int | Rejected:
    """Return when the order was placed (ms), or why the event does not count."""
    if source.admission.has_no_room(state, occurred_ms, arrived_ms):
        return no_room(arrived_ms, state.watermark_ms)
    return placed_instant(event, occurred_ms, source.admission.ahead_ms)


def _fold_checked(
    source: SourceState,
    chunk: Chunk,
    position: int,
    event: OrderEvent,
    state: MarketState,
    occurred_ms: int,
    folded: Folded,
) -> int:
    """Fold an order event that the hot path passed on; return 1 when its day was closed, else 0.

    Such an event is the first of its pane, cancelled, refunded, placed at another time than it
    occurred, or so large that its sums need a check. This one path makes every check, in the order
    of admission.
    """
    if source.admission.is_below_floor(state, occurred_ms):
        _fold_too_late(source, chunk, position, event, state, occurred_ms, folded)
        return 0
    arrived_ms = chunk.timestamps_ms[position]
    placed_ms = _placed(source, event, state, occurred_ms, arrived_ms)
    if isinstance(placed_ms, Rejected):
        _refuse(source, chunk, position, event, placed_ms, folded)
        return 0
    start_ms = occurred_ms - occurred_ms % source.admission.pane_ms
    pane = state.panes.get(start_ms)
    event_hash = xxh3_64_intdigest(event.event_id.encode(), ID_SEED)
    if pane is not None and pane.seen(event_hash):
        folded.outcomes[DUPLICATE] += 1
        return 0
    day_number = state.local_days.day_of(placed_ms)
    units, sales = order_sums(event)
    if overflows(source, state, pane, day_number, units, sales):
        _refuse(source, chunk, position, event, OVERFLOW, folded)
        return 0
    source.volume += units + sales
    pane = pane or source.open_pane(state, start_ms)
    source.remember(state, pane, event_hash)
    add_order(pane.row, event, state)
    if isinstance(event, IncompleteOrder):
        folded.add_parts(chunk, position, event.parts)
    is_late = pane.late_from_ms <= max(state.watermark_ms, arrived_ms)
    source.count(folded, int(not is_late), int(is_late), 0, 0)
    if event.type != "order.placed":
        outcome = correct(source, state, event, placed_ms, day_number, arrived_ms, folded)
        if outcome:
            folded.outcomes[outcome] += 1
        return 0
    pane.add_shopper(event.shopper_id)
    remember_mended(source, state, event, arrived_ms)
    add_order(pane.booked, event, state)  # the day book gets this order here, not in bulk
    day = state.open_day(day_number, arrived_ms)
    if day is not None:
        add_places(day.row, col.PLACED_AT, day_places(event, state))
        source.touch_day(state, day)
        if state.is_before_log(placed_ms) and source.late_orders < LATE_MAX:
            source.note(state, Note(hash_of(key_of(event)), EARLY_NOTE, day_number))
    return int(day is None)


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

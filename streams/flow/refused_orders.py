"""Orders whose placement was refused: a correction of one takes nothing from a day that never had it.

A refused record is a dead letter, or too late though its day is open. Where its day is closed, nothing
need be remembered: that day takes no correction either. An order that is placed again and then counts
is no longer refused, and the corrections that waited for it count. To notice that, each order asks a
small filter, and only in markets where some order was refused.
"""

from __future__ import annotations

from streams.flow.admission import UNREMEMBERED
from streams.flow.fold_corrections import count_waiting
from streams.flow.remembered import (
    COUNTED_NOTES,
    MENDED_NOTE,
    REFUSED_MAX,
    REFUSED_NOTE,
    Note,
    hash_of,
    notes_of,
    quick_hash,
)
from streams.flow.set_aside import Folded
from streams.flow.source_state import SourceState
from streams.flow.state import MarketState
from streams.index.event_types import OrderEvent, Placement


def placement_of(event: OrderEvent) -> Placement | None:
    """Return the order that an event places, where a correction can name it."""
    if event.type != "order.placed" or not event.order_id:
        return None
    return Placement(event.market, event.order_id)


def remember_refused(
    source: SourceState, placement: Placement | None, folded: Folded, arrived_ms: int = 0
) -> None:
    """Remember that an order was refused, unless the log is known to hold it.

    ``arrived_ms``: arrival of the record, where its market may not have been seen before.
    """
    state = None if placement is None else source.markets.get(placement.market)
    if placement is None or state is None:
        return
    order = hash_of(placement.order_id)
    kinds = {note.kind for note in notes_of(order, state.remembered.values())}
    if REFUSED_NOTE in kinds or kinds & COUNTED_NOTES:
        return
    if source.notes[REFUSED_NOTE] >= REFUSED_MAX:
        folded.outcomes[UNREMEMBERED] += 1
        return
    source.note(state, Note(order, REFUSED_NOTE, 0, quick_hash(placement.order_id)), arrived_ms)


def remember_mended(
    source: SourceState, state: MarketState, event: OrderEvent, arrived_ms: int
) -> None:
    """Note that an order counts: it is refused no more, if it was, and its corrections count."""
    if state.refused is None:
        return
    order = hash_of(event.order_id)
    if state.is_refused(order):
        count_waiting(source, state, notes_of(order, state.remembered.values()), arrived_ms)
        source.note(state, Note(order, MENDED_NOTE, 0))

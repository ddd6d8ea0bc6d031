"""Order events later than the grace: too late for the live book, not for the day of their order.

A day is open for 35 days, so an order of a shop that was cut off for an hour belongs to it. It is
counted in a part of its own, since its copies cannot all be known: the ids of a pane are forgotten
once it is closed, so a copy of an event that was in time counts again here. Copies of late events
are known while they are remembered. Its corrections are those of any order: whether it was in time
as well is not known.
"""

from __future__ import annotations

from streams.flow.admission import DAY_ONLY, DUPLICATE, REPEATED, TOO_LATE, UNMATCHED, UNREMEMBERED
from streams.flow.fold_corrections import correct
from streams.flow.order_checks import overflows, placed_instant
from streams.flow.refused_orders import placement_of, remember_mended, remember_refused
from streams.flow.remembered import LATE_MAX, LATE_NOTE, Note, hash_of, key_of, notes_of
from streams.flow.rows import LATE_PART, add_placed, order_sums
from streams.flow.set_aside import Folded
from streams.flow.source_state import SourceState
from streams.flow.state import MarketState
from streams.index import partials as col
from streams.index.event_types import OrderEvent, Rejected


def fold_late(
    source: SourceState,
    state: MarketState,
    event: OrderEvent,
    occurred_ms: int,
    arrived_ms: int,
    folded: Folded,
) -> str:
    """Fold a late order event into the day of its order; return its outcome.

    Outcomes: ``day_only``, ``duplicate``, or ``too_late`` if it counts nowhere.
    """
    placed_ms = placed_instant(event, occurred_ms, source.admission.ahead_ms)
    if isinstance(placed_ms, Rejected):
        remember_refused(source, placement_of(event), folded)
        return TOO_LATE
    event_hash = hash_of(event.event_id)
    pane = state.panes.get(occurred_ms - occurred_ms % state.pane_ms)
    if pane is not None and pane.seen(event_hash):
        return DUPLICATE
    day_number = state.local_days.day_of(placed_ms)
    if state.day_is_closed(day_number, arrived_ms):
        return TOO_LATE
    units, sales = order_sums(event)
    if overflows(source, state, None, day_number, units, sales):
        remember_refused(source, placement_of(event), folded)
        return TOO_LATE
    if event.type == "order.placed":
        outcome, more = _place(source, state, event, event_hash, day_number, arrived_ms)
    else:
        more = correct(source, state, event, placed_ms, day_number, arrived_ms, folded)
        outcome = {REPEATED: DUPLICATE, UNMATCHED: TOO_LATE}.get(more, DAY_ONLY)
    if more:
        folded.outcomes[more] += 1
    if outcome == DAY_ONLY or more == UNMATCHED:  # what waits stands in the day's row too
        source.volume += units + sales
    return outcome


def _place(
    source: SourceState,
    state: MarketState,
    event: OrderEvent,
    event_hash: int,
    day_number: int,
    arrived_ms: int,
) -> tuple[str, str]:
    """Count a late placed order; return its outcome, and what else is to be said."""
    order = hash_of(key_of(event))
    for note in notes_of(order, state.remembered.values()):
        if note.kind == LATE_NOTE and note.key == event_hash:
            return DUPLICATE, ""
    remember_mended(source, state, event, arrived_ms)
    day = state.days.get(day_number) or state.new_day(day_number)
    add_placed(day.row, col.LATE_AT, LATE_PART, event, state.labels)
    source.touch_day(state, day)
    if source.late_orders >= LATE_MAX:
        return DAY_ONLY, UNREMEMBERED
    source.note(state, Note(order, LATE_NOTE, day_number, event_hash))
    return DAY_ONLY, ""

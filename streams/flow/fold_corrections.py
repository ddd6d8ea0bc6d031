"""Cancels and refunds in the day book: each counts once, on the day its order was placed.

A cancelled order counts as cancelled and as nothing else: its refunds, before or after, are part of
the cancel. So valid and net of an order end at 0, in whatever order its cancels and refunds come.
"""

from __future__ import annotations

from streams.flow.admission import DAY_CLOSED, REPEATED, UNMATCHED, UNREMEMBERED
from streams.flow.remembered import (
    CANCELLED_NOTE,
    CORRECTIONS_MAX,
    COUNTED_NOTES,
    LATE_NOTE,
    REFUNDED_NOTE,
    REFUSED_NOTE,
    Note,
    Place,
    hash_of,
    notes_of,
    refund_key,
)
from streams.flow.rows import add_places, day_places
from streams.flow.source_state import SourceState
from streams.flow.state import Day, MarketState
from streams.index import partials as col
from streams.index.event_types import OrderEvent


def correct(
    source: SourceState, state: MarketState, event: OrderEvent, placed_ms: int, day_number: int
) -> str:
    """Add a cancel or refund to the day of its order; return what else is to be said, or ``""``."""
    if state.day_is_closed(day_number):
        return DAY_CLOSED
    order = hash_of(event.order_id)
    notes = notes_of(order, state.remembered.values())
    refunds = [note for note in notes if note.kind == REFUNDED_NOTE]
    key = refund_key(event) if event.type == "order.refunded" else None
    if any(note.kind == CANCELLED_NOTE for note in notes) or any(
        note.key == key for note in refunds
    ):
        return REPEATED
    kinds = {note.kind for note in notes}
    if not kinds & COUNTED_NOTES and (REFUSED_NOTE in kinds or state.is_before_log(placed_ms)):
        return UNMATCHED
    late = any(note.kind == LATE_NOTE for note in notes)
    day = state.days.get(day_number) or state.new_day(day_number)
    of_day = [note for note in refunds if note.day == day_number]
    places = day_places(event, state)
    if key is None:
        note = _cancel(
            day, order, places if event.lines else _all_refunded(places, of_day), of_day, late=late
        )
    else:
        note = _refund(day, key, order, places, of_day, late=late)
    source.touch_day(state, day)
    # A cancel that took refunds back must not do it twice, so it is always remembered.
    if source.corrections >= CORRECTIONS_MAX and (key is not None or not refunds):
        return UNREMEMBERED
    source.note(state, note)
    return ""


def _refund(
    day: Day, key: int, order: int, places: list[Place], before: list[Note], *, late: bool
) -> Note:
    """Add a refund. An order is subtracted from a place once, however often it is refunded."""
    seen = {place.at for note in before for place in note.places}
    places = [place._replace(orders=int(place.at not in seen)) for place in places]
    add_places(day.row, col.REFUNDED_AT + col.LATE_AT * late, places)
    return Note(order, REFUNDED_NOTE, day.day, key, late, tuple(places))


def _cancel(day: Day, order: int, places: list[Place], refunds: list[Note], *, late: bool) -> Note:
    """Add a cancel, and take back the refunds of its order."""
    for note in refunds:
        add_places(day.row, col.REFUNDED_AT + col.LATE_AT * note.late, note.places, sign=-1)
    add_places(day.row, col.CANCELLED_AT + col.LATE_AT * late, places)
    return Note(order, CANCELLED_NOTE, day.day)


def _all_refunded(places: list[Place], refunds: list[Note]) -> list[Place]:
    """Return what a cancel subtracts that names no lines: as much as was refunded."""
    found = {place.at: place for place in places}
    for note in refunds:
        for at, _, units, sales in note.places:
            held = found.get(at, Place(at, 1, 0, 0))
            found[at] = Place(at, 1, held.units + units, held.sales + sales)
    return list(found.values())

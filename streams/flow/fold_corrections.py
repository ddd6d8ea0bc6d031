"""Cancels and refunds in the day book: each counts once, on the day its order was placed.

What an order's corrections take from its day is a function of the set of them (``taken``). A new one
adds the difference to the day, so that it does not matter in which order they come, or how often.
"""

from __future__ import annotations

from streams.flow.admission import DAY_CLOSED, REPEATED, UNMATCHED, UNREMEMBERED
from streams.flow.corrected_day import correct_day, end_waiting
from streams.flow.remembered import (
    CANCELLED_NOTE,
    CORRECTIONS_MAX,
    COUNTED_NOTES,
    REFUNDED_NOTE,
    REFUSED_NOTE,
    Item,
    Note,
    corrections_of,
    hash_of,
    hash_of_label,
    lines_digest,
    notes_of,
    refund_key,
)
from streams.flow.rows import WAITING_PART
from streams.flow.set_aside import Folded
from streams.flow.source_state import SourceState
from streams.flow.state import Day, MarketState
from streams.flow.taken import Sums, difference, taken
from streams.index.event_types import OrderEvent
from streams.index.known_labels import KnownLabels
from streams.index.label_rows import CATEGORY, METHOD

ARTICLES_MAX = 16
"""Articles that a correction is remembered by; one with more is remembered by category, without skus."""


def correct(
    source: SourceState,
    state: MarketState,
    event: OrderEvent,
    placed_ms: int,
    day_number: int,
    arrived_ms: int,
    folded: Folded,
) -> str:
    """Add a cancel or refund to the day of its order; return what else is to be said, or ``""``.

    While the order is refused, the correction waits: ``count_waiting`` adds it once the order counts.
    Till then it stands beside what counts, since the order may have counted before it was refused.
    """
    if state.day_is_closed(day_number, arrived_ms):
        return DAY_CLOSED
    order = hash_of(event.order_id)
    notes = notes_of(order, state.remembered.values())
    kinds = {note.kind for note in notes}
    waits = REFUSED_NOTE in kinds and not kinds & COUNTED_NOTES
    known, waiting = corrections_of(notes)
    if waits:
        known += waiting
    of_day = [note for note in known if note.day == day_number]
    new = _note(event, state.labels, order, day_number)._replace(waits=waits)
    outcome = UNMATCHED if waits else REPEATED
    if any(note.kind == new.kind == REFUNDED_NOTE and note.key == new.key for note in known):
        return outcome
    if not waits and not kinds & COUNTED_NOTES and state.is_before_log(placed_ms):
        return UNMATCHED
    elsewhere = [note for note in known if note.day != day_number and note.kind == CANCELLED_NOTE]
    before = taken(of_day, elsewhere) if of_day else {}
    after = taken([*of_day, new], elsewhere)
    changed = difference(after, before)
    full = source.corrections >= CORRECTIONS_MAX
    if not changed:
        # A refund that was told without its name before; told by another name it is another refund.
        unnamed = any(note.key == note.digest == new.digest for note in of_day)
        if unnamed and new.key != new.digest and not full:
            _keep(source, state, event, new, of_day)
        return outcome
    # What takes something back must not do it twice, so it is always remembered.
    unkept = full and (waits or all(each >= 0 for sums in changed.values() for each in sums))
    if not waits:
        day = _day_with_labels(source, state, event, day_number)
        correct_day(day, before, after)
    if not unkept:
        _keep(source, state, event, new, of_day)
    if waits:
        folded.outcomes[UNREMEMBERED] += unkept
        return outcome
    return UNREMEMBERED if unkept else ""


def count_waiting(
    source: SourceState, state: MarketState, notes: list[Note], arrived_ms: int
) -> None:
    """Take from its days what the corrections of an order say that came while it was refused.

    ``notes``: those of the order, before it was mended. ``arrived_ms``: of the event that mends it.
    """
    counted, waiting = corrections_of(notes)
    for day_number in sorted({note.day for note in waiting}):
        new = [note for note in waiting if note.day == day_number]
        of_day = [note for note in counted if note.day == day_number]
        elsewhere = [
            note for note in counted if note.day != day_number and note.kind == CANCELLED_NOTE
        ]
        counted += new
        if state.day_is_closed(day_number, arrived_ms):
            continue
        day = _touched_day(source, state, day_number)
        before, after = taken(of_day, elsewhere), taken([*of_day, *new], elsewhere)
        if end_waiting(day, before, after, taken(new, [])):
            source.volume = max(source.volume, *day.row.numbers)


def _keep(
    source: SourceState, state: MarketState, event: OrderEvent, new: Note, of_day: list[Note]
) -> None:
    """Remember a correction; one that waits stands beside what counts.

    ``of_day``: the corrections of its order and day before it. Those that wait are taken by themselves,
    so that what stands there is a function of the set of them, and can be taken away again.
    """
    source.note(state, new)
    if new.waits:
        waiting = [note for note in of_day if note.waits]
        before, after = taken(waiting, []), taken([*waiting, new], [])
        day = _day_with_labels(source, state, event, new.day)
        correct_day(day, before, after, WAITING_PART)


def _day_with_labels(
    source: SourceState, state: MarketState, event: OrderEvent, day_number: int
) -> Day:
    """Return the day of a correction, in whose row the labels that it names have their columns now."""
    day = _touched_day(source, state, day_number)
    for line in event.lines:
        day.row.column(CATEGORY, state.labels.get(line.category))
    if event.payment_method:
        day.row.column(METHOD, state.labels.get(event.payment_method))
    return day


def _touched_day(source: SourceState, state: MarketState, day_number: int) -> Day:
    day = state.days.get(day_number) or state.new_day(day_number)
    source.touch_day(state, day)
    return day


def _note(event: OrderEvent, labels: KnownLabels, order: int, day_number: int) -> Note:
    """Return what a correction says: its items, each line of one sku and category together."""
    sums: dict[tuple[int, int, bool], Sums] = {}
    for line in event.lines:
        sku = hash_of(line.sku) if line.sku else 0
        which = sku, hash_of_label(labels.get(line.category)), bool(line.category)
        units, sales = sums.get(which, (0, 0))
        units += line.quantity
        sums[which] = units, sales + line.quantity * line.unit_price_minor
    if len(sums) > ARTICLES_MAX:
        by_category: dict[tuple[int, int, bool], Sums] = {}
        for (_, category, named), (units, sales) in sums.items():
            more = by_category.get((0, category, named), (0, 0))
            by_category[0, category, named] = units + more[0], sales + more[1]
        sums = by_category
    method = hash_of_label(labels.get(event.payment_method)) if event.payment_method else 0
    items = tuple(Item(*which, *found) for which, found in sums.items())
    if event.type == "order.cancelled":
        return Note(order, CANCELLED_NOTE, day_number, method=method, items=items)
    key, digest = refund_key(event), lines_digest(event)
    return Note(order, REFUNDED_NOTE, day_number, key, digest, method, items)

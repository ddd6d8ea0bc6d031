"""Cancels and refunds in the day book: each counts once, on the day its order was placed.

What an order's corrections take from its day is a function of the set of them (``taken``). A new one
adds the difference to the day, so that it does not matter in which order they come, or how often.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import TypeVar

from streams.flow.admission import DAY_CLOSED, REPEATED, UNMATCHED, UNREMEMBERED
from streams.flow.remembered import (
    CANCELLED_NOTE,
    CORRECTIONS_MAX,
    COUNTED_NOTES,
    REFUNDED_NOTE,
    REFUSED_NOTE,
    WHOLE_ORDER,
    Item,
    Note,
    corrections_of,
    hash_of,
    lines_digest,
    notes_of,
    refund_key,
)
from streams.flow.set_aside import Folded
from streams.flow.source_state import SourceState
from streams.flow.state import MarketState
from streams.index import partials as col
from streams.index.event_types import SUM_MAX, OrderEvent
from streams.index.partials import Row

ARTICLES_MAX = 16
"""Articles that a correction is remembered by; one with more is remembered by category, without skus."""

Taken = dict[int, list[int]]
"""Column of (ledger, place) in a day's row -> [orders, units, sales]."""
Sums = tuple[int, int]
"""(units, sales)."""
Key = TypeVar("Key", bound=Hashable)


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
    new = _note(event, state, order, day_number)._replace(waits=waits)
    outcome = UNMATCHED if waits else REPEATED
    if any(WHOLE_ORDER in note.items for note in known) or any(
        note.kind == new.kind == REFUNDED_NOTE and note.key == new.key for note in known
    ):
        return outcome
    if not waits and not kinds & COUNTED_NOTES and state.is_before_log(placed_ms):
        return UNMATCHED
    elsewhere = [note for note in known if note.day != day_number and note.kind == CANCELLED_NOTE]
    before = taken(of_day, elsewhere) if of_day else {}
    changed = _difference(taken([*of_day, new], elsewhere), before)
    full = source.corrections >= CORRECTIONS_MAX
    if not changed:
        # A refund that was told without its name before; told by another name it is another refund.
        unnamed = any(note.key == note.digest == new.digest for note in of_day)
        if unnamed and new.key != new.digest and not full:
            _keep(source, state, new, of_day)
        return outcome
    if not waits:
        _change(source, state, day_number, changed)
    # What takes something back must not do it twice, so it is always remembered.
    unkept = full and (waits or all(each >= 0 for sums in changed.values() for each in sums))
    if not unkept:
        _keep(source, state, new, of_day)
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
        changed = _difference(taken([*of_day, *new], elsewhere), taken(of_day, elsewhere))
        if state.day_is_closed(day_number, arrived_ms):
            continue
        day = state.days.get(day_number) or state.new_day(day_number)
        row = day.row[:]
        _add(row, changed, 0)
        _add(row, _difference({}, taken(new, [])), col.WAITING_AT)
        if max(row) > SUM_MAX:
            continue
        day.row = row
        source.volume = max(source.volume, *row)
        source.touch_day(state, day)


def _keep(source: SourceState, state: MarketState, new: Note, of_day: list[Note]) -> None:
    """Remember a correction; one that waits stands beside what counts.

    ``of_day``: the corrections of its order and day before it. Those that wait are taken by themselves,
    so that what stands there is a function of the set of them, and can be taken away again.
    """
    source.note(state, new)
    if new.waits:
        before = [note for note in of_day if note.waits]
        changed = _difference(taken([*before, new], []), taken(before, []))
        _change(source, state, new.day, changed, col.WAITING_AT)


def _change(
    source: SourceState, state: MarketState, day_number: int, changed: Taken, part: int = 0
) -> None:
    if changed:
        day = state.days.get(day_number) or state.new_day(day_number)
        _add(day.row, changed, part)
        source.touch_day(state, day)


def taken(notes: list[Note], elsewhere: list[Note]) -> Taken:
    """Return what the corrections of one order take from its day.

    ``elsewhere``: cancels of the order that named another day.

    Of an item that several cancels name, the largest counts; of items without ``sku``, the largest
    cancel of their category. A refund of an item that was cancelled is part of its cancel. A refund
    without ``refund_id`` is one of those with it that have the same lines. The order itself is taken
    once from each place.
    """
    cancels = _without([note for note in notes if note.kind == CANCELLED_NOTE], elsewhere)
    refunds = [note for note in notes if note.kind == REFUNDED_NOTE]
    named = {note.digest for note in refunds if note.key != note.digest}
    if named:
        refunds = [note for note in refunds if note.key != note.digest or note.digest not in named]
    found: Taken = {}
    apart = {place for note in elsewhere for place in note.places}
    for place in {0, *(note.method for note in cancels)} if cancels else ():
        largest = _largest(note for note in cancels if place in (0, note.method))
        _take(found, col.CANCELLED_AT + place, place not in apart, largest.values())
        for at, sums in largest.items() if place == 0 else ():
            _take(found, col.CANCELLED_AT + at, at not in apart, [sums])
    apart |= {place for note in cancels for place in note.places}
    for note in _without(refunds, [*elsewhere, *cancels]):
        all_sums = [(item.units, item.sales) for item in note.items]
        for place in {0, note.method}:
            _take(found, col.REFUNDED_AT + place, place not in apart, all_sums)
        for item, sums in zip(note.items, all_sums, strict=True):
            _take(found, col.REFUNDED_AT + item.at, item.at not in apart, [sums])
    return found


def _without(notes: list[Note], cancels: list[Note]) -> list[Note]:
    """Return corrections without what cancels have taken; one of which nothing is left is left out."""
    gone = [item for note in cancels for item in note.items]
    if not gone:
        return notes
    found = []
    for note in notes:
        left = tuple(item for item in note.items if not any(map(item.is_like, gone)))
        if left or not note.items:
            found.append(note._replace(items=left))
    return found


def _largest(cancels: Iterable[Note]) -> dict[int, Sums]:
    """Return the units and sales that cancels take from each category."""
    by_category: dict[int, Sums] = {}
    by_sku: dict[tuple[int, int], Sums] = {}
    for note in cancels:
        _widen(by_category, _sums((item.at, item) for item in note.items))
        _widen(by_sku, _sums(((item.at, item.sku), item) for item in note.items if item.sku))
    together: dict[int, Sums] = {}
    for (at, _), (units, sales) in by_sku.items():
        more = together.get(at, (0, 0))
        together[at] = units + more[0], sales + more[1]
    _widen(by_category, together)
    return by_category


def _sums(items: Iterable[tuple[Key, Item]]) -> dict[Key, Sums]:
    found: dict[Key, Sums] = {}
    for key, item in items:
        units, sales = found.get(key, (0, 0))
        found[key] = units + item.units, sales + item.sales
    return found


def _widen(found: dict[Key, Sums], more: dict[Key, Sums]) -> None:
    for key, (units, sales) in more.items():
        held = found.get(key, (0, 0))
        found[key] = max(held[0], units), max(held[1], sales)


def _take(found: Taken, at: int, order: bool, sums: Iterable[Sums]) -> None:  # noqa: FBT001
    held = found.setdefault(at, [0, 0, 0])
    held[0] = int(order)
    for units, sales in sums:
        held[1] += units
        held[2] += sales


def _difference(after: Taken, before: Taken) -> Taken:
    nothing = [0, 0, 0]
    found = {
        at: [
            new - old
            for new, old in zip(after.get(at, nothing), before.get(at, nothing), strict=True)
        ]
        for at in after.keys() | before.keys()
    }
    return {at: sums for at, sums in found.items() if any(sums)}


def _add(row: Row, changed: Taken, part: int) -> None:
    for at, sums in changed.items():
        for offset, more in enumerate(sums, part + at):
            row[offset] += more


def _note(event: OrderEvent, state: MarketState, order: int, day_number: int) -> Note:
    """Return what a correction says: its items, each line of one sku and category together."""
    category, methods, _, _ = state.labels
    sums: dict[tuple[int, int, bool], Sums] = {}
    for line in event.lines:
        sku = hash_of(line.sku) if line.sku else 0
        which = sku, category.get(line.category)[1], bool(line.category)
        units, sales = sums.get(which, (0, 0))
        units += line.quantity
        sums[which] = units, sales + line.quantity * line.unit_price_minor
    if len(sums) > ARTICLES_MAX:
        by_category: dict[tuple[int, int, bool], Sums] = {}
        for (_, at, named), (units, sales) in sums.items():
            more = by_category.get((0, at, named), (0, 0))
            by_category[0, at, named] = units + more[0], sales + more[1]
        sums = by_category
    method = methods.get(event.payment_method)[1] if event.payment_method else 0
    items = tuple(Item(*which, *found) for which, found in sums.items())
    if event.type == "order.cancelled":
        return Note(order, CANCELLED_NOTE, day_number, method=method, items=items)
    key, digest = refund_key(event), lines_digest(event)
    return Note(order, REFUNDED_NOTE, day_number, key, digest, method, items)

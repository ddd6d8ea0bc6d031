"""Cancels and refunds in the day book: each counts once, on the day its order was placed.

What an order's corrections take from its day is a function of the set of them (``taken``). A new one
adds the difference to the day, so that it does not matter in which order they come, or how often.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import TypeVar

from streams.flow.admission import DAY_CLOSED, REPEATED, UNMATCHED, UNREMEMBERED
from streams.flow.remembered import (
    CANCELLED_NOTE,
    CORRECTIONS_MAX,
    COUNTED_NOTES,
    REFUNDED_NOTE,
    REFUSED_NOTE,
    WHOLE,
    Item,
    Note,
    Place,
    corrections_of,
    hash_of,
    hash_of_label,
    lines_digest,
    notes_of,
    refund_key,
)
from streams.flow.rows import CORRECTED_PART, WAITING_PART
from streams.flow.set_aside import Folded
from streams.flow.source_state import SourceState
from streams.flow.state import Day, MarketState
from streams.index import partials as col
from streams.index.event_types import SUM_MAX, OrderEvent
from streams.index.known_labels import KnownLabels
from streams.index.label_rows import CANCELLED, CATEGORY, METHOD, REFUNDED, item

ARTICLES_MAX = 16
"""Articles that a correction is remembered by; one with more is remembered by category, without skus."""

Taken = dict[tuple[int, Place], list[int]]
"""(ledger, place) -> [orders, units, sales], by what was said."""
Changes = dict[tuple[int, int], list[int]]
"""(first column of a place in a day's row, ledger) -> [orders, units, sales]."""
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
    new = _note(event, state.labels, order, day_number)._replace(waits=waits)
    outcome = UNMATCHED if waits else REPEATED
    if any(note.kind == new.kind == REFUNDED_NOTE and note.key == new.key for note in known):
        return outcome
    if not waits and not kinds & COUNTED_NOTES and state.is_before_log(placed_ms):
        return UNMATCHED
    elsewhere = [note for note in known if note.day != day_number and note.kind == CANCELLED_NOTE]
    before = taken(of_day, elsewhere) if of_day else {}
    after = taken([*of_day, new], elsewhere)
    changed = _difference(after, before)
    full = source.corrections >= CORRECTIONS_MAX
    if not changed:
        # A refund that was told without its name before; told by another name it is another refund.
        unnamed = any(note.key == note.digest == new.digest for note in of_day)
        if unnamed and new.key != new.digest and not full:
            _keep(source, state, new, of_day)
        return outcome
    # What takes something back must not do it twice, so it is always remembered.
    unkept = full and (waits or all(each >= 0 for sums in changed.values() for each in sums))
    if not (waits and unkept):
        _admit(source, state, day_number, event)
    if not waits:
        _change(source, state, day_number, before, after)
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
        if state.day_is_closed(day_number, arrived_ms):
            continue
        day = state.days.get(day_number) or state.new_day(day_number)
        source.touch_day(state, day)
        before, after = taken(of_day, elsewhere), taken([*of_day, *new], elsewhere)
        waited = taken(new, [])
        changes = _difference(_columns(day, after), _columns(day, before))
        changes |= _difference({}, _columns(day, waited, col.WAITING_AT))
        if _overflow(day, changes):
            continue
        _add(day, changes)
        _note_sets(day, before, after, CORRECTED_PART)
        _note_sets(day, waited, {}, WAITING_PART)
        source.volume = max(source.volume, *day.row.numbers)


def _keep(source: SourceState, state: MarketState, new: Note, of_day: list[Note]) -> None:
    """Remember a correction; one that waits stands beside what counts.

    ``of_day``: the corrections of its order and day before it. Those that wait are taken by themselves,
    so that what stands there is a function of the set of them, and can be taken away again.
    """
    source.note(state, new)
    if new.waits:
        waiting = [note for note in of_day if note.waits]
        before, after = taken(waiting, []), taken([*waiting, new], [])
        _change(source, state, new.day, before, after, WAITING_PART)


def _admit(source: SourceState, state: MarketState, day_number: int, event: OrderEvent) -> None:
    """Give the labels that a correction names their columns in the row of its day."""
    day = state.days.get(day_number) or state.new_day(day_number)
    for line in event.lines:
        day.row.column(CATEGORY, state.labels.get(line.category))
    if event.payment_method:
        day.row.column(METHOD, state.labels.get(event.payment_method))
    source.touch_day(state, day)


def _change(
    source: SourceState,
    state: MarketState,
    day_number: int,
    before: Taken,
    after: Taken,
    part: int = CORRECTED_PART,
) -> None:
    if before == after:
        return
    day = state.days.get(day_number) or state.new_day(day_number)
    ledgers_at = col.WAITING_AT if part == WAITING_PART else 0
    _add(day, _difference(_columns(day, after, ledgers_at), _columns(day, before, ledgers_at)))
    _note_sets(day, before, after, part)
    source.touch_day(state, day)


def _columns(day: Day, found: Taken, ledgers_at: int = 0) -> Changes:
    """Return what was taken by the columns of a day's row.

    Labels for which the row has no room are one there, ``MORE``: an order is taken from it once.
    """
    columns: Changes = {}
    for (ledger, (dimension, label)), sums in found.items():
        place_at = 0 if dimension < 0 else day.column_of(dimension, label)
        held = columns.setdefault((place_at + ledgers_at, ledger), [0, 0, 0])
        held[0] = max(held[0], sums[0])
        held[1] += sums[1]
        held[2] += sums[2]
    for (at, ledger), sums in columns.items():
        if ledger == col.REFUNDED_AT and (at, col.CANCELLED_AT) in columns:
            sums[0] = 0
    return columns


def _note_sets(day: Day, before: Taken, after: Taken, part: int) -> None:
    """Move an order from the labels it was taken from before to those it is taken from now."""
    for dimension in (CATEGORY, METHOD):
        old, new = (_items(day, found, dimension) for found in (before, after))
        if old != new:
            day.row.note_set(part, old, -1)
            day.row.note_set(part, new)


def _items(day: Day, found: Taken, dimension: int) -> set[int]:
    """Return the items of a label set: the labels from which an order was taken, and how."""
    tags: dict[int, int] = {}
    for (ledger, (of, label)), (orders, _, _) in found.items():
        if of == dimension and orders:
            column = day.column_of(dimension, label)
            if ledger == col.CANCELLED_AT or column not in tags:
                tags[column] = CANCELLED if ledger == col.CANCELLED_AT else REFUNDED
    return {item(column, tag) for column, tag in tags.items()}


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
    methods: set[Place] = {(METHOD, note.method) for note in cancels if note.method}
    for place in {WHOLE, *methods} if cancels else ():
        largest = _largest(note for note in cancels if place in (WHOLE, (METHOD, note.method)))
        _take(found, col.CANCELLED_AT, place, apart, largest.values())
        for label, sums in largest.items() if place == WHOLE else ():
            _take(found, col.CANCELLED_AT, (CATEGORY, label), apart, [sums])
    apart |= {place for note in cancels for place in note.places}
    for note in _without(refunds, [*elsewhere, *cancels]):
        all_sums = [(item.units, item.sales) for item in note.items]
        for place in (WHOLE, (METHOD, note.method)) if note.method else (WHOLE,):
            _take(found, col.REFUNDED_AT, place, apart, all_sums)
        for each, sums in zip(note.items, all_sums, strict=True):
            _take(found, col.REFUNDED_AT, (CATEGORY, each.category), apart, [sums])
    return found


def _without(notes: list[Note], cancels: list[Note]) -> list[Note]:
    """Return corrections without what cancels have taken; one of which nothing is left is left out."""
    gone = [each for note in cancels for each in note.items]
    if not gone:
        return notes
    found = []
    for note in notes:
        left = tuple(each for each in note.items if not any(map(each.is_like, gone)))
        if left or not note.items:
            found.append(note._replace(items=left))
    return found


def _largest(cancels: Iterable[Note]) -> dict[int, Sums]:
    """Return the units and sales that cancels take from each category."""
    by_category: dict[int, Sums] = {}
    by_sku: dict[tuple[int, int], Sums] = {}
    for note in cancels:
        _widen(by_category, _sums((each.category, each) for each in note.items))
        named = (each for each in note.items if each.sku)
        _widen(by_sku, _sums(((each.category, each.sku), each) for each in named))
    together: dict[int, Sums] = {}
    for (category, _), (units, sales) in by_sku.items():
        more = together.get(category, (0, 0))
        together[category] = units + more[0], sales + more[1]
    _widen(by_category, together)
    return by_category


def _sums(items: Iterable[tuple[Key, Item]]) -> dict[Key, Sums]:
    found: dict[Key, Sums] = {}
    for key, each in items:
        units, sales = found.get(key, (0, 0))
        found[key] = units + each.units, sales + each.sales
    return found


def _widen(found: dict[Key, Sums], more: dict[Key, Sums]) -> None:
    for key, (units, sales) in more.items():
        held = found.get(key, (0, 0))
        found[key] = max(held[0], units), max(held[1], sales)


def _take(
    found: Taken, ledger: int, place: Place, apart: set[Place], sums: Iterable[Sums]
) -> None:
    held = found.setdefault((ledger, place), [0, 0, 0])
    held[0] = int(place not in apart)
    for units, sales in sums:
        held[1] += units
        held[2] += sales


def _difference(after: Mapping[Key, list[int]], before: Mapping[Key, list[int]]) -> dict[Key, list[int]]:
    nothing = [0, 0, 0]
    found = {
        at: [
            new - old
            for new, old in zip(after.get(at, nothing), before.get(at, nothing), strict=True)
        ]
        for at in after.keys() | before.keys()
    }
    return {at: sums for at, sums in found.items() if any(sums)}


def _overflow(day: Day, changes: Changes) -> bool:
    numbers = day.row.numbers
    return any(
        numbers[offset] + more > SUM_MAX
        for (at, ledger), sums in changes.items()
        for offset, more in enumerate(sums, at + ledger)
    )


def _add(day: Day, changes: Changes) -> None:
    numbers = day.row.numbers
    for (at, ledger), sums in changes.items():
        for offset, more in enumerate(sums, at + ledger):
            numbers[offset] += more


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

"""What the cancels and refunds of one order take from its day, place by place.

It is a function of the set of them, so that it does not matter in which order they come, or how often.
Places are what was said: articles are alike by their labels, whatever member these are of.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import TypeVar

from streams.flow.remembered import CANCELLED_NOTE, REFUNDED_NOTE, WHOLE, Item, Note, Place
from streams.index import partials as col
from streams.index.label_rows import CATEGORY, METHOD

Taken = dict[tuple[int, Place], list[int]]
"""(ledger, place) -> [orders, units, sales], by what was said."""
Sums = tuple[int, int]
"""(units, sales)."""
Key = TypeVar("Key", bound=Hashable)


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


def _take(found: Taken, ledger: int, place: Place, apart: set[Place], sums: Iterable[Sums]) -> None:
    held = found.setdefault((ledger, place), [0, 0, 0])
    held[0] = int(place not in apart)
    for units, sales in sums:
        held[1] += units
        held[2] += sales


def difference(
    after: Mapping[Key, list[int]], before: Mapping[Key, list[int]]
) -> dict[Key, list[int]]:
    """Return by how much the sums of each place have changed, where they have."""
    nothing = [0, 0, 0]
    found = {
        at: [
            new - old
            for new, old in zip(after.get(at, nothing), before.get(at, nothing), strict=True)
        ]
        for at in after.keys() | before.keys()
    }
    return {at: sums for at, sums in found.items() if any(sums)}

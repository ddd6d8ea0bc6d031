"""The row of a day as corrections change it: by the columns of the labels that they name.

Labels for which the row has no room are one there, ``MORE``: an order is taken from it once.
"""

from __future__ import annotations

from streams.flow.rows import CORRECTED_PART, WAITING_PART
from streams.flow.state import Day
from streams.flow.taken import Taken, difference
from streams.index import partials as col
from streams.index.event_types import SUM_MAX
from streams.index.label_rows import CANCELLED, CATEGORY, METHOD, REFUNDED, item

Changes = dict[tuple[int, int], list[int]]
"""(first column of a place in a day's row, ledger) -> [orders, units, sales]."""


def correct_day(day: Day, before: Taken, after: Taken, part: int = CORRECTED_PART) -> None:
    """Change a day's row by what the corrections of one order take now and took before.

    ``part``: ``CORRECTED_PART``, or ``WAITING_PART`` for corrections that wait for their order.
    """
    ledgers_at = col.WAITING_AT if part == WAITING_PART else 0
    _add(day, difference(_columns(day, after, ledgers_at), _columns(day, before, ledgers_at)))
    _note_sets(day, before, after, part)


def end_waiting(day: Day, before: Taken, after: Taken, waited: Taken) -> bool:
    """Move corrections that waited to what counts; return whether the day's sums have room for them."""
    changes = difference(_columns(day, after), _columns(day, before))
    changes |= difference({}, _columns(day, waited, col.WAITING_AT))
    if _overflows(day, changes):
        return False
    _add(day, changes)
    _note_sets(day, before, after, CORRECTED_PART)
    _note_sets(day, waited, {}, WAITING_PART)
    return True


def _overflows(day: Day, changes: Changes) -> bool:
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


def _columns(day: Day, found: Taken, ledgers_at: int = 0) -> Changes:
    """Return what was taken by the columns of a day's row."""
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
    """Return the items of a label set: the columns from which the order was taken, and how."""
    columns = _columns(day, found)
    places = {day.column_of(dimension, label) for _, (of, label) in found if of == dimension}
    return {
        item(at, tag)
        for at in places
        for ledger, tag in ((col.CANCELLED_AT, CANCELLED), (col.REFUNDED_AT, REFUNDED))
        if (at, ledger) in columns and columns[at, ledger][0]
    }

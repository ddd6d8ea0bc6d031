"""What the expectation may learn from an hour: events of known size, events of unknown size, shifts.

An operator declares that an event (Eid, 11.11, payday) multiplies demand. Its hours then teach what they
would have been without it, and E is multiplied in the event's hours to come. An hour that the event
covers in part teaches nothing. An event of unknown size teaches nothing, and neither does a shift found
on final panes, unless an answer says otherwise (``index.operator_answers``). A shift that lasts is
adopted (``Relevel``): the hours before it are read as if they had had the new level.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from streams.index.demand import SCALE
from streams.index.hours import Calendar, LocalHours
from streams.index.methodology import Event
from streams.index.panes import HOUR_MS
from streams.index.trend import Matrix

WHOLE = ("market", "all")

Scope = tuple[str, str]
"""(dimension, member). ``WHOLE`` applies to every column of the market."""


@dataclass(frozen=True, slots=True)
class Factor:
    """The operator's factor for the hours ``[start_ms, end_ms)``; None: an event of unknown size.

    ``factor`` is an integer in units of 1 / SCALE: 2_500_000 means two and a half times the expectation.
    """

    scope: Scope
    start_ms: int
    end_ms: int
    factor: int | None


@dataclass(frozen=True, slots=True)
class Shifted:
    """A shift found on final panes; its hours teach nothing. ``end_ms`` None: it has not ended."""

    scope: Scope
    start_ms: int
    end_ms: int | None


@dataclass(frozen=True, slots=True)
class Relevel:
    """The level from ``start_ms`` on is ``ratio`` (units of 1 / SCALE) times the level before."""

    scope: Scope
    start_ms: int
    ratio: int


def event_factors(events: Iterable[Event], hours: LocalHours) -> list[Factor]:
    """Factors of the events in methodology.toml, by the hours of their local days."""
    return [
        Factor(
            (event.dimension, event.member),
            hours.hours_of(event.first).start,
            hours.hours_of(event.end).start,
            None if event.factor is None else round(event.factor * SCALE),
        )
        for event in events
    ]


def factor_at(factors: Iterable[Factor], scope: Scope, hour_ms: int) -> int | None:
    """Factor of an hour for a member: the last one declared for it, else for the market, else SCALE."""
    found: Factor | None = None
    for each in factors:
        if each.start_ms < hour_ms + HOUR_MS and hour_ms < each.end_ms:
            own = each.scope == scope
            if own or (each.scope == WHOLE and (found is None or found.scope == WHOLE)):
                found = each
    return SCALE if found is None else found.factor


def with_factor(expected: int, factor: int | None) -> int:
    """Expectation of an hour times its factor. An event of unknown size leaves it unchanged.

    Both the result and ``expected`` are in units of 1 / SCALE.

    >>> with_factor(3_000_000, 2_500_000), with_factor(3_000_000, None)
    (7500000, 3000000)
    """
    if factor is None or factor == SCALE:
        return expected
    return (expected * factor + SCALE // 2) // SCALE


def relevel_of(scope: Scope, start_ms: int, observed: int, expected: int) -> Relevel | None:
    """Adopt a shift that has lasted: the level is observed / expected since its start.

    ``expected`` is in units of 1 / SCALE. None where nothing was expected or nothing came: an outage is
    never the new level.
    """
    if observed <= 0 or expected <= 0:
        return None
    return Relevel(scope, start_ms, (observed * SCALE * SCALE + expected // 2) // expected)


def lessons(
    calendar: Calendar,
    scopes: Sequence[Scope],
    known: Matrix,
    *,
    factors: Sequence[Factor] = (),
    shifts: Iterable[Shifted] = (),
    relevels: Iterable[Relevel] = (),
) -> tuple[Matrix, Matrix]:
    """(learnt, factors) for ``expectation.fit``, each hours x columns.

    ``scopes``: the scope of each column. ``known``: 1 where an hour's count is known, else 0.
    """
    hours = calendar.hours_ms
    learnt, multiplied = known.copy(), np.ones_like(known)
    columns = {
        scope: [at for at, own in enumerate(scopes) if own == scope] for scope in set(scopes)
    }
    everything = list(range(len(scopes)))
    for shift in shifts:
        rows = _rows(hours, shift.start_ms, shift.end_ms)
        learnt[rows, everything if shift.scope == WHOLE else columns.get(shift.scope, [])] = 0.0
    touched = sorted({row for each in factors for row in _indices(hours, each)})
    for each in factors:  # an hour that an event covers in part teaches neither of the two
        own = everything if each.scope == WHOLE else columns.get(each.scope, [])
        for row in _indices(hours, each):
            if hours[row] < each.start_ms or each.end_ms < hours[row] + HOUR_MS:
                learnt[row, own] = 0.0
    for scope, own in columns.items():
        for row in touched:
            factor = factor_at(factors, scope, hours[row])
            if factor:
                multiplied[row, own] = factor / SCALE
            else:  # of unknown size, or expected to be empty: nothing can be learnt
                learnt[row, own] = 0.0
    for relevel in relevels:
        rows = slice(0, bisect_left(hours, relevel.start_ms))
        own = everything if relevel.scope == WHOLE else columns.get(relevel.scope, [])
        multiplied[rows, own] *= SCALE / relevel.ratio
    return learnt, multiplied


def _rows(hours: Sequence[int], start_ms: int, end_ms: int | None) -> slice:
    """Hours that overlap ``[start_ms, end_ms)``."""
    first = bisect_left(hours, start_ms - HOUR_MS + 1)
    return slice(first, len(hours) if end_ms is None else bisect_left(hours, end_ms))


def _indices(hours: Sequence[int], factor: Factor) -> range:
    rows = _rows(hours, factor.start_ms, factor.end_ms)
    return range(rows.start, rows.stop)

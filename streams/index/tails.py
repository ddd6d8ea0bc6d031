"""How far bursts reach: the edges that keep the false pages of a series within one in ``BUDGET_DAYS``.

The noise of an hour is a median over days, so that an event does not widen the band. Where days with a
burst are frequent, the median says nothing of them, and a detector pages at each. Days are counted that
had an hour beyond the edges that the noise alone gives, by more than counting explains. From the second
one in four weeks on, a series is restless. The logarithms of what lies beyond the edges are taken as
exponential (a Pareto tail, the mean excess by Hill 1975). That gives the reach that is exceeded on one
day in ``BUDGET_DAYS``. Hours of shifts that were found are not among what is known here.
"""

from __future__ import annotations

import math

import numpy as np

from streams.index.hours import LEARNT_DAYS, Calendar
from streams.index.shift_clock import FAST_REACH_MAX, FAST_REACH_MIN, FAST_REACH_PER_NOISE
from streams.index.trend import Matrix, Vector, by_group, ratio

NOISE_DAYS = 28
BUDGET_DAYS = 60
BURSTS_MIN = 2
"""Bursts in four weeks from which a series is restless: one may have been a shift that nobody found."""
_EVENTS_MIN = 10.0
"""Expected in an hour that is checked at: bursts of fewer are a matter of counting."""
_SIGMAS = 3.0


def tails(
    calendar: Calendar, counts: Matrix, expected: Matrix, hour: Vector
) -> tuple[Vector, Vector]:
    """(variance by which each column's edges hold its bursts, that of its days); 0 where not restless.

    ``counts`` and ``expected``: hours x columns, 0 where unknown. ``hour``: s^2 of each column.
    """
    seen = (expected >= _EVENTS_MIN) & (calendar.days >= LEARNT_DAYS - NOISE_DAYS)[:, None]
    above = ratio(counts - _SIGMAS * np.sqrt(counts), expected, empty=0.0)
    below = ratio(expected, counts + _SIGMAS * np.sqrt(expected), empty=0.0)
    furthest = np.where(seen, np.maximum(above, below), 0.0)
    checked = (by_group(calendar.days, seen.astype(np.float64), LEARNT_DAYS) > 0).sum(axis=0)
    narrowest = [_reach(noise) for noise in hour.tolist()]
    reaching, of_days = np.zeros(len(narrowest)), np.zeros(len(narrowest))
    for column in np.flatnonzero(furthest.max(axis=0) > _CLOSE * math.exp(FAST_REACH_MIN)):
        days: dict[int, float] = {}
        for at in np.flatnonzero(furthest[:, column] > 1.0).tolist():
            reach = math.log(furthest[at, column])
            if reach > narrowest[column]:
                day = int(calendar.days[at])
                days[day] = max(reach, days.get(day, 0.0))
        reaching[column] = _variance(days, narrowest[column], int(checked[column]))
        if reaching[column]:
            of_days[column] = _of_days(calendar, counts[:, column], expected[:, column])
    return reaching, of_days


def _of_days(calendar: Calendar, counts: Vector, expected: Vector) -> float:
    """Mean of the days' squared relative errors, bursts and all."""
    sums = by_group(calendar.days, np.stack([counts, expected], axis=1), LEARNT_DAYS)
    errors = [
        (own / mean - 1.0) ** 2 for own, mean in sums[LEARNT_DAYS - NOISE_DAYS :].tolist() if mean
    ]
    return math.fsum(errors) / len(errors)


_CLOSE = 0.999
"""A first look by numpy's exp, which differs between processors in the last bit; libm decides."""


def _reach(noise: float) -> float:
    return min(FAST_REACH_MAX, max(FAST_REACH_MIN, FAST_REACH_PER_NOISE * math.sqrt(noise)))


def _variance(days: dict[int, float], narrowest: float, checked: int) -> float:
    """``days``: the furthest reach of each of ``checked`` days that had one beyond ``narrowest``.

    Consecutive days count as one burst, which may be one shift.
    """
    bursts = sum(day - 1 not in days for day in days)
    if bursts < BURSTS_MIN:
        return 0.0
    excess = math.fsum(reach - narrowest for reach in days.values()) / len(days)
    reach = narrowest + excess * math.log(BUDGET_DAYS * bursts / checked)
    return (min(FAST_REACH_MAX, reach) / FAST_REACH_PER_NOISE) ** 2

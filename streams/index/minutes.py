"""The expectation of an hour divided over its minutes and panes, exact in integers.

The rate within a day is taken as linear between the midpoints of its hours. The midpoint values v are
those with which every hour keeps its mean: (v[i-1] + 6 v[i] + v[i+1]) / 8 = E[i], the mean of a broken
line over an hour around its knot. A value below a tenth of its hour's mean is raised to that tenth.
Then the minutes are rescaled, so that they add up to their hour to the last unit. Rounding runs along
the hour (each minute is the difference of two floors), so no unit is lost or added.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

MINUTES = 60
FLOOR_PARTS = 10
"""A midpoint is at least E / FLOOR_PARTS."""
_HALF = MINUTES // 2


def midpoints(hours: Sequence[int]) -> list[int]:
    """Rates at the midpoints of consecutive hours, in units of ``hours`` times 8, never negative.

    Beyond both ends the rate is taken as that of the first and last midpoint. The effect of this shrinks
    by a factor of six from hour to hour; therefore a vintage holds some hours more than its day.

    >>> midpoints([600, 600, 600])
    [4800, 4800, 4800]
    """
    count = len(hours)
    if count == 1:
        return [8 * hours[0]]
    # The tridiagonal system is solved in floats: it only shapes the minutes, whose sum stays exact.
    diagonal = [7.0, *[6.0] * (count - 2), 7.0]
    right = [8.0 * hour for hour in hours]
    for at in range(1, count):
        factor = 1.0 / diagonal[at - 1]
        diagonal[at] -= factor
        right[at] -= factor * right[at - 1]
    values = right[:]
    values[-1] = right[-1] / diagonal[-1]
    for at in range(count - 2, -1, -1):
        values[at] = (right[at] - values[at + 1]) / diagonal[at]
    return [
        max(round(8.0 * value), 8 * hour // FLOOR_PARTS)
        for value, hour in zip(values, hours, strict=True)
    ]


def minute_weights(before: int, own: int, after: int) -> list[int]:
    """Relative rate in each minute of an hour, from the midpoints of the hour and its two neighbours."""
    falling, rising = own - before, after - own
    base = 2 * MINUTES * own
    return [
        base + (2 * minute + 1 - MINUTES) * (falling if minute < _HALF else rising)
        for minute in range(MINUTES)
    ]


def until_minute(hour: int, weights: Sequence[int]) -> list[int]:
    """Parts of ``hour`` in the first 0, 1, .. 60 minutes; the last is ``hour`` itself.

    >>> until_minute(100, [1] * 60)[:4], until_minute(100, [1] * 60)[-1]
    ([0, 1, 3, 5], 100)
    """
    total = sum(weights)
    if not total:
        return [hour * minute // MINUTES for minute in range(MINUTES + 1)]
    found, running = [0], 0
    for weight in weights:
        running += weight
        found.append(hour * running // total)
    return found


def minutes_of(hours: Sequence[int], at: int, total: int | None = None) -> list[int]:
    """Parts of the hour ``hours[at]`` in its first 0, 1, .. 60 minutes.

    ``hours`` are consecutive; those beside ``at`` only shape it. ``total``: what the minutes add up to,
    when an event multiplied the hour. Events in neighbouring hours do not change the shape.
    """
    values = _midpoints_of(tuple(hours))
    before = values[at - 1] if at else values[at]
    after = values[at + 1] if at + 1 < len(values) else values[at]
    total = hours[at] if total is None else total
    return until_minute(total, minute_weights(before, values[at], after))


@lru_cache(maxsize=4_096)
def _midpoints_of(hours: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(midpoints(hours))


def within_minute(before: int, after: int, part: int, parts: int) -> int:
    """Parts of an hour until ``part`` of ``parts`` equal slices of a minute have passed.

    ``before`` and ``after``: parts of the hour until the minute's start and until its end.
    """
    return before + (after - before) * part // parts

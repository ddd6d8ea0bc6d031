"""Hours that stand out from their hour of the week teach nothing: what one burst left was a season.

The season of an hour of the week is a mean of six weeks. One hour of a hundred times the others made it
seventeen times too large, and the same hour of five more weeks a seventeenth of what was expected. The
detectors find such an hour and keep it from being learnt, but not in the weeks in which they sleep.

An hour is compared with the median of its hour of the week, each week taken at its own level. It stands
out when it is beyond ``FACTOR`` times that median, or below its ``FACTOR``-th part, by more than
counting explains. So does a day, or one on which the shop was closed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streams.index.hours import BLOCK_DAYS, CELLS, LEARNT_DAYS, Calendar
from streams.index.season import ColumnRelations
from streams.index.trend import Matrix, by_group, ratio

FACTOR = 4.0
"""Ordinary noise of an hour (s of 0.3) reaches it once in a million hours."""
_WEEKS_MIN = 4
"""Weeks in which an hour of the week must be known, that one of them may stand out."""
_SIGMAS = 5.0
_EVENTS = 10.0
"""Fewer an hour are no shape: the few orders of a sparse series come together, and are all it has."""
_DAY_EVENTS = 20.0
"""Events of a common day from which a day may stand out."""
_CLOSED = 0.1
"""Part of a common day below which a shop was closed: less than one day in a million is so by chance."""
_HOURS_MIN = 20
"""Known hours of a day that counts for its week's level."""
_HOURS_OF_DAY = 24
_BLOCKS = LEARNT_DAYS // BLOCK_DAYS


def ordinary(
    calendar: Calendar,
    counts: Matrix,
    columns: ColumnRelations,
    learnt: Matrix,
    factors: Matrix,
) -> Matrix:
    """1 where an hour teaches, 0 where it stands out or was not learnt; hours x columns.

    ``counts`` must be 0 wherever ``learnt`` is 0. Columns that do not count one by one follow the column
    that counts their events.
    """
    own = np.unique(columns.size_of)
    known = learnt[:, own] > 0
    plain = ratio(counts[:, own], factors[:, own], empty=0.0)
    level = _levels(calendar, plain, known)[calendar.blocks]
    flat = np.full((_BLOCKS, CELLS, len(own)), np.nan)
    flat[calendar.blocks, calendar.cells] = np.where(
        known & (level > 0), ratio(plain, level, empty=0.0), np.nan
    )
    middle = _medians(flat, _WEEKS_MIN)
    # Of three weeks two may be strange: what is above the least of them and its hour of the day is.
    ordered = np.sort(flat, axis=0)
    of_hour = _medians(flat.reshape(_BLOCKS * 7, _HOURS_OF_DAY, -1), 1)
    few = np.maximum(ordered[0], np.tile(of_hour, (7, 1)))
    common = np.where(np.isnan(middle), few, middle)[calendar.cells] * level
    slack = _SIGMAS * np.sqrt(common) + _EVENTS
    high = (common >= _EVENTS) & (plain > FACTOR * common + slack)
    low = plain < middle[calendar.cells] * level / FACTOR - slack
    rest = known & ~high  # one hour of a burst does not make its day strange
    strange = known & (high | low | _strange_days(calendar, plain, rest)[calendar.days])
    return np.where(strange[:, np.searchsorted(own, columns.size_of)], 0.0, learnt)


def _strange_days(calendar: Calendar, plain: Matrix, known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether a day stands out from the median of its day of the week: a holiday, an outage."""
    days = _means(calendar, plain, known) * _HOURS_OF_DAY
    common = np.tile(_medians(days.reshape(_BLOCKS, BLOCK_DAYS, -1), _WEEKS_MIN), (_BLOCKS, 1))
    high = days > FACTOR * common + _SIGMAS * np.sqrt(common)
    low = days < common * _CLOSED
    return (common >= _DAY_EVENTS) & (high | low)


def _means(calendar: Calendar, plain: Matrix, known: NDArray[np.bool_]) -> Matrix:
    """Mean hour of each day of which most hours are known, else nan; days x columns."""
    hours = by_group(calendar.days, known.astype(np.float64), LEARNT_DAYS)
    sums = by_group(calendar.days, np.where(known, plain, 0.0), LEARNT_DAYS)
    return np.where(hours >= _HOURS_MIN, ratio(sums, hours, empty=0.0), np.nan)


def _levels(calendar: Calendar, plain: Matrix, known: NDArray[np.bool_]) -> Matrix:
    """Median of the mean hours of a week's days, blocks x columns; 0 where no day is known."""
    by_week = _means(calendar, plain, known).reshape(_BLOCKS, BLOCK_DAYS, -1)
    found = np.stack([_medians(week, 1) for week in by_week])
    return np.where(np.isnan(found), 0.0, found)


def _medians(values: NDArray[np.float64], least: int) -> NDArray[np.float64]:
    """Medians along the first axis of what is not nan; nan where fewer than ``least`` are."""
    ordered = np.sort(values, axis=0)  # nan comes last
    count = (~np.isnan(values)).sum(axis=0)
    lower = np.take_along_axis(ordered, np.maximum(count - 1, 0)[None] // 2, axis=0)[0]
    upper = np.take_along_axis(ordered, np.minimum(count // 2, len(values) - 1)[None], axis=0)[0]
    return np.where(count >= least, (lower + upper) / 2, np.nan)

"""The expectation E: the demand to expect in an hour of a local day, learnt from the days before it.

E = L x S x K. S is the season: 168 hours of the week with mean 1. It is learnt from six weeks after
their growth is removed, and is drawn towards the market's shape where a member has few orders. L is the
level: a trend through the logarithms of the daily totals, in which older days weigh less, extended with
a damped slope to the day in question. K are the operator's factors (``learning``); they are applied when
E is read.

A vintage is computed for all columns of a market's rows at once. It is a pure function of final hours:
sums run in a fixed order over the hours, and ``log`` and ``exp`` are libm's, so every worker gets the
same integers from the same hours. Sources: multiplicative seasonal indices by ratio to trend (any
textbook of time series, e.g. Hyndman and Athanasopoulos, Forecasting, 3rd ed., 3.4), damped trend
(Gardner and McKenzie 1985), shrinkage with a prior worth ``PRIOR_ORDERS`` orders.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from streams.index.demand import SCALE
from streams.index.hours import LEARNT_DAYS, Calendar
from streams.index.noise import Noise, noise_of
from streams.index.ordinary import ordinary
from streams.index.season import HALF, ColumnRelations, season_of, worth_of
from streams.index.trend import Matrix, by_group, fit_trend, logs, ratio

HALF_LIFE_DAYS = 14.0
MIN_DAYS, OK_DAYS = 7, 21
"""Learnt days below which a column has no expectation, and below which it is still `warming`."""
_FEW_A_DAY = 4.0
"""Orders a day at which the mean of logarithms and the plain sum get equal weight."""
_ONSET_ORDERS = 10.0
"""A series counts as begun midway when its empty first days would have held this many orders (e^-10)."""
DAYS: Matrix = np.arange(LEARNT_DAYS, dtype=np.float64)[:, None]
_AGEING = np.array(
    [math.exp2((day + 1 - LEARNT_DAYS) / HALF_LIFE_DAYS) for day in range(LEARNT_DAYS)]
)


@dataclass(frozen=True, slots=True)
class Vintage:
    """Expectation of one local day, for every column.

    ``expected[column]``: an integer in units of 1 / SCALE for each hour of ``target_ms`` (the day's
    hours and a margin on both sides). ``noise[column]``: how far observations deviate from it.
    ``learnt_days[column]``: days of data behind it; below ``MIN_DAYS`` the column's hours are empty.
    """

    day: int
    target_ms: tuple[int, ...]
    expected: tuple[tuple[int, ...], ...]
    noise: tuple[Noise, ...]
    learnt_days: tuple[int, ...]

    def warming(self, column: int) -> bool:
        """True while the column was learnt from too few days to rely on."""
        return self.learnt_days[column] < OK_DAYS


def fit(
    calendar: Calendar,
    counts: Matrix,
    columns: ColumnRelations,
    learnt: Matrix | None = None,
    factors: Matrix | None = None,
) -> Vintage:
    """Vintage of the calendar's day.

    ``counts``: hours x columns, the final hours of ``calendar.hours_ms``. ``learnt``: 1 where an hour
    may teach; 0 where it is unknown, or lies in a shift or in an event of unknown size. ``factors``:
    what a known event multiplied the hour by. ``learnt`` and ``factors`` default to ones.
    """
    learnt = np.ones_like(counts) if learnt is None else learnt
    factors = np.ones_like(counts) if factors is None else factors
    learnt = learnt * begun(calendar, counts, columns, learnt)
    counts = counts * learnt
    known, everything = learnt, counts
    learnt = ordinary(calendar, counts, columns, learnt, factors)
    counts = counts * learnt
    season = season_of(calendar, counts, columns, learnt, factors)
    base = learnt * factors * season.values[calendar.cells]
    share = _learnt_share(calendar, learnt, season.values)
    levels, weights = _daily_levels(calendar, counts, columns, base, share)
    trend = fit_trend(DAYS, levels, weights)
    seen = counts.sum(axis=0) > 0
    level = np.where(seen, trend.at(float(LEARNT_DAYS - 1 + calendar.lead_days)), 0.0)
    hours = season.values[calendar.target_cells] * level
    most_of_it = by_group(calendar.days, learnt, LEARNT_DAYS) * 2 >= _hours_a_day(calendar)
    learnt_days = most_of_it.sum(axis=0)
    everywhere = known * factors * season.values[calendar.cells]
    noise = noise_of(
        calendar,
        counts,
        base,
        season.left,
        levels,
        weights,
        columns.size_of,
        (everything, everywhere),
    )
    return Vintage(
        day=calendar.day,
        target_ms=calendar.target_ms,
        expected=tuple(
            tuple(round(hour * SCALE) for hour in column) if number >= MIN_DAYS else ()
            for column, number in zip(hours.T.tolist(), learnt_days.tolist(), strict=True)
        ),
        noise=tuple(noise),
        learnt_days=tuple(learnt_days.tolist()),
    )


def begun(calendar: Calendar, counts: Matrix, columns: ColumnRelations, learnt: Matrix) -> Matrix:
    """1 from the first day with an event in the column, 0 before, where the column began midway.

    A new category did not have zero demand before it began: there is nothing to learn from those days.
    For a column with a few orders a month, empty first days prove nothing, so they stay.
    """
    day_counts = by_group(calendar.days, counts * learnt, LEARNT_DAYS)[:, columns.size_of]
    day_hours = by_group(calendar.days, learnt, LEARNT_DAYS)
    seen = np.logical_or.accumulate(day_counts > 0, axis=0)
    empty_hours = (day_hours * ~seen).sum(axis=0)
    busy_hours = (day_hours * seen).sum(axis=0)
    missing = day_counts.sum(axis=0) * empty_hours >= _ONSET_ORDERS * np.maximum(busy_hours, 1.0)
    return np.where(missing, seen[calendar.days].astype(np.float64), 1.0)


def _daily_levels(
    calendar: Calendar, counts: Matrix, columns: ColumnRelations, base: Matrix, share: Matrix
) -> tuple[Matrix, Matrix]:
    """ln((X + half) / sum S) of every day, and the day's weight in the trend: days x columns.

    ``half`` is half an order at its mean value. The mean of logarithms is right for days of many orders.
    With a few orders a day it is not; then the levels are moved to where they add up to what was counted
    (``_FEW_A_DAY``).
    """
    day_counts = by_group(calendar.days, counts, LEARNT_DAYS)
    day_base = by_group(calendar.days, base, LEARNT_DAYS)
    totals = day_counts.sum(axis=0)
    sizes = totals[columns.size_of]
    worth = worth_of(totals, columns)
    weights = share * _AGEING[:, None]
    levels = logs((day_counts + HALF * worth) / np.where(day_base > 0, day_base, 1.0))
    along = fit_trend(DAYS, levels, weights).along(DAYS) * day_base
    known = (weights > 0).sum(axis=0)
    few = 1.0 / (1.0 + ratio(sizes, known * _FEW_A_DAY, empty=0.0))
    off = ratio(
        (_AGEING[:, None] * day_counts).sum(axis=0),
        (_AGEING[:, None] * along).sum(axis=0),
        empty=1.0,
    )
    return levels + few * logs(np.where(off > 0, off, 1.0)), weights


def _learnt_share(calendar: Calendar, learnt: Matrix, season: Matrix) -> Matrix:
    """Share of each day's expected orders that falls into learnt hours."""
    seasonal = season[calendar.cells]
    whole = by_group(calendar.days, seasonal, LEARNT_DAYS)
    return ratio(by_group(calendar.days, seasonal * learnt, LEARNT_DAYS), whole, empty=0.0)


def _hours_a_day(calendar: Calendar) -> Matrix:
    sizes = np.bincount(calendar.days, minlength=LEARNT_DAYS)
    return sizes.astype(np.float64)[:, None]

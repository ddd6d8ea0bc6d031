"""How far observations deviate from their expectation, beyond what counting explains.

An hour's count is taken as negative binomial: mean E, variance E + s^2 E^2. s^2 is the median over the
days D-29..D-2 of sum_h((X - E)^2 - E) / sum_h E^2, at least 0. It is a median so that a day of an event
or an outage does not widen the band. E of each of those days is forecast from the days up to
``lead_days`` before it, so s^2 includes the error of the level.

Money and units do not count one by one. Their variance is f E + s^2 E^2, where s^2 is that of the orders
they belong to and f is the worth of a typical order (``dispersion``). This makes bands independent of
the currency's unit.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streams.index.demand import SCALE
from streams.index.hours import LEARNT_DAYS, Calendar, Index
from streams.index.tails import NOISE_DAYS, tails
from streams.index.trend import Matrix, Vector, by_group, fit_trend, ratio


@dataclass(frozen=True, slots=True)
class Noise:
    """Relative variance of the hours (``hour``) and of whole days (``day``) of a column.

    ``hour``, ``day`` and ``dispersion`` are integers in units of 1 / SCALE, and so is ``tail``: the
    variance that the detectors need so that its bursts stay within their edges. 0: ``hour`` is enough.
    """

    hour: int
    day: int
    dispersion: int
    tail: int = 0

    @property
    def restless(self) -> bool:
        """Whether bursts are so large or frequent that the detectors' edges are wider than s says."""
        return self.tail > self.hour

    @property
    def watched(self) -> float:
        """s^2 by which the detectors set their edges."""
        return max(self.hour, self.tail) / SCALE


_MEDIAN_OF_SQUARE = 0.455
"""Median of a chi-squared variable with one degree of freedom, since a day has one squared error.

The day's square is divided by it before the part that counting explains is subtracted. In the other
order, a series with less than some thousand orders a day would always seem to have no noise.
"""
_DAYS_MIN = 7
"""Known days that a forecast needs at least."""


def noise_of(
    calendar: Calendar,
    counts: Matrix,
    base: Matrix,
    left: Matrix,
    levels: Matrix,
    weights: Matrix,
    size_of: Index,
    known: tuple[Matrix, Matrix],
) -> list[Noise]:
    """Noise of every column.

    ``counts`` and ``base``: hours x columns, both 0 where nothing is learnt; E = level x base.
    ``known``: the two with the hours that stand out (``ordinary``), which only the tails learn from.
    ``left``: cells x columns, see ``season.Season``. ``levels`` and ``weights``: days x columns, the
    logarithms of the days' levels and their weights in the trend.
    ``size_of``: see ``season.ColumnRelations``.
    """
    forecast = _forecasts(levels, weights, calendar.lead_days)
    expected = forecast[calendar.days] * base
    day_base = by_group(calendar.days, base, LEARNT_DAYS)
    day_expected = by_group(calendar.days, expected, LEARNT_DAYS)
    day_squares = by_group(calendar.days, expected * expected, LEARNT_DAYS)
    squares = (counts - expected) ** 2 / left[calendar.cells]
    errors = by_group(calendar.days, squares, LEARNT_DAYS)
    day_errors = (by_group(calendar.days, counts, LEARNT_DAYS) - day_expected) ** 2
    valid = (day_expected > 0) & (day_base > 0)
    valid[: LEARNT_DAYS - NOISE_DAYS] = False
    # Counts come first: what counting explains of their error is their mean.
    hour = _median_ratio(errors - day_expected, day_squares, valid)[size_of]
    scatter = _median_ratio(errors - hour * day_squares, day_expected, valid)
    tail, day_tail = tails(calendar, known[0], forecast[calendar.days] * known[1], hour)
    tail, day_tail = tail[size_of], day_tail[size_of]
    own = size_of == np.arange(len(size_of))
    totals = counts.sum(axis=0)
    dispersion = np.where(own, 1.0, np.maximum(scatter, ratio(totals, totals[size_of], empty=1.0)))
    day = _median_ratio(
        day_errors / _MEDIAN_OF_SQUARE - dispersion * day_expected, day_expected**2, valid
    )
    day = np.maximum(day, day_tail)
    return [
        Noise(*(round(part * SCALE) for part in parts))
        for parts in zip(
            hour.tolist(), day.tolist(), dispersion.tolist(), tail.tolist(), strict=True
        )
    ]


def _forecasts(levels: Matrix, weights: Matrix, lead_days: int) -> Matrix:
    """Level of each day (not its logarithm) as known ``lead_days`` before it; 0 where unknown."""
    times = np.arange(LEARNT_DAYS, dtype=np.float64)[:, None]
    found = np.zeros_like(levels)
    for day in range(LEARNT_DAYS - NOISE_DAYS, LEARNT_DAYS):
        known = day - lead_days + 1
        part = weights[:known]
        enough = (part > 0).sum(axis=0) >= _DAYS_MIN
        trend = fit_trend(times[:known], levels[:known], part)
        found[day] = np.where(enough, trend.at(float(day)), 0.0)
    return found


def _median_ratio(above: Matrix, below: Matrix, valid: NDArray[np.bool_]) -> Vector:
    """Median of above / below over each column's valid days, at least 0; 0 without a valid day."""
    each = np.where(valid, above / np.where(valid & (below > 0), below, 1.0), np.nan)
    found = [
        statistics.median(days) if days else 0.0
        for days in ([day for day in column if day == day] for column in each.T.tolist())  # noqa: PLR0124
    ]
    return np.maximum(np.array(found, dtype=np.float64), 0.0)

"""Expectations of the series of ``bench shifts``, a day at a time, by the workers' own arithmetic.

``expectation.fit`` takes all series at once. Its integers are used unchanged for hours. This module
divides hours into minutes for all series together; ``index/minutes`` divides one hour of one series.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.index.demand import SCALE
from streams.index.expectation import fit
from streams.index.hours import LEAD_DAYS, MARGIN_HOURS, calendar_of, local_hours
from streams.index.minutes import FLOOR_PARTS
from streams.index.season import ColumnRelations

Array = NDArray[np.float64]
_FIRST_DAY = 20_000
"""Local day that stands for the simulation's day 0. Any day will do."""


class DayExpectation(NamedTuple):
    """Events expected of every series in one day.

    ``hours``: series x 30, the 24 hours of the day and 3 more on both sides. ``noise`` and
    ``day_noise``: s^2 of hours and of days, one for each series.
    """

    hours: Array
    noise: Array
    day_noise: Array

    @property
    def day(self) -> Array:
        """Events expected in the whole day, one number for each series."""
        return np.asarray(self.hours[:, MARGIN_HOURS:-MARGIN_HOURS].sum(axis=1))


def expect_day(
    hours: Array, day: int, totals: NDArray[np.int64], lead_days: int = LEAD_DAYS
) -> DayExpectation:
    """Expectation of ``day`` from the 42 days up to ``day - lead_days``.

    ``hours``: counts, series x hours since day 0. ``totals``: for each series, the number of the series
    that lends its shape.
    """
    calendar = calendar_of(local_hours("UTC"), _FIRST_DAY + day, lead_days)
    last = day - lead_days + 1
    known = hours[:, last * 24 - len(calendar.hours_ms) : last * 24]
    columns = ColumnRelations(np.arange(len(hours)), totals)
    vintage = fit(calendar, np.ascontiguousarray(known.T), columns)
    noise = np.array([(one.hour, one.day) for one in vintage.noise]) / SCALE
    return DayExpectation(np.array(vintage.expected) / SCALE, noise[:, 0], noise[:, 1])


def minutes_of_day(hours: Array) -> Array:
    """Expectation of a day by the minute, series x 1440.

    ``hours``: expectation by the hour, with 3 hours more on both sides of the day.
    """
    count = hours.shape[1]
    system = 6 * np.eye(count) + np.eye(count, k=1) + np.eye(count, k=-1)
    system[0, 0] = system[-1, -1] = 7
    middle = np.maximum(8 * np.linalg.solve(system, hours.T).T, hours / FLOOR_PARTS)
    before, own, after = middle[:, 2:-4], middle[:, 3:-3], middle[:, 4:-2]
    at = (np.arange(60) + 0.5) / 60 - 0.5
    sloped = np.where(at < 0, (own - before)[:, :, None] * at, (after - own)[:, :, None] * at)
    shape = own[:, :, None] + sloped
    scale = hours[:, 3:-3] / shape.sum(axis=2)
    return np.asarray((shape * scale[:, :, None]).reshape(len(hours), -1))

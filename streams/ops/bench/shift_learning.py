"""What ``bench shifts`` knows of its series: expectations of a day, and how far they err.

Vectorised over series where the worker computes one by one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LEARNT_DAYS = 42
LEAD_DAYS, DRIFT_LEAD_DAYS = 2, 9
NOISE_DAYS = 28
MARGIN = 3
"""Hours beside the day that shape its first and last minutes."""
_PRIOR_ORDERS = 25
_HALF_LIFE_DAYS = 14
_DAMPING = 0.9
_MIDPOINT_FLOOR = 0.1


def expect_day(
    hours: Array, day: int, totals: NDArray[np.int64], lead_days: int = LEAD_DAYS
) -> Array:
    """Expectation by the hour of ``day``, 3 hours beside it included: series x 30.

    ``hours``: series x hours since day 0; only those up to the end of ``day - lead_days`` are read,
    42 days. ``totals``: for each series, which one is its market's total (it lends its shape).
    """
    last = day - lead_days
    first = last - LEARNT_DAYS + 1
    known = hours[:, first * 24 : (last + 1) * 24]
    shape = season(known, first, totals)
    cells = (np.arange(first * 24, (last + 1) * 24)) % 168
    by_day = known.reshape(len(hours), LEARNT_DAYS, 24).sum(axis=2)
    usual = shape[:, cells].reshape(len(hours), LEARNT_DAYS, 24).sum(axis=2)
    level = np.log((by_day + 0.5) / usual)
    ages = np.arange(LEARNT_DAYS - 1, -1, -1)
    weight = 0.5 ** (ages / _HALF_LIFE_DAYS)
    weight /= weight.sum()
    at = np.arange(first, last + 1)
    centre = (weight * at).sum()
    mean = level @ weight
    slope = (level * (at - centre)) @ weight / (weight * (at - centre) ** 2).sum()
    ln_level = mean + _DAMPING * slope * (day - centre)
    target = np.arange(day * 24 - MARGIN, (day + 1) * 24 + MARGIN) % 168
    return np.asarray(np.exp(ln_level)[:, None] * shape[:, target])


def season(known: Array, first_day: int, totals: NDArray[np.int64]) -> Array:
    """Relative rate by hour of the week, mean 1: series x 168; 42 days of hours."""
    blocks = known.reshape(len(known), 6, 168)
    sums = blocks.sum(axis=2)
    t = np.arange(6) - 2.5
    growth = (np.log(sums + 0.5) @ t) / (t @ t) / 168  # an hour
    within = np.arange(168) - 83.5
    weights = (sums / 168)[:, :, None] * np.exp(growth[:, None] * within)[:, None, :]
    own = blocks.sum(axis=1) / np.maximum(weights.sum(axis=1), 1e-300)
    own = np.roll(own, (first_day * 24) % 168, axis=1)  # cell 0 is the week's first hour
    own /= own.mean(axis=1, keepdims=True)
    market = own[totals]
    n = sums.sum(axis=1, keepdims=True) * market / 168
    shrunk = (n * own + _PRIOR_ORDERS * market) / (n + _PRIOR_ORDERS)
    return np.asarray(shrunk / shrunk.mean(axis=1, keepdims=True))


def minutes_of_day(hours: Array) -> Array:
    """Expectation by the minute of a day from that of its hours and 3 beside: series x 1440."""
    count = hours.shape[1]
    system = 6 * np.eye(count) + np.eye(count, k=1) + np.eye(count, k=-1)
    system[0, 0] = system[-1, -1] = 7
    middle = np.maximum(8 * np.linalg.solve(system, hours.T).T, _MIDPOINT_FLOOR * hours)
    before, own, after = middle[:, 2:-4], middle[:, 3:-3], middle[:, 4:-2]
    at = (np.arange(60) + 0.5) / 60 - 0.5
    sloped = np.where(at < 0, (own - before)[:, :, None] * at, (after - own)[:, :, None] * at)
    shape = own[:, :, None] + sloped
    scale = hours[:, 3:-3] / shape.sum(axis=2)
    return np.asarray((shape * scale[:, :, None]).reshape(len(hours), -1))


def noise(observed: Array, expected: Array) -> Array:
    """s^2 by series: median over days of sum((X - E)^2 - E) / sum E^2; both series x days x 24."""
    above = ((observed - expected) ** 2 - expected).sum(axis=2)
    return np.asarray(np.maximum(np.median(above / (expected**2).sum(axis=2), axis=1), 0.0))


def median_square(observed: Array, expected: Array) -> Array:
    """Median of ((X - E)^2 - E) / E^2 over days; both series x days."""
    return np.asarray(
        np.maximum(np.median(((observed - expected) ** 2 - expected) / expected**2, axis=1), 0.0)
    )

"""Sums over groups of hours, and a weighted straight line through their logarithms.

Results do not depend on the processor: sums run in the order of the rows, and ``log`` and ``exp`` are
libm's (numpy's differ between processors in the last bit).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]

DAMPING = 0.9
"""Part of the slope that is extrapolated beyond the data's centre: growth ends more often than not."""

AHEAD_MAX = 1.0
"""Largest change that a slope may add, as a logarithm. No ordinary day is three times that of a
fortnight ago; a slope that says so was drawn through an event."""


@dataclass(frozen=True, slots=True)
class Trend:
    """One straight line a column, in logarithms: through (``centre``, ``level``), ``slope`` a day."""

    centre: Vector
    level: Vector
    slope: Vector

    def at(self, time: float) -> Vector:
        """Level (not its logarithm) at a time beyond the data, in days, with a damped slope."""
        ahead = DAMPING * self.slope * (time - self.centre)
        return exps(self.level + np.clip(ahead, -AHEAD_MAX, AHEAD_MAX))

    def along(self, times: Matrix) -> Matrix:
        """Level (not its logarithm) at times within the data, undamped: times x columns."""
        return exps(self.level + self.slope * (times - self.centre))


def fit_trend(times: Matrix, values: Matrix, weights: Matrix) -> Trend:
    """Weighted least squares of ``values`` on ``times``, for each column by itself.

    A column without weight gets level 0. A column with a single time gets slope 0.
    """
    total = weights.sum(axis=0)
    safe = np.where(total > 0, total, 1.0)
    centre = (weights * times).sum(axis=0) / safe
    level = (weights * values).sum(axis=0) / safe
    apart = times - centre
    spread = (weights * apart * apart).sum(axis=0)
    together = (weights * apart * values).sum(axis=0)
    steep = spread > _SPREAD_MIN * safe
    slope = np.where(steep, together / np.where(steep, spread, 1.0), 0.0)
    return Trend(centre, level, slope)


_SPREAD_MIN = 1e-6


def logs(values: Matrix) -> Matrix:
    """Natural logarithms of the elements, by libm."""
    found = [math.log(value) for value in values.ravel().tolist()]
    return np.array(found).reshape(values.shape)


def exps(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Exponentials of the elements, by libm."""
    found = [math.exp(value) for value in values.ravel().tolist()]
    return np.array(found).reshape(values.shape)


def by_group(group: NDArray[np.int64], values: Matrix, groups: int) -> Matrix:
    """Sums over the rows of each group, in the order of the rows: groups x columns."""
    total = np.zeros((groups, values.shape[1]))
    order = np.argsort(group, kind="stable")
    found, starts = np.unique(group[order], return_index=True)
    total[found] = np.add.reduceat(values[order], starts, axis=0)
    return total


def ratio(
    above: NDArray[np.float64], below: NDArray[np.float64], *, empty: float
) -> NDArray[np.float64]:
    """Elementwise above / below; ``empty`` where ``below`` is not above 0."""
    return np.where(below > 0, above / np.where(below > 0, below, 1.0), empty)

"""Sums over groups of hours, and a weighted straight line through their logarithms.

Nothing here depends on the processor: sums run in the order of the rows, ``log`` and ``exp`` are
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
"""Part of the slope that is believed beyond the data's centre: growth ends more often than not."""

AHEAD_MAX = 1.0
"""Logarithm that a slope may add or take: nobody's usual day is thrice that of a fortnight ago, and a
slope that says so was drawn through an event."""


@dataclass(frozen=True, slots=True)
class Trend:
    """One line a column: through (``centre``, ``level``), logarithmic, with ``slope`` a day."""

    centre: Vector
    level: Vector
    slope: Vector

    def at(self, time: float) -> Vector:
        """Level (not its logarithm) at a time beyond the data."""
        ahead = DAMPING * self.slope * (time - self.centre)
        return exps(self.level + np.clip(ahead, -AHEAD_MAX, AHEAD_MAX))

    def along(self, times: Matrix) -> Matrix:
        """Level at times within the data, undamped: times x columns."""
        return exps(self.level + self.slope * (times - self.centre))


def fit_trend(times: Matrix, values: Matrix, weights: Matrix) -> Trend:
    """Weighted least squares of ``values`` on ``times``, each column by itself.

    A column without weight gets level 0; one with a single time, slope 0.
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
    """Natural logarithms, by libm."""
    found = [math.log(value) for value in values.ravel().tolist()]
    return np.array(found).reshape(values.shape)


def exps(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Exponentials, by libm."""
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
    """Elementwise division; ``empty`` where there is nothing below the line."""
    return np.where(below > 0, above / np.where(below > 0, below, 1.0), empty)

"""One clock of the shift detector: it measures the evidence that a series left its dead-band.

Once a step, a clock compares the events counted with the events expected. Each alternative is a
``ratio`` beyond an ``edge`` of the dead-band (both are multiples of the expectation). For each, a step
multiplies the evidence by a likelihood ratio of two negative-binomial counts of one size ``k``::

    ln e = x (ln(ratio / edge) + c) + k c,   c = ln((k + edge mu) / (k + ratio mu))

``e`` has a mean of at most 1 for every true mean within the edge, as long as the count is not more
dispersed than ``k`` says: ``e`` is convex and monotone in x, and has mean 1 at the edge. So the
Shiryaev-Roberts sum ``M <- (M + step) e``, measured in days, grows by at most one step a step in the
mean. By optional stopping, the mean time until it reaches D days is at least D (Shin, Ramdas, Rinaldo:
E-detectors, 2023). Nothing here depends on when somebody reads it.

A step may be a part of a minute: a pane of size ``k / n`` and mean ``E / n``, where a minute has ``n``
panes. The panes' ln e add up to the minute's own (tests/unit/index/test_shift_panes.py).

M sums, over every possible start of the shift, the evidence since that start. Its weighted means say
when the shift began and what was counted since.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Places = NDArray[np.intp]

MINUTES_A_DAY = 1440
MICRO = 1_000_000
"""Units of an expectation in one event: expectations are integers in millionths of an event."""
UP, DOWN = 1, -1
NOTHING = -math.inf
"""Logarithm of no evidence."""
DAYS_MAX = 1e200
"""Evidence stays below it, in days: what pages is dropped long before."""
_LN_FACTOR_MAX = 700.0


@dataclass(frozen=True, slots=True)
class ClockDesign:
    """Steps and alternatives of a clock. ``up`` and ``down`` are multiples of the edge of their side."""

    name: str
    step_minutes: int
    up: tuple[float, ...]
    down: tuple[float, ...]
    end_days: float
    """Days of evidence for its end at which a shift that this clock dated is over."""

    @property
    def directions(self) -> tuple[int, ...]:
        """Direction of each alternative, in the order of the state's lists."""
        return (UP,) * len(self.up) + (DOWN,) * len(self.down)

    @property
    def factors(self) -> tuple[float, ...]:
        """Ratio / edge of each alternative, in the order of the state's lists."""
        return self.up + self.down

    @property
    def step_days(self) -> float:
        """One step in days."""
        return self.step_minutes / MINUTES_A_DAY


FAST = ClockDesign("fast", 1, (1.25, 1.667, 2.5, 4.0, 8.0), (0.75, 0.4, 0.05, 0.001), end_days=1.0)
SLOW = ClockDesign("slow", 60, (1.25, 1.667, 2.5), (0.75, 0.5, 0.25), end_days=1.0)
DRIFT = ClockDesign("drift", MINUTES_A_DAY, (1.1, 1.3, 1.6), (0.9, 0.77, 0.6), end_days=7.0)


@dataclass(frozen=True, slots=True)
class DeadBand:
    """The dead-band: a mean between ``lower`` and ``upper`` times E, with dispersion ``size``."""

    lower: float
    upper: float
    size: float

    def edge(self, direction: int) -> float:
        """Edge that a shift of this direction has to cross, as a multiple of the expectation."""
        return self.upper if direction == UP else self.lower


FAST_SIZE = 5.0
FAST_REACH_MIN, FAST_REACH_MAX = 0.25, 4.6
"""Logarithms of the narrowest and the widest edge. The widest, a hundred times, is for restless series
(index/tails)."""
FAST_REACH_PER_NOISE = 3.25
_SLOW_EDGES = (0.8, 1.2)
_SLOW_REACH_PER_NOISE, _SLOW_REACH_MAX = 2.0, 1.0
_DRIFT_EDGE = 0.06
_SIZES = (1.0, 500.0)


def fast_band(noise: float) -> DeadBand:
    """Band of the minute clock. ``noise``: s^2, the expectation's relative error by the hour.

    The edges are e^(+-3.25 s), at least e^(+-0.25). An hour's error lasts sixty minutes and must not
    look like evidence sixty times over (decision 0220).
    """
    reach = min(FAST_REACH_MAX, max(FAST_REACH_MIN, FAST_REACH_PER_NOISE * math.sqrt(noise)))
    return DeadBand(math.exp(-reach), math.exp(reach), FAST_SIZE)


def slow_band(noise: float) -> DeadBand:
    """Band of the hour clock: 0.8 and 1.2, wider (e^(+-2 s)) where the series is noisier."""
    reach = min(_SLOW_REACH_MAX, _SLOW_REACH_PER_NOISE * math.sqrt(noise))
    lower, upper = _SLOW_EDGES
    return DeadBand(min(lower, math.exp(-reach)), max(upper, math.exp(reach)), _size(3 * noise))


def drift_band(day_noise: float) -> DeadBand:
    """Band of the day clock. ``day_noise``: relative variance of a day (index/noise)."""
    return DeadBand(1 - _DRIFT_EDGE, 1 + _DRIFT_EDGE, _size(day_noise))


def _size(variance: float) -> float:
    smallest, largest = _SIZES
    return largest if variance <= 1 / largest else max(smallest, 1 / variance)


class SeriesClock:
    """One clock of many series. Every array is alternatives x series.

    Evidence is kept as M itself: that costs one multiplication a step where its logarithm costs three
    transcendental functions. M never falls below the part of the last step.
    """

    __slots__ = ("days", "design", "since")

    def __init__(self, design: ClockDesign, days: Array, since: Array) -> None:
        self.design = design
        self.days = days
        """M of every alternative, in days."""
        self.since = since
        """Start (minute since the epoch), events counted and events expected since it, if this
        alternative holds: 3 x alternatives x series."""

    @classmethod
    def fresh(cls, design: ClockDesign, series: int) -> SeriesClock:
        """Clocks without any evidence."""
        shape = (len(design.factors), series)
        return cls(design, np.zeros(shape), np.zeros((3, *shape)))

    def copy(self) -> SeriesClock:
        """Independent copy."""
        return SeriesClock(self.design, self.days.copy(), self.since.copy())

    def those(self, at: Places) -> SeriesClock:
        """Copy of the clocks of some series."""
        return SeriesClock(self.design, self.days[:, at], self.since[:, :, at])

    def write_back(self, at: Places, own: SeriesClock) -> None:
        """Write back what ``those`` gave."""
        self.days[:, at] = own.days
        self.since[:, :, at] = own.since

    def step(
        self, begins: float | Array, observed: Array, mu: Array, gain: Array, weigh: Weighing
    ) -> None:
        """Apply one step of every series.

        ``begins``: minute in which the step begins. ``observed`` and ``mu``: events counted and
        expected (of each series, or of each alternative of it). ``gain``: the step in days, 0 for an
        alternative whose direction sleeps (it has no evidence then).
        """
        before = self.days + gain
        kept = np.divide(self.days, before, out=np.zeros_like(before), where=before > 0)
        since = self.since
        since[0] -= begins
        since *= kept
        since[0] += begins
        since[1] += observed
        since[2] += mu
        weight = observed * weigh.slope
        weight += weigh.base
        np.minimum(weight, _LN_FACTOR_MAX, out=weight)  # else no evidence times infinity
        np.exp(weight, out=weight)
        with np.errstate(over="ignore"):
            before *= weight
        np.minimum(before, DAYS_MAX, out=self.days)

    def forget(self, series: int) -> None:
        """Drop all evidence of a series."""
        self.days[:, series] = 0.0


@dataclass(frozen=True, slots=True)
class Weighing:
    """``ln e = slope x + base`` of the steps of many series; both are alternatives x series."""

    slope: Array
    base: Array

    def part(self, of: int) -> Weighing:
        """Weighing of one of ``of`` equal parts of a step, with as many parts of size and mean."""
        return Weighing(self.slope, self.base / of)

    def replaced(self, at: Places, those: Weighing) -> Weighing:
        """Weighing with ``those`` in the place of some series."""
        slope, base = self.slope.copy(), self.base.copy()
        slope[:, at], base[:, at] = those.slope, those.base
        return Weighing(slope, base)


def weighing(mu: Array, sizes: Array, edges: Array, factors: Array) -> Weighing:
    """Weighing of steps in which ``mu`` events are expected, all above 0.

    ``sizes`` and ``edges``: alternatives x series. ``factors``: ratio / edge, alternatives x 1. The
    formula is at the top of this module.
    """
    at_edge = edges * mu
    shrink = np.log((sizes + at_edge) / (sizes + factors * at_edge))
    return Weighing(np.log(factors) + shrink, sizes * shrink)


def ln_factor(observed: float, mu: float, size: float, edge: float, ratio: float) -> float:
    """Logarithm of the factor by which one count multiplies the evidence.

    ``mu``: events expected, above 0. ``size``: dispersion k. ``edge`` and ``ratio``: multiples of
    ``mu``. The formula is at the top of this module.
    """
    shrink = math.log((size + edge * mu) / (size + ratio * mu))
    return observed * (math.log(ratio / edge) + shrink) + size * shrink


def add_in_logarithms(one: float, other: float) -> float:
    """``ln(e^one + e^other)``."""
    if one < other:
        one, other = other, one
    if other == NOTHING:
        return one
    return one + math.log1p(math.exp(other - one))

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

M sums, over every possible start of the shift, the evidence since that start. Its weighted means say
when the shift began and what was counted since.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import msgspec

MINUTES_A_DAY = 1440
MICRO = 1_000_000
"""Units of an expectation in one event: expectations are integers in millionths of an event."""
UP, DOWN = 1, -1
NOTHING = -math.inf
"""Logarithm of no evidence."""


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
    def ln_step(self) -> float:
        """Logarithm of one step in days."""
        return math.log(self.step_minutes / MINUTES_A_DAY)


FAST = ClockDesign("fast", 1, (1.25, 1.667, 2.5), (0.75, 0.4, 0.05), end_days=1.0)
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


class ClockState(msgspec.Struct):
    """Evidence of every alternative as plain numbers. The lists follow ``ClockDesign.factors``."""

    ln_days: list[float]
    start: list[float]
    """Minute (since the epoch) at which the shift began, if this alternative holds."""
    observed: list[float]
    expected: list[float]
    """Events counted and events expected since ``start``, for each alternative."""
    held_from: int = 0
    held_minutes: int = 0
    held_observed: int = 0
    held_expected: int = 0
    """Sums over the minutes of the step under way. ``held_expected`` is in millionths."""

    @classmethod
    def fresh(cls, design: ClockDesign) -> ClockState:
        """State without any evidence."""
        n = len(design.factors)
        return cls([NOTHING] * n, [0.0] * n, [0.0] * n, [0.0] * n)

    def copy(self) -> ClockState:
        """Independent copy of the state."""
        return ClockState(
            self.ln_days[:],
            self.start[:],
            self.observed[:],
            self.expected[:],
            self.held_from,
            self.held_minutes,
            self.held_observed,
            self.held_expected,
        )


def hold(
    state: ClockState, design: ClockDesign, minute: int, observed: int, expected_micro: int
) -> bool:
    """Add one minute to the step under way. True when the minute completes the step.

    Steps are epoch aligned. Minutes in which the series was asleep are left out of their step.
    """
    if not state.held_minutes:
        state.held_from = minute
    state.held_minutes += 1
    state.held_observed += observed
    state.held_expected += expected_micro
    return (minute + 1) % design.step_minutes == 0


def release(state: ClockState) -> tuple[int, int, int]:
    """(first minute, events, millionths expected) of the step under way; the step is then emptied."""
    step = (state.held_from, state.held_observed, state.held_expected)
    state.held_minutes = state.held_observed = state.held_expected = 0
    return step


def advance(
    state: ClockState,
    design: ClockDesign,
    band: DeadBand,
    step: tuple[int, int, int],
    asleep: frozenset[int] = frozenset(),
) -> None:
    """Apply one step to the evidence of every direction that is not ``asleep``.

    An expectation of zero carries no information, so such a step is left out.
    """
    minute, observed, expected_micro = step
    if expected_micro <= 0:
        return
    mu = expected_micro / MICRO
    for at, (direction, factor) in enumerate(zip(design.directions, design.factors, strict=True)):
        if direction in asleep:
            continue
        before = add_in_logarithms(state.ln_days[at], design.ln_step)
        kept = math.exp(state.ln_days[at] - before)
        state.start[at] = minute + kept * (state.start[at] - minute)
        state.observed[at] = kept * state.observed[at] + observed
        state.expected[at] = kept * state.expected[at] + mu
        edge = band.edge(direction)
        state.ln_days[at] = before + ln_factor(observed, mu, band.size, edge, edge * factor)


def forget(state: ClockState) -> None:
    """Drop all evidence."""
    state.ln_days = [NOTHING] * len(state.ln_days)


def ln_factor(observed: int, mu: float, size: float, edge: float, ratio: float) -> float:
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

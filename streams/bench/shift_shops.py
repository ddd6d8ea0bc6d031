"""Simulated series for ``bench shifts``: counts by pane of shops whose demand is known.

Mean of a minute = rate x weekly season x growth x day error x level error. The season is a smooth curve
with a nightly trough; that of a series differs a little from that of its market. The day error is one
factor a day. The level error is an autoregression that forgets in two hours. Panes are negative
binomial and independent, so minutes are too, with twelve times the size: a burstier split of a minute
there is not.
The parameters differ from series to series, within the ranges of ``Errors``.

Two kinds of series break these assumptions: orders may be delivered in lumps, or demand may burst for
minutes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Counts = NDArray[np.int64]

DAY_MINUTES = 1440
PANES = 12
"""Panes in a minute."""
HOUR_PANES = 60 * PANES
WEEK_MINUTES = 7 * DAY_MINUTES
BLOCK_MINUTES = 10
"""The mean is constant within a block, so that a past day can be drawn by blocks, 10 x faster."""
DAY_BLOCKS = DAY_MINUTES // BLOCK_MINUTES
_LEVEL_MINUTES = 120
_BURST_PANES = 3 * PANES
"""Panes in which a burst of demand is forgotten."""
_BY_PANE_FROM = 4.0
"""A series with fewer orders a minute at its busiest is drawn by minutes: nothing steps it by panes."""
_DAY_WAVES = (0.9, 0.3, 0.1)
"""Amplitudes (in logarithms) of the market's daily curve and of its harmonics."""
_WEEK_WAVES = (0.1, 0.05)
_OWN = 0.15
"""How far a series' waves differ from its market's: standard deviation of their amplitudes, as a share
of the largest amplitude, divided by the number of the harmonic."""


@dataclass(frozen=True, slots=True)
class Errors:
    """Ranges that the series' parameters are drawn from, uniformly (``size``: in the logarithm)."""

    level: tuple[float, float] = (0.05, 0.10)
    day: tuple[float, float] = (0.05, 0.08)
    growth: tuple[float, float] = (0.0, 0.10)
    """Growth a week, as a share."""
    size: tuple[float, float] = (5.0, 50.0)
    """Negative-binomial size of a minute."""
    lumps: int = 1
    """Panes whose orders are all delivered in one of them: 6 for half a minute."""
    bursts: bool = False
    """True: panes are Poisson about a factor that lasts for three minutes, of variance 1 / size."""


STATED = Errors()
STRESS = Errors(level=(0.12, 0.12), day=(0.10, 0.10))


@dataclass(frozen=True, slots=True)
class PlantedShifts:
    """Shifts, one of each series: the mean is ``factor`` times as large from ``begins`` on, in panes."""

    begins: Array
    factor: Array

    def factors(self, first: int) -> Array:
        """Factor of each pane of the hour whose first pane is number ``first``: series x panes."""
        panes = first + np.arange(HOUR_PANES)
        after = np.clip(panes[None, :] + 1 - self.begins[:, None], 0.0, 1.0)
        return np.asarray(1 + (self.factor - 1)[:, None] * after)


class Shops:
    """Many series side by side. ``rates``: mean orders a minute when ``day`` is 0."""

    def __init__(
        self, rng: np.random.Generator, rates: Array, markets: int, errors: Errors
    ) -> None:
        """Draw the parameters of every series.

        ``rates``: one for each series, the series of a market side by side. ``markets`` divides their
        number.
        """
        self.rng = rng
        self.rates = rates
        n = len(rates)
        self.level_sd = rng.uniform(*errors.level, n)
        self.day_sd = rng.uniform(*errors.day, n)
        self.growth = np.log1p(rng.uniform(*errors.growth, n)) / 7
        self.size = log_uniform(rng, errors.size, (n,))
        self.season = _seasons(rng, markets, n // markets)
        self._level = rng.standard_normal(n)
        self._errors = errors
        self._lump = rng.integers(0, errors.lumps, n)
        self._burst = rng.standard_normal(n)
        self._split()

    def set_rates(self, rates: Array) -> None:
        """Set the mean orders a minute when ``day`` is 0."""
        self.rates = rates
        self._split()

    def _split(self) -> None:
        busiest = self.rates * self.season.max(axis=1)
        self._by_pane = np.flatnonzero(busiest >= _BY_PANE_FROM)
        self._by_minute = np.flatnonzero(busiest < _BY_PANE_FROM)

    def past_day(self, day: int) -> Counts:
        """Events of a day by the hour: series x 24."""
        mean = self._means(day) * BLOCK_MINUTES
        size = (self.size * BLOCK_MINUTES)[:, None]
        counts = self.rng.negative_binomial(size, size / (size + mean))
        return np.asarray(counts.reshape(len(self.rates), 24, -1).sum(axis=2))

    def day(self, day: int, planted: PlantedShifts | None = None) -> Iterator[Counts]:
        """Events of a day, hour by hour: panes x series. ``planted``: shifts."""
        means = self._means(day)
        for hour in range(24):
            blocks = means[:, hour * 6 : (hour + 1) * 6]
            panes = np.repeat(blocks / PANES, HOUR_PANES // 6, axis=1)
            if planted is not None:
                panes *= planted.factors((day * 24 + hour) * HOUR_PANES)
            yield np.ascontiguousarray(self._delivered(self._drawn(panes)).T)

    def _drawn(self, means: Array) -> Counts:
        if self._errors.bursts:
            return np.asarray(self.rng.poisson(means * self._bursts(means.shape[1])))
        counts = np.zeros(means.shape, dtype=np.int64)
        for own, panes in ((self._by_pane, 1), (self._by_minute, PANES)):
            mean = means[own].reshape(len(own), HOUR_PANES // panes, panes).sum(axis=2)
            size = self.size[own, None] * panes / PANES
            counts[own, ::panes] = self.rng.negative_binomial(size, size / (size + mean))
        return counts

    def _bursts(self, panes: int) -> Array:
        kept = math.exp(-1 / _BURST_PANES)
        noise = math.sqrt(1 - kept**2) * self.rng.standard_normal((panes, len(self.rates)))
        for pane in range(panes):
            self._burst = noise[pane] = kept * self._burst + noise[pane]
        variance = np.log1p(1 / self.size)[:, None]
        return np.asarray(np.exp(np.sqrt(variance) * noise.T - variance / 2))

    def _delivered(self, counts: Counts) -> Counts:
        lumps = self._errors.lumps
        if lumps == 1:
            return counts
        together = counts.reshape(len(counts), -1, lumps).sum(axis=2)
        delivered = np.zeros_like(counts)
        delivered.reshape(len(counts), -1, lumps)[np.arange(len(counts)), :, self._lump] = together
        return delivered

    def _means(self, day: int) -> Array:
        """Mean orders a minute in each block of the day: series x 144."""
        week = self.season.reshape(len(self.rates), 7, DAY_BLOCKS)
        error = self.day_sd * self.rng.standard_normal(len(self.rates)) + self.growth * day
        level = (self.rates * np.exp(error))[:, None]
        return np.asarray(level * week[:, day % 7, :] * np.exp(self._levels()))

    def _levels(self) -> Array:
        kept = np.exp(-BLOCK_MINUTES / _LEVEL_MINUTES)
        noise = np.sqrt(1 - kept**2) * self.rng.standard_normal((DAY_BLOCKS, len(self.rates)))
        levels = np.empty_like(noise)
        for block in range(DAY_BLOCKS):
            self._level = kept * self._level + noise[block]
            levels[block] = self._level
        return np.asarray((levels * self.level_sd).T)


def log_uniform(
    rng: np.random.Generator, ends: tuple[float, float], shape: tuple[int, ...]
) -> Array:
    """Draw numbers between ``ends`` whose logarithm is uniform."""
    return np.exp(rng.uniform(math.log(ends[0]), math.log(ends[1]), shape))


def _seasons(rng: np.random.Generator, markets: int, members: int) -> Array:
    """Relative rate in each block of a week, mean 1: series x 1008."""
    at = (np.arange(7 * DAY_BLOCKS) + 0.5) * BLOCK_MINUTES
    logs = np.zeros((markets, members, len(at)))
    for waves, period in ((_DAY_WAVES, DAY_MINUTES), (_WEEK_WAVES, WEEK_MINUTES)):
        for harmonic, amplitude in enumerate(waves, start=1):
            phase = rng.uniform(0, 2 * np.pi, (markets, 1, 1))
            turn = 2 * np.pi * harmonic * at / period
            own = _OWN * waves[0] / harmonic * rng.standard_normal((markets, members, 2))
            own[:, 0, :] = 0.0  # the first series of a market is its total, with the market's shape
            logs += amplitude * np.cos(turn + phase)
            logs += own[:, :, :1] * np.cos(turn) + own[:, :, 1:] * np.sin(turn)
    season = np.exp(logs).reshape(markets * members, -1)
    return np.asarray(season / season.mean(axis=1, keepdims=True))

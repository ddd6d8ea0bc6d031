"""The shift detector of streams/index for many series at once, for ``bench shifts`` only.

Evidence is kept as M itself, not as its logarithm: that costs one multiplication a minute instead of
three transcendental functions. M never falls below one step's part, and it pages long before it could
overflow. tests/unit/bench/test_bench_shifts.py proves that the result equals the detector that workers
run.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streams.index import shift_clock as clocks
from streams.index.shift_clock import DRIFT, FAST, SLOW, ClockDesign

Array = NDArray[np.float64]
_M_MAX = 1e200


@dataclass(frozen=True, slots=True)
class Page:
    """One page: the series, the minute at whose end it paged, up or down, the clock that found it."""

    series: int
    minute: int
    direction: int
    clock: str


class Clocks:
    """One clock of every series. ``edges`` and ``ratios``: alternatives x series."""

    def __init__(self, design: ClockDesign, series: int) -> None:
        self.design = design
        self.up = len(design.up)
        self.days = np.zeros((len(design.factors), series))
        self._factors = np.array(design.factors)[:, None]
        self._step = design.step_minutes / clocks.MINUTES_A_DAY
        self._ln_factors = np.log(self._factors)
        self._edges = self._ratios = np.ones_like(self.days)
        self._size: Array = np.ones(series)

    def set_bands(self, lower: Array, upper: Array, size: Array) -> None:
        """Set the bands of every series from now on."""
        down = len(self.design.down)
        self._edges = np.vstack([np.tile(upper, (self.up, 1)), np.tile(lower, (down, 1))])
        self._ratios = self._edges * self._factors
        self._size = size

    def advance(self, observed: Array, mu: Array, awake: Array) -> None:
        """Advance by one step.

        ``awake``: 2 (up, down) x series, 1 or 0. A direction that sleeps gathers no evidence.
        """
        shrink = np.log((self._size + self._edges * mu) / (self._size + self._ratios * mu))
        ln_factor = observed * (self._ln_factors + shrink) + self._size * shrink
        self.days[: self.up] += self._step * awake[0]
        self.days[self.up :] += self._step * awake[1]
        with np.errstate(over="ignore"):
            self.days *= np.exp(ln_factor)
        np.minimum(self.days, _M_MAX, out=self.days)


class Detectors:
    """All clocks of all series. ``page_days`` and ``drifts``: one for each series."""

    def __init__(
        self, page_days: Array, drifts: NDArray[np.bool_], silence_minutes: int = 1440
    ) -> None:
        n = len(page_days)
        self.fast, self.slow = Clocks(FAST, n), Clocks(SLOW, n)
        self.drift = Clocks(DRIFT, n)
        self._has_drift = drifts.astype(float)
        self._alternatives = len(FAST.factors) * (2 + self._has_drift)
        self._pages_at = page_days * self._alternatives
        self._silence = silence_minutes
        self._silent_until = np.zeros((2, n))
        """Minute until which a direction sleeps: 2 (up, down) x series."""
        self._held = np.zeros((2, n))

    def set_noise(self, noise: Array) -> None:
        """Set s^2 of every series from now on."""
        fast = [clocks.fast_band(float(value)) for value in noise]
        slow = [clocks.slow_band(float(value)) for value in noise]
        for clock, bands in ((self.fast, fast), (self.slow, slow)):
            lower, upper, size = np.array([(b.lower, b.upper, b.size) for b in bands]).T
            clock.set_bands(lower, upper, size)

    def minute(self, minute: int, observed: Array, mu: Array) -> list[Page]:
        """Apply one minute to all series. Returns the pages at its end."""
        awake = (self._silent_until <= minute).astype(float)
        self.fast.advance(observed, mu, awake)
        self._held[0] += observed
        self._held[1] += mu
        if (minute + 1) % SLOW.step_minutes == 0:
            self.slow.advance(self._held[0], self._held[1], awake)
            self._held[:] = 0.0
        return self._pages(minute + 1)

    def day(self, minute: int, observed: Array, mu: Array, day_noise: Array) -> list[Page]:
        """Apply a day that ends at ``minute`` to the series that have the daily clock."""
        bands = [clocks.drift_band(float(value)) for value in day_noise]
        lower, upper, size = np.array([(b.lower, b.upper, b.size) for b in bands]).T
        self.drift.set_bands(lower, upper, size)
        self.drift.advance(observed, mu, (self._silent_until <= minute) * self._has_drift)
        return self._pages(minute)

    def evidence_ratio(self) -> Array:
        """Evidence of each series, divided by its paging threshold."""
        return np.asarray(self._sum() / self._pages_at)

    def _sum(self) -> Array:
        total: Array = self.fast.days.sum(axis=0) + self.slow.days.sum(axis=0)
        return np.asarray(total + self.drift.days.sum(axis=0) * self._has_drift)

    def _pages(self, at: int) -> list[Page]:
        due = np.flatnonzero(self._sum() >= self._pages_at)
        pages = []
        for series in due:
            clock, alternative = self._strongest(int(series))
            direction = clock.design.directions[alternative]
            pages.append(Page(int(series), at, direction, clock.design.name))
            self._silent_until[0 if direction == clocks.UP else 1, series] = at + self._silence
            for own in (self.fast, self.slow, self.drift):
                own.days[:, series] = 0.0
        return pages

    def _strongest(self, series: int) -> tuple[Clocks, int]:
        own = (self.fast, self.slow, self.drift)
        tops = [clock.days[:, series].max() for clock in own]
        clock = own[int(np.argmax(tops))]
        return clock, int(clock.days[:, series].argmax())

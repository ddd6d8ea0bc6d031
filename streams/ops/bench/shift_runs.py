"""Runs of ``bench shifts``: learn simulated series for weeks, then watch them by the minute."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from streams.index.shift_series import ShiftRules, page_days, weights
from streams.ops.bench import shift_learning as learning
from streams.ops.bench.shift_shops import DAY_MINUTES, Array, Counts, Errors, Shops, log_uniform
from streams.ops.bench.shift_vector import Detectors, Page

LEARN_DAYS = 80
"""42 days for the first expectation, 9 days of lead, 28 days of its errors, and one to spare."""
TOTAL_RATE = 200.0
MEMBER_RATES = (0.5, 200.0)
"""Orders a minute: of the market's total, and of members, log-uniform between."""
Say = Callable[[str], None]
Watch = Callable[[int, Counts, Array], None]


@dataclass(slots=True)
class Learnt:
    """Series whose past is known: hours so far, and the expectation of each day with its errors."""

    shops: Shops
    totals: NDArray[np.int64]
    """Of each series: the number of its market's total."""
    drifts: NDArray[np.bool_]
    hours: Array
    expected: dict[int, Array] = field(default_factory=dict)
    drift_expected: dict[int, Array] = field(default_factory=dict)

    def vintage(self, day: int) -> Array:
        """Expectation of a day by the minute; also remembered by the hour, for its errors."""
        hours = learning.expect_day(self.hours, day, self.totals)
        self.expected[day] = hours[:, learning.MARGIN : -learning.MARGIN]
        own = self.hours[self.drifts]
        itself = np.arange(len(own))
        far = learning.expect_day(own, day, itself, learning.DRIFT_LEAD_DAYS)
        self.drift_expected[day] = far[:, learning.MARGIN : -learning.MARGIN].sum(axis=1)
        return learning.minutes_of_day(hours)

    def noise(self, day: int) -> Array:
        """s^2 as the vintage of a day holds it."""
        days = _error_days(day)
        expected = np.stack([self.expected[one] for one in days], axis=1)
        return learning.noise(self._observed(days), expected)

    def drift_square(self, day: int) -> Array:
        """Median square of the daily clock's expectation, of the series that have one."""
        days = _error_days(day)
        expected = np.stack([self.drift_expected[one] for one in days], axis=1)
        observed = self._observed(days)[self.drifts].sum(axis=2)
        return learning.median_square(observed, expected)

    def _observed(self, days: range) -> Array:
        part = self.hours[:, days.start * 24 : days.stop * 24]
        return part.reshape(len(part), len(days), 24)

    def add(self, day: int, by_hour: Counts) -> None:
        """What a day brought."""
        self.hours[:, day * 24 : (day + 1) * 24] = by_hour


def _error_days(day: int) -> range:
    last = day - learning.LEAD_DAYS
    return range(last - learning.NOISE_DAYS + 1, last + 1)


def learn(shops: Shops, totals: NDArray[np.int64], days: int) -> Learnt:
    """Series after LEARN_DAYS, with room for ``days`` more."""
    n = len(shops.rates)
    learnt = Learnt(shops, totals, totals == np.arange(n), np.zeros((n, (LEARN_DAYS + days) * 24)))
    for day in range(LEARN_DAYS):
        if day >= _error_days(LEARN_DAYS).start:
            learnt.vintage(day)
        learnt.add(day, shops.past_day(day))
    return learnt


@dataclass(frozen=True, slots=True)
class Quiet:
    """A run without a shift: all its pages are false."""

    markets: int
    members: int
    days: int
    pages: list[Page]
    noise: Array

    @property
    def series_years(self) -> float:
        """Length of all series together."""
        return self.markets * (self.members + 1) * self.days / 365

    @property
    def market_days(self) -> int:
        """Length of all markets together."""
        return self.markets * self.days


def run_quiet(
    rng: np.random.Generator,
    members: int,
    series_years: float,
    errors: Errors,
    say: Say,
    *,
    days: int = 56,
    rules: ShiftRules | None = None,
    watch: Watch | None = None,
) -> Quiet:
    """Markets of a total and ``members`` for ``days`` each.

    ``watch`` is given every day's number, its minutes, and all hours so far.
    """
    markets = max(1, round(series_years * 365 / days / (members + 1)))
    rates = log_uniform(rng, MEMBER_RATES, (markets, members + 1))
    rates[:, 0] = TOTAL_RATE
    # Growth has run for LEARN_DAYS when they are watched: rates are those of that day, about.
    shops = Shops(rng, rates.ravel(), markets, errors)
    shops.rates *= np.exp(-shops.growth * LEARN_DAYS)
    totals = np.repeat(np.arange(markets) * (members + 1), members + 1)
    learnt = learn(shops, totals, days)
    own, each = weights(rules or ShiftRules(), 1.0, members)
    pages_at = np.where(
        learnt.drifts, page_days(rules or ShiftRules(), own), page_days(rules or ShiftRules(), each)
    )
    detectors = Detectors(pages_at, learnt.drifts)
    pages: list[Page] = []
    noise = np.zeros(len(totals))
    for day in range(LEARN_DAYS, LEARN_DAYS + days):
        expected = learnt.vintage(day)
        noise = learnt.noise(day)
        detectors.set_noise(noise)
        counts = shops.day(day)
        pages += list(_watch_day(detectors, day, counts, expected))
        learnt.add(day, counts.reshape(len(counts), 24, 60).sum(axis=2))
        pages += _drift_day(detectors, learnt, day)
        if watch is not None:
            watch(day - LEARN_DAYS, counts, learnt.hours)
        done = day - LEARN_DAYS + 1
        if done % 7 == 0:
            say(f"{members} members: {done} of {days} days, {len(pages)} false pages")
    return Quiet(markets, members, days, pages, noise)


def _watch_day(detectors: Detectors, day: int, counts: Counts, expected: Array) -> Iterator[Page]:
    columns, means = counts.T.astype(float), np.ascontiguousarray(expected.T)
    for minute in range(DAY_MINUTES):
        yield from detectors.minute(day * DAY_MINUTES + minute, columns[minute], means[minute])


def _drift_day(detectors: Detectors, learnt: Learnt, day: int) -> list[Page]:
    n = len(learnt.totals)
    observed, expected, square = np.zeros(n), np.ones(n), np.zeros(n)
    observed[learnt.drifts] = learnt.hours[learnt.drifts, day * 24 : (day + 1) * 24].sum(axis=1)
    expected[learnt.drifts] = learnt.drift_expected[day]
    square[learnt.drifts] = learnt.drift_square(day)
    return detectors.day((day + 1) * DAY_MINUTES, observed, expected, square)


WATCHED_BEFORE_DAYS, WATCHED_AFTER_DAYS = 2, 3


def run_shifted(
    rng: np.random.Generator, rate: float, factors: tuple[float, ...], weight: float, series: int
) -> dict[float, list[float]]:
    """Factor -> minutes until the page of the right direction, of ``series`` series each.

    Infinite if none came within WATCHED_AFTER_DAYS. The shift begins at any minute of a day; a series
    paged before is left out: it is silent.
    """
    n = series * len(factors)
    shops = Shops(rng, np.full(n, rate), n, Errors())
    shops.rates *= np.exp(-shops.growth * LEARN_DAYS)
    learnt = learn(shops, np.arange(n), WATCHED_BEFORE_DAYS + WATCHED_AFTER_DAYS)
    learnt.drifts = np.zeros(n, dtype=bool)
    detectors = Detectors(np.full(n, page_days(ShiftRules(), weight)), learnt.drifts)
    planted = np.repeat(np.array(factors), series)
    begin = (LEARN_DAYS + WATCHED_BEFORE_DAYS - 1) * DAY_MINUTES + rng.integers(0, DAY_MINUTES, n)
    first: dict[int, Page] = {}
    for day in range(LEARN_DAYS, LEARN_DAYS + WATCHED_BEFORE_DAYS + WATCHED_AFTER_DAYS):
        expected = learnt.vintage(day)
        detectors.set_noise(learnt.noise(day))
        minutes = day * DAY_MINUTES + np.arange(DAY_MINUTES)
        counts = shops.day(day, np.where(minutes[None, :] >= begin[:, None], planted[:, None], 1.0))
        for page in _watch_day(detectors, day, counts, expected):
            first.setdefault(page.series, page)
        usual = np.where(planted > 0, planted, 1.0)
        learnt.add(day, np.round(counts.reshape(n, 24, 60).sum(axis=2) / usual[:, None]))
    return {factor: _delays(first, begin, planted, factor) for factor in factors}


def _delays(
    first: dict[int, Page], begin: NDArray[np.int64], planted: Array, factor: float
) -> list[float]:
    direction = 1 if factor > 1 else -1
    delays = []
    for series in np.flatnonzero(planted == factor):
        page = first.get(int(series))
        if page is None:
            delays.append(float("inf"))
        elif page.minute > begin[series]:
            right = page.direction == direction
            delays.append(float(page.minute - begin[series]) if right else float("inf"))
    return delays

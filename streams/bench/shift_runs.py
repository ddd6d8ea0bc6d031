"""Runs of ``bench shifts``: learn simulated series for weeks, then watch them minute by minute."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streams.bench.shift_learning import (
    DayExpectation,
    expect_day,
    minutes_of_day,
)
from streams.bench.shift_shops import DAY_MINUTES, Array, Counts, Errors, Shops, log_uniform
from streams.bench.shift_vector import Detectors, Page
from streams.index.hours import DRIFT_LEAD_DAYS
from streams.index.shift_budget import ShiftRules, page_days, weights

LEARN_DAYS = 52
"""Days before the first watched day. An expectation needs 42 days; that of the daily clock knows hours
only up to 9 days before its day."""
TOTAL_RATE = 200.0
MEMBER_RATES = (0.5, 200.0)
"""Orders a minute: TOTAL_RATE for a market's total, a log-uniform draw between MEMBER_RATES for a
member."""
Echo = Callable[[str], None]
Watch = Callable[[int, Counts, Array], None]


@dataclass(slots=True)
class LearntSeries:
    """Series and their known past by the hour."""

    shops: Shops
    totals: NDArray[np.int64]
    """Number of the market's total, for each series."""
    hours: Array

    @property
    def drifts(self) -> NDArray[np.bool_]:
        """True for the series that are totals. Only these have the daily clock."""
        return np.asarray(self.totals == np.arange(len(self.totals)))

    def expect(self, day: int) -> DayExpectation:
        """Expectation of ``day`` for every series."""
        return expect_day(self.hours, day, self.totals)

    def expect_early(self, day: int) -> DayExpectation:
        """Expectation of ``day`` for the totals, as it was known a week earlier."""
        own = self.hours[self.drifts]
        return expect_day(own, day, np.arange(len(own)), DRIFT_LEAD_DAYS)

    def add(self, day: int, by_hour: Counts) -> None:
        """Record the counts of ``day``, series x 24."""
        self.hours[:, day * 24 : (day + 1) * 24] = by_hour


def learn(shops: Shops, totals: NDArray[np.int64], days: int) -> LearntSeries:
    """Simulate LEARN_DAYS of past for the series, with room for ``days`` more."""
    learnt = LearntSeries(shops, totals, np.zeros((len(shops.rates), (LEARN_DAYS + days) * 24)))
    for day in range(LEARN_DAYS):
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
        """Watched time of all series together, in years."""
        return self.markets * (self.members + 1) * self.days / 365

    @property
    def market_days(self) -> int:
        """Watched time of all markets together, in days."""
        return self.markets * self.days


def run_quiet(
    rng: np.random.Generator,
    members: int,
    series_years: float,
    errors: Errors,
    echo: Echo,
    *,
    days: int = 56,
    rules: ShiftRules | None = None,
    watch: Watch | None = None,
) -> Quiet:
    """Watch markets of a total and ``members`` members for ``days`` each.

    ``watch`` is called each day with the day's number, its counts by the minute and all hours so far.
    """
    markets = max(1, round(series_years * 365 / days / (members + 1)))
    rates = log_uniform(rng, MEMBER_RATES, (markets, members + 1))
    rates[:, 0] = TOTAL_RATE
    # Growth has run for LEARN_DAYS when watching begins: only then are the rates about those drawn.
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
        expectation = learnt.expect(day)
        noise = expectation.noise
        detectors.set_noise(noise)
        counts = shops.day(day)
        pages += list(_watch_day(detectors, day, counts, minutes_of_day(expectation.hours)))
        learnt.add(day, counts.reshape(len(counts), 24, 60).sum(axis=2))
        pages += _drift_day(detectors, learnt, day)
        if watch is not None:
            watch(day - LEARN_DAYS, counts, learnt.hours)
        done = day - LEARN_DAYS + 1
        if done % 7 == 0:
            echo(f"{members} members: {done} of {days} days, {len(pages)} false pages")
    return Quiet(markets, members, days, pages, noise)


def _watch_day(detectors: Detectors, day: int, counts: Counts, expected: Array) -> Iterator[Page]:
    columns, means = counts.T.astype(float), np.ascontiguousarray(expected.T)
    for minute in range(DAY_MINUTES):
        yield from detectors.minute(day * DAY_MINUTES + minute, columns[minute], means[minute])


def _drift_day(detectors: Detectors, learnt: LearntSeries, day: int) -> list[Page]:
    n, own = len(learnt.totals), learnt.drifts
    observed, expected, noise = np.zeros(n), np.ones(n), np.zeros(n)
    early = learnt.expect_early(day)
    observed[own] = learnt.hours[own, day * 24 : (day + 1) * 24].sum(axis=1)
    expected[own], noise[own] = early.day, early.day_noise
    return detectors.day((day + 1) * DAY_MINUTES, observed, expected, noise)


WATCHED_BEFORE_DAYS, WATCHED_AFTER_DAYS = 2, 3


def run_shifted(
    rng: np.random.Generator, rate: float, factors: tuple[float, ...], weight: float, series: int
) -> dict[float, list[float]]:
    """Factor -> minutes until the page in the right direction, for ``series`` series each.

    Infinite if the first page has the wrong direction or none comes within WATCHED_AFTER_DAYS. The shift
    begins at any minute of a day. A series that paged before the shift is left out: it is silent.
    """
    n = series * len(factors)
    shops = Shops(rng, np.full(n, rate), n, Errors())
    shops.rates *= np.exp(-shops.growth * LEARN_DAYS)
    learnt = learn(shops, np.arange(n), WATCHED_BEFORE_DAYS + WATCHED_AFTER_DAYS)
    pages_at = np.full(n, page_days(ShiftRules(), weight))
    detectors = Detectors(pages_at, np.zeros(n, dtype=bool))
    planted = np.repeat(np.array(factors), series)
    begin = (LEARN_DAYS + WATCHED_BEFORE_DAYS - 1) * DAY_MINUTES + rng.integers(0, DAY_MINUTES, n)
    first: dict[int, Page] = {}
    for day in range(LEARN_DAYS, LEARN_DAYS + WATCHED_BEFORE_DAYS + WATCHED_AFTER_DAYS):
        expected = learnt.expect(day)
        detectors.set_noise(expected.noise)
        minutes = day * DAY_MINUTES + np.arange(DAY_MINUTES)
        counts = shops.day(day, np.where(minutes[None, :] >= begin[:, None], planted[:, None], 1.0))
        for page in _watch_day(detectors, day, counts, minutes_of_day(expected.hours)):
            first.setdefault(page.series, page)
        factors_of = np.where(planted > 0, planted, 1.0)
        learnt.add(day, np.round(counts.reshape(n, 24, 60).sum(axis=2) / factors_of[:, None]))
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

"""Runs of ``bench shifts``: learn simulated series for weeks, then watch them pane by pane.

Every run gives the same series to several designs of the detector: the one that workers run, and the one
of version 0.2 and before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streams.bench.shift_learning import (
    DayExpectation,
    expect_day,
    minutes_of_day,
)
from streams.bench.shift_shops import (
    BLOCK_MINUTES,
    DAY_MINUTES,
    PANES,
    Array,
    Counts,
    Errors,
    PlantedShifts,
    Shops,
    log_uniform,
)
from streams.index.hours import DRIFT_LEAD_DAYS
from streams.index.shift_budget import ShiftRules, page_days, weights
from streams.index.shift_clock import MICRO, ClockDesign
from streams.index.shift_detector import PANE_EVENTS, DetectorDesign, Detectors, ShiftEvent

NOW, BEFORE = "now", "before"
DESIGNS: Mapping[str, DetectorDesign] = {
    NOW: DetectorDesign(),
    BEFORE: DetectorDesign(
        ClockDesign("fast", 1, (1.25, 1.667, 2.5), (0.75, 0.4, 0.05), end_days=1.0), learns=False
    ),
}
"""Detectors that are compared, by name."""
TELLING_S = 8.0
"""Seconds from the end of a pane until its page is told."""
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
    """A run without a shift: all its pages are false. ``pages``: by the design's name."""

    markets: int
    members: int
    days: int
    pages: Mapping[str, list[ShiftEvent]]
    noise: Array
    sizes: Array
    """Sizes that were learnt, over those that are true."""
    by_pane: float
    """Share of the series of PANE_EVENTS a minute and more that step by panes at the end."""

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
    detectors = {name: Detectors(pages_at, learnt.drifts, one) for name, one in DESIGNS.items()}
    pages: dict[str, list[ShiftEvent]] = {name: [] for name in detectors}
    noise = np.zeros(len(totals))
    for day in range(LEARN_DAYS, LEARN_DAYS + days):
        expectation = learnt.expect(day)
        noise = expectation.noise
        counts, found = _watch_day(detectors, shops, day, expectation)
        learnt.add(day, counts.reshape(len(counts), 24, 60).sum(axis=2))
        _add_pages(pages, found, _drift_day(detectors, learnt, day, noise))
        if watch is not None:
            watch(day - LEARN_DAYS, counts, learnt.hours)
        done = day - LEARN_DAYS + 1
        if done % 7 == 0:
            so_far = ", ".join(f"{len(own)} false pages {name}" for name, own in pages.items())
            echo(f"{members} members: {done} of {days} days, {so_far}")
    sizes = detectors[NOW].sizes
    busy = rates.ravel() >= PANE_EVENTS
    return Quiet(
        markets,
        members,
        days,
        pages,
        noise,
        sizes.size / shops.size,
        float(sizes.by_pane[busy].mean()) if busy.any() else 0.0,
    )


def _add_pages(
    pages: Mapping[str, list[ShiftEvent]], *found: Mapping[str, list[ShiftEvent]]
) -> None:
    for one in found:
        for name, events in one.items():
            pages[name].extend(event for event in events if event.kind == "page")


def _watch_day(
    detectors: Mapping[str, Detectors],
    shops: Shops,
    day: int,
    expectation: DayExpectation,
    planted: PlantedShifts | None = None,
) -> tuple[Counts, dict[str, list[ShiftEvent]]]:
    """Watch a day; return its counts by the minute, series x 1440, and what each design found."""
    expected = np.ascontiguousarray(minutes_of_day(expectation.hours).T) * MICRO
    found: dict[str, list[ShiftEvent]] = {name: [] for name in detectors}
    by_minute = np.zeros((DAY_MINUTES, len(shops.rates)), dtype=np.int64)
    for hour, counts in enumerate(shops.day(day, planted)):
        panes = counts.astype(float).reshape(60, PANES, -1)
        by_minute[hour * 60 : (hour + 1) * 60] = panes.sum(axis=1)
        for at in range(60):
            minute = hour * 60 + at
            observed = by_minute[minute].astype(float)
            for name, own in detectors.items():
                found[name] += own.minute(
                    day * DAY_MINUTES + minute,
                    observed,
                    expected[minute],
                    expectation.noise,
                    panes[at] if own.design.learns else None,
                )
    return by_minute.T, found


def _drift_day(
    detectors: Mapping[str, Detectors], learnt: LearntSeries, day: int, noise: Array
) -> dict[str, list[ShiftEvent]]:
    n, own = len(learnt.totals), learnt.drifts
    observed, expected, day_noise = np.zeros(n), np.zeros(n), np.zeros(n)
    early = learnt.expect_early(day)
    observed[own] = learnt.hours[own, day * 24 : (day + 1) * 24].sum(axis=1)
    expected[own], day_noise[own] = early.day * MICRO, early.day_noise
    first = day * DAY_MINUTES
    return {
        name: one.day(first + DAY_MINUTES, first, observed, expected, day_noise, noise)
        for name, one in detectors.items()
    }


SIZES_DAYS = 14
"""Days whose panes teach the sizes before a shift is planted."""
WATCHED_BEFORE_DAYS, WATCHED_AFTER_DAYS = 2, 1
"""Days watched up to the last begin of a shift, and after it."""
Delays = dict[str, dict[float, list[float]]]
"""Design -> factor -> seconds until the page is told."""


def run_shifted(
    rng: np.random.Generator,
    rate: float,
    factors: tuple[float, ...],
    weight: float,
    series: int,
    errors: Errors | None = None,
) -> Delays:
    """Plant a shift in ``series`` series for each factor; return how soon each design tells it.

    ``rate``: orders a minute expected when the shift begins, at any second of a day. A delay is infinite
    if the first page has the wrong direction or none comes in time. A series that paged before the shift
    is left out: it is silent.
    """
    n = series * len(factors)
    last = LEARN_DAYS + SIZES_DAYS + WATCHED_BEFORE_DAYS - 1
    begins = last * DAY_MINUTES * PANES + rng.uniform(0, DAY_MINUTES * PANES, n)
    shops = Shops(rng, np.full(n, rate), n, errors or Errors())
    at = (begins / PANES / BLOCK_MINUTES).astype(np.int64) % shops.season.shape[1]
    shops.set_rates(rate / shops.season[np.arange(n), at] * np.exp(-shops.growth * last))
    learnt = learn(shops, np.arange(n), SIZES_DAYS + WATCHED_BEFORE_DAYS + WATCHED_AFTER_DAYS)
    planted = PlantedShifts(begins, np.repeat(np.array(factors), series))
    pages_at = np.full(n, page_days(ShiftRules(), weight))
    detectors = {
        name: Detectors(pages_at, np.zeros(n, dtype=bool), one) for name, one in DESIGNS.items()
    }
    pages: dict[str, list[ShiftEvent]] = {name: [] for name in detectors}
    for day in range(LEARN_DAYS, last + 1 + WATCHED_AFTER_DAYS):
        expected = learnt.expect(day)
        if day < LEARN_DAYS + SIZES_DAYS:
            by_hour = _teach_sizes(detectors[NOW], shops, day, expected)
        else:
            counts, found = _watch_day(detectors, shops, day, expected, planted)
            by_hour = counts.reshape(n, 24, 60).sum(axis=2)
            _add_pages(pages, found)
        learnt.add(day, by_hour)  # the day after a shift is judged by vintages from before it
    return {
        name: {
            factor: _delays(own, begins, planted.factor, factor)
            for factor in dict.fromkeys(factors)
        }
        for name, own in pages.items()
    }


def _teach_sizes(
    detectors: Detectors, shops: Shops, day: int, expectation: DayExpectation
) -> Counts:
    """Let the sizes be learnt from a day, and return its counts by the hour."""
    expected = np.ascontiguousarray(minutes_of_day(expectation.hours).T)
    by_hour = np.zeros((len(shops.rates), 24), dtype=np.int64)
    for hour, counts in enumerate(shops.day(day)):
        panes = counts.astype(float).reshape(60, PANES, -1)
        for at, own in enumerate(panes):
            minute = hour * 60 + at
            detectors.sizes.minute(
                day * DAY_MINUTES + minute, own.sum(axis=0), expected[minute], own
            )
        by_hour[:, hour] = counts.sum(axis=0)
    return by_hour


def _delays(pages: list[ShiftEvent], begins: Array, planted: Array, factor: float) -> list[float]:
    first: dict[int, ShiftEvent] = {}
    for page in pages:
        first.setdefault(page.series, page)
    direction = 1 if factor > 1 else -1
    delays = []
    for series in np.flatnonzero(planted == factor):
        found = first.get(int(series))
        if found is None:
            delays.append(float("inf"))
            continue
        delay = (found.at * PANES - float(begins[series])) * 60 / PANES
        if delay > 0:
            delays.append(delay + TELLING_S if found.direction == direction else float("inf"))
    return delays

"""Hours that stand out teach nothing, and bursts that come often widen the edges by what they reach."""

from __future__ import annotations

import numpy as np
import pytest

from streams.index.expectation import fit
from streams.index.hours import LocalHours, calendar_of
from streams.index.ordinary import ordinary
from streams.index.season import ColumnRelations
from streams.index.shift_clock import FAST_REACH_PER_NOISE
from streams.index.tails import BUDGET_DAYS, NOISE_DAYS

DAY = 20_486  # 2026-02-02, a Monday
HOURS = LocalHours("UTC")
CALENDAR = calendar_of(HOURS, DAY)
ALONE = ColumnRelations(np.array([0]), np.array([0]))
NOON = [at for at, cell in enumerate(CALENDAR.cells.tolist()) if cell == 12]
"""Rows of the six Mondays' noon."""


def history(rate=400.0, seed=1):
    """Counts of 42 days: a daily season and nothing else but counting."""
    hour = CALENDAR.cells % 24
    mean = rate * (1 + 0.5 * np.sin(hour / 12 * np.pi))
    return np.random.default_rng(seed).poisson(mean).astype(float)[:, None]


def excluded(counts, **changed):
    ones = np.ones_like(counts)
    learnt = ordinary(CALENDAR, counts, ALONE, changed.get("learnt", ones), ones)
    return np.flatnonzero((learnt == 0) & (changed.get("learnt", ones) > 0)).tolist()


def expected_at_noon(counts):
    vintage = fit(CALENDAR, counts, ALONE)
    return vintage.expected[0][vintage.target_ms.index(HOURS.hours_of(DAY)[12])] / 1e6


def test_counting_alone_makes_no_hour_strange():
    for rate in (400.0, 20.0, 1.0, 0.05):
        assert excluded(history(rate)) == []


def test_one_burst_of_a_hundred_times_is_no_season():
    """It made the hour's season seventeen times too large: five more weeks were paged as outages."""
    counts = history()
    usual = expected_at_noon(counts)
    counts[NOON[3]] *= 100
    assert excluded(counts) == [NOON[3]]
    assert expected_at_noon(counts) == pytest.approx(usual, rel=0.05)


def test_of_three_known_weeks_two_bursts_stand_out_and_a_weekly_peak_does_not():
    learnt = np.ones((len(CALENDAR.hours_ms), 1))
    learnt[CALENDAR.blocks < 3] = 0
    counts = history() * learnt
    counts[NOON[4:]] *= [[20.0], [50.0]]
    assert excluded(counts, learnt=learnt) == NOON[4:]
    weekly = history() * learnt
    weekly[NOON] *= 8
    assert excluded(weekly, learnt=learnt) == []


def test_a_closed_day_is_no_level_whatever_the_shops_size():
    for rate in (400.0, 3.0):
        counts = history(rate)
        closed = CALENDAR.days == 25
        counts[closed] = 0
        assert excluded(counts) == np.flatnonzero(closed).tolist()


def test_the_few_orders_of_a_sparse_series_are_all_it_has():
    counts = np.zeros((len(CALENDAR.hours_ms), 1))
    counts[[100, 400, 700]] = 15.0
    assert excluded(counts) == []


def bursts(times, days, rate=400.0):
    """A history with an hour of ``times`` on each of these days of the 42."""
    counts = history(rate)
    for day in days:
        counts[np.flatnonzero(CALENDAR.days == day)[15]] *= times
    return counts


def noise(counts):
    (found,) = fit(CALENDAR, counts, ALONE).noise
    return found


def test_a_series_of_frequent_bursts_is_restless_and_its_edges_hold_them():
    found = noise(bursts(9.0, [16, 20, 24, 28, 32]))
    assert found.restless
    reach = FAST_REACH_PER_NOISE * found.watched**0.5
    # five days of 28 reach ln 9; one of 60 may go beyond the edge
    assert np.exp(reach) > 9.0
    furthest = np.log(9.0) - 0.25
    assert reach == pytest.approx(0.25 + furthest * np.log(BUDGET_DAYS * 5 / NOISE_DAYS), rel=0.12)
    assert found.hour < 10_000, "the band of ordinary hours is as narrow as before"


def test_one_burst_or_one_long_one_makes_no_series_restless():
    assert noise(bursts(9.0, [20])).tail == 0
    assert noise(bursts(9.0, [20, 21, 22])).tail == 0
    assert not noise(history()).restless


def test_bursts_of_a_few_orders_are_a_matter_of_counting():
    assert noise(bursts(9.0, [16, 20, 24, 28], rate=2.0)).tail == 0

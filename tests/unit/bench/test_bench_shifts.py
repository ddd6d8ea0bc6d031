"""bench shifts: its fast detector is the workers' detector, its series are what it says."""

import math

import numpy as np
import pytest

from streams.bench import shift_learning as learning
from streams.bench import shift_outage as outage
from streams.bench import shift_runs as runs
from streams.bench.shift_shops import DAY_MINUTES, STATED, Shops
from streams.bench.shift_vector import Detectors, Page
from streams.index import shift_detector as detector
from streams.index.minutes import minutes_of
from streams.index.shift_clock import MICRO
from streams.index.shift_detector import DetectorRules, ShiftState

DAYS = 3


def planted_series():
    """Four series of different rates with a jump, a stop and a rise in them, and their E."""
    rng = np.random.default_rng(11)
    shops = Shops(rng, np.array([200.0, 20.0, 2.0, 20.0]), 1, STATED)
    expected = np.round(rng.uniform(0.5, 1.5, (4, DAYS * DAY_MINUTES)) * shops.rates[:, None], 6)
    factors = np.ones((4, DAYS * DAY_MINUTES))
    factors[0, 900:1000] = 6.0
    factors[0, 1100:1200] = 0.0
    factors[1, 2000:] = 0.0
    factors[2, 1500:] = 3.0
    counts = rng.negative_binomial(20, 20 / (20 + expected * factors))
    return counts, expected


def test_many_series_at_once_equal_each_one_alone():
    counts, expected = planted_series()
    noise = np.array([0.002, 0.01, 0.05, 0.0])
    page_days = np.array([150.0, 1700.0, 1700.0, 1700.0])
    drifts = np.array([True, False, False, False])
    together = Detectors(page_days, drifts)
    rules = [
        DetectorRules(days, drifts=bool(own)) for days, own in zip(page_days, drifts, strict=True)
    ]
    alone = [ShiftState.fresh(one) for one in rules]
    found, wanted = [], []
    together.set_noise(noise)
    for minute in range(DAYS * DAY_MINUTES):
        found += together.minute(minute, counts[:, minute].astype(float), expected[:, minute])
        for series, state in enumerate(alone):
            micro = round(expected[series, minute] * MICRO)
            wanted += [
                Page(series, event.at, event.direction, event.clock)
                for event in detector.advance(
                    state, rules[series], minute, int(counts[series, minute]), micro, noise[series]
                )
                if event.kind == "page"
            ]
        if (minute + 1) % DAY_MINUTES == 0:
            day = slice(minute + 1 - DAY_MINUTES, minute + 1)
            x, mu = counts[0, day].sum(), round(expected[0, day].sum() * MICRO)
            found += together.day(
                minute + 1,
                np.array([float(x), 0.0, 0.0, 0.0]),
                np.array([mu / MICRO, 1.0, 1.0, 1.0]),
                np.full(4, 0.004),
            )
            step = (minute + 1 - DAY_MINUTES, int(x), mu)
            detector.advance_day(alone[0], rules[0], step, 0.004, noise[0])
        if minute % 97 == 0:
            ratios = [detector.evidence_ratio(s, r) for s, r in zip(alone, rules, strict=True)]
            assert together.evidence_ratio() == pytest.approx(ratios, rel=1e-6, abs=1e-12)
    assert found == wanted
    assert {page.series for page in found} == {0, 1, 2}
    assert [page.direction for page in found if page.series == 0][:2] == [1, -1]


def test_minutes_of_a_day_are_those_of_the_worker():
    hours = np.random.default_rng(1).uniform(0.1, 50, (5, 30))
    hours[3, 10:14] = 0.0
    micro = np.round(hours * MICRO).astype(int)
    minutes = learning.minutes_of_day(micro / MICRO)
    assert minutes.min() >= 0
    for series in range(5):
        for hour in range(24):
            until = minutes_of(micro[series].tolist(), hour + 3)
            exact = np.diff(until) / MICRO
            own = minutes[series, hour * 60 : (hour + 1) * 60]
            assert own == pytest.approx(exact, abs=2e-6, rel=1e-5)


def test_series_have_the_rate_and_the_season_they_were_given():
    rng = np.random.default_rng(2)
    shops = Shops(rng, np.full(200, 50.0), 5, STATED)
    shops.growth[:] = 0.0
    week = np.stack([shops.past_day(day) for day in range(7)], axis=1).reshape(200, 168)
    assert week.mean() / 60 == pytest.approx(50, rel=0.02)
    season = shops.season.reshape(200, 168, 6).mean(axis=2)
    apart = week / 3000 / season - 1
    assert 0.08 < apart.std() < 0.16  # day and level errors, and the counts' own spread


def test_what_was_learnt_is_close_to_the_truth():
    rng = np.random.default_rng(3)
    shops = Shops(rng, np.full(60, 20.0), 1, STATED)
    learnt = runs.learn(shops, np.zeros(60, dtype=np.int64), 1)
    expectation = learnt.expect(runs.LEARN_DAYS)
    expected = expectation.hours[:, 3:-3]
    season = shops.season.reshape(60, 7, 24, 6)[:, runs.LEARN_DAYS % 7].mean(axis=2)
    truth = 1200 * season * np.exp(shops.growth * runs.LEARN_DAYS)[:, None]
    apart = np.log(expected / truth)
    assert abs(apart.mean()) < 0.03
    assert apart.std() < 0.08
    noise = np.sqrt(expectation.noise)
    assert 0.05 < np.median(noise) < 0.15


def test_shifts_are_found_and_their_delays_counted_from_their_start():
    delays = runs.run_shifted(np.random.default_rng(4), 200.0, (3.0, 0.0), 0.7 / 40, 12)
    assert len(delays[3.0]) >= 11
    assert np.median(delays[3.0]) < 25
    assert max(delays[0.0]) <= 6
    assert not any(math.isinf(delay) for delay in delays[0.0])


def test_a_market_that_stops_is_found_with_its_members_and_small_ones_end_last():
    stop = outage.stop_market(np.random.default_rng(5), 200.0, 30.0)
    assert 2 <= stop.found[0] <= 6
    assert {0, *range(1, 9)} <= set(stop.found)
    assert set(stop.ended) == set(stop.found)
    assert stop.first_member_leads == stop.found[0] - min(
        minutes for series, minutes in stop.found.items() if series
    )
    assert stop.first_member_leads <= 2
    assert stop.last_member_trails == max(stop.ended.values()) - stop.ended[0] > 0


def test_stops_that_were_not_found_have_no_spread():
    stops = outage.stop_markets(np.random.default_rng(6), 1.0, 0.5, 2)
    assert stops["market_found"] == 0
    assert stops["market_found_after"] is stops["first_member_leads"] is None

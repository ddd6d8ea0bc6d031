"""bench shifts: it runs the workers' detectors, on series that are what it says."""

import math

import numpy as np
import pytest

from streams.bench import shift_learning as learning
from streams.bench import shift_outage as outage
from streams.bench import shift_runs as runs
from streams.bench.shift_shops import PANES, STATED, Errors, PlantedShifts, Shops
from streams.index.minutes import minutes_of
from streams.index.shift_clock import MICRO


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


def shops_of(errors, rate=40.0, series=60):
    shops = Shops(np.random.default_rng(5), np.full(series, rate), 1, errors)
    return shops, np.concatenate([hour for _, hour in zip(range(3), shops.day(0), strict=False)])


def scatter(counts):
    """1 / k: what counting does not explain between neighbours, over their product."""
    one, two = counts[:-1:2].astype(float), counts[1::2].astype(float)
    return (((one - two) ** 2 - one - two).sum(axis=0) / (2 * one * two).sum(axis=0)).mean()


def test_panes_are_as_bursty_as_their_minutes_and_lumps_and_bursts_are_not():
    size = Errors(size=(10.0, 10.0))
    _, panes = shops_of(size)
    assert panes.shape == (3 * 60 * PANES, 60)
    minutes = panes.reshape(-1, PANES, 60).sum(axis=1)
    assert scatter(minutes) == pytest.approx(0.1, rel=0.15)
    assert scatter(panes) == pytest.approx(1.2, rel=0.15)
    _, lumps = shops_of(Errors(size=(10.0, 10.0), lumps=PANES))
    full = (lumps.reshape(-1, PANES, 60) > 0).sum(axis=1)
    assert full.max() == 1
    _, bursts = shops_of(Errors(size=(10.0, 10.0), bursts=True))
    assert scatter(bursts) < 0.1, "neighbouring panes share their burst"
    blocks = bursts.reshape(-1, 5 * PANES, 60).sum(axis=1)
    assert scatter(blocks) > 0.03


def test_a_planted_shift_begins_within_a_pane():
    planted = PlantedShifts(np.array([720.25, 0.0]), np.array([0.0, 6.0]))
    assert planted.factors(720)[0, :3].tolist() == [0.25, 0.0, 0.0]
    assert planted.factors(0)[0].min() == 1.0
    assert planted.factors(0)[1].tolist() == [6.0] * 720


@pytest.mark.deep
def test_shifts_are_told_sooner_than_before_on_the_same_series(monkeypatch):
    monkeypatch.setattr(runs, "SIZES_DAYS", 2)
    monkeypatch.setattr(runs, "WATCHED_BEFORE_DAYS", 1)
    delays = runs.run_shifted(np.random.default_rng(4), 200.0, (6.0, 0.0), 0.7 / 40, 4)
    for factor, slowest in ((6.0, 300), (0.0, 180)):
        now, before = (delays[name][factor] for name in (runs.NOW, runs.BEFORE))
        assert np.median(now) < np.median(before) < slowest
        assert not any(math.isinf(delay) for delay in now)
        assert min(now) > runs.TELLING_S


def test_false_pages_of_both_designs_are_counted_on_the_same_series():
    told = []
    quiet = runs.run_quiet(np.random.default_rng(8), 2, 0.02, STATED, told.append, days=1)
    assert set(quiet.pages) == {runs.NOW, runs.BEFORE}
    assert (quiet.market_days, len(quiet.noise)) == (2, 6)
    assert all(one.kind == "page" for own in quiet.pages.values() for one in own)


def test_a_market_that_stops_is_found_with_its_members_and_small_ones_end_last():
    stop = outage.stop_market(np.random.default_rng(5), 200.0, 30.0)
    assert 0.4 <= stop.found[0] <= 2
    assert {0, *range(1, 9)} <= set(stop.found)
    assert set(stop.ended) == set(stop.found)
    assert stop.first_member_leads == stop.found[0] - min(
        minutes for series, minutes in stop.found.items() if series
    )
    assert stop.first_member_leads <= 1
    assert stop.last_member_trails == max(stop.ended.values()) - stop.ended[0] > 0


def test_stops_that_were_not_found_have_no_spread():
    stops = outage.stop_markets(np.random.default_rng(6), 1.0, 0.5, 2)
    assert stops["market_found"] == 0
    assert stops["market_found_after"] is stops["first_member_leads"] is None

"""Panes of a minute say together what the minute says: steps of a pane keep the minute's bound."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.draws import examples

from streams.index import shift_clock as clocks
from streams.index.panes import of_minute
from streams.index.shift_clock import FAST, FAST_SIZE, MICRO
from streams.index.shift_sizes import LearntSizes
from tests.support.one_series import OneSeries

PANES = 12


@examples(60)
@given(
    panes=st.lists(st.integers(0, 300), min_size=PANES, max_size=PANES),
    mu=st.floats(0.01, 2_000),
    size=st.floats(1, 200),
    noise=st.floats(0, 0.3),
)
def test_the_panes_of_a_minute_add_up_to_the_minute(panes, mu, size, noise):
    band = clocks.fast_band(noise)
    for direction, factor in zip(FAST.directions, FAST.factors, strict=True):
        edge = band.edge(direction)
        whole = clocks.ln_factor(sum(panes), mu, size, edge, edge * factor)
        parts = [clocks.ln_factor(x, mu / PANES, size / PANES, edge, edge * factor) for x in panes]
        assert math.fsum(parts) == pytest.approx(whole, rel=1e-9, abs=1e-9)


RATE, PAGE_DAYS, NOISE = 100.0, 30 / 0.0035, 0.0064


def one_series(size=50.0):
    """A series whose sizes are known, so that it steps by panes."""
    one = OneSeries(PAGE_DAYS)
    sizes = one.detectors.sizes
    for known in (sizes.size, sizes.next_size, sizes.pane_size, sizes.next_pane_size):
        known[:] = size
    return one


def run(one, panes, first=600):
    """Events of whole minutes of ``panes``, minutes x PANES."""
    return [
        event
        for minute, own in enumerate(panes, first)
        for event in one.minute(minute, own.sum(), RATE * MICRO, NOISE, own)
    ]


def test_a_stop_is_found_within_the_minute_and_dated_to_the_pane():
    panes = np.full((10, PANES), 8)
    panes[4, 5:] = 0
    panes[5:] = 0
    (page,) = run(one_series(), panes)
    assert (page.kind, page.direction) == ("page", -1)
    assert page.start == pytest.approx(604 + 5 / PANES, abs=1.01 / PANES)
    assert page.at - page.start < 0.7
    assert page.interval.observed == pytest.approx(0, abs=1e-9)
    assert of_minute(page.at) % 5_000 == 0
    by_minute = OneSeries(PAGE_DAYS)
    (late,) = run(by_minute, panes)
    assert late.at == int(late.at) > page.at + 0.5


def test_the_shift_is_summed_from_its_start_to_the_end_of_every_minute():
    panes = np.full((8, PANES), 8)
    panes[2:] = 50
    one = one_series()
    (page,) = run(one, panes)
    shift = one.detectors.open[0]
    assert 602 < page.at < 604
    after = round((608 - page.start) * PANES)
    assert shift.observed == pytest.approx(50 * after, rel=0.02)
    assert shift.expected == pytest.approx(RATE * MICRO * after / PANES, rel=0.02)


def test_a_minute_that_goes_on_pages_as_it_will_when_it_is_final():
    rng = np.random.default_rng(3)
    panes = rng.poisson(RATE / PANES, (40, PANES))
    panes[35, 7:] = 0
    panes[36:] = 0
    final, live_found = one_series(), None
    for until in range(36 * PANES, 40 * PANES):
        live = OneSeries(PAGE_DAYS)
        whole = until // PANES
        final = one_series()
        run(final, panes[: whole - 2])
        live.detectors = final.detectors.copy()
        run(live, panes[whole - 2 : whole], 600 + whole - 2)
        rest = panes[whole, : until % PANES].astype(float)[:, None] if until % PANES else None
        found = (
            []
            if rest is None
            else live.detectors.minute(
                600 + whole,
                np.zeros(1),
                np.array([RATE * MICRO]),
                np.array([NOISE]),
                rest,
                whole=False,
            )
        )
        if found:
            (live_found,) = found
            break
    (page,) = run(one_series(), panes)
    assert live_found == page
    assert 636 < page.at < 637


@examples(20)
@given(cut=st.integers(0, 120), seed=st.integers(0, 9))
def test_a_restart_between_minutes_of_panes_changes_nothing(cut, seed):
    rng = np.random.default_rng(seed)
    mean = np.where(np.arange(120) < 90, RATE, 6 * RATE)[:, None] / PANES
    panes = rng.poisson(mean * rng.gamma(2.0, 0.5, (120, PANES)))
    whole, first = OneSeries(PAGE_DAYS), OneSeries(PAGE_DAYS)
    events = run(whole, panes)
    before = run(first, panes[:cut])
    second = OneSeries(PAGE_DAYS).restore(first.record())
    assert before + run(second, panes[cut:], 600 + cut) == events
    assert second.record() == whole.record()


def learn(panes):
    """Sizes that were learnt from minutes x PANES of series."""
    sizes = LearntSizes(panes.shape[2], PANES)
    rate = np.full(panes.shape[2], RATE)
    for minute, own in enumerate(panes.astype(float)):
        sizes.minute(minute, own.sum(axis=0), rate, own)
    return sizes


def negative_binomial(rng, size, mean):
    return rng.negative_binomial(size, size / (size + mean))


def test_sizes_are_learnt_from_below_and_the_level_of_an_hour_is_none_of_them():
    rng = np.random.default_rng(1)
    hours = np.exp(rng.normal(0, 0.2, (30, 24))).repeat(60, axis=0)[:, None, :]
    mean = RATE * hours / PANES
    true = np.repeat([5.0, 15.0, 50.0], 8)
    sizes = learn(negative_binomial(rng, np.broadcast_to(true / PANES, (30 * 60, PANES, 24)), mean))
    found = sizes.size / true
    assert found.max() < 1
    assert 0.5 < np.median(found) < 0.85
    assert sizes.by_pane[8:].all()
    assert sizes.by_pane[:8].mean() < 0.5, "panes may be burstier than the 5 that is taken"


def test_a_size_counts_an_hour_after_it_was_learnt_and_not_before_a_day_is_known():
    rng = np.random.default_rng(2)
    panes = negative_binomial(rng, 50 / PANES, np.full((26 * 60, PANES, 4), RATE / PANES))
    sizes = learn(panes[: 25 * 60 - 1])
    assert sizes.size.tolist() == [FAST_SIZE] * 4
    assert (sizes.next_size > FAST_SIZE).all()
    last = panes[25 * 60 - 1].astype(float)
    tried = sizes.tried()
    for one in (sizes, tried):
        one.minute(25 * 60 - 1, last.sum(axis=0), np.full(4, RATE), last)
    assert (sizes.size > 20).all()
    assert tried.size.tolist() == sizes.size.tolist()


@pytest.mark.parametrize("lumps", [PANES // 2, PANES])
def test_a_series_that_is_delivered_in_lumps_stays_on_minutes(lumps):
    panes = np.random.default_rng(3).poisson(RATE / PANES, (26 * 60, PANES, 6))
    assert learn(panes).by_pane.all()
    together = panes.reshape(26 * 60, -1, lumps, 6).sum(axis=2)
    delivered = np.zeros_like(panes)
    delivered.reshape(26 * 60, -1, lumps, 6)[:, :, 1] = together
    sizes = learn(delivered)
    assert not sizes.by_pane.any()
    assert (sizes.size > 40).all(), "its minutes are as regular as before"


@pytest.mark.parametrize("minutes", [2, 5, 14])
def test_panes_are_judged_by_the_first_minutes_and_lumps_are_seen_in_them(minutes):
    """Two terms of the clock took 30 minutes: until then a stop was found by whole minutes."""
    first = 7  # no full ten minutes end where a market begins

    def judged(panes):
        sizes = LearntSizes(panes.shape[2], PANES)
        rate = np.full(panes.shape[2], RATE)
        for minute, own in enumerate(panes.astype(float), first):
            sizes.minute(minute, own.sum(axis=0), rate, own)
        sizes.use_at_once()
        return sizes.by_pane

    shape = (minutes, PANES, 400)
    rng = np.random.default_rng(6)
    assert judged(rng.poisson(RATE / PANES, shape)).all()
    drawn = {
        size: judged(negative_binomial(rng, size / PANES, np.full(shape, RATE / PANES))).mean()
        for size in (3.0, 15.0)
    }
    assert drawn[3.0] < 0.03
    assert drawn[15.0] > 0.75
    for lumps in (PANES // 2, PANES):
        counts = rng.poisson(RATE / PANES, shape)
        delivered = np.zeros_like(counts)
        together = counts.reshape(minutes, -1, lumps, 400).sum(axis=2)
        delivered.reshape(minutes, -1, lumps, 400)[:, :, 1] = together
        assert not judged(delivered).any()
    assert not judged(rng.poisson(RATE / PANES, (1, PANES, 400))).any(), "one minute is too few"


def test_the_first_minutes_count_five_minutes_later():
    rng = np.random.default_rng(7)
    sizes = LearntSizes(1, PANES)
    counts = []
    for minute in range(2, 22):
        own = rng.poisson(RATE / PANES, (PANES, 1)).astype(float)
        sizes.minute(minute, own.sum(axis=0), np.array([RATE]), own)
        counts.append((minute + 1, bool(sizes.by_pane[0])))
    assert next(minute for minute, by_pane in counts if by_pane) == 10
    assert counts[-1][1]


@pytest.mark.parametrize(("ahead", "hours"), [(4, 2), (12, 2), (62, 30)])
def test_live_minutes_are_judged_with_the_sizes_of_their_final_ones(ahead, hours):
    """With a grace of an hour they were judged without what the final ones had learnt by then."""
    rng = np.random.default_rng(8)
    sizes, rate = LearntSizes(3, PANES, ahead), np.full(3, RATE)
    final, live = [], {}
    for minute in range(hours * 60):
        own = rng.poisson(RATE / PANES, (PANES, 3)).astype(float)
        sizes.minute(minute, own.sum(axis=0), rate, own)
        final.append((sizes.size.tolist(), sizes.pane_size.tolist()))
        if minute % 7 == 0:
            tried = sizes.tried()
            for later in range(minute + 1, minute + 1 + ahead):
                tried.minute(later, own.sum(axis=0), rate, own)
                live[minute, later] = tried.size.tolist(), tried.pane_size.tolist()
    assert sizes.by_pane.all()
    assert (sizes.size > FAST_SIZE).all() == (hours > 25)
    wrong = [at for at, found in live.items() if at[1] < len(final) and found != final[at[1]]]
    assert wrong == []


def test_bursts_that_last_minutes_make_the_size_small():
    rng = np.random.default_rng(4)
    kept = np.exp(-1 / 3)
    level, levels = np.zeros(20), []
    for _ in range(30 * 60):
        level = kept * level + np.sqrt(1 - kept**2) * rng.standard_normal(20)
        levels.append(level)
    factor = np.exp(0.2 * np.array(levels) - 0.02)[:, None, :]
    panes = rng.poisson(RATE / PANES * np.broadcast_to(factor, (30 * 60, PANES, 20)))
    assert 5 < np.median(learn(panes).size) < 0.5 / 0.04


def test_an_hour_with_a_shift_teaches_nothing():
    rng = np.random.default_rng(5)
    panes = rng.poisson(RATE / PANES, (60, PANES))
    panes[30:] *= 6
    one = one_series()
    run(one, panes)
    assert one.detectors.open
    assert one.detectors.sizes.taught[0, 0] == 0


def test_a_series_known_to_be_burstier_than_5_weighs_small_shifts_less_too():
    panes = np.full((20, PANES), 13)
    before, bursty = one_series(5.0), one_series(5.0)
    for known in (bursty.detectors.sizes.size, bursty.detectors.sizes.next_size):
        known[:] = 2.0
    for one in (before, bursty):
        run(one, panes)
    small = [one.detectors.fast.days[0, 0] for one in (before, bursty)]
    assert small[1] < small[0]

"""The detector of a series: restarts, live copies, silence, ends, sleep."""

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.draws import examples
from support.methodologies import DEMO_TEXT

from streams.index.methodology import parse
from streams.index.partials import Layout
from streams.index.shift_budget import market_shares, page_days, weights
from streams.index.shift_clock import MICRO
from streams.index.shift_detector import MEMBERS_AGAIN_MAX, DetectorDesign, Detectors
from streams.index.shift_ratio import contributors, ratio_interval
from streams.index.shift_series import watched
from tests.support.one_series import OneSeries

PAGE_DAYS = 30 / 0.0175
NOISE = 0.005
DAY = 1440

PARTS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.3, 1.0, 1.0, 1.0, 6.0]), st.integers(1, 120)),
    min_size=1,
    max_size=8,
)


def minutes(parts, rate, seed):
    """(minute, observed, expected) of stretches of (factor, minutes)."""
    rng = np.random.default_rng(seed)
    counts = [int(rng.poisson(rate * factor)) for factor, n in parts for _ in range(n)]
    return [(at, x, round(rate * MICRO)) for at, x in enumerate(counts)]


def fresh():
    return OneSeries(PAGE_DAYS)


def run(one, series):
    return [event for step in series for event in one.minute(*step, NOISE)]


@examples(40)
@given(parts=PARTS, rate=st.floats(0.05, 100), seed=st.integers(0, 9), cut=st.integers(0, 900))
def test_a_restart_from_the_stored_state_changes_nothing(parts, rate, seed, cut):
    series = minutes(parts, rate, seed)
    whole, first = fresh(), fresh()
    events = run(whole, series)
    before = run(first, series[:cut])
    second = fresh().restore(first.record())
    assert before + run(second, series[cut:]) == events
    assert second.record() == whole.record()


@examples(30)
@given(parts=PARTS, rate=st.floats(0.05, 100), seed=st.integers(0, 9), cut=st.integers(0, 900))
def test_a_live_copy_leaves_no_trace(parts, rate, seed, cut):
    series = minutes(parts, rate, seed)
    one = fresh()
    run(one, series[:cut])
    before = one.record()
    live = OneSeries(PAGE_DAYS)
    live.detectors = one.detectors.copy()
    run(live, series[cut:])
    assert one.record() == before


def test_a_jump_is_paged_once_with_direction_start_and_size_and_its_end_too():
    series = minutes([(1.0, 600), (6.0, 90), (1.0, 600)], 20.0, seed=1)
    page, end = run(fresh(), series)
    assert (page.kind, page.direction, page.number, page.clock) == ("page", 1, 1, "fast")
    assert page.start == pytest.approx(600, abs=2)
    assert 600 < page.at <= 606
    assert page.interval.lower < 6 < page.interval.upper
    assert page.evidence_ratio >= 1
    assert (end.kind, end.number, end.direction) == ("end", 1, 1)
    assert 690 < end.at < 705


def test_a_stop_is_paged_and_over_when_orders_come_again():
    series = minutes([(1.0, 600), (0.0, 60), (1.0, 300)], 20.0, seed=2)
    page, end = run(fresh(), series)
    assert (page.direction, end.direction) == (-1, -1)
    assert 600 < page.at <= 612
    assert page.interval.ratio < 0.2
    assert 660 < end.at < 680


def together(counts, rate, noise=NOISE):
    """Events of many series of one rate at once; ``counts``: series x minutes."""
    n = len(counts)
    many = Detectors(np.full(n, PAGE_DAYS), np.zeros(n, dtype=bool))
    expected, noises = np.full(n, float(rate * MICRO)), np.full(n, noise)
    events = [
        event
        for minute, column in enumerate(counts.T.astype(float))
        for event in many.minute(minute, column, expected, noises)
    ]
    return many, events


def test_series_of_several_noises_have_each_its_own_bands():
    counts = np.random.default_rng(6).poisson(20.0 * np.repeat([1.0, 3.0], 60), (5, 120))
    noises = np.array([NOISE, 0.0, 0.09, 0.0, NOISE])
    many, alone = (
        Detectors(np.full(5, PAGE_DAYS), np.zeros(5, dtype=bool)),
        [fresh() for _ in counts],
    )
    for minute, column in enumerate(counts.T):
        many.minute(minute, column.astype(float), np.full(5, 20.0 * MICRO), noises)
        for one, x, noise in zip(alone, column, noises, strict=True):
            one.minute(minute, x, 20 * MICRO, noise)
    assert many.evidence_ratio().tolist() == [one.evidence_ratio for one in alone]
    assert len(set(many.evidence_ratio())) == 5


def test_expected_demand_never_pages():
    many, events = together(np.random.default_rng(3).poisson(5.0, (10, DAY)), 5)
    assert events == []
    assert many.evidence_ratio().max() < 0.2


def test_within_the_dead_band_is_no_shift():
    assert together(np.random.default_rng(4).poisson(23.0, (5, DAY)), 20)[1] == []


def test_silence_for_a_day_then_a_lasting_shift_is_paged_again():
    events = run(fresh(), minutes([(1.0, 60), (6.0, 2 * DAY)], 20.0, seed=5))
    assert [(event.kind, event.number) for event in events] == [("page", 1), ("page", 2)]
    assert DAY <= events[1].at - events[0].at <= DAY + 10


@pytest.mark.parametrize("times", [0.0, 6.0])
def test_a_second_outage_or_large_jump_within_a_day_is_paged_again(times):
    """Issue 17: a market that stopped again half an hour after an outage paged nobody for a day."""
    parts = [(1.0, 600), (times, 60), (1.0, 60), (times, 60), (1.0, 60), (times, 60)]
    events = run(OneSeries(PAGE_DAYS, drifts=True), minutes(parts, 20.0, seed=7))
    way = 1 if times else -1
    assert [(e.kind, e.direction, e.number) for e in events] == [
        ("page", way, 1),
        ("end", way, 1),
        ("page", way, 2),
        ("end", way, 2),
        ("page", way, 3),
    ]
    assert 720 <= events[2].start <= events[2].at <= 740


def test_a_moderate_shift_is_silenced_for_a_day_after_a_page_though_that_is_over():
    series = minutes([(1.0, 600), (0.4, 120), (1.0, 240), (0.4, 300)], 20.0, seed=7)
    total = OneSeries(PAGE_DAYS, drifts=True)
    assert [event.kind for event in run(total, series)] == ["page", "end"]


@pytest.mark.parametrize(
    ("members", "again"), [(MEMBERS_AGAIN_MAX, True), (MEMBERS_AGAIN_MAX + 1, False)]
)
def test_a_second_stop_of_a_few_members_within_a_day_is_paged_again(members, again):
    """A payment method that stopped again in the night was a suspicion on a page nobody looked at."""
    n = members + 1  # the market's total goes on
    detectors = Detectors(np.full(n, PAGE_DAYS), np.arange(n) == members)
    parts = [(1.0, 600), (0.0, 60), (1.0, 60), (0.0, 60)]
    found = []
    for minute, x, e in minutes(parts, 20.0, seed=7):
        observed, expected = np.full(n, float(x)), np.full(n, float(e))
        observed[members] = 20.0
        found += detectors.minute(minute, observed, expected, np.full(n, NOISE))
    pages = [event.series for event in found if event.kind == "page"]
    assert pages == [*range(members)] * (1 + again)
    assert {event.number for event in found} == {1, 2} if again else {1}


def test_a_second_moderate_fall_of_a_member_within_a_day_is_no_page():
    series = minutes([(1.0, 600), (0.0, 60), (1.0, 60), (0.4, 300)], 20.0, seed=7)
    assert [event.kind for event in run(fresh(), series)] == ["page", "end"]


def test_what_is_watched_changes_with_a_page_an_end_and_the_end_of_a_silence():
    """It is worked out anew at these alone: a copy, a restart and a slow reader see the same."""
    one = OneSeries(PAGE_DAYS, design=DetectorDesign(silence_minutes=90))
    clocks, seen = (one.detectors.fast.design, one.detectors.slow.design), []
    for minute, x, e in minutes([(1.0, 60), (6.0, 30), (1.0, 130), (0.0, 10)], 20.0, seed=7):
        one.minute(minute, x, e, NOISE)
        for clock in clocks:
            mask = one.detectors._watched(clock, minute + 1)
            anew = one.detectors.copy()
            anew.watch_anew()
            assert mask.tolist() == anew._watched(clock, minute + 1).tolist()
            if clock is clocks[0] and (not seen or seen[-1] != mask.tolist()):
                seen.append(mask.tolist())
    up = [[round(sum(each[0] for each in mask[:5])) for mask in seen]]
    assert up == [[5, 0, 2, 5, 5]], "and the stop silences the other direction"


def test_a_stop_soon_after_a_jump_is_another_shift():
    series = minutes([(1.0, 600), (6.0, 60), (1.0, 120), (0.0, 60)], 20.0, seed=7)
    events = run(fresh(), series)
    assert [(e.kind, e.direction, e.number) for e in events] == [
        ("page", 1, 1),
        ("end", 1, 1),
        ("page", -1, 2),
    ]
    assert events[2].at <= 792


def test_a_jump_that_becomes_a_stop_within_a_minute_is_over_before_the_stop_is_paged():
    """The stop's page came before the jump's end, and replaced it: the end was never told."""
    rate = 60
    lengths = ((1, 60), (5, 30), (0, 10))
    counts = [times * rate for times, length in lengths for _ in range(length)]
    one = fresh()
    one.detectors.sizes.pane_size[:] = one.detectors.sizes.size  # so it steps by panes
    events = []
    for minute, count in enumerate(counts):
        events += one.minute(minute, count, rate * MICRO, NOISE, [count // 12] * 12)
    assert [(event.kind, event.direction, event.number) for event in events] == [
        ("page", 1, 1),
        ("end", 1, 1),
        ("page", -1, 2),
    ]
    assert events[1].at <= events[2].at


def test_minutes_slept_leave_the_evidence_as_it_is():
    series = minutes([(1.0, 100)], 20.0, seed=6)
    state = fresh()
    run(state, series)
    before = state.evidence_ratio
    slept = [(minute + 60_000, x, e) for minute, x, e in series[:1]]
    run(state, slept)
    assert math.log(state.evidence_ratio) == pytest.approx(math.log(before), abs=1)


def test_a_minute_is_applied_once():
    state = fresh()
    state.minute(10, 1, MICRO, NOISE)
    with pytest.raises(ValueError, match="minute 10 was applied"):
        state.minute(10, 1, MICRO, NOISE)


def test_a_slow_drift_pages_by_the_daily_clock_of_the_total_only():
    total = OneSeries(30 / 0.2, drifts=True)
    events = []
    for day in range(40):
        step = (day * DAY, 32_500, 28_800 * MICRO)
        events += total.day((day + 1) * DAY, step, 0.002, NOISE)
        if events:
            break
    assert [(event.kind, event.clock, event.direction) for event in events] == [
        ("page", "drift", 1)
    ]
    assert 3 <= day <= 15
    assert fresh().day(DAY, (0, 9_000_000, MICRO), 0.002, NOISE) == []


@given(x=st.integers(0, 10**6), e=st.floats(0.01, 1e6), noise=st.floats(0, 1))
def test_the_interval_holds_the_ratio_and_noise_widens_it(x, e, noise):
    found, sharp = ratio_interval(x, e, noise), ratio_interval(x, e, 0.0)
    assert 0 <= found.lower <= found.ratio <= found.upper < math.inf
    assert found.upper - found.lower >= (sharp.upper - sharp.lower) * (1 - 1e-9)


def test_contributors_are_those_in_the_direction_of_the_shift():
    members = {"a": (50, 10.0), "b": (9, 10.0), "c": (12, 10.0), "d": (30, 10.0), "e": (40, 10.0)}
    assert [c.member for c in contributors(members, 1)] == ["a", "e", "d"]
    assert [c.member for c in contributors(members, -1)] == ["b"]


def test_weights_of_all_series_of_all_markets_stay_within_one():
    text = DEMO_TEXT
    methodology = parse(text)
    rules = methodology.shifts
    shares = market_shares({code: m.shift_weight for code, m in methodology.markets.items()})
    total = 0.0
    for market in methodology.markets.values():
        series = watched(Layout(market))
        assert len({(s.dimension, s.member) for s in series}) == len(series)
        assert len({s.column for s in series}) == len(series)
        own, each = weights(rules, shares[market.code], len(series) - 1)
        total += own + each * (len(series) - 1)
        assert page_days(rules, own) >= rules.budget_days
    assert total == pytest.approx(0.9)


QUIET = 0.0004
"""s^2 of a very regular series: whole hours are strong evidence there."""


def plain(parts, rate=20):
    """Minutes without chance: (counted a minute, minutes) of each stretch."""
    counts = [x for x, n in parts for _ in range(n)]
    return [(at, x, rate * MICRO) for at, x in enumerate(counts)]


def run_quiet(state, series):
    return [event for step in series for event in state.minute(*step, QUIET)]


@pytest.mark.parametrize("began", [605, 607, 610, 615])
def test_what_an_hour_completes_begins_and_ends_by_the_minute(began):
    series = plain([(20, began), (36, 760 - began), (20, 240)])
    page, end = run_quiet(fresh(), series)
    assert (page.clock, page.at, page.direction) == ("slow", 660, 1)
    assert page.start == end.start == began + 1
    assert page.interval.ratio == pytest.approx(1.77, abs=0.01)
    assert end.clock == "slow", "the clock that found it names the shift"
    assert 780 < end.at <= 782, "and not 840, the end of the hour"


def test_a_small_shift_is_dated_by_the_clock_that_sees_it():
    """At 1.6 times the expectation a minute is hardly evidence: the hours give the start and the end."""
    page, end = run_quiet(fresh(), plain([(20, 600), (32, 240), (20, 240)]))
    assert (page.clock, page.start, end.clock) == ("slow", 600, "slow")
    assert end.at % 60 == 0


def test_a_burst_late_in_a_small_shift_is_not_its_start():
    """Demand is 1.35 times the expectation for five hours and 2.5 times in their last ten minutes."""
    (page,) = run_quiet(fresh(), plain([(20, 600), (27, 290), (50, 10)]))
    assert (page.clock, page.at, page.start) == ("slow", 900, 655)


def test_a_jump_that_shrinks_to_twice_the_expectation_goes_on():
    events = run(fresh(), plain([(20, 600), (120, 60), (44, 300)]))
    assert [event.kind for event in events] == ["page"]


@pytest.mark.parametrize(
    ("times", "found", "over"), [(6, 2, 4), (3, 9, 9), (2, 35, 20), (0.5, 59, 18), (0, 3, 1)]
)
def test_how_soon_a_shift_is_found_and_over(times, found, over):
    series = plain([(20, 600), (round(20 * times), 120), (20, 240)])
    page, end = run(fresh(), series)
    assert (page.at - 600, end.at - 720) == (found, over)


def test_lasting_shifts_are_seldom_declared_over_by_mistake():
    """Bursty minutes (k = 5) and hours of 7 % error: the bound is once a day."""
    rng = np.random.default_rng(11)
    times = np.repeat([2.0, 3.0, 6.0, 0.5], 4)[:, None]
    hours = np.exp(rng.normal(-0.00245, 0.07, (16, 30))).repeat(60, axis=1)
    mean = 20.0 * hours * np.where(np.arange(1800) < 300, 1.0, times)
    _, events = together(rng.poisson(mean * rng.gamma(5.0, 0.2, (16, 1800))), 20)
    assert sum(event.kind == "page" for event in events) >= 16
    assert sum(event.kind == "end" for event in events) <= 16 / 5


def test_a_shift_of_a_record_before_format_4_goes_on_and_ends_by_the_clock_that_found_it():
    one = fresh()
    run(one, plain([(20, 600), (120, 10)]))
    stored = msgspec.to_builtins(one.state())
    del stored["open"]["dated_by"], stored["sizes"], stored["held"]
    stored["fast"] = stored["slow"] = {"ln_days": [0.0] * 6, "start": [0.0] * 6}
    older = fresh().restore(msgspec.msgpack.encode(stored))
    assert older.evidence_ratio == 0
    rest = [(610 + at, x, e) for at, x, e in plain([(20, 30)])]
    (end,) = run(older, rest)
    assert [end] == run(one, rest)
    assert (end.kind, end.number) == ("end", 1)

"""Properties of the expectation: exact sums, independence of units and order, honest bands."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.draws import examples
from support.known_histories import BOOKS, COLUMNS, ORDERS, SALES, History

from streams.index import minutes
from streams.index.band import COVERAGE, band
from streams.index.demand import (
    SCALE,
    change,
    demand_index,
    mean_deviation,
    mix_null_mean,
    mix_shift,
)
from streams.index.expectation import fit

hour_values = st.lists(st.integers(0, 10**13), min_size=1, max_size=30)
counts = st.integers(0, 10**9)


# -- minutes ---------------------------------------------------------------------------------------


@given(hour_values, st.data())
def test_minutes_add_up_to_their_hour_to_the_last_unit(hours, data):
    at = data.draw(st.integers(0, len(hours) - 1))
    until = minutes.minutes_of(hours, at)
    assert len(until) == 61
    assert until[0] == 0
    assert until[-1] == hours[at]
    assert all(before <= after for before, after in itertools.pairwise(until))


@given(hour_values, st.data(), st.sampled_from([1, 2, 3, 4, 6, 12, 60]))
def test_panes_add_up_to_their_minute(hours, data, parts):
    until = minutes.minutes_of(hours, data.draw(st.integers(0, len(hours) - 1)))
    before, after = until[data.draw(st.integers(0, 59)) :][:2]
    edges = [minutes.within_minute(before, after, part, parts) for part in range(parts + 1)]
    assert edges[0] == before
    assert edges[-1] == after
    assert edges == sorted(edges)


@given(hour_values)
def test_no_minute_is_less_than_a_tenth_of_its_neighbourhood(hours):
    values = minutes.midpoints(hours)
    assert all(value >= 8 * hour // 10 for value, hour in zip(values, hours, strict=True))


@given(st.lists(st.integers(10**6, 10**9), min_size=5, max_size=30), st.integers(2, 1000))
def test_the_shape_of_an_hour_does_not_depend_on_its_unit(hours, scale):
    at = len(hours) // 2
    small = minutes.minutes_of(hours, at)
    large = minutes.minutes_of([hour * scale for hour in hours], at)
    assert all(
        abs(a * scale - b) <= scale * (1 + hours[at] // 10**6) + scale
        for a, b in zip(small, large, strict=True)
    )


def test_minutes_of_a_smooth_day_follow_it():
    rate = [10**9 + 5 * 10**8 * math.sin(at / 60 / 24 * 2 * math.pi) for at in range(30 * 60)]
    hours = [round(sum(rate[hour * 60 : hour * 60 + 60])) for hour in range(30)]
    for at in range(3, 27):
        until = minutes.minutes_of(hours, at)
        for minute in range(60):
            own = until[minute + 1] - until[minute]
            assert own == pytest.approx(rate[at * 60 + minute], rel=0.01)


# -- the fit ---------------------------------------------------------------------------------------


def noisy(seed, rate=600.0):
    history = History(rate=rate)
    rng = np.random.default_rng(seed)
    history.counts = rng.poisson(history.counts).astype(np.float64)
    return history


@examples(15)
@given(st.integers(0, 2**32), st.sampled_from([0.01, 7.0, 1000.0]))
def test_money_in_another_unit_is_expected_in_that_unit(seed, unit):
    history = noisy(seed)
    before = history.vintage()
    history.counts[:, SALES] *= unit
    after = history.vintage()
    assert before.expected[ORDERS] == after.expected[ORDERS]
    assert before.expected[BOOKS] == after.expected[BOOKS]
    assert after.expected[SALES] == pytest.approx(
        [hour * unit for hour in before.expected[SALES]], rel=1e-9, abs=1
    )
    assert after.noise[SALES].hour == before.noise[SALES].hour
    assert after.noise[SALES].dispersion == pytest.approx(
        before.noise[SALES].dispersion * unit, rel=1e-6
    )


@examples(10)
@given(st.integers(0, 2**32), st.permutations([ORDERS, BOOKS, SALES]))
def test_a_column_does_not_depend_on_where_it_stands(seed, order):
    history = noisy(seed)
    place = {column: at for at, column in enumerate(order)}
    moved = fit(
        history.calendar,
        history.counts[:, order],
        type(COLUMNS)(
            np.array([place[int(COLUMNS.size_of[column])] for column in order]),
            np.array([place[int(COLUMNS.shape_of[column])] for column in order]),
        ),
    )
    plain = history.vintage()
    assert tuple(moved.expected[place[column]] for column in range(3)) == plain.expected
    assert tuple(moved.noise[place[column]] for column in range(3)) == plain.noise


@examples(10)
@given(st.integers(0, 2**32))
def test_the_same_hours_give_the_same_integers(seed):
    assert noisy(seed).vintage() == noisy(seed).vintage()


@examples(25)
@given(st.integers(0, 2**32), st.data())
def test_no_history_however_odd_is_a_crash_or_an_absurd_expectation(seed, data):
    rng = np.random.default_rng(seed)
    history = History(rate=data.draw(st.sampled_from([0.0, 0.02, 1.0, 300.0])))
    history.counts = rng.poisson(history.counts * rng.exponential(1, 3)).astype(np.float64)
    for column in range(3):  # free goods, members that are new or gone, measures never given
        first, last = sorted(rng.integers(0, len(history.counts), 2))
        history.counts[first:last, column] *= data.draw(st.sampled_from([0, 1, 30]))
    learnt = np.ones_like(history.counts)
    for column in range(3):
        first, last = sorted(rng.integers(0, len(history.counts), 2))
        learnt[first:last, column] = data.draw(st.sampled_from([0, 1]))
    factors = np.ones_like(learnt)
    factors[rng.integers(0, len(factors), 50)] = data.draw(st.sampled_from([0.01, 1, 20]))
    vintage = fit(history.calendar, history.counts, COLUMNS, learnt, factors)
    most = history.counts.max(axis=0) * 1e6
    for hours, noise, peak in zip(vintage.expected, vintage.noise, most, strict=True):
        assert all(0 <= hour <= 1_000 * peak + 1e9 for hour in hours)
        assert min(noise.hour, noise.day, noise.dispersion) >= 0


def test_only_the_shape_comes_from_elsewhere():
    history = noisy(1)
    alone = fit(
        history.calendar,
        history.counts[:, :1],
        type(COLUMNS)(np.array([0]), np.array([0])),
    )
    assert alone.expected[0] == history.vintage().expected[0]


@pytest.mark.parametrize(("rate", "rms_max"), [(20 * 60, 0.06), (3, 0.16)])
def test_the_error_of_an_hour_is_what_the_methodology_states(rate, rms_max):
    off = []
    for seed in range(8):
        history = History(rate=10 * rate, growth=0.05)
        rng = np.random.default_rng(seed)
        days = np.exp(0.065 * rng.standard_normal(42) - 0.065**2 / 2)
        level = np.exp(0.075 * rng.standard_normal(len(history.counts) // 2 + 1))
        noise = days[history.calendar.days] * np.repeat(level, 2)[: len(history.counts)]
        history.counts = rng.poisson(history.counts * noise[:, None]).astype(np.float64)
        vintage = history.vintage()
        own = vintage.expected[BOOKS][history.calendar.own]
        hours = history.hours.hours_of(history.day)
        off += [e / 1e6 / history.row(ms)[BOOKS] - 1 for e, ms in zip(own, hours, strict=True)]
        assert 0.05 < math.sqrt(vintage.noise[ORDERS].hour / 1e6) < 0.14  # of 0.099 planted
    assert math.sqrt(sum(each**2 for each in off) / len(off)) < rms_max


# -- indices ---------------------------------------------------------------------------------------


@given(counts, st.integers(1, 10**15))
def test_the_demand_index_is_one_division(observed, expected):
    found = demand_index(observed, expected)
    assert found == float(Fraction(100 * SCALE * observed, expected))


@given(counts, st.integers(1, 10**15), st.integers(1, 10**6))
def test_the_demand_index_does_not_depend_on_the_unit(observed, expected, unit):
    assert demand_index(observed * unit, expected * unit) == demand_index(observed, expected)


@given(counts, st.integers(1, 10**9), st.integers(1, 10**6))
def test_a_change_does_not_depend_on_the_unit(now, before, unit):
    assert change(now * unit, before * unit) == change(now, before)


mixes = st.lists(st.integers(0, 10**6), min_size=2, max_size=8)


@given(mixes, st.data(), st.integers(1, 1000))
def test_the_mix_shift_lies_in_its_range_and_has_no_unit(observed, data, unit):
    expected_mix = data.draw(
        st.lists(st.integers(0, 10**9), min_size=len(observed), max_size=len(observed))
    )
    found = mix_shift(observed, expected_mix)
    if not sum(observed) or not sum(expected_mix):
        assert found is None
        return
    assert -0.75 <= found <= 1
    assert mix_shift(observed, [each * unit for each in expected_mix]) == pytest.approx(
        found, abs=1e-9
    )


@given(st.integers(1, 60), st.floats(0.001, 0.999))
def test_the_mean_deviation_is_that_of_the_binomial(n, share):
    plain = math.fsum(
        math.comb(n, k) * share**k * (1 - share) ** (n - k) * abs(k - n * share)
        for k in range(n + 1)
    )
    assert mean_deviation(n, share) == pytest.approx(plain, rel=1e-9)


def test_payments_drawn_from_the_expected_mix_shift_by_nothing_on_average():
    rng = np.random.default_rng(7)
    expected_mix = [500, 300, 150, 50]
    draws = [
        mix_shift(rng.multinomial(80, np.array(expected_mix) / 1000).tolist(), expected_mix)
        for _ in range(4_000)
    ]
    assert sum(draws) / len(draws) == pytest.approx(0, abs=2e-3)
    assert mix_null_mean(80, expected_mix) == pytest.approx(0.07, abs=0.02)


# -- bands -----------------------------------------------------------------------------------------


def coverage(mean, noise, found):
    """Probability of the band by summing the distribution, independent of the code under test."""
    total = 0.0
    size = 1 / noise if noise else 0.0
    for count in range(max(0, round(found.lower)), round(found.upper) + 1):
        if noise:
            log_term = (
                math.lgamma(size + count) - math.lgamma(size) - math.lgamma(count + 1)
                + size * math.log(size / (size + mean)) + count * math.log(mean / (size + mean))
            )  # fmt: skip
        else:
            log_term = count * math.log(mean) - mean - math.lgamma(count + 1)
        total += math.exp(log_term)
    return total


@examples(60)
@given(
    st.one_of(st.floats(0.01, 60), st.floats(60, 3_000)),
    st.one_of(st.just(0.0), st.floats(1e-4, 1.0)),
)
def test_a_band_holds_what_it_says(mean, noise):
    found = band(mean, noise)
    assert 0 <= found.lower <= mean * 1.2 + 1
    assert found.upper >= mean - 1
    assert coverage(mean, noise, found) >= COVERAGE - 0.004


@given(st.floats(0.1, 1e5), st.floats(0, 0.2), st.integers(1, 10**6))
def test_a_band_of_money_does_not_depend_on_its_unit(orders, noise, worth):
    plain, money = band(orders, noise), band(orders * worth, noise, float(worth))
    assert money.lower == pytest.approx(plain.lower * worth, abs=1.01 * worth)
    assert money.upper == pytest.approx(plain.upper * worth, abs=1.01 * worth)


@given(st.floats(1, 1e4), st.floats(0, 0.5))
def test_more_noise_makes_no_narrower_band(mean, noise):
    quiet, loud = band(mean, noise), band(mean, noise + 0.1)
    assert loud.lower <= quiet.lower + 1
    assert loud.upper >= quiet.upper - 1


def test_the_band_of_nothing_expected_holds_only_nothing():
    assert band(0, 0.1) == (0, 0)

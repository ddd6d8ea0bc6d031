"""The bound on false pages rests on these: each factor is a supermartingale within the dead-band."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.draws import examples

from streams.index import shift_clock as clocks
from streams.index.shift_clock import DOWN, DRIFT, FAST, MICRO, SLOW, UP, ClockState

DESIGNS = st.sampled_from([FAST, SLOW, DRIFT])
BANDS = st.one_of(
    st.floats(0, 0.2).map(clocks.fast_band),
    st.floats(0, 0.2).map(clocks.slow_band),
    st.floats(0, 0.2).map(clocks.drift_band),
)


def mean_of_factor(mu, true_mean, true_size, band, design, at):
    """E[e] by summing the probabilities of a negative-binomial count."""
    direction, factor = design.directions[at], design.factors[at]
    edge = band.edge(direction)
    total, tail = 0.0, 0.0
    ln_p = true_size * math.log(true_size / (true_size + true_mean))
    ln_q = math.log(true_mean / (true_size + true_mean))
    x = 0
    while True:
        ln_e = clocks.ln_factor(x, mu, band.size, edge, edge * factor)
        total += math.exp(ln_p + ln_e)
        tail += math.exp(ln_p)
        if x > true_mean and max(ln_p, ln_p + ln_e) < -38:
            return total, tail
        ln_p += math.log((x + true_size) / (x + 1)) + ln_q
        x += 1


@examples(150)
@given(
    mu=st.floats(0.01, 60),
    inside=st.floats(0, 1),
    less_dispersed=st.floats(1, 20),
    design=DESIGNS,
    band=BANDS,
    at=st.integers(0, 5),
)
def test_a_step_within_the_dead_band_gains_nothing_in_the_mean(
    mu, inside, less_dispersed, design, band, at
):
    direction = design.directions[at]
    edge = band.edge(direction)
    # up: any mean from nothing to the edge; down: from the edge to three times the expectation
    multiple = edge * max(inside, 0.01) if direction == UP else edge + inside * (3 - edge)
    total, all_of_it = mean_of_factor(
        mu, multiple * mu, band.size * less_dispersed, band, design, at
    )
    assert all_of_it == pytest.approx(1, abs=1e-9)
    assert total <= 1 + 1e-9


@examples(60)
@given(mu=st.floats(0.01, 60), design=DESIGNS, band=BANDS, at=st.integers(0, 5))
def test_at_the_edge_it_is_fair_and_beyond_it_gains(mu, design, band, at):
    direction, factor = design.directions[at], design.factors[at]
    edge = band.edge(direction)
    fair, _ = mean_of_factor(mu, edge * mu, band.size, band, design, at)
    assert fair == pytest.approx(1, abs=1e-9)
    ratio = edge * factor
    # Linear in x, so its mean is its value at the mean: no convergence to worry about.
    at_fair = clocks.ln_factor(edge * mu, mu, band.size, edge, ratio)
    at_ratio = clocks.ln_factor(ratio * mu, mu, band.size, edge, ratio)
    assert at_fair < 0 < at_ratio


@examples(50)
@given(
    steps=st.lists(st.tuples(st.integers(0, 300), st.integers(0, 100 * MICRO)), max_size=50),
    noise=st.floats(0, 0.1),
)
def test_logarithms_add_up_to_the_plain_recurrence(steps, noise):
    band = clocks.fast_band(noise)
    state = ClockState.fresh(FAST)
    plain = [0.0] * 6
    for minute, (observed, expected) in enumerate(steps):
        clocks.advance(state, FAST, band, (minute, observed, expected))
        if expected:
            for at, (way, factor) in enumerate(zip(FAST.directions, FAST.factors, strict=True)):
                a = band.edge(way)
                ln = clocks.ln_factor(observed, expected / MICRO, band.size, a, a * factor)
                plain[at] = (plain[at] + 1 / 1440) * math.exp(ln)
    for ln_days, days in zip(state.ln_days, plain, strict=True):
        if 0 < days < math.inf and days > 1e-300:
            assert math.exp(ln_days) == pytest.approx(days, rel=1e-9)


def test_the_start_is_where_the_rate_changed():
    rng = np.random.default_rng(5)
    state, band = ClockState.fresh(FAST), clocks.fast_band(0.01)
    for minute in range(600):
        mean = 20 if minute < 500 else 120
        clocks.advance(state, FAST, band, (minute, int(rng.poisson(mean)), 20 * MICRO))
    best = max(range(6), key=lambda at: state.ln_days[at])
    assert FAST.directions[best] == UP
    assert state.start[best] == pytest.approx(500, abs=2)
    assert state.observed[best] / state.expected[best] == pytest.approx(6, rel=0.05)


def test_a_stop_is_seen_by_the_down_side_alone():
    state, band = ClockState.fresh(FAST), clocks.fast_band(0.01)
    for minute in range(10):
        clocks.advance(state, FAST, band, (minute, 0, 20 * MICRO))
    sides = dict(zip(FAST.factors, state.ln_days, strict=True))
    assert sides[0.05] > math.log(1000)
    assert max(sides[f] for f in FAST.up) < 0


def test_nothing_expected_says_nothing():
    state = ClockState.fresh(FAST)
    clocks.advance(state, FAST, clocks.fast_band(0.0), (0, 7, 0))
    assert state == ClockState.fresh(FAST)


def test_bands_widen_with_the_noise_within_their_limits():
    assert clocks.fast_band(0.0).upper == pytest.approx(math.exp(0.25))
    assert clocks.fast_band(1.0).lower == pytest.approx(math.exp(-3.25))
    assert clocks.fast_band(4.0).upper == pytest.approx(math.exp(4.6))
    assert clocks.fast_band(0.01).upper == pytest.approx(math.exp(0.325))
    assert clocks.slow_band(0.0).size == 500
    assert clocks.slow_band(10.0).size == 1
    quiet, noisy = clocks.slow_band(0.0064), clocks.slow_band(0.04)
    assert (quiet.lower, quiet.upper) == (0.8, 1.2)
    assert quiet.size == pytest.approx(1 / 0.0192)
    assert (noisy.lower, noisy.upper) == pytest.approx((math.exp(-0.4), math.exp(0.4)))
    assert clocks.drift_band(0.0025).size == pytest.approx(400)
    assert clocks.fast_band(0.0).edge(DOWN) < 1 < clocks.fast_band(0.0).edge(UP)

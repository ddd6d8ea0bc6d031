"""What a demo plants: announced with its time, in two markets where there are two."""

from __future__ import annotations

import pytest

from streams.ops.demo_plan import DemoOptions, make_plan
from streams.ops.simulate_profile import load_profile
from streams.settings import SettingsError

START_MS = 1_750_000_000_000


@pytest.fixture(scope="module")
def profile():
    return load_profile()


def test_the_jump_and_the_outage_are_in_the_two_largest_markets(profile):
    plan = make_plan(profile, (), START_MS, 100_000)
    weights = {code: market.weight for code, market in profile.markets.items()}
    first, second = sorted(weights, key=lambda code: -weights[code])[:2]
    assert (plan.shift.market, plan.outage.market) == (first, second)
    assert plan.shift.factor == 6
    assert plan.shift.start_ms == START_MS + 5_000 + 40_000
    assert plan.outage.start_ms < plan.outage.end_ms


def test_one_market_has_a_jump_and_no_outage(profile):
    plan = make_plan(profile, ("LK",), START_MS, None)
    assert plan.shift.market == "LK"
    assert plan.outage is None
    assert DemoOptions(markets=("LK",)).shops(profile, plan).outages == ()


def test_the_announcement_says_when_before_during_and_after(profile):
    plan = make_plan(profile, (), START_MS, 100_000)
    at = plan.outage.start_ms
    assert "in 45 s, for 40 s" in plan.announcement(START_MS)[1]
    assert "since" in plan.announcement(at + 1_000)[1]
    assert "over since 10 s" in plan.announcement(plan.outage.end_ms + 10_000)[1]


@pytest.mark.parametrize(
    ("options", "named"),
    [(DemoOptions(markets=("XX",)), "--markets"), (DemoOptions(rate_per_s=0), "--rate")],
)
def test_what_cannot_be_simulated_is_named(profile, options, named):
    with pytest.raises(SettingsError, match=named):
        options.shops(profile)

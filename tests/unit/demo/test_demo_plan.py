"""The shifts that a demo plants: each is announced with its time, in two markets if there are two."""

from __future__ import annotations

import msgspec
import pytest

from streams.demo.demo_plan import (
    FOUND_MS,
    JUMP_AFTER_MS,
    OUTAGE_AFTER_MS,
    STORY_MS,
    DemoOptions,
    make_plan,
)
from streams.index.panes import HOUR_MS
from streams.index.slugs import slug
from streams.settings import SettingsError
from streams.shops.simulate_profile import load_profile
from streams.shops.simulator import Shopfloor

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


@pytest.mark.parametrize("duration_ms", [None, STORY_MS, STORY_MS * 2])
def test_with_enough_time_five_minutes_are_as_expected_and_all_ends_before_the_demo(
    profile, duration_ms
):
    plan = make_plan(profile, (), START_MS, duration_ms)
    assert plan.whole
    assert plan.shift.start_ms - START_MS >= 300_000
    assert plan.shift.start_ms < plan.outage.start_ms
    assert OUTAGE_AFTER_MS > JUMP_AFTER_MS
    assert max(plan.shift.end_ms, plan.outage.end_ms) < START_MS + plan.story_ms
    assert "is reported here when it is found" in plan.opening(START_MS)[-1]


@pytest.mark.parametrize("minute", range(0, 60, 3))
def test_no_hour_ends_between_what_is_planted_and_its_discovery(profile, minute):
    start_ms = START_MS // HOUR_MS * HOUR_MS + minute * 60_000
    plan = make_plan(profile, (), start_ms, None)
    assert plan.shift.start_ms // HOUR_MS == (plan.outage.start_ms + FOUND_MS - 1) // HOUR_MS
    assert plan.shift.start_ms - start_ms >= JUMP_AFTER_MS
    assert plan.outage.end_ms < start_ms + plan.story_ms
    tight = make_plan(profile, (), start_ms, STORY_MS)
    assert tight.outage.end_ms < start_ms + STORY_MS


def test_with_less_time_the_needed_time_is_named(profile):
    plan = make_plan(profile, (), START_MS, 60_000)
    assert not plan.whole
    assert "takes 16 minutes" in plan.opening(START_MS)[-1]


def test_what_jumps_has_200_orders_a_minute_by_default(profile):
    options = DemoOptions().shops(profile)
    floor = Shopfloor(profile, options, START_MS)
    name = next(
        name
        for name in profile.categories
        if slug(name) == make_plan(profile, (), 0, 1).shift.category
    )
    orders = sum(
        any(line["category"] == name for line in msgspec.json.decode(event.value)["lines"])
        for event in floor.events_between(START_MS, START_MS + 60_000)
        if event.topic == "orders" and b'"market":"PK"' in event.value
    )
    assert orders > 180


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
    assert "over 10 s ago" in plan.announcement(plan.outage.end_ms + 10_000)[1]


@pytest.mark.parametrize(
    ("options", "named"),
    [(DemoOptions(markets=("XX",)), "--markets"), (DemoOptions(rate_per_s=0), "--rate")],
)
def test_what_cannot_be_simulated_is_named(profile, options, named):
    with pytest.raises(SettingsError, match=named):
        options.shops(profile)

"""The events of a stretch of time do not depend on how it is cut or where one began."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from support.draws import examples

from streams.shops.simulate_options import Outage, PlantedShift, ShopOptions
from streams.shops.simulate_profile import load_profile
from streams.shops.simulator import Shopfloor

PROFILE = load_profile()
OPENED = 1_760_000_123_457
SPAN = 400_000
instants = st.integers(OPENED - 10_000, OPENED + SPAN)


def options(seed):
    return ShopOptions(
        seed=seed,
        rate_per_s=8,
        markets=("PK", "LK"),
        duplicates=0.05,
        out_of_order=0.1,
        lag_scale=0.0001,
        shifts=(PlantedShift("PK", "books", 9.0, OPENED + 50_001, OPENED + 90_003),),
        outages=(Outage("LK", OPENED + 60_000, OPENED + 61_000),),
    )


def floor(seed):
    return Shopfloor(PROFILE, options(seed), OPENED)


@examples(20)
@given(seed=st.integers(0, 3), cuts=st.lists(instants, min_size=2, max_size=6).map(sorted))
def test_any_cut_gives_the_same_events(seed, cuts):
    whole = floor(seed).events_between(cuts[0], cuts[-1])
    piecewise = floor(seed)
    pieces = [
        event for start, end in pairwise(cuts) for event in piecewise.events_between(start, end)
    ]
    assert pieces == whole


@examples(20)
@given(asked=st.lists(st.tuples(instants, instants).map(sorted), min_size=2, max_size=3))
def test_what_was_asked_before_does_not_matter(asked):
    used = floor(1)
    for start, end in asked:
        assert used.events_between(start, end) == floor(1).events_between(start, end)


@examples(10)
@given(start=instants, length=st.integers(1, 60_000))
def test_records_are_within_the_interval_and_in_order(start, length):
    times = [event.timestamp_ms for event in floor(2).events_between(start, start + length)]
    assert times == sorted(times)
    assert all(start <= time < start + length for time in times)

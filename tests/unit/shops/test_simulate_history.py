"""Seeded hours of simulated shops: what the simulation itself sells in an hour, and its own noise."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import msgspec
import pytest

from streams.index.panes import HOUR_MS
from streams.index.slugs import slug
from streams.shops.simulate_history import Hours, simulated_seeds
from streams.shops.simulate_options import Outage, ShopOptions
from streams.shops.simulate_profile import load_profile
from streams.shops.simulator import Shopfloor
from tests.support.methodologies import METHODOLOGY

PROFILE = load_profile()
MARKETS = METHODOLOGY.markets
NOW_MS = 1_795_000_000_000
OPTIONS = ShopOptions(rate_per_s=10, markets=("PK",), season="flat", lag_scale=0.001).checked(
    PROFILE
)


def hours_of(options, weeks=2):
    seed = simulated_seeds(PROFILE, options, MARKETS, Hours.before(NOW_MS, weeks))["PK"]
    return [msgspec.json.decode(value) for _, value in seed.records[:-1]]


def summed(hours):
    """(dimension, member, measure) -> sum over the hours."""
    found = Counter()
    for hour in hours:
        for row in hour["rows"]:
            for measure in ("orders", "units", "sales", "payments", "amount", "failed"):
                found[row["dimension"], row["member"], measure] += row.get(measure, 0)
    return found


@pytest.fixture(scope="module")
def sold():
    """What the simulation sells in an hour, counted from its events."""
    floor = Shopfloor(PROFILE, OPTIONS, NOW_MS - HOUR_MS, NOW_MS)
    market = MARKETS["PK"]
    found = Counter()
    for event in floor.events_between(NOW_MS, NOW_MS + HOUR_MS):
        record = msgspec.json.decode(event.value)
        if record["type"] == "order.placed":
            lines = record["lines"]
            units = sum(line["quantity"] for line in lines)
            sales = sum(line["quantity"] * line["unit_price_minor"] for line in lines)
            method = slug(record["payment_method"])
            found["market", "all", "orders"] += 1
            found["market", "all", "units"] += units
            found["market", "all", "sales"] += sales
            found["payment_method", market.method_aliases.get(method, method), "orders"] += 1
            found["region", slug(record["region"]), "orders"] += 1
            for name in {slug(line["category"]) for line in lines}:
                found["category", name, "orders"] += 1
        elif record["type"] in ("payment.captured", "payment.failed"):
            method = slug(record["method"])
            measure = "failed" if record["type"] == "payment.failed" else "payments"
            member = market.method_aliases.get(method, method)
            found["market", "all", measure] += 1
            found["payment_method", member, measure] += 1
            if measure == "payments":
                found["market", "all", "amount"] += record["amount_minor"]
    return found


@pytest.mark.deep
def test_an_hour_is_what_the_simulation_sells_in_one(sold):
    hours = hours_of(OPTIONS)
    expected = summed(hours)
    compared = 0
    for key, count in sold.items():
        if key[1] not in ("others", "other") and expected[key] > 0:
            mean = expected[key] / len(hours)
            spread = 0.08 if key[2] in ("sales", "amount") else 0.03
            assert abs(count - mean) <= 5 * math.sqrt(mean) + spread * mean, key
            compared += 1
    assert compared > 25


def test_orders_of_hours_vary_as_poisson_numbers_do():
    orders = [hour["rows"][0]["orders"] for hour in hours_of(OPTIONS, weeks=6)]
    mean = sum(orders) / len(orders)
    variance = sum((count - mean) ** 2 for count in orders) / len(orders)
    assert variance / mean == pytest.approx(1, abs=0.2)


def test_cash_on_delivery_comes_in_when_the_orders_of_earlier_days_are_delivered():
    """Seeded in the hour of the order, it paged in a quiet shop: at night it is far above its orders."""
    options = replace(OPTIONS, rate_per_s=1_000, season="week", lag_scale=1.0)
    rows = [
        {(row["dimension"], row["member"]): row for row in hour["rows"]}
        for hour in hours_of(options)
    ]
    orders = [row["payment_method", "cod"]["orders"] for row in rows]
    payments = [row["payment_method", "cod"]["payments"] for row in rows]
    kept = 1 - PROFILE.outcomes.cancelled
    for at in range(78, len(rows)):
        mean = kept * sum(orders[at - lag] for lag in (30, 54, 78)) / 3
        assert abs(payments[at] - mean) <= 6 * math.sqrt(mean), at
    first = sum(payments[:24]) / (kept * sum(orders[:24]))
    assert first == pytest.approx(1, abs=0.1), "the shops were open before the first hour"
    assert max(pay / order for pay, order in zip(payments, orders, strict=True)) > 2


def test_each_dimension_that_has_one_member_an_order_sums_to_the_market():
    for hour in hours_of(OPTIONS, weeks=1):
        rows = hour["rows"]
        for dimension in ("payment_method", "region", "channel"):
            parts = sum(row["orders"] for row in rows if row["dimension"] == dimension)
            assert parts == rows[0]["orders"]


def test_the_week_has_its_curve_and_nothing_planted():
    end_ms = NOW_MS // HOUR_MS * HOUR_MS
    week = replace(OPTIONS, season="week")
    planted = replace(week, outages=(Outage("PK", end_ms - 24 * HOUR_MS, end_ms),))
    assert hours_of(planted) == hours_of(week)
    orders = [hour["rows"][0]["orders"] for hour in hours_of(week)]
    assert max(orders) > 5 * min(orders)
    assert sum(orders) == pytest.approx(
        sum(hour["rows"][0]["orders"] for hour in hours_of(OPTIONS)), rel=0.01
    )


def test_the_same_options_give_the_same_records_and_others_another_name():
    def name(options):
        hours = Hours.before(NOW_MS, 1)
        return simulated_seeds(PROFILE, options, MARKETS, hours)["PK"].records[-1][0]

    assert hours_of(OPTIONS) == hours_of(OPTIONS)
    assert len({name(OPTIONS), name(replace(OPTIONS, seed=1))}) == 2


def test_hours_are_whole_and_follow_each_other():
    hours = Hours.before(NOW_MS, 3)
    starts = list(range(hours.start_ms, hours.end_ms, HOUR_MS))
    assert hours.end_ms <= NOW_MS < hours.end_ms + HOUR_MS
    assert len(starts) == 3 * 168
    assert all(start % HOUR_MS == 0 for start in starts)
    names = [hour["hour"] for hour in hours_of(OPTIONS, weeks=3)]
    assert len(names) == len(starts)
    assert all(one < two for one, two in pairwise(names))

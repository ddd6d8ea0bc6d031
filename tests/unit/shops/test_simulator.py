"""The simulated shops: valid events, Pakistan's marginals, and what is planted in them."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise
from statistics import median

import msgspec
import pytest

from streams.index.events import Rejected, decode_orders, decode_payments
from streams.index.instants import parse_instant
from streams.index.slugs import slug
from streams.settings import SettingsError, example
from streams.shops.simulate_market import Curve
from streams.shops.simulate_options import Planted, ShopOptions, parse_outage, parse_shift
from streams.shops.simulate_profile import load_profile
from streams.shops.simulate_run import Span, open_shops
from streams.shops.simulator import Shopfloor
from tests.support.methodologies import METHODOLOGY
from tests.support.reference import Rules, unknown_labels

PROFILE = load_profile()
NOON = 1_760_000_400_000  # 2025-10-09T09:00:00Z, a Thursday
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000


def shop(opened_ms=NOON, **options):
    return Shopfloor(PROFILE, ShopOptions(**{"season": "flat", "seed": 7} | options), opened_ms)


def decoded(events, topic):
    decode = decode_orders if topic == "orders" else decode_payments
    return decode([event.value for event in events if event.topic == topic])


@pytest.fixture(scope="module")
def hour():
    """An hour at 40 events a second: 144,000 events."""
    return shop(rate_per_s=40).events_between(NOON, NOON + HOUR)


@pytest.fixture(scope="module")
def old_shop():
    """Two hours of a shop whose hours are so short that cancels and refunds are all in them."""
    return shop(rate_per_s=10, lag_scale=0.002).events_between(NOON, NOON + 2 * HOUR)


@pytest.mark.deep
def test_every_event_keeps_the_contract(hour, old_shop):
    for events in (hour, old_shop):
        for topic in ("orders", "payments"):
            found = decoded(events, topic)
            assert found
            assert not [event for event in found if isinstance(event, Rejected)]
    for event in (*hour[:2_000], *old_shop[-2_000:]):
        record = msgspec.json.decode(event.value)
        assert event.key.decode() == record["order_id"]
        assert parse_instant(record["occurred_at"]) == event.timestamp_ms
        assert None not in record.values(), "what is not known is left out"


@pytest.mark.deep
def test_currencies_zones_and_labels_are_those_of_the_methodology(hour):
    for code, market in PROFILE.markets.items():
        assert METHODOLOGY.markets[code].currency == market.currency
        assert METHODOLOGY.markets[code].time_zone == market.time_zone
    said = defaultdict(set)
    for event in decoded(hour, "orders"):
        said[event.market, "category"].update(line.category for line in event.lines)
        said[event.market, "payment_method"].add(event.payment_method)
        said[event.market, "region"].add(event.region)
        said[event.market, "channel"].add(event.channel)
    rules = Rules.of(METHODOLOGY).markets
    unknown = set()
    for (market, dimension), texts in said.items():
        unknown |= unknown_labels(rules[market], dimension, texts)
    assert unknown <= {"marketingexpense", "financesettlement"}


@pytest.mark.deep
def test_methods_are_chosen_as_often_as_in_the_marginals(hour):
    chosen = Counter(event.payment_method for event in decoded(hour, "orders"))
    methods = PROFILE.payments.methods
    total = sum(method.count for method in methods.values())
    for name, method in methods.items():
        share = method.count / total
        assert chosen[name] / chosen.total() == pytest.approx(share, abs=0.005), name
    assert chosen["cod"] / chosen.total() == pytest.approx(0.46, abs=0.01)
    members = {METHODOLOGY.markets["PK"].method_aliases.get(slug(n), slug(n)) for n in chosen}
    assert members >= {"cod", "card", "wallet", "bank_transfer", "voucher", "bnpl"}


@pytest.mark.deep
def test_categories_sell_as_often_as_in_the_marginals(hour):
    lines = [line for event in decoded(hour, "orders") for line in event.lines]
    sold = Counter(line.category for line in lines)
    items = {name: category.items for name, category in PROFILE.categories.items()}
    for name, count in items.items():
        assert sold[name] / len(lines) == pytest.approx(count / sum(items.values()), abs=0.005)


@pytest.mark.deep
def test_prices_lie_around_the_median_of_their_category(hour):
    prices = defaultdict(list)
    for event in decoded(hour, "orders"):
        if event.market == "PK":
            for line in event.lines:
                prices[line.category].append(line.unit_price_minor)
    for name, category in PROFILE.categories.items():
        if len(prices[name]) > 500:
            assert median(prices[name]) / 100 == pytest.approx(category.median, rel=0.35), name


@pytest.mark.deep
def test_the_mean_rate_of_orders_and_payments_is_the_rate_asked_for(hour):
    at_once = [event for event in hour if event.timestamp_ms < NOON + HOUR // 2]
    assert len(at_once) / 1_800 == pytest.approx(40, rel=0.02)


@pytest.mark.deep
def test_a_week_has_the_mean_rate():
    for market in PROFILE.markets.values():
        curve = Curve.of(PROFILE.shape, market.time_zone, "week")
        minutes = [curve.at(NOON + minute * MINUTE) for minute in range(7 * 1_440)]
        assert sum(minutes) / len(minutes) == pytest.approx(1, rel=1e-6)
        steps = [abs(a - b) for a, b in pairwise(minutes)]
        assert max(steps) < 0.01, "nothing jumps on the hour"


@pytest.mark.deep
def test_demand_follows_the_local_hour():
    events = shop(rate_per_s=0.5, season="week", markets=("PK",)).events_between(NOON, NOON + DAY)
    # Karachi is UTC+5: 04:00 there is 23:00 UTC, 21:00 there is 16:00 UTC.
    by_hour = Counter(event.timestamp_ms // HOUR % 24 for event in events)
    assert by_hour[16] > 5 * by_hour[23] > 0


@pytest.mark.deep
def test_november_is_five_times_a_median_month():
    november = 1_762_000_000_000  # 2025-11-01T12:26:40Z
    asked = {"rate_per_s": 5, "season": "year", "opened_ms": november}
    events = shop(**asked).events_between(november, november + HOUR)
    week = shop(**asked | {"season": "week"}).events_between(november, november + HOUR)
    assert len(events) / len(week) == pytest.approx(5.5, rel=0.05)


@pytest.mark.deep
def test_orders_end_as_often_cancelled_and_refunded_as_in_the_marginals(old_shop):
    types = Counter()
    placed = {}
    for event in decoded(old_shop, "orders"):
        types[event.type] += 1
        if event.type == "order.placed":
            placed[event.order_id] = event
        else:
            original = placed[event.order_id]
            assert event.lines == original.lines
            assert event.placed_at == original.occurred_at
            assert parse_instant(event.occurred_at) > parse_instant(event.placed_at)
    # The last half hour's orders have their end before them.
    assert types["order.cancelled"] / types["order.placed"] == pytest.approx(0.344, abs=0.03)
    assert types["order.refunded"] / types["order.placed"] == pytest.approx(0.115, abs=0.05)


@pytest.mark.deep
def test_money_moves_at_most_once_and_only_for_its_order(old_shop):
    amounts = {
        event.order_id: sum(line.quantity * line.unit_price_minor for line in event.lines)
        for event in decoded(old_shop, "orders")
    }
    captured, cod_types = Counter(), Counter()
    for event in decoded(old_shop, "payments"):
        assert event.amount_minor == amounts[event.order_id]
        if event.type == "payment.captured":
            captured[event.order_id] += 1
        elif event.type == "payment.refunded":
            assert captured[event.order_id] == 1, "refunded before it was captured"
        if event.method in ("cod", "cashatdoorstep"):
            cod_types[event.type] += 1
    assert max(captured.values()) == 1
    assert cod_types["payment.captured"] > 0
    assert cod_types["payment.failed"] == 0


def test_cash_on_delivery_of_earlier_orders_comes_in_from_the_first_minute():
    """A second simulation on an index paged every market: its cash on delivery had stopped."""
    options = ShopOptions(rate_per_s=20, season="flat", seed=7)
    floor = open_shops(PROFILE, options, Span(NOON))
    records = [
        msgspec.json.decode(each.value) for each in floor.events_between(NOON, NOON + 10 * MINUTE)
    ]
    placed = sum(
        each["type"] == "order.placed" and each["payment_method"] == "cod" for each in records
    )
    paid = sum(each["type"] == "payment.captured" and each["method"] == "cod" for each in records)
    assert paid / placed == pytest.approx(1 - PROFILE.outcomes.cancelled, abs=0.05)


@pytest.mark.deep
def test_cash_on_delivery_is_captured_only_when_delivered(hour):
    methods = {event.method for event in decoded(hour, "payments")}
    assert "cod" not in methods, "nothing is delivered within an hour"


@pytest.mark.deep
def test_failed_payments_have_the_share_asked_for(hour):
    kinds = Counter(event.type for event in decoded(hour, "payments"))
    assert kinds["payment.failed"] / kinds.total() == pytest.approx(0.04, abs=0.005)


@pytest.mark.deep
def test_ids_are_unique_and_differ_between_simulations(hour):
    ids = [msgspec.json.decode(event.value)["event_id"] for event in hour]
    assert len(set(ids)) == len(ids)
    for other in (shop(rate_per_s=40, seed=8), shop(rate_per_s=41)):
        others = other.events_between(NOON, NOON + MINUTE)
        assert not {e.key for e in others} & {e.key for e in hour}


def test_a_whole_number_and_its_float_are_the_same_simulation():
    one, other = shop(rate_per_s=40), shop(rate_per_s=40.0)
    assert one.events_between(NOON, NOON + 500) == other.events_between(NOON, NOON + 500)


@pytest.mark.deep
def test_duplicates_are_the_same_bytes_within_half_a_minute():
    events = shop(rate_per_s=40, duplicates=0.1).events_between(NOON, NOON + 20 * MINUTE)
    seen = defaultdict(list)
    for event in events:
        seen[event.value].append(event.timestamp_ms)
    twice = [times for times in seen.values() if len(times) == 2]
    assert len(twice) / len(seen) == pytest.approx(0.1, abs=0.01)
    assert all(0 < later - first <= 30_000 for first, later in twice)


def test_events_out_of_order_come_late_but_within_the_grace():
    events = shop(rate_per_s=40, out_of_order=0.2, out_of_order_max_s=15).events_between(
        NOON, NOON + 10 * MINUTE
    )
    late = []
    for event in events:
        occurred = parse_instant(msgspec.json.decode(event.value)["occurred_at"])
        assert 0 <= event.timestamp_ms - occurred < 15_000
        late.append(event.timestamp_ms > occurred)
    assert sum(late) / len(late) == pytest.approx(0.2, abs=0.02)
    assert [e.timestamp_ms for e in events] == sorted(e.timestamp_ms for e in events)


@pytest.mark.deep
def test_a_shift_moves_its_category_and_nothing_else():
    start = NOON + 10 * MINUTE
    shift = parse_shift("PK:mobiles_tablets:3:600:1200", NOON)
    assert (shift.start_ms, shift.end_ms) == (start, start + 20 * MINUTE)

    def sold(planted):
        events = shop(rate_per_s=60, markets=("PK", "BD"), shifts=planted).events_between(
            NOON, NOON + 40 * MINUTE
        )
        counts = Counter()
        for event in decoded(events, "orders"):
            at = parse_instant(event.occurred_at)
            phase = "before" if at < start else "in" if at < shift.end_ms else "after"
            for line in event.lines:
                which = "it" if line.category == "Mobiles & Tablets" else "others"
                counts[event.market, phase, which] += 1
        return counts

    without, with_shift = sold(()), sold((shift,))
    for key, count in without.items():
        factor = 3 if key == ("PK", "in", "it") else 1
        assert with_shift[key] / count == pytest.approx(factor, rel=0.1), key


def test_a_planted_shift_leaves_what_was_before_as_it_was():
    def amounts(planted):
        floor = shop(rate_per_s=20, markets=("PK",), shifts=planted)
        events = floor.events_between(NOON, NOON + 5 * MINUTE - floor.block_ms)
        return [event.amount_minor for event in decoded(events, "payments")]

    assert amounts((parse_shift("PK:books:5:300", NOON),)) == amounts(())


def test_an_outage_silences_its_market_and_no_other():
    outage = parse_outage("PK:60:120", NOON)
    events = shop(rate_per_s=60, outages=(outage,)).events_between(NOON, NOON + 5 * MINUTE)
    silent = {
        (msgspec.json.decode(event.value)["market"], event.timestamp_ms // MINUTE)
        for event in events
    }
    quiet = {NOON // MINUTE + 1, NOON // MINUTE + 2}
    assert {minute for market, minute in silent if market == "PK"}.isdisjoint(quiet)
    assert {minute for market, minute in silent if market == "BD"} >= quiet


@pytest.mark.deep
def test_nothing_is_older_than_the_opening():
    floor = shop(rate_per_s=5, lag_scale=0.002, opened_ms=NOON + 12_345)
    assert floor.events_between(NOON, NOON + 12_345) == []
    events = floor.events_between(NOON, NOON + HOUR)
    for event in (*decoded(events, "orders"), *decoded(events, "payments")):
        assert parse_instant(event.placed_at or event.occurred_at) >= NOON + 12_345


def test_only_the_markets_asked_for_share_the_whole_rate():
    events = shop(rate_per_s=40, markets=("NP", "MM")).events_between(NOON, NOON + 10 * MINUTE)
    assert {msgspec.json.decode(event.value)["market"] for event in events} == {"NP", "MM"}
    assert len(events) / 600 == pytest.approx(40, rel=0.05)


@pytest.mark.parametrize(
    ("options", "setting"),
    [
        ({"rate_per_s": 0}, "--rate"),
        ({"rate_per_s": float("nan")}, "--rate"),
        ({"markets": ("XX",)}, "--markets"),
        ({"duplicates": 1.5}, "--duplicates"),
        ({"out_of_order_max_s": 61}, "--out-of-order-max"),
        ({"lag_scale": 0}, "--lag-scale"),
        ({"shifts": (parse_shift("PK:moon:2:0", 0),)}, "--shift"),
        ({"markets": ("BD",), "outages": (parse_outage("PK:0:5", 0),)}, "--shift, --outage"),
    ],
)
def test_wrong_options_are_named(options, setting):
    with pytest.raises(SettingsError) as caught:
        shop(**options)
    assert [problem.setting for problem in caught.value.problems] == [setting]


@pytest.mark.parametrize(
    "text",
    [
        *("PK", "PK:a:x:1", "PK:a:-1:1", "PK:a:2:1:nan", "PK:a:2:1:2:3"),
        *(
            "PK:a:2:1:0",
            "PK:a:2:1:0.0004",
            "PK:a:1:1",
            "PK:a:1.0:1:60",
            "PK:a:x0:1",
            "PK:a:1e300:1",
        ),
    ],
)
def test_a_malformed_shift_and_one_that_plants_nothing_are_named(text):
    with pytest.raises(SettingsError, match=r"market:category:factor:after_s.* and not 1"):
        parse_shift(text, NOON)


def test_a_factor_of_0_stops_a_category_or_its_market():
    for category, left in (("books", True), ("all", False)):
        shift = parse_shift(f"PK:{category}:0:0", NOON)
        found = shop(rate_per_s=20, markets=("PK",), shifts=(shift,))
        orders = decoded(found.events_between(NOON, NOON + 10 * MINUTE), "orders")
        placed = [line.category for event in orders if event.lines for line in event.lines]
        assert bool(placed) is left
        assert "Books" not in placed


def test_what_would_be_planted_after_the_end_is_refused_before_anything_is_sent():
    planted = Planted(("PK:books:6:300:60",), ("BD:299:5", "BD:300:5"))
    with pytest.raises(SettingsError, match=r"after_s below 300 \(--for\)") as caught:
        planted.into(ShopOptions(), NOON, 300_000)
    found = [(problem.setting, problem.found) for problem in caught.value.problems]
    assert found == [("--shift", "'PK:books:6:300:60'"), ("--outage", "'BD:300:5'")]
    options = planted.into(ShopOptions(), NOON, None)
    assert (len(options.shifts), len(options.outages)) == (1, 2)


@pytest.mark.parametrize("text", ["PK", "PK:1", "PK:1:0", "PK:1:0.0004", "PK:-1:5", "PK:1:inf"])
def test_a_malformed_outage_is_named(text):
    with pytest.raises(SettingsError, match="market:after_s:duration_s"):
        parse_outage(text, NOON)


@pytest.mark.parametrize(
    "change",
    [
        ("cancelled = 0.3443", "cancelled = 0.95"),
        ("weight = 0.40", "weight = 0"),
        ("skus_per_category = 400", "skus = 400"),
        ("on_delivery = true", "on_delivery = false"),
        ("hours = [", "hours = [ 1,"),
    ],
)
def test_a_profile_that_makes_no_sense_is_refused(tmp_path, change):
    path = tmp_path / "simulator.toml"
    path.write_text(example("demo", "simulator.toml").read_text().replace(*change))
    with pytest.raises(SettingsError):
        load_profile(path)

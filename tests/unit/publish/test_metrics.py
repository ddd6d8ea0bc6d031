"""A scrape shows only series that have a value and are owned, and never more than the limits."""

from __future__ import annotations

import re
from itertools import chain

import msgspec
import pytest
from prometheus_client import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families
from support.publications import (
    AS_OF_MS,
    incident,
    incident_shift,
    market_values,
    others_of_day,
    publication,
    status,
    value,
)

from streams.flow.admission import DAY_ONLY, OUTCOMES
from streams.index import shift_series
from streams.index.methodology import parse
from streams.index.page_budget import PageCount
from streams.index.partials import Layout
from streams.index.values import WINDOWS_MS
from streams.publish import index_collector
from streams.publish.index_collector import MEMBERS_MAX, IndexCollector
from streams.publish.metric_table import ALL, BY_NAME, INDEX, PROCESS, Kind
from streams.publish.metrics import Metrics
from tests.support.methodologies import DEMO, OLIST, ONLINE_RETAIL


@pytest.fixture
def metrics():
    return make_metrics()


def make_metrics(**limits):
    return Metrics(
        markets=["PK", "BD"],
        version="0.1.0",
        edition=1,
        methodology="0123456789abcdef",
        index=IndexCollector(**limits),
    )


def scrape(metrics):
    """{name: {labels as a frozenset: value}} of a scrape in the plain text format."""
    text = generate_latest(metrics.registry).decode()
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            series = found.setdefault(sample.name.removeprefix("ecindex_"), {})
            labels = frozenset(sample.labels.items())
            assert labels not in series, "a series is there once"
            series[labels] = sample.value
    return found


def of(found, name, **labels):
    return found.get(name, {}).get(frozenset(labels.items()))


def test_the_first_late_orders_are_an_increase():
    """Prometheus sees none in a series whose first sample holds them already: nobody was told."""
    made = make_metrics()
    made.begin_events("orders")
    found = scrape(made)
    for outcome in OUTCOMES:
        assert of(found, "events_total", topic="orders", outcome=outcome) == 0
    assert {DAY_ONLY, "too_late", "day_closed"} <= set(OUTCOMES)


def test_each_index_becomes_its_series(metrics):
    metrics.index.show(
        publication(
            [
                value("orders", number=3),
                value("sales", number=450, window="5m", unit="minor"),
                value("category_share_by_orders", number=0.25, unit="ratio"),
                value("category_share_by_sales", number=0.5, unit="ratio"),
                value("payment_share_by_count", "payment_method", "cod", number=0.1),
                value("payment_share_by_amount", "payment_method", "cod", number=0.2),
                value("payment_chosen_share", "payment_method", "cod", number=0.3),
                value("payment_failure_ratio", "payment_method", "cod", number=0.4),
                value("orders", "market", "all", "24h", 30),
                value("sales", "market", "all", "1h", 4500),
                value("payments", "market", "all", "1m", 7),
            ]
        )
    )
    found = scrape(metrics)
    category = {"market": "PK", "category": "books", "window": "1m"}
    method = {"market": "PK", "method": "cod", "window": "1m"}
    assert of(found, "orders", **category) == 3
    assert of(found, "sales_minor", market="PK", category="books", window="5m") == 450
    assert of(found, "category_share_ratio", **category, by="orders") == 0.25
    assert of(found, "category_share_ratio", **category, by="sales") == 0.5
    assert of(found, "payment_share_ratio", **method, by="count") == 0.1
    assert of(found, "payment_share_ratio", **method, by="amount") == 0.2
    assert of(found, "payment_share_ratio", **method, by="chosen") == 0.3
    assert of(found, "payment_failure_ratio", **method) == 0.4
    assert of(found, "market_orders", market="PK", window="24h") == 30
    assert of(found, "market_sales_minor", market="PK", window="1h") == 4500
    assert of(found, "market_payments", market="PK", window="1m") == 7
    assert of(found, "index_as_of_timestamp_seconds", market="PK") == AS_OF_MS / 1000


def measured(index, dimension, member, window, number=120):
    """A value against its expectation of 100, of which 80 to 121 are usual."""
    shown = value(index, dimension, member, window, number)
    return msgspec.structs.replace(shown, expected=100.0, lower=80.0, upper=121.0)


def test_the_band_and_the_expectation_are_those_that_are_published(metrics):
    metrics.index.show(
        publication(
            [
                measured("demand_index_orders", "market", "all", "1h"),
                measured("demand_index_sales", "market", "all", "5m"),
                measured("demand_index_orders", "category", "books", "5m"),
                measured("demand_index_orders", "category", "books", "1h"),
            ]
        )
    )
    found = scrape(metrics)
    of_hour, of_minutes = {"market": "PK", "window": "1h"}, {"market": "PK", "window": "5m"}
    assert of(found, "market_orders_band", **of_hour, bound="lower") == 80
    assert of(found, "market_orders_band", **of_hour, bound="upper") == 121
    assert of(found, "market_sales_expected_minor", **of_minutes) == 100
    assert of(found, "market_sales_band_minor", **of_minutes, bound="upper") == 121
    assert of(found, "orders_band", **of_minutes, category="books", bound="lower") == 80
    assert len(found["orders_band"]) == 2, "of a member only in one window"
    assert len(found["orders_expected"]) == 2


def test_what_is_not_known_has_no_band(metrics):
    metrics.index.show(publication([value("demand_index_orders", "market", "all", "5m", 100)]))
    assert "market_orders_band" not in scrape(metrics)


def test_regions_are_exported_as_categories_are(metrics):
    metrics.index.show(
        publication(
            [
                value("orders", "region", "sindh", "5m", 7),
                measured("demand_index_orders", "region", "sindh", "5m"),
            ]
        )
    )
    found = scrape(metrics)
    labels = {"market": "PK", "region": "sindh", "window": "5m"}
    assert of(found, "region_orders", **labels) == 7
    assert of(found, "region_demand_index", **labels) == 120
    assert of(found, "region_orders_expected", **labels) == 100


def test_currencies_and_links_are_there_before_any_value():
    made = Metrics(
        markets=["PK", "JP"],
        version="0.1.0",
        edition=1,
        methodology="0123456789abcdef",
        currencies={"PK": "PKR", "JP": "JPY"},
        links={"board": "http://127.0.0.1:8080", "runbook": ""},
    )
    found = scrape(made)
    assert of(found, "currency_minor_units", market="PK", currency="PKR") == 100
    assert of(found, "currency_minor_units", market="JP", currency="JPY") == 1
    assert of(found, "links_info", board="http://127.0.0.1:8080", grafana="", runbook="") == 1


@pytest.mark.parametrize(
    ("number", "status"), [(None, "filling"), (None, "no_data"), (4, "warming"), (None, "ok")]
)
def test_what_is_not_ok_is_absent_not_zero(metrics, number, status):
    metrics.index.show(publication([value(number=number, status=status, n=0)]))
    assert "orders" not in scrape(metrics)


def test_a_zero_is_a_zero(metrics):
    metrics.index.show(publication([value("orders", "market", "all", "1m", 0)]))
    assert of(scrape(metrics), "market_orders", market="PK", window="1m") == 0


def test_no_all_is_summed_with_members(metrics):
    metrics.index.show(publication([value(member="all"), value(dimension="market")]))
    assert "orders" not in scrape(metrics)
    assert "market_orders" not in scrape(metrics)


def test_a_lost_market_is_gone_from_the_next_scrape(metrics):
    for market in ("PK", "BD"):
        metrics.index.show(publication(market=market))
        metrics.snapshot_left_out.labels(market).set(1)
    assert any(("market", "PK") in labels for labels in scrape(metrics)["orders"])
    metrics.drop_market("PK")
    left = {
        name
        for name, series in scrape(metrics).items()
        for labels in series
        if ("market", "PK") in labels
    }
    assert left == {"market_info"}
    assert scrape(metrics)["orders"]


def test_a_lost_partition_is_gone_from_the_next_scrape(metrics):
    for gauge in (metrics.consumer_lag, metrics.watermark, metrics.partition_halted):
        for partition in ("0", "1"):
            gauge.labels("orders", partition).set(1)
    metrics.drop_partition("orders", 0)
    metrics.drop_partition("orders", 7)  # one that never had a gauge
    found = scrape(metrics)
    for name in ("consumer_lag_records", "watermark_timestamp_seconds", "partition_halted"):
        assert [dict(labels)["partition"] for labels in found[name]] == ["1"]


def test_the_largest_members_are_exported_and_the_rest_counted(metrics):
    metrics.index.show(
        publication([value(member=f"c{size:02}", number=size) for size in range(45)])
    )
    found = scrape(metrics)
    assert {dict(labels)["category"] for labels in found["orders"]} == {
        f"c{size:02}" for size in range(5, 45)
    }
    assert found["series_dropped_total"] == {frozenset(): 5}
    assert scrape(metrics)["series_dropped_total"] == {frozenset(): 5}


def test_members_of_like_size_do_not_take_turns():
    metrics = make_metrics(members_max=1)

    def shown(**sizes):
        metrics.index.show(publication([value(member=m, number=n) for m, n in sizes.items()]))
        return [dict(labels)["category"] for labels in scrape(metrics)["orders"]]

    assert shown(a=100, b=99) == ["a"]
    assert shown(a=100, b=105) == ["a"]
    assert shown(a=100, b=111) == ["b"]
    assert shown(a=111, b=111) == ["b"]


def test_one_worker_that_owns_all_markets_of_the_examples_has_room_for_them():
    """An index of one worker, or the last one left: its dashboards must not lose members."""
    collector = IndexCollector()
    shipped = [parse(path.read_text()).markets for path in (DEMO, OLIST, ONLINE_RETAIL)]
    for market in chain.from_iterable(markets.values() for markets in shipped):
        members = {
            "market": ("all",),
            "category": market.categories,
            "region": market.regions,
            "channel": market.channels,
            "payment_method": market.methods,
        }
        values = [
            msgspec.structs.replace(
                value(index, dimension, member, window, market=market.code),
                expected=1.0,
                lower=0.0,
                upper=2.0,
            )
            for index, dimension in index_collector._EXPORTS
            for member in members[dimension][:MEMBERS_MAX]
            for window in WINDOWS_MS
        ]
        watched = [
            status(series.dimension, series.member)
            for series in shift_series.watched(Layout(market))
            if series.member in members.get(series.dimension, market.methods)[:MEMBERS_MAX]
        ]
        shown = publication(values=values, market=market.code, watched=watched)
        collector.show(shown)
    families = {family.name: family.samples for family in collector.collect()}
    (dropped,) = families["ecindex_series_dropped"]
    assert dropped.value == 0
    assert len(families["ecindex_region_orders"]) == 4 * 112, "four windows of every region"


def test_a_worker_exports_no_more_than_its_limit():
    metrics = make_metrics(series_max=60)
    for market in ("PK", "BD"):
        metrics.index.show(
            publication(market_values(market, [f"c{p}" for p in range(30)]), market=market)
        )
    found = scrape(metrics)
    names = {spec.name for spec in INDEX if not spec.name.endswith("as_of_timestamp_seconds")}
    assert sum(len(series) for name, series in found.items() if name in names) == 60
    assert len(found["market_orders"]) == 8, "the markets' own series come first"
    assert scrape(metrics)["series_dropped_total"][frozenset()] > 0


def test_watched_series_show_direction_evidence_and_warming(metrics):
    watched = [
        status("market", "all", evidence=0.2)._replace(restless=True),
        status(evidence=0.0, direction=-1),
        status("payment_failure", "cod", warming=True),
    ]
    shown = incident(incident_shift("category", "books"))
    metrics.index.show(publication([value()], watched=watched, incidents=[shown]))
    found = scrape(metrics)

    def series(name):
        return {
            (dict(labels)["dimension"], dict(labels)["member"]): number
            for labels, number in found[name].items()
        }

    total, books, failures = ("market", "all"), ("category", "books"), ("payment_failure", "cod")
    assert series("demand_shift_direction") == {total: 0, books: -1, failures: 0}
    assert series("demand_shift_evidence_ratio") == {total: 0.2, books: 2.5, failures: 0}
    # of the active one what it was found on: the page has dropped the detector's own
    assert series("detector_warming") == {total: 0, books: 0, failures: 1}
    assert series("detector_restless") == {total: 1, books: 0, failures: 0}
    began = AS_OF_MS // 60_000 * 60 - 600
    assert series("demand_shift_start_timestamp_seconds") == {books: began}
    ((labels, one),) = found["demand_shift_incident_info"].items()
    assert (dict(labels)["member"], dict(labels)["incident"], one) == ("books", shown.id, 1)


def test_what_other_is_made_of_is_exported_of_the_newest_day(metrics):
    hostile = 'a"b\\c\nd{e="f"} \u05d2\u05e0\u05df <b>' + "\u0985" * 20
    labels = [(hostile, 9), *((f"label {number}", 8 - number) for number in range(7))]
    today = others_of_day(*labels, more=3)
    by_payments = others_of_day(("crypto", 5), dimension="payment_method", counted="payments")
    today.dimensions.extend(by_payments.dimensions)
    metrics.index.show(publication([], others=[today, others_of_day(("old", 1), day=19_999)]))
    found = scrape(metrics)
    of = {"market": "PK", "dimension": "category"}
    assert found["local_day_orders"] == {frozenset({("market", "PK")}): 1_000}
    assert found["other_orders"] == {frozenset(of.items()): 44}
    assert found["more_orders"] == {frozenset(of.items()): 3}
    shown = {
        dict(labels)["label"]: number for labels, number in found["undeclared_label_orders"].items()
    }
    assert shown == {hostile: 9, "label 0": 8, "label 1": 7, "label 2": 6, "label 3": 5}
    metrics.index.show(publication([]))
    assert "other_orders" not in scrape(metrics)


def test_a_member_that_pages_is_there_with_its_numbers_however_small_it_is():
    metrics = make_metrics(members_max=1)
    values = [value(member="large", number=100), value(member="books", number=1)]
    metrics.index.show(publication(values, watched=[status(evidence=0.2)]))
    assert {dict(labels)["category"] for labels in scrape(metrics)["orders"]} == {"large"}
    metrics.index.show(publication(values, watched=[status(direction=-1)]))
    found = scrape(metrics)
    assert {dict(labels)["category"] for labels in found["orders"]} == {"large", "books"}
    assert len(found["demand_shift_direction"]) == 1
    metrics.index.show(publication(values, watched=[status(evidence=0.2)]))
    assert {dict(labels)["category"] for labels in scrape(metrics)["orders"]} == {"large"}


def test_every_declared_metric_is_exported_and_every_exported_one_declared(metrics):
    exported = {
        family.name + ("_total" if family.type == "counter" else ""): family
        for family in metrics.registry.collect()
    }
    for standard in PROCESS:
        assert exported.pop(standard)
    declared = {spec.full_name: spec for spec in ALL}
    assert set(exported) == set(declared)
    for name, family in exported.items():
        assert family.documentation == declared[name].help
        assert family.type == declared[name].kind


def test_the_service_metrics_of_the_contract_are_there(metrics):
    metrics.events.labels("orders", "accepted").inc(3)
    metrics.dead_letters.labels("schema").inc()
    metrics.event_to_publish.observe(2.4)
    found = scrape(metrics)
    assert of(found, "events_total", topic="orders", outcome="accepted") == 3
    assert of(found, "dead_letters_total", reason="schema") == 1
    assert of(found, "event_to_publish_seconds_bucket", le="2.5") == 1
    assert of(found, "publish_failures_total", sink="redis") == 0
    assert of(found, "market_info", market="BD") == 1
    assert of(found, "build_info", version="0.1.0", edition="1", methodology="0123456789ab") == 1


def test_two_workers_in_one_process_do_not_share_metrics():
    one, other = make_metrics(), make_metrics()
    one.rebalances.inc()
    assert other.registry.get_sample_value("ecindex_rebalances_total") == 0


def test_metric_names_say_what_they_are():
    assert len(BY_NAME) == len(ALL)
    for spec in ALL:
        assert re.fullmatch(r"[a-z][a-z_]*[a-z]", spec.name)
        assert spec.name.endswith("_total") == (spec.kind is Kind.COUNTER)
        assert bool(spec.buckets) == (spec.kind is Kind.HISTOGRAM)
        assert list(spec.buckets) == sorted(set(spec.buckets))
        assert spec.help.endswith(".") or ".." in spec.help


def test_the_scrape_is_valid_openmetrics(metrics):
    metrics.index.show(publication(market_values("PK", ["books", "toys"])))
    text = generate_openmetrics(metrics.registry).decode()
    names = {family.name for family in parse_openmetrics(text)}
    assert "ecindex_category_share_ratio" in names
    assert "_created" not in text


def test_pages_stand_beside_their_budget(metrics):
    month = PageCount(30, 12.5, 4, 1, 2, 1, 0.42, 0.24, 8.77)
    metrics.index.show(publication(pages=[month]))
    found = {
        (name, *labels.values()): metrics.registry.get_sample_value(
            f"ecindex_{name}", {"market": "PK", "days": "30"} | labels
        )
        for name, labels in (
            ("shift_pages", {"word": "confirmed"}),
            ("shift_pages", {"word": "false"}),
            ("shift_pages", {"word": "open"}),
            ("shift_false_pages_budget", {}),
            ("shift_false_pages_limit", {"bound": "lower"}),
            ("shift_false_pages_limit", {"bound": "upper"}),
        )
    }
    assert list(found.values()) == [1, 2, 1, 0.42, 0.24, 8.77]

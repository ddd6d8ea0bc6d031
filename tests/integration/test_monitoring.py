"""A real Prometheus and Alertmanager over real workers: queries, rules, notifications, the end."""

from __future__ import annotations

import json
import re
import signal
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.command import Command, until
from support.methodologies import EXAMPLES
from support.monitored import monitored
from support.operator_files import annotations, panels, rules, variables
from support.promql import metric_names, underlying

from streams.clock import now_ms
from streams.index.panes import rfc3339
from streams.notify.chart_data import ChartReader
from streams.notify.composing import Lasting
from streams.notify.picture import draw
from streams.publish.metric_table import ALL, PROCESS

pytestmark = [pytest.mark.stack, pytest.mark.deep, pytest.mark.slow]

CHOSEN = {
    "$market": "PK",
    "$window": "5m",
    "$category": "mobiles_tablets",
    "$instance": ".+",
    "$currency": "PKR",
    "$runbook": "https://wiki.example/runbook.md",
    "$__rate_interval": "1m",
    "$__range": "10m",
}
SERIES_MAX = 40
"""A panel with more series than this cannot be read."""
HISTORY_S = 2_100
"""Shoppers are counted in windows of an hour and a day: half of the hour must be there."""
OF_THE_HISTORY = {"EcindexRevisedAfterFinal"}
"""The workers read along while the shops' history comes, stamped by the producer: that does revise."""

LAST_MINUTE_IS_FULL = (
    'max(ecindex_market_orders{market="$market",window="1m"}) * 5'
    ' > 0.7 * max(ecindex_market_orders{market="$market",window="5m"}) > 0'
)
EXPECTED = [
    f'{name}:max{{market="$market",window="5m"}}'
    for name in (
        "market_window:ecindex_market_orders_expected",
        "market_category_window:ecindex_orders_expected",
        "market_category_window:ecindex_demand_index",
        "market_region_window:ecindex_region_demand_index",
        "market_category_window_by:ecindex_category_share_ratio",
        "market_method_window_by:ecindex_payment_share_ratio",
    )
]
"""Recorded series that exist one scrape and evaluation after the first. Shares need an order in the last
5 minutes: on a busy machine the shops' first live ones come late."""


def tell_alertmanager(where, *alerts):
    now = rfc3339(now_ms())
    body = json.dumps([{"labels": labels, "startsAt": now} for labels in alerts]).encode()
    request = urllib.request.Request(
        f"{where['alertmanager']}/api/v2/alerts", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 200


def alert(name, market, **labels):
    return {"alertname": name, "market": market, "severity": "page", **labels}


STOP, JUMP, DROP = "XA-20261124T1002-down", "XB-20261124T1003-up", "XB-20261124T1155-down"
OF_ONE_CAUSE = (
    alert("EcindexMarketOutage", "XA", dimension="market", member="all", incident=STOP),
    alert("EcindexMarketShift", "XA", dimension="market", member="all", incident=STOP),
    alert("EcindexDemandShift", "XA", dimension="category", member="books", incident=STOP),
    alert("EcindexDemandShift", "XA", dimension="region", member="sindh", incident=STOP),
    alert(
        "EcindexPaymentMethodCollapsed",
        "XA",
        dimension="payment_method",
        member="cod",
        incident=STOP,
    ),
)
OF_TWO_OTHERS = (
    alert("EcindexDemandShift", "XB", dimension="category", member="books", incident=JUMP),
    alert("EcindexDemandShift", "XB", dimension="region", member="sindh", incident=JUMP),
    alert("EcindexDemandShift", "XB", dimension="category", member="toys", incident=DROP),
)


@pytest.fixture(scope="module")
def watched(tmp_path_factory, cache_dir):
    """A monitored index with shops that send."""
    runbook = {"ECINDEX_LINKS__RUNBOOK": CHOSEN["$runbook"]}
    with monitored(tmp_path_factory.mktemp("watched"), cache_dir, runbook) as found:
        # First, because Alertmanager waits for what belongs together before it tells.
        tell_alertmanager(found.where, *OF_ONE_CAUSE, *OF_TWO_OTHERS)
        # A category that no methodology has: what is undeclared has series, too.
        profile = found.directory / "simulator.toml"
        text = (EXAMPLES / "demo/simulator.toml").read_text()
        profile.write_text(text.replace('"Other" = ', '"Garden gnomes" = '))
        shops = ("--rate", "40", "--season", "flat", "--lag-scale", "0.001", "--profile", profile)
        with Command("simulate", *found.config, *shops, "--backfill", HISTORY_S) as simulator:
            # Two scrapes of everything: then rates have a value, too.
            until(
                lambda: (
                    found.prometheus.query(
                        chosen('ecindex_orders{market="$market",window="$window"}')
                    )
                    and found.prometheus.query("topic_outcome:ecindex_events:rate1m > 0")
                    and found.prometheus.query("count(process_resident_memory_bytes) == 2")
                )
            )
            # Only now: minutes that come after they were final would be shifts, were they expected. On a
            # busy machine the last minutes of the history were read a while after those before: until
            # then the last minute was empty, which pages as the outage that it looks like.
            until(lambda: found.prometheus.query(chosen(LAST_MINUTE_IS_FULL)))
            seed = ("--seed-history", 6, "--for", "1s", "--json")
            with Command("simulate", *found.config, *shops, *seed) as seeding:
                code, _, err = seeding.finish()
                assert code == 0, err
            until(lambda: all(found.prometheus.query(chosen(each)) for each in EXPECTED))
            yield found
            simulator.end(signal.SIGTERM)


OF_ACTIVE_SHIFTS = {
    "ecindex_demand_shift_start_timestamp_seconds",
    "ecindex_demand_shift_incident_info",
}


OF_STOPS = {"market:ecindex_market_demand_index:stopped_at"}
"""Recorded where a market has stopped within the hour."""


def chosen(expr):
    for name, value in CHOSEN.items():
        expr = expr.replace(name, value)
    return expr


def may_be_empty(expr):
    """Shifts are shown where there is one, messages where somebody is told, doors where one is."""
    shown = {underlying(name) for name in metric_names(expr)}
    if any(re.match("ecindex_(notify|door|source)_", name) for name in shown):
        return True
    if "ecindex-notify" in expr:
        return True
    if shown & OF_ACTIVE_SHIFTS:
        return "vector(0)" not in expr
    return "ecindex_demand_shift_direction" in shown and re.search("[<>] 0", expr)


def test_an_incident_is_one_notification_whatever_its_members_do(watched):
    until(lambda: watched.pager.of(market="XA") and len(watched.pager.of(market="XB")) == 2)
    (outage,) = watched.pager.of(market="XA")
    assert [a["labels"]["alertname"] for a in outage["alerts"]] == ["EcindexMarketOutage"]
    assert outage["receiver"] == "page"
    assert {
        each["groupLabels"]["incident"]: sorted(a["labels"]["member"] for a in each["alerts"])
        for each in watched.pager.of(market="XB")
    } == {JUMP: ["books", "sindh"], DROP: ["toys"]}


def test_what_is_declared_is_exported_and_nothing_else(watched):
    types, sampled = {}, set()
    for url in watched.where["metrics"]:
        with urllib.request.urlopen(url, timeout=30) as answer:
            for family in text_string_to_metric_families(answer.read().decode()):
                name = family.name + ("_total" if family.type == "counter" else "")
                types[name] = family.type
                if family.samples:
                    sampled.add(name)
    declared = {spec.full_name: spec.kind for spec in ALL}
    assert set(types) - set(PROCESS) <= set(declared)
    assert set(declared) - sampled <= OF_ACTIVE_SHIFTS
    assert all(types[name] == declared[name] for name in declared if name in types)
    assert set(PROCESS) <= set(types)


def test_every_query_of_every_panel_has_data(watched):
    now = now_ms() / 1000
    empty, texts = [], {}
    for title, target in panels():
        expr, legend = chosen(target["expr"]), target["legendFormat"]
        if target.get("range"):
            found = watched.prometheus.get(
                "query_range", query=expr, start=now - 600, end=now, step=5
            )["result"]
        else:
            found = watched.prometheus.query(expr)
        if not found and not may_be_empty(expr):
            empty.append((title, expr))
        for series in found:  # a legend names labels that the series have
            named = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            assert named <= set(series["metric"]), title
            texts.setdefault(title.rpartition(" ")[0], []).append(
                re.sub(r"{{(\w+)}}", lambda label: series["metric"][label[1]], legend)  # noqa: B023
            )
    assert empty == []
    assert {title for title, shown in texts.items() if len(set(shown)) < len(shown)} == set()
    assert max(map(len, texts.values())) <= SERIES_MAX


@pytest.mark.parametrize(
    ("series", "lines"),
    [
        (("market", "all"), {"values", "expected", "lower", "upper"}),
        (("category", "mobiles_tablets"), {"values", "expected", "lower", "upper"}),
        (("region", "sindh"), {"values", "expected"}),
        (("payment_method", "cod"), {"values"}),
        (("payment_failure", "card"), {"values"}),
    ],
)
async def test_the_picture_of_a_message_finds_its_lines(watched, series, lines):
    reader = ChartReader(watched.where["prometheus"])
    try:
        data = await reader.read("PK", series, now_ms() - 60_000, now_ms())
    finally:
        await reader.close()
    assert {
        name for name in ("values", "expected", "lower", "upper") if getattr(data, name)
    } == lines
    span = Lasting(now_ms() - 60_000, None, estimated=True)
    assert draw(data, "PK", span, now_ms()).startswith(b"\x89PNG")


def test_every_variable_has_values_and_every_annotation_can_be_asked_for(watched):
    names = set()
    for name, series, label in variables():
        names.add(f"${name}")
        found = watched.prometheus.get(f"label/{label}/values", **{"match[]": chosen(series)})
        assert any(re.fullmatch(CHOSEN[f"${name}"], each) for each in found), name
    assert names == {name for name in CHOSEN if not name.startswith("$__")}
    for _name, expr in annotations():
        watched.prometheus.query(chosen(expr))


def test_the_links_to_the_page_and_the_runbook_are_the_settings_and_the_page_answers(watched):
    (links,) = watched.prometheus.query("board_grafana_runbook:ecindex_links_info:last")
    assert links["metric"]["runbook"] == CHOSEN["$runbook"]
    assert links["metric"]["board"] == watched.where["board"].rstrip("/")
    with urllib.request.urlopen(f"{links['metric']['board']}/?market=PK", timeout=30) as answer:
        assert answer.status == 200


def test_every_rule_is_evaluated_and_no_alert_fires(watched):
    groups = watched.prometheus.get("rules")["groups"]
    found = [rule for group in groups for rule in group["rules"]]
    assert len(found) == len(rules("rules")) + len(rules("alerts"))
    assert {(rule["health"], rule.get("lastError", "")) for rule in found} == {("ok", "")}
    for rule in rules("rules"):
        recorded = watched.prometheus.query(rule["record"])
        empty = may_be_empty(rule["expr"]) or rule["record"] in OF_STOPS
        assert recorded or empty, rule["record"]
    firing = watched.prometheus.query('ALERTS{alertstate="firing"}')
    assert {sample["metric"]["alertname"] for sample in firing} <= OF_THE_HISTORY
    notified = [
        alert["labels"]["alertname"]
        for notification in watched.pager.notified
        if notification["groupLabels"].get("market") not in {"XA", "XB"}
        for alert in notification["alerts"]
    ]
    assert set(notified) <= OF_THE_HISTORY

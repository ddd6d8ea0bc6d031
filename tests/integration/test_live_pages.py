"""One live run with a real Prometheus and Alertmanager: planted shifts notify, nothing else does."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import time
import urllib.parse
import urllib.request
from collections import defaultdict
from pathlib import Path

import psutil
import pytest
from redis.exceptions import RedisError
from support.command import Command
from support.monitored import monitored
from support.operator_files import panels

from streams.clock import now_ms
from streams.demo.demo_plan import FOUND_MS, past_the_hour_ms
from streams.index.incidents import WAYS
from streams.index.instants import parse_instant
from streams.operate.market_views import connect, read_markets
from streams.reader import DEFAULT_PREFIX
from streams.settings import load_settings

RUNBOOK = Path(__file__).parents[2] / "docs" / "runbook.md"
JUMP, JUMP_AFTER_S, JUMP_S = "kids_baby", 400, 300
"""A category of a thirtieth: times six it is a sixth more for its market, which is no shift."""
OUTAGE_AFTER_S, OUTAGE_S = 410, 220
"""Over before five minutes could hold less than a fifth."""
PLANTED = {
    "PK": (("category", JUMP), "up", JUMP_AFTER_S),
    "BD": (("market", "all"), "down", OUTAGE_AFTER_S),
}
"""Market -> dimension and member, direction, when."""
GRAFANA = "https://grafana.example"
GIVEN_UP_AFTER_S = 1_500
START_OFF_S = 120
PANELS = 2
"""Queries that show a shift: which, and how many there are."""
pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.long]


def until(condition, what):
    deadline = time.monotonic() + GIVEN_UP_AFTER_S
    while not (found := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.5)
    return found


class Run:
    """What was seen of one live run, as it went on."""

    def __init__(self, index, started_ms):
        self.index, self.started_ms = index, started_ms
        self.settings = load_settings(index.directory / "ecindex.toml", {})
        self.prometheus = index.prometheus

    def process(self, name):
        return psutil.Process(
            json.loads((self.index.directory / "pids" / f"{name}.pid").read_text())["pid"]
        )

    def views(self):
        """Markets as Redis has them; none while it does not answer."""
        with contextlib.suppress(RedisError), connect(self.settings.redis) as client:
            return read_markets(client, now_ms(), None, DEFAULT_PREFIX)
        return []

    def incidents(self, market):
        """Open incidents of a market, in Redis."""
        return [
            incident
            for view in self.views()
            if view.market == market
            for incident in view.incidents
            if incident.over is None
        ]

    def incident(self, market, *series):
        """The open incident that a series leads; None without one."""
        for each in self.incidents(market):
            if (each.dimension, each.member) == series:
                return each
        return None

    def notifications(self):
        """Every notification, in order."""
        return list(self.index.pager.notified)

    def notifications_of(self, market, status):
        return [
            each
            for each in self.notifications()
            if each["groupLabels"].get("market") == market and each["status"] == status
        ]

    def on_the_board(self, market, incident):
        """The card of an incident in the first state that the board's stream sends of a market."""
        with urllib.request.urlopen(
            f"{self.index.where['board']}events?market={market}", timeout=30
        ) as sent:
            for line in sent:
                if line.startswith(b"data: ") and "windows" in (page := json.loads(line[6:])):
                    cards = page["incidents"].get("open", [])
                    return next((card for card in cards if card["id"] == incident), None)
        return None

    def panels_showing(self, market):
        """How many queries of panels about shifts have data."""
        found = 0
        for _title, target in panels():
            if re.search("demand_shift_(direction|start)", target["expr"]):
                expr = target["expr"].replace("$market", market).replace("$window", "5m")
                rows = self.prometheus.query(expr)
                found += any(float(row["value"][1]) != 0 for row in rows)
        return found


@pytest.fixture(scope="module")
def run(tmp_path_factory, cache_dir):
    linked = {"ECINDEX_LINKS__GRAFANA": GRAFANA}
    with monitored(tmp_path_factory.mktemp("pages"), cache_dir, linked) as index:
        shops = ("--rate", "220", "--season", "flat", "--lag-scale", "0.001", "--markets", "PK,BD")
        # No backfill: it would reach workers that read along, minutes after theirs were final.
        history = ("--seed-history", "6")
        # Both are planted so much later that no full hour ends before they are found.
        window = (JUMP_AFTER_S - 30, OUTAGE_AFTER_S + FOUND_MS // 1_000 + 30)
        waits_ms = past_the_hour_ms(*(now_ms() + at_s * 1_000 for at_s in window))
        waits_s = waits_ms // 1_000
        planted = ("--shift", f"PK:{JUMP}:6:{JUMP_AFTER_S + waits_s}:{JUMP_S}")
        planted += ("--outage", f"BD:{OUTAGE_AFTER_S + waits_s}:{OUTAGE_S}")
        with Command("simulate", *index.config, *shops, *history, *planted) as simulator:
            found = Run(index, now_ms() + waits_s * 1_000)
            until(
                lambda: found.prometheus.query('ecindex_market_demand_index{market="PK"} > 0'),
                "no expectation",
            )
            yield found
            simulator.end(signal.SIGTERM)


def demand_indices(run):
    """(market, field) -> demand index of the whole market, as Redis has it."""
    return {
        (view.market, value.field): value.value
        for view in run.views()
        if view.snapshot is not None
        for value in view.snapshot.values
        if value.field.startswith("demand_index_orders:market:all:")
        and value.window in ("1m", "5m")
        and value.status == "ok"
    }


def expect_silence(run, what):
    assert run.notifications() == [], what
    firing = {
        alert["metric"]["alertname"]
        for alert in run.prometheus.query('ALERTS{alertstate="firing"}')
    }
    assert firing == set(), what


def test_a_rebalance_a_killed_worker_and_a_restarted_redis_notify_nobody(run):
    with Command("worker", *run.index.config, "--metrics-port", "0") as third:
        time.sleep(20)
        code, _, err = third.end(signal.SIGTERM)
    assert code == 0, err
    run.process("worker-0").kill()
    time.sleep(20)
    run.process("redis").kill()
    planted_ms = run.started_ms + JUMP_AFTER_S * 1_000
    assert now_ms() < planted_ms - 30_000, "too slow to keep these apart"
    seen = defaultdict(list)
    while now_ms() < planted_ms - 5_000:
        for key, value in demand_indices(run).items():
            seen[key].append(value)
        time.sleep(2)
    print({key: (round(min(each)), round(max(each))) for key, each in seen.items()})  # noqa: T201
    assert set(seen) == {
        (market, f"demand_index_orders:market:all:{window}")
        for market in ("PK", "BD")
        for window in ("1m", "5m")
    }
    assert all(80 <= value <= 120 for each in seen.values() for value in each)
    expect_silence(run, "disturbed")
    assert run.incidents("PK") == run.incidents("BD") == []


def test_the_outage_and_the_jump_are_found_and_shown(run):
    missing = dict(PLANTED)

    def one_is_found():
        for market, (series, *_) in missing.items():
            if (incident := run.incident(market, *series)) is not None:
                return market, incident
        return None

    while missing:
        market, incident = until(one_is_found, f"not found: {missing}")
        series, direction, after_s = missing.pop(market)
        since_s = (now_ms() - run.started_ms) / 1000 - after_s
        print(f"{market} {series}: in Redis {since_s:.0f} s after it was planted")  # noqa: T201 - figures
        assert incident.direction == direction
        off_s = (parse_instant(incident.began) - run.started_ms) / 1000 - after_s
        assert abs(off_s) < START_OFF_S
        shown = until(
            lambda market=market, name=incident.id: run.on_the_board(market, name),
            "not on the board",
        )
        assert WAYS[shown["direction"]] == direction
        assert shown["command"] == f"ecindex answer {incident.id} expected"
        until(lambda market=market: run.panels_showing(market) >= PANELS, "no panel")


@pytest.mark.parametrize(
    ("market", "labels"),
    [
        ("PK", {"alertname": "EcindexDemandShift", "dimension": "category", "member": JUMP}),
        ("BD", {"alertname": "EcindexMarketOutage", "dimension": "market", "member": "all"}),
    ],
)
def test_each_is_one_notification_with_labels_and_a_runbook(run, market, labels):
    until(lambda: run.notifications_of(market, "firing"), f"{market} notifies nobody")
    (notification,) = run.notifications_of(market, "firing")
    (alert,) = notification["alerts"]
    series, direction, _ = PLANTED[market]
    incident = run.incident(market, *series).id
    labels |= {"market": market, "direction": direction, "incident": incident}
    assert alert["labels"] == labels | {"severity": "page"}
    assert notification["receiver"] == "page"
    anchor = alert["annotations"]["runbook_url"].partition("#")[2]
    titles = re.findall(r"^#+ (.+)$", RUNBOOK.read_text(), re.MULTILINE)
    assert anchor in {title.lower().replace(" ", "-") for title in titles}
    at_s = (parse_instant(alert["startsAt"]) - run.started_ms) / 1000
    print(f"{market}: fires {at_s:.0f} s after the start: {alert['annotations']['summary']}")  # noqa: T201
    said = alert["annotations"]
    assert "unknown" not in said["summary"]
    assert re.search(r" since \d\d:\d\d UTC on \d+ \w{3}: \d+ ", said["summary"])
    address = urllib.parse.urlsplit(said["dashboard_url"])
    assert said["dashboard_url"].startswith(f"{GRAFANA}/d/ecindex-index?")
    asked = dict(urllib.parse.parse_qsl(address.query))
    assert asked["var-market"] == market
    began_s = int(asked["from"]) / 1000 + 3_600
    assert abs(began_s - run.started_ms / 1000 - PLANTED[market][2]) < START_OFF_S
    assert said["page_url"].endswith(f"/?market={market}&incident={incident}")
    with urllib.request.urlopen(said["page_url"], timeout=30) as page:
        assert page.status == 200
    assert said["description"]


def test_each_clears_and_nothing_else_was_notified(run):
    for market in PLANTED:
        until(
            lambda market=market: run.notifications_of(market, "resolved"),
            f"{market} is not cleared",
        )
    assert {each["groupLabels"].get("market") for each in run.notifications()} == {"PK", "BD"}
    assert len(run.notifications()) == 4
    assert run.incidents("PK") == run.incidents("BD") == []

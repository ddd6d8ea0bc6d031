"""What doctor reads from a worker's own server."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from prometheus_client import CollectorRegistry
from redis.exceptions import ReadOnlyError
from support.methodologies import METHODOLOGY

from streams.flow.definitions_book import DefinitionsChange, DefinitionsTrouble, MarketDefinitions
from streams.index.definitions import definitions_of
from streams.index.values import Fence
from streams.proof.doctor.definition_checks import check_definitions
from streams.proof.doctor.findings import Level
from streams.proof.doctor.worker_checks import (
    REBALANCE_ROUNDS,
    check_redis,
    check_workers,
    group_finding,
)
from streams.publish.http import MetricsServer, PartitionState
from streams.publish.http_server import own_url
from streams.publish.keys import market_keys
from streams.publish.redis_health import RedisHealth
from streams.records.redis_reader import MarketRedis
from streams.records.values_log import FenceContent, MarketValues
from streams.settings import Settings
from streams.worker.membership import TROUBLE_AFTER_MS, Membership


class Owned:
    def states(self):
        return [
            PartitionState("orders", 0, 99, 100, None, 59_000),
            PartitionState("orders", 1, 41, 100, None, 3_600_000),
        ]

    def release(self, topic, partition):
        raise AssertionError


async def test_a_transaction_that_holds_a_partition_is_named():
    server = MetricsServer(
        CollectorRegistry(), lambda: None, partitions=Owned(), host="127.0.0.1", port=0, names=()
    )
    port = await server.start()
    try:
        found = await check_workers([f"http://127.0.0.1:{port}/metrics"])
    finally:
        await server.stop()
    ready, held = found
    assert ready.level is Level.OK
    assert (held.level, held.where) == (Level.WRONG, "orders-1@41")
    assert "open for 3600 s" in held.found
    assert "EcindexOpenTransaction" in held.fix


@pytest.mark.parametrize(
    ("shown", "late_ms", "level"),
    [(5, 60_000, Level.OK), (3, 30_000, Level.OK), (3, 30_001, Level.WRONG)],
)
def test_a_market_that_lags_behind_its_definitions_is_named(shown, late_ms, level):
    change = DefinitionsChange(5, 3, "aisha", "gardens", 1_000_000, b"PK|3|n")
    held = MarketDefinitions(version=5)
    held.applied.append(change)
    market = MarketValues(version=Fence(1, 0, shown, 0, 0))
    published = {"PK": market, "BD": MarketValues(version=Fence(1, 0, 0, 0, 0))}
    markets = {"PK": held, "BD": MarketDefinitions()}
    (found,) = check_definitions(METHODOLOGY, markets, published, 1_000_000 + late_ms)
    assert (found.where, found.level) == ("PK", level)
    if level is Level.WRONG:
        assert found.found == "published by version 3, 30 s after 5 was applied"
        assert "cannot apply them" in found.fix


def test_definitions_that_cannot_be_applied_or_read_or_are_of_another_topic_are_named(monkeypatch):
    held = {code: MarketDefinitions() for code in METHODOLOGY.markets}
    assert check_definitions(METHODOLOGY, held, {}, 0) == []
    held["PK"].take_document(definitions_of(METHODOLOGY.markets["PK"]), 7)
    held["BD"].troubles.append(DefinitionsTrouble(9, "no JSON"))
    monkeypatch.setattr("streams.flow.defined_market.CELLS_MAX", 3)
    fence = FenceContent("PK", 1, 0, 0, {}, 0, 0, 0, definitions_id="first")
    published = {"PK": MarketValues(fence=fence, version=Fence(1, 0, 7, 0, 0))}
    found = check_definitions(METHODOLOGY, held, published, 0, "second")
    assert {each.level for each in found} == {Level.WRONG}
    assert sorted((each.where, each.expected) for each in found) == [
        ("BD", "every record of the topic can be read"),
        ("PK", "published by versions of the topic first"),
        ("PK", "version 7 can be applied"),
    ]
    assert any("the last would be version 9: no JSON" in each.found for each in found)
    assert any("at most 3" in each.found for each in found)
    assert len(check_definitions(METHODOLOGY, held, published, 0, "first")) == 2


class Halted(Owned):
    accept = "ecindex topics accept orders 2:10..19"
    gone = "topic orders is missing: create it again (`ecindex topics create --inputs 4`)"

    def states(self):
        return [
            PartitionState("orders", 0, 9, 10, "rejects: half of the last records"),
            PartitionState("orders", 1, 9, None, f"missing: {self.gone}", releasable=False),
            PartitionState("orders", 2, 9, 20, f"gap: 10..19; run `{self.accept}`"),
        ]


async def test_each_halt_is_told_with_the_command_that_mends_it():
    """Of a topic that is gone it said to release its partitions, which mends nothing."""
    server = MetricsServer(
        CollectorRegistry(), lambda: None, partitions=Halted(), host="127.0.0.1", port=0, names=()
    )
    assert server.release_url is None
    url = f"http://127.0.0.1:{await server.start()}"
    assert server.release_url == url
    try:
        _, *halted = await check_workers([url])
    finally:
        await server.stop()
    rejects, missing, gap = (each.fix for each in halted)
    assert rejects.endswith(f"ecindex dead-letters release orders 0 --worker {url}")
    assert missing == Halted.gone
    assert gap == Halted.accept


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:9"),
        ("localhost", "http://localhost:9"),
        ("0.0.0.0", "http://127.0.0.1:9"),
        ("::", "http://[::1]:9"),
        ("10.1.2.3", None),
    ],
)
def test_a_release_is_asked_at_loopback(host, url):
    assert own_url(host, 9) == url


async def test_a_worker_whose_redis_is_a_replica_says_readonly_and_what_to_do():
    now_ms = 0
    health = RedisHealth(lambda: now_ms)
    health.failed("PK", ReadOnlyError("READONLY You can't write against a read only replica."))
    now_ms = TROUBLE_AFTER_MS
    store = SimpleNamespace(health=health)
    membership = Membership(store, None, None, None, clock=lambda: now_ms)
    server = MetricsServer(
        CollectorRegistry(),
        lambda: membership.why_not,
        partitions=Owned(),
        host="127.0.0.1",
        port=0,
        names=(),
    )
    port = await server.start()
    try:
        found = await check_workers([f"http://127.0.0.1:{port}/metrics"])
    finally:
        await server.stop()
    assert found[0].level is Level.WRONG
    assert "READONLY" in found[0].found
    assert "redis.url names a replica" in found[0].found
    assert "EcindexWorkerCannotPublish" in found[0].fix


def test_values_that_are_not_renewed_name_what_redis_may_refuse():
    settings = Settings()
    fence = FenceContent("PK", 1, 0, 0, {}, 0, 0, 0, live=True)
    keys = market_keys("PK", settings.redis.keys_prefix)
    held = MarketRedis("PK", keys, Fence(1, 0, 0, 0, 0), {}, {}, None, {})
    (finding,) = check_redis(settings, {"PK": MarketValues(fence)}, {"PK": held}, 1, 3_600_000)
    assert finding.level is Level.WRONG
    assert "READONLY" in finding.fix
    assert "ecindex doctor --worker URL" in finding.fix


@pytest.mark.parametrize(
    ("members", "state", "level", "rounds"),
    [
        (0, "Empty", Level.WRONG, 2),
        (2, "Stable", Level.OK, REBALANCE_ROUNDS),
        (2, "PreparingRebalance", Level.WARNING, REBALANCE_ROUNDS),
    ],
)
def test_an_empty_group_is_told_sooner_than_one_that_rebalances(members, state, level, rounds):
    finding = group_finding("g", members, state)
    assert (finding.level, finding.rounds) == (level, rounds)

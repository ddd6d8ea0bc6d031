"""The app: settings that an incident or a measurement asked for, and what it refuses."""

from __future__ import annotations

import asyncio

import pytest
from faust import streams as faust_streams
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from mode import CrashingSupervisor

from streams.worker import consumer_thread, runner
from streams.worker.assignor import ExistingAssignor
from streams.worker.consumer import _ReadOffsets
from streams.worker.consumer_thread import FetchSettings
from streams.worker.faust_app import AppSettings, Hooks, create_faust_app
from streams.worker.recovery import LoudRecovery, LoudTableManager
from streams.worker.stops import ExitCode, Fatal
from streams.worker.transport import ChunkTransport


class FromTheBeginning:
    def next_offset(self, sp):
        return None

    def base(self, sp):
        return 0


async def nothing(sps):
    pass


SESSION_MS, HEARTBEAT_MS, REQUEST_MS = 8_000, 2_000, 40_000


@pytest.fixture
def make(tmp_path):
    def made(queue_chunks=8):
        fetch = FetchSettings(1, 100, 1 << 20, queue_chunks=queue_chunks)
        where = ("ec-e1", "127.0.0.1:1", tmp_path)
        return create_faust_app(
            AppSettings(*where, SESSION_MS, HEARTBEAT_MS, REQUEST_MS, fetch),
            chunk_topics=frozenset({"orders"}),
            positions=FromTheBeginning(),
            hooks=Hooks(lambda sps: None, nothing),
        )

    return made


def test_the_settings_that_matter(make):
    conf = make().conf
    assert conf.broker_request_timeout > conf.broker_rebalance_timeout
    assert conf.broker_max_poll_interval == 1e6
    assert conf.consumer_auto_offset_reset == "earliest"
    assert conf.table_standby_replicas == 0
    assert conf.topic_allow_declare is False
    assert conf.topic_disable_leader is True
    assert conf.web_enabled is False
    assert conf.worker_redirect_stdouts is False
    assert str(conf.store) == "memory:"
    assert conf.stream_recovery_delay == 0.0
    assert conf.processing_guarantee.name == "AT_LEAST_ONCE"


def test_two_workers_have_two_urls(make):
    assert make().conf.canonical_url != make().conf.canonical_url


def test_the_transport_and_the_table_manager_are_ours(make):
    app = make()
    assert type(app.transport) is ChunkTransport
    assert type(app.tables) is LoudTableManager
    assert type(app.tables.recovery) is LoudRecovery
    assert type(app.assignor) is ExistingAssignor
    assert list(app.boot_strategy.kafka_producer()) == []


async def test_a_start_is_not_refused_when_a_topic_has_fewer_partitions_than_it_had(make):
    # It ended with 2 and told to raise the edition. A worker that runs halts, or adds what is lacking.
    app = make()
    table = app.partition_table("checkpoint-orders", source="orders", partitions=12)
    counts = {"orders": 5, table.changelog_topic_name: 12}
    asked = set()

    class Broker:
        async def start(self):
            pass

        async def partitions(self, topic):
            asked.add(topic)
            return counts[topic]

    started = []

    async def on_started():
        started.append(True)

    await runner._start_outbox(runner.Worker(app, Broker(), on_started=on_started))
    assert (started, asked) == ([True], set(counts))


def test_half_a_session_is_the_limit_of_being_away(make):
    assert make().presence.limit_ms == SESSION_MS // 2


def test_nothing_is_published_once_the_process_ends(make):
    app = make()
    assert app.may_publish
    app.switch.trip(Fatal(ExitCode.NO_PROGRESS, "planted"))
    assert not app.may_publish


async def test_a_rebalance_during_the_stop_leaves_the_consumer_to_its_own_thread(make):
    """Faust closed it from the main loop: no LeaveGroup, and one loop's handles in two threads."""
    app = make()
    app.consumer.close = lambda: pytest.fail("the consumer was closed by the main loop")
    app._stopped.set()
    await app._on_partitions_revoked({TP("orders", 0)})
    await app._on_partitions_assigned({TP("orders", 0)}, 2)


async def test_a_stop_does_not_wait_for_a_rebalance_for_ever(monkeypatch):
    async def others_take_their_time(self):
        await asyncio.Event().wait()

    monkeypatch.setattr(consumer_thread, "_LEAVE_LIMIT_S", 0.01)
    monkeypatch.setattr(driver.AIOKafkaConsumerThread, "on_thread_stop", others_take_their_time)
    thread = object.__new__(consumer_thread.ChunkConsumerThread)
    await asyncio.wait_for(thread.on_thread_stop(), 5)


def test_an_agent_has_its_name_its_bound_and_no_second_life(make):
    app = make(queue_chunks=5)
    agent = app.chunk_agent("orders", nothing, name="level1-orders")
    assert agent.name.endswith("level1-orders")
    assert agent.concurrency == 1
    assert agent.supervisor_strategy is CrashingSupervisor
    assert (agent.channel.maxsize, agent.channel.acks) == (5, False)


def test_a_topic_that_is_no_chunk_topic_is_refused(make):
    with pytest.raises(AssertionError, match="payments is not a chunk topic"):
        make().chunk_agent("payments", nothing, name="x")
    with pytest.raises(AssertionError, match="payments is not a chunk topic"):
        make().partition_table("x", source="payments", partitions=1)


def test_the_pure_python_iterator_is_refused_by_name(make, monkeypatch):
    monkeypatch.setattr(faust_streams, "_CStreamIterator", None)
    with pytest.raises(Fatal, match="compiled stream iterator is missing") as raised:
        make()
    assert raised.value.code == ExitCode.USAGE


def test_read_offsets_know_nothing_of_chunk_topics():
    """Faust drops what is below them: after a re-seek that would be every chunk."""
    offsets = _ReadOffsets(frozenset({"orders"}))
    offsets[TP("orders", 0)] = 500
    offsets.update({TP("orders", 1): 500, TP("changelog", 0): 7})
    assert offsets[TP("orders", 0)] is None
    assert offsets[TP("orders", 1)] is None
    assert offsets[TP("changelog", 0)] == 7
    assert offsets[TP("changelog", 1)] is None
    assert offsets.pop(TP("orders", 0), None) is None

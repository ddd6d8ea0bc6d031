"""Every private seam of Faust, mode and aiokafka that worker/ leans on, by name.

A new version that moves one fails here, with the seam's name, and not in production at night.
Signatures first, then what each seam must do.
"""

from __future__ import annotations

import asyncio
import inspect

import faust
import pytest
from aiokafka import AIOKafkaClient, AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.consumer import fetcher, group_coordinator
from aiokafka.consumer.subscription_state import Assignment, TopicPartitionState
from aiokafka.producer import message_accumulator, sender
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.memory_records import MemoryRecords
from faust.app.base import App, BootStrategy
from faust.assignor import PartitionAssignor
from faust.serializers.schemas import Schema
from faust.streams import Stream
from faust.tables import TableManager, recovery
from faust.tables import base as table_base
from faust.transport import conductor
from faust.transport import consumer as faust_consumer
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from support.batches import log_append_time, record_batch

from streams.flow.chunk import Chunk
from streams.worker.fetch import ChunkRecords, chunk_records

SIGNATURES = [
    (
        fetcher.PartitionRecords,
        "__init__",
        (
            "tp records aborted_transactions fetch_offset key_deserializer value_deserializer "
            "check_crcs isolation_level"
        ),
    ),
    (fetcher.FetchResult, "__init__", "tp assignment partition_records backoff"),
    (fetcher.FetchResult, "getall", "max_records"),
    (fetcher.Fetcher, "_proc_fetch_request", "assignment node_id request"),
    (AIOKafkaClient, "send", "node_id request group"),
    (AIOKafkaConsumer, "seek", "partition offset"),
    (AIOKafkaConsumer, "beginning_offsets", "partitions"),
    (AIOKafkaConsumer, "end_offsets", "partitions"),
    (group_coordinator.GroupCoordinator, "check_errors", ""),
    (group_coordinator.GroupCoordinator, "_do_heartbeat", ""),
    (AIOKafkaProducer, "create_batch", ""),
    (AIOKafkaProducer, "send_batch", "batch topic partition"),
    (AIOKafkaProducer, "partitions_for", "topic"),
    (message_accumulator.BatchBuilder, "append", "timestamp key value headers"),
    (PartitionAssignor, "_perform_assignment", "cluster member_metadata"),
    (PartitionAssignor, "_get_client_metadata", "metadata"),
    (driver.AIOKafkaConsumerThread, "_create_worker_consumer", "transport"),
    (
        driver.AIOKafkaConsumerThread,
        "_fetch_records",
        "consumer active_partitions timeout max_records",
    ),
    (driver.AIOKafkaConsumerThread, "_ensure_consumer", ""),
    (driver.AIOKafkaConsumerThread, "seek_to_committed", ""),
    (driver.AIOKafkaConsumerThread, "__post_init__", ""),
    (driver.AIOKafkaConsumerThread, "on_start", ""),
    (driver.AIOKafkaConsumerThread, "on_thread_stop", ""),
    (driver.AIOKafkaConsumerThread, "call_thread", "fun args kwargs"),
    (driver.Consumer, "_new_consumer_thread", ""),
    (driver.Consumer, "_to_message", "tp record"),
    (driver.Consumer, "highwater", "tp"),
    (driver.Consumer, "on_buffer_full", "tp"),
    (driver.Consumer, "on_partitions_revoked", "revoked"),
    (driver.Consumer, "on_partitions_assigned", "assigned generation_id"),
    (driver.Consumer, "seek_to_committed", ""),
    (driver.Consumer, "perform_seek", ""),
    (driver.Consumer, "force_commit", "topics start_new_transaction"),
    (driver.Transport, "__init__", "args kwargs"),
    (App, "_new_transport", ""),
    (App, "_on_rebalance_when_stopped", ""),
    (recovery.Recovery, "_wait", "coro timeout"),
    (recovery.Recovery, "_resume_streams", "generation_id"),
    (recovery.Recovery, "on_recovery_completed", "generation_id"),
    (recovery.Recovery, "on_rebalance", "assigned revoked newly_assigned generation_id"),
    (recovery.Recovery, "need_recovery", ""),
    (recovery.Recovery, "_build_highwaters", "consumer tps destination title"),
    (recovery.Recovery, "_set_recovery_ended", ""),
    (recovery.Recovery, "_build_offsets", "consumer tps destination title"),
    (driver.AIOKafkaConsumerThread, "on_partitions_revoked", "revoked"),
    (driver.AIOKafkaConsumerThread, "on_partitions_assigned", "assigned generation_id"),
    (table_base.Collection, "apply_changelog_batch", "batch"),
    (table_base.Collection, "_changelog_topic_name", ""),
]


@pytest.mark.parametrize(
    ("owner", "name", "parameters"), SIGNATURES, ids=[f"{o.__name__}.{n}" for o, n, _ in SIGNATURES]
)
def test_a_seam_has_the_signature_we_override_or_call(owner, name, parameters):
    found = list(inspect.signature(getattr(owner, name)).parameters)
    assert [p for p in found if p != "self"][: len(parameters.split())] == parameters.split()


CALLS = [
    (
        fetcher.Fetcher._fetch_requests_routine,
        "self._proc_fetch_request(",
        "looked up on the instance",
    ),
    (fetcher.Fetcher._proc_fetch_request, "self._records[tp] = FetchResult(", "result we convert"),
    (fetcher.Fetcher._proc_fetch_request, "PartitionRecords(", "records we take over"),
    (
        fetcher.Fetcher._proc_fetch_request,
        "records = MemoryRecords(part_data[-1])",
        "bytes we keep, looked up in the module",
    ),
    (
        group_coordinator.GroupCoordinator._heartbeat_routine,
        "success = await self._do_heartbeat()",
        "looked up on the instance",
    ),
    (recovery.Recovery._set_recovery_started, "self._recovery_started_at = ", "silence since"),
    (
        recovery.Recovery._slurp_changelogs.fun,
        "active_events_received_at[tp] = now",
        "silence since",
    ),
    (faust_consumer.Consumer.stop_flow, "self.flow_active = False", "silence while reading only"),
    (faust_consumer.Consumer.resume_flow, "self.flow_active = True", "silence while reading only"),
    (App._on_partitions_revoked, "consumer.stop_flow)()", "silence while reading only"),
    (AIOKafkaConsumer.start, "fetch_min_bytes=self._fetch_min_bytes", "set before start"),
    (AIOKafkaConsumer.start, "isolation_level=self._isolation_level", "set before start"),
    (fetcher.Fetcher._proc_fetch_request, "tp_state.lso = lso", "last stable offset we read"),
    (AIOKafkaConsumer.start, "fetch_max_wait_ms=self._fetch_max_wait_ms", "set before start"),
    (sender.SendProduceReqHandler.do, "self._client.send(node_id, request)", "gated by the outbox"),
    (
        message_accumulator.MessageAccumulator._append_batch,
        "self._batch_ttl",
        "longer than a broker's absence",
    ),
    (
        faust_consumer.Consumer._drain_messages,
        "self._read_offset.__getitem__",
        "blind to chunk topics",
    ),
    (
        faust_consumer.Consumer._drain_messages,
        "self._read_offset.__setitem__",
        "blind to chunk topics",
    ),
    (
        faust_consumer.Consumer.perform_seek,
        "await self.seek_to_committed()",
        "the single seek path",
    ),
    (faust_consumer.Consumer.getmany, "self._to_message", "one message a chunk"),
    (recovery.Recovery.on_recovery_completed, "consumer.perform_seek()", "positions before flow"),
    (recovery.Recovery._resume_streams, "consumer.perform_seek()", "positions before flow"),
    (App._on_partitions_revoked, "self.flow_control.clear", "queued chunks are dropped"),
    (App._on_partitions_revoked, "self._on_rebalance_when_stopped()", "closes from another thread"),
    (
        App._on_partitions_assigned,
        "self._on_rebalance_when_stopped()",
        "closes from another thread",
    ),
    (driver.Transport.create_consumer, "self.Consumer(", "our consumer class is used"),
]


@pytest.mark.parametrize(
    ("owner", "code", "why"), CALLS, ids=[f"{o.__qualname__}: {c}" for o, c, _ in CALLS]
)
def test_a_seam_is_still_where_the_framework_passes_by(owner, code, why):
    assert code in inspect.getsource(owner), f"{owner.__qualname__} no longer has {code}: {why}"


def test_faust_read_offsets_are_only_used_in_ways_the_blind_mapping_covers():
    """A new `.pop`, `.get` or `in` on _read_offset would see an empty mapping: look at it."""
    uses = [
        line.strip()
        for module in (faust_consumer, driver)
        for line in inspect.getsource(module).splitlines()
        if "_read_offset" in line and not line.strip().startswith("#")
    ]
    assert sorted(uses) == sorted([
        "_read_offset: MutableMapping[TP, Optional[int]]",
        "self._read_offset = defaultdict(lambda: None)",
        "read_offset = self._read_offset",
        "self._read_offset[ensure_TP(partition)] = offset if offset else None",
        "self._read_offset.pop(tp, None)",
        "get_read_offset = self._read_offset.__getitem__",
        "set_read_offset = self._read_offset.__setitem__",
        "r_offset = get_read_offset(tp)",
        "set_read_offset(tp, offset)",
        "self.consumer._read_offset[tp] = offset",
        "elif tp in self.consumer._read_offset.keys():",
        "del self.consumer._read_offset[tp]",
    ])  # fmt: skip


def test_a_consumer_message_takes_its_fields_in_this_order():
    fields = list(inspect.signature(ConsumerMessage.__init__).parameters)[1:]
    assert fields[:13] == [
        *("topic", "partition", "offset", "timestamp", "timestamp_type", "headers"),
        *("key", "value", "checksum", "serialized_key_size", "serialized_value_size", "tp"),
        "time_in",
    ] or fields[:12] == [
        *("topic", "partition", "offset", "timestamp", "timestamp_type", "headers"),
        *("key", "value", "checksum", "serialized_key_size", "serialized_value_size", "tp"),
    ]
    assert "generation_id" in fields


def test_the_compiled_iterator_and_conductor_are_there():
    from faust import streams as faust_streams

    assert faust_streams._CStreamIterator is not None
    assert conductor.ConductorHandler is not None
    assert "_CStreamIterator is not None" in inspect.getsource(Stream.__aiter__)


def test_a_schema_is_compiled_around_its_own_loads():
    source = inspect.getsource(Schema.compile)
    assert "schema_loads_key(app, message" in source
    assert "schema_loads_value(app, message" in source


def test_a_topics_bound_must_be_set_after_it_is_made_and_lasts_through_a_clone():
    app = faust.App("seam", broker="kafka://127.0.0.1:1", autodiscover=False)
    assert app.topic("t", maxsize=8).maxsize is None, "app.topic(maxsize=) works now: use it"
    topic = app.topic("t", acks=False)
    topic.maxsize = 8
    clone = topic.clone(is_iterator=False).clone(is_iterator=True)
    assert (clone.maxsize, clone.acks) == (8, False)
    assert clone.queue.maxsize == 8


def test_the_table_manager_comes_from_the_settings_and_makes_its_recovery_lazily():
    class Mine(TableManager):
        pass

    app = faust.App("seam", broker="kafka://127.0.0.1:1", autodiscover=False, TableManager=Mine)
    assert type(app.tables) is Mine
    assert app.tables._recovery is None
    assert "self._recovery" in inspect.getsource(TableManager.recovery.fget)


def test_a_boot_strategy_without_the_producer_starts_none():
    class Quiet(BootStrategy):
        enable_kafka_producer = False

    class Mine(faust.App):
        BootStrategy = Quiet

    app = Mine("seam", broker="kafka://127.0.0.1:1", autodiscover=False, web_enabled=False)
    assert list(app.boot_strategy.kafka_producer()) == []
    assert list(app.boot_strategy.web_server()) == []


def test_revocation_and_wait_errors_have_their_names():
    assert issubclass(recovery.RebalanceAgain, Exception)
    assert issubclass(recovery.ServiceStopped, Exception)
    source = inspect.getsource(recovery.Recovery._restart_recovery.fun)
    assert "except RebalanceAgain" in source
    assert "raise" in source.split("except Exception as exc:")[-1], "our Fatal must get out"


def test_a_record_has_its_batchs_max_timestamp_under_log_append_time():
    batch = record_batch(0, [(b"k", b"v"), (b"k", b"w")], timestamps=[1000, 2000])
    assert [r.timestamp for r in MemoryRecords(batch).next_batch()] == [1000, 2000]
    appended = log_append_time(batch, max_timestamp=777_000)
    assert [r.timestamp for r in MemoryRecords(appended).next_batch()] == [777_000, 777_000]


def test_a_batch_builder_takes_a_first_record_of_any_size_and_then_says_full():
    builder = message_accumulator.BatchBuilder(1024, 0)
    assert builder.append(timestamp=None, key=b"k", value=b"x" * 100_000) is not None
    assert builder.append(timestamp=None, key=b"k", value=b"x") is None
    assert builder.closed()


async def fetched(batch, *, offset=0, state=None):
    """Run aiokafka's own response handling on one batch, without a broker."""
    tp = TopicPartition("t", 0)
    assignment = Assignment({tp})
    state = assignment.state_value(tp)
    assert isinstance(state, TopicPartitionState)
    state.seek(offset)
    mine = object.__new__(fetcher.Fetcher)

    class Response:
        API_VERSION = 4
        topics = [("t", [(0, 0, 99, 99, [], batch)])]  # noqa: RUF012

    class Client:
        async def send(self, node_id, request):
            return Response

    mine._client = Client()
    mine._client_rack = None
    mine._retry_backoff = 0
    mine._rack_warning_logged = False
    mine._key_deserializer = mine._value_deserializer = None
    mine._check_crcs = True
    mine._isolation_level = fetcher.READ_UNCOMMITTED
    mine._prefetch_backoff = 0.1
    mine._records = {}
    request = FetchRequest(50, 1, 1024, 0, [("t", [(0, offset, 1024)])], rack_id="")
    assert list(request.topics) == [("t", [(0, offset, 1024)])]
    woken = await mine._proc_fetch_request(assignment, 1, request)
    return mine, state, woken, (assignment, request, tp)


async def test_each_accepted_response_stamps_its_partition_with_a_new_object():
    """How `caught_up_at` knows that an empty response arrived."""
    mine, state, _, (assignment, request, _) = await fetched(b"")
    stamp = state.timestamp
    assert (stamp is not None, state.highwater) == (True, 99)
    await mine._proc_fetch_request(assignment, 1, request)
    assert state.timestamp is not stamp
    stamp = state.timestamp
    state.seek(5)  # the position moved: the response is discarded, and must not count
    await mine._proc_fetch_request(assignment, 1, request)
    assert state.timestamp is stamp


async def test_a_fetch_result_yields_what_its_partition_records_yield_and_moves_the_position():
    batch = record_batch(7, [(b"k", b"%d" % n) for n in range(10)])
    mine, state, woken, (_, _, tp) = await fetched(batch, offset=9)
    result = mine._records[tp]
    assert woken
    assert type(result._partition_records) is fetcher.PartitionRecords
    chunk_records(result, 5)
    assert type(result._partition_records) is ChunkRecords
    chunks = result.getall()
    assert [type(chunk) for chunk in chunks] == [Chunk, Chunk]
    assert [(c.first_offset, c.last_offset) for c in chunks] == [(9, 13), (14, 16)]
    assert state.position == 17
    assert not result.has_more()


async def test_a_producers_metadata_is_the_batchs_base_offset():
    batch = message_accumulator.MessageBatch(
        TopicPartition("t", 0), message_accumulator.BatchBuilder(1024, 0), 10, 0
    )
    batch.done(base_offset=40, timestamp=-1)
    assert (await batch.future).offset == 40


def test_a_send_refused_by_the_gate_is_not_retried():
    from streams.worker.outbox import OutboxStopped

    assert OutboxStopped("x").retriable is False
    assert "except KafkaError as err" in inspect.getsource(sender.SendProduceReqHandler.do)


async def test_a_producer_has_the_parts_the_outbox_touches():
    producer = AIOKafkaProducer(bootstrap_servers="127.0.0.1:1", enable_idempotence=True)
    try:
        assert producer._message_accumulator._batch_ttl > 0
        assert producer._loop is asyncio.get_running_loop()
        assert producer.client.send
    finally:
        producer._closed = True


def test_the_two_background_tasks_of_a_consumer_can_be_asked_for_their_end():
    """Faust never asks, so a dead one went unseen: no fetch or no heartbeat, for ever."""
    assert isinstance(fetcher.Fetcher.error_future, property)
    assert "_coordination_task" in inspect.getsource(
        group_coordinator.GroupCoordinator.check_errors
    )
    assert "check_errors" not in inspect.getsource(driver)


async def test_a_client_has_the_parts_that_a_broken_connection_touches():
    client = AIOKafkaClient(bootstrap_servers="127.0.0.1:1")
    assert asyncio.iscoroutinefunction(client._get_conn)
    assert client._sync_task is None, "until it bootstraps"
    assert "self._sync_task = create_task(" in inspect.getsource(AIOKafkaClient.bootstrap)


def test_a_tp_is_a_topic_and_a_partition():
    assert TP("t", 1) == TopicPartition("t", 1) == ("t", 1)
    assert hash(TP("t", 1)) == hash(TopicPartition("t", 1))

"""The outbox: order, bound, acknowledgement, and that nothing follows a record that was lost."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka.errors import KafkaConnectionError, MessageSizeTooLargeError
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.memory_records import MemoryRecords

from streams.worker import outbox as module
from streams.worker.broken_connections import reopen_broken
from streams.worker.outbox import Outbox, OutboxSettings, OutboxStopped
from streams.worker.stops import ExitCode, Fatal, Presence, StopSwitch

PRODUCE = ProduceRequest(transactional_id=None, required_acks=-1, timeout=1, topics=[])


class Clock:
    now = 0

    def __call__(self):
        return self.now


class Metadata:
    def __init__(self, offset):
        self.offset = offset
        self.timestamp = -1


class FakeProducer:
    """Takes batches as aiokafka does; the test acknowledges or refuses them."""

    def __init__(self, batch_bytes=1024):
        self._loop = asyncio.get_running_loop()
        self._message_accumulator = type("Accumulator", (), {})()
        self.client = type("Client", (), {"send": self._send, "_get_conn": None})()
        self.client.force_metadata_update = self._asked_anew
        self.partitions = {0, 1, 2}
        self.after_asking = self.partitions
        self.batch_bytes = batch_bytes
        self.sent = []
        self.requests = []
        self.metadata_errors = []
        self.hold = False
        self.error = None
        self.ends = {}

    def __call__(self, **settings):
        self.settings = settings
        return self

    async def _send(self, node_id, request):
        self.requests.append(request)

    async def _asked_anew(self):
        self.partitions = self.after_asking

    async def start(self):
        pass

    async def stop(self):
        pass

    def create_batch(self):
        return BatchBuilder(self.batch_bytes, 0)

    async def partitions_for(self, topic):
        if self.metadata_errors:
            raise self.metadata_errors.pop(0)
        return self.partitions

    async def send_batch(self, builder, topic, *, partition):
        batch = MemoryRecords(bytes(builder._build())).next_batch()
        records = [(record.key, record.value, record.headers) for record in batch]
        base = self.ends.get((topic, partition), 100)
        self.ends[topic, partition] = base + len(records)
        delivery = self._loop.create_future()
        self.sent.append((topic, partition, records, delivery))
        if self.error is not None:
            delivery.set_exception(self.error)
        elif not self.hold:
            delivery.set_result(Metadata(base))
        return delivery


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def switch():
    return StopSwitch()


@pytest.fixture
def presence(clock):
    return Presence(3000, clock)


@pytest.fixture
async def producer(monkeypatch):
    fake = FakeProducer()
    monkeypatch.setattr(module, "AIOKafkaProducer", fake)
    return fake


@pytest.fixture
async def outbox(producer, switch, presence, clock):
    settings = OutboxSettings(
        linger_ms=0, record_bytes=10_000, pending_bytes=5_000, ack_limit_ms=60_000
    )
    made = Outbox("x:1", switch=switch, presence=presence, settings=settings, clock=clock)
    await made.start()
    yield made
    await made.close()


async def turns(count=20):
    for _ in range(count):
        await asyncio.sleep(0)


async def test_the_producer_is_idempotent_and_waits_for_all(outbox, producer):
    assert producer.settings["enable_idempotence"]
    assert producer.settings["acks"] == "all"
    assert producer._message_accumulator._batch_ttl == 60
    assert producer.client._get_conn.__module__ == reopen_broken.__module__


async def test_each_record_learns_its_offset(outbox):
    futures = [outbox.put("t", 0, b"k%d" % n, b"v") for n in range(3)]
    other = outbox.put("t", 1, b"k", None, headers=[("h", b"1")])
    assert await asyncio.gather(*futures) == [100, 101, 102]
    assert await other == 100


async def test_the_last_of_many_records_stands_for_all(outbox, producer):
    producer.hold = True
    done = outbox.put_all("t", 0, [(b"%02d" % n, b"x" * 100) for n in range(20)], [("h", b"1")], 7)
    first = outbox.put("t", 0, b"after", b"v")
    await turns()
    assert not done.done()
    producer.hold = False
    producer.sent[0][3].set_result(Metadata(100))
    assert await done == 100 + 19
    assert await first == 100 + 20
    found = [record for _, _, records, _ in producer.sent for record in records]
    assert found[:20] == [(b"%02d" % n, b"x" * 100, [("h", b"1")]) for n in range(20)]
    assert len(producer.sent) > 1, "more than one batch was waited for"


async def test_a_wait_for_the_last_of_many_fails_on_a_loss_among_them(outbox, producer):
    producer.error = MessageSizeTooLargeError()
    done = outbox.put_all("t", 0, [(b"%02d" % n, b"x" * 100) for n in range(20)])
    with pytest.raises(OutboxStopped):
        await done
    assert len(producer.sent) == 1


async def test_order_holds_within_a_partition_and_one_batch_is_under_way(outbox, producer):
    producer.hold = True
    for n in range(40):
        outbox.put("t", 0, b"%02d" % n, b"x" * 100)
    await turns()
    assert len(producer.sent) == 1
    producer.hold = False
    producer.sent[0][3].set_result(Metadata(0))
    assert await outbox.drain(1)
    keys = [key for _, _, records, _ in producer.sent for key, _, _ in records]
    assert keys == [b"%02d" % n for n in range(40)]
    assert len(producer.sent) > 3, "batches are bounded"


async def test_headers_and_tombstones_arrive(outbox, producer):
    await outbox.put("t", 0, b"k", None, headers=[("a", b"1"), ("b", b"")])
    assert producer.sent[0][2] == [(b"k", None, [("a", b"1"), ("b", b"")])]


async def test_an_offset_the_broker_no_longer_knows_is_minus_one(outbox, producer):
    producer.hold = True
    future = outbox.put("t", 0, b"k", b"v")
    await turns()
    producer.sent[0][3].set_result(Metadata(-1))
    assert await future == -1


async def test_room_waits_for_acknowledgements(outbox, producer):
    producer.hold = True
    await outbox.room()
    for _ in range(6):
        outbox.put("t", 0, b"k", b"x" * 900)
    waiting = asyncio.create_task(outbox.room())
    await turns()
    assert not waiting.done()
    assert outbox.pending_bytes > 5000
    producer.hold = False
    producer.sent[0][3].set_result(Metadata(0))
    await asyncio.wait_for(waiting, 1)
    assert await outbox.drain(1)
    assert outbox.pending_bytes == 0


async def test_drain_reports_when_the_deadline_came_first(outbox, producer):
    producer.hold = True
    outbox.put("t", 0, b"k", b"v")
    assert not await outbox.drain(0.05)


async def test_the_oldest_record_without_acknowledgement_has_an_age(outbox, producer, clock):
    producer.hold = True
    assert outbox.oldest_unacked_age_ms() == 0
    outbox.put("t", 0, b"k", b"v")
    clock.now = 700
    outbox.put("t", 1, b"k", b"v")
    clock.now = 1000
    assert outbox.oldest_unacked_age_ms() == 1000
    await turns()
    producer.sent[0][3].set_result(Metadata(0))
    await turns()
    assert outbox.oldest_unacked_age_ms() == 300


@pytest.mark.parametrize(
    "error", [MessageSizeTooLargeError(), KafkaConnectionError()], ids=["final", "retriable"]
)
async def test_nothing_is_sent_after_a_batch_that_failed(outbox, producer, switch, error):
    """Retriable or not: what aiokafka gives up on has left a hole in the sequence numbers."""
    producer.hold = True
    waiting = outbox.put("t", 1, b"other", b"v")
    await turns()
    producer.error = error
    lost = outbox.put("t", 0, b"checkpoint-7", b"v")
    late = outbox.put("t", 2, b"k", b"v")
    await turns()
    assert switch.reason.code == ExitCode.SEND_FAILED
    assert "t-0" in switch.reason.reason
    assert "checkpoint-7" in switch.reason.reason
    for future in (waiting, lost, late):
        with pytest.raises(OutboxStopped):
            await future
    sent = len(producer.sent)
    with pytest.raises(OutboxStopped, match="checkpoint-7"):
        outbox.put("t", 0, b"k", b"v")
    with pytest.raises(OutboxStopped):
        await outbox.room()
    with pytest.raises(OutboxStopped):
        await producer.client.send(1, PRODUCE)
    await turns()
    assert len(producer.sent) == sent
    assert not await outbox.drain(1)


async def test_a_record_too_large_is_named_and_final(outbox, producer, switch):
    with pytest.raises(OutboxStopped, match=r"t-0: record b'big' of \d+ bytes"):
        outbox.put("t", 0, b"big", b"x" * 10_000)
    assert switch.reason.code == ExitCode.SEND_FAILED
    assert producer.sent == []


async def test_missing_metadata_is_waited_for(outbox, producer):
    producer.metadata_errors = [KafkaConnectionError(), KafkaConnectionError()]
    assert await outbox.put("t", 0, b"k", b"v") == 100


async def test_a_partition_that_was_added_is_asked_for(outbox, producer):
    producer.after_asking = {0, 1, 2, 3}
    assert await outbox.put("t", 3, b"k", b"v") == 100


async def test_a_partition_that_is_not_there_is_waited_for_and_given_up_with_what_mends_it(
    outbox, producer, switch, clock
):
    # The topic was created again with fewer. Workers ended after two seconds, again and again.
    outbox.explain = lambda topic: f"{topic} has 3 partitions and needs 8; run `mend`"
    written = outbox.put("t", 7, b"k", b"v")
    await turns()
    assert not written.done()
    clock.now = 60_001
    with pytest.raises(OutboxStopped, match="t has 3 partitions and needs 8; run `mend`"):
        await written
    assert switch.reason.code == ExitCode.SEND_FAILED


async def test_a_record_not_acknowledged_within_the_limit_ends_the_process(
    outbox, producer, switch, clock
):
    producer.hold = True
    outbox.put("t", 0, b"first", b"v")
    await turns()
    clock.now = 60_001
    await asyncio.sleep(0.4)
    assert switch.reason.code == ExitCode.SEND_FAILED
    assert "first" in switch.reason.reason
    assert "not acknowledged for 60001 ms" in switch.reason.reason


async def test_a_process_that_was_away_puts_and_sends_nothing(
    outbox, producer, switch, presence, clock
):
    presence.beat()
    producer.hold = True
    outbox.put("t", 0, b"k", b"v")
    await turns()
    clock.now = 3001
    presence.beat()
    with pytest.raises(OutboxStopped, match="away for 3001 ms"):
        await producer.client.send(1, PRODUCE)
    with pytest.raises(OutboxStopped):
        outbox.put("t", 0, b"k", b"v")
    assert switch.reason.code == ExitCode.AWAY
    assert producer.requests == []


async def test_a_stop_from_elsewhere_stops_the_outbox_too(outbox, producer, switch):
    producer.hold = True
    future = outbox.put("t", 0, b"k", b"v")
    await asyncio.to_thread(switch.trip, Fatal(ExitCode.NO_PROGRESS, "stuck"))
    with pytest.raises(OutboxStopped, match="stuck"):
        await future
    with pytest.raises(OutboxStopped, match="stuck"):
        outbox.put("t", 0, b"k", b"v")


async def test_other_requests_pass_the_gate(outbox, producer, switch):
    switch.trip(Fatal(ExitCode.CRASHED, "x"))
    await producer.client.send(1, "metadata request")
    assert producer.requests == ["metadata request"]

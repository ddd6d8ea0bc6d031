"""Where events are kept as Kafka falls silent, comes back or fails; the producer is a stub here."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from aiokafka.errors import MessageSizeTooLargeError

from streams.door.kafka_link import Connected, KafkaLink
from streams.door.keeping import EventKeeper
from streams.door.kept_record import KeptRecord
from streams.door.spool import Spool, SpoolFullError
from streams.settings import Settings


class Producer:
    """Acknowledges at once while it is answered; else when it is told to."""

    def __init__(self):
        self.answered = True
        self.given = []
        self.waiting = []

    async def send(self, _topic, value, **_record):
        self.given.append(value.decode())
        future = asyncio.get_running_loop().create_future()
        self.waiting.append(future)
        if self.answered:
            self.answer()
        return future

    def answer(self, error=None):
        for future in self.waiting:
            future.set_exception(error) if error else future.set_result(None)
        self.waiting = []


def connected():
    return Connected(Producer(), asyncio.get_running_loop().create_future())


def events(*names):
    return [KeptRecord("orders", b"key", name.encode(), 1_000) for name in names]


@pytest.fixture
def keeping(tmp_path):
    @contextlib.asynccontextmanager
    async def make(bytes_max=1 << 20, wait_ms=100):
        link = KafkaLink(Settings())
        link._connected = connected()
        keeper = EventKeeper(link, Spool(tmp_path / "spool", bytes_max), wait_ms)
        running = asyncio.create_task(keeper.run())
        try:
            yield keeper, link
            assert not running.done()
        finally:
            running.cancel()
            await asyncio.wait({running})
            await keeper.close()

    return make


async def until(condition):
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - of an object that tells nobody
            await asyncio.sleep(0.01)


async def test_what_the_producer_has_when_kafka_falls_silent_is_not_given_twice(keeping):
    async with keeping() as (keeper, link):
        producer = link.connected.producer
        assert await keeper.keep(events("a")) == "kafka"
        producer.answered = False
        assert await keeper.keep(events("b1", "b2")) == "spool"
        assert await keeper.keep(events("c")) == "spool"
        assert keeper.kept == "spool"
        assert producer.given == ["a", "b1", "b2"], "what came later waits on disk alone"
        producer.answered = True
        producer.answer()
        await until(lambda: keeper.kept == "kafka")
        assert await keeper.keep(events("d")) == "kafka"
        assert producer.given == ["a", "b1", "b2", "c", "d"]


async def test_what_a_producer_that_was_given_up_had_is_given_to_the_next_one(keeping):
    async with keeping() as (keeper, link):
        first, second = link.connected, connected()
        first.producer.answered = False
        assert await keeper.keep(events("a", "b")) == "spool"
        link._connected = second
        first.producer.answer(MessageSizeTooLargeError())
        await until(lambda: keeper.kept == "kafka")
        assert second.producer.given == ["a", "b"]


async def test_a_record_that_kafka_refuses_waits_on_disk_with_a_new_producer(keeping):
    async with keeping() as (keeper, link):
        first, second = link.connected, connected()
        first.producer.answered = False
        kept = asyncio.create_task(keeper.keep(events("a")))
        await until(lambda: first.producer.waiting)
        link._connected = second
        second.producer.answered = False
        first.producer.answer(MessageSizeTooLargeError())
        assert await kept == "spool"
        assert first.given_up.done()
        await until(lambda: second.producer.given == ["a"])


async def test_before_kafka_has_answered_events_wait_on_disk(keeping):
    async with keeping() as (keeper, link):
        there, link._connected = link.connected, None
        assert await keeper.keep(events("a")) == "spool"
        link._connected = there
        link._changed.set()
        await until(lambda: keeper.kept == "kafka")
        assert there.producer.given == ["a"]


async def test_where_there_is_no_room_nothing_is_promised_and_kafka_is_asked_again(keeping):
    async with keeping(bytes_max=10) as (keeper, link):
        producer = link.connected.producer
        producer.answered = False
        with pytest.raises(SpoolFullError):
            await keeper.keep(events("a"))
        producer.answered = True
        await until(lambda: keeper.kept == "kafka")
        assert await keeper.keep(events("b")) == "kafka"


async def test_a_keeper_begins_with_what_the_one_before_has_left(keeping, tmp_path):
    left = Spool(tmp_path / "spool", 1 << 20)
    left.append([events("a"), events("b")])
    left.close()
    async with keeping() as (keeper, link):
        assert keeper.kept == "spool"
        await until(lambda: keeper.kept == "kafka")
        assert link.connected.producer.given == ["a", "b"]

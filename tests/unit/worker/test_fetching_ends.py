"""A fetch that waits when partitions are taken away takes nothing of the next assignment."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import ConsumerStoppedError

from streams.worker import consumer_thread
from streams.worker.answers import Answers
from streams.worker.consumer_thread import ChunkConsumerThread, FetchSettings

SOURCE, CHANGELOG = TopicPartition("orders", 0), TopicPartition("changelog", 0)


class Records:
    """Stands for aiokafka's fetcher, which waits until there are records and takes them."""

    _closed = False
    _subscriptions = SimpleNamespace(fetch_context=nullcontext)

    def __init__(self):
        self.there = asyncio.Event()
        self.taken = []

    async def fetched_records(self, partitions, **_):
        await self.there.wait()
        found = [tp for tp in (SOURCE, CHANGELOG) if not partitions or tp in partitions]
        self.taken += found
        return {tp: ["chunk"] for tp in found}


class Faust:
    """Stands for Faust's consumer on the main loop."""

    flow_active = True

    async def threadsafe_partitions_revoked(self, _loop, _revoked):
        pass

    async def threadsafe_partitions_assigned(self, _loop, _assigned, _generation):
        pass


@pytest.fixture
def thread(monkeypatch):
    monkeypatch.setattr(consumer_thread, "_BEAT_S", 0)
    made = ChunkConsumerThread.__new__(ChunkConsumerThread)
    made._fetch, made._fetching, made._revoked = FetchSettings(1, 100, 1 << 20), set(), False
    made.consumer, made.thread_loop, made._answers = Faust(), None, Answers(3000)
    return made


@pytest.fixture
async def fetcher():
    return Records()


def ask(thread, fetcher, active):
    consumer = SimpleNamespace(_fetcher=fetcher, _closed=False)
    return asyncio.ensure_future(thread._fetch_records(consumer, active, timeout=1.0))


async def test_a_fetch_takes_what_is_asked_for_when_it_is_asked(thread, fetcher):
    active = {SOURCE}
    asked = ask(thread, fetcher, active)
    await asyncio.sleep(0.01)
    active.clear()  # Faust pauses all, in the same set
    fetcher.there.set()
    assert await asked == {SOURCE: ["chunk"]}
    assert not thread._fetching


async def test_a_fetch_that_waits_ends_with_its_assignment(thread, fetcher):
    asked = ask(thread, fetcher, {SOURCE})
    await asyncio.sleep(0.01)
    await thread.on_partitions_revoked({SOURCE})
    assert await asyncio.wait_for(asked, 5) == {}
    assert await ask(thread, fetcher, {SOURCE}) == {}, "not before there is another"
    await thread.on_partitions_assigned({SOURCE, CHANGELOG}, 2)
    fetcher.there.set()
    assert fetcher.taken == []
    assert await ask(thread, fetcher, {CHANGELOG}) == {CHANGELOG: ["chunk"]}


async def test_what_brokers_answer_is_noted_while_something_is_owned(thread):
    """A worker that fetches and is not heard by its group ends (worker/answers.py)."""
    now, state = [0], SimpleNamespace(timestamp=object())
    thread._chunked, thread._monotonic = {SOURCE.topic}, lambda: now[0]
    thread._intake = SimpleNamespace(base=lambda _sp: 0, chunk_topics=())
    assignment = SimpleNamespace(state_value=lambda _tp: state)
    request = SimpleNamespace(topics=[(SOURCE.topic, [(SOURCE.partition, 0, 0)])])

    async def answered(*_):
        state.timestamp = object()
        return True

    async def unanswered(*_):
        return False

    async def fetch(until_ms, proceed):
        for at_ms in range(now[0], until_ms, 1000):
            now[0], fetcher = at_ms, SimpleNamespace(_records={})
            await thread._on_fetch(fetcher, proceed, assignment, 1, request)

    await fetch(70_000, unanswered)
    assert thread._answers.unheard_ms is None
    await fetch(140_000, answered)
    assert thread._answers.unheard_ms == 70_000
    await thread.on_partitions_revoked({SOURCE})
    assert thread._answers.unheard_ms is None
    await fetch(280_000, answered)
    assert thread._answers.unheard_ms is None


async def test_nothing_is_asked_of_no_partition(thread, fetcher):
    fetcher.there.set()
    assert await ask(thread, fetcher, set()) == {}
    assert fetcher.taken == []


async def test_an_error_of_the_fetch_comes_out(thread, fetcher):
    fetcher._closed = True
    with pytest.raises(ConsumerStoppedError):
        await ask(thread, fetcher, {SOURCE})

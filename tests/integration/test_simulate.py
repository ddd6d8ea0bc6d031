"""The simulated shops against a real broker: what was reported is what is in the log."""

from __future__ import annotations

import asyncio
from collections import Counter

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from streams import clock
from streams.index.events import Rejected, decode_orders, decode_payments
from streams.ops.simulate_options import ShopOptions
from streams.ops.simulate_profile import load_profile
from streams.ops.simulate_run import Span, simulate
from streams.ops.simulator import Shopfloor
from streams.ops.topics import TopicsError, create_topics, wanted_topics
from streams.settings import load_settings

pytestmark = pytest.mark.stack
PROFILE = load_profile()
OPTIONS = ShopOptions(seed=5, rate_per_s=60, season="flat", duplicates=0.02, out_of_order=0.05)


@pytest.fixture
def settings(stack, unique):
    return load_settings(
        overrides={
            "kafka.bootstrap_servers": stack.bootstrap,
            "topics.prefix": unique("ecindex"),
            "topics.orders": unique("orders"),
            "topics.payments": unique("payments"),
        }
    )


async def records_of(settings, topic):
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.kafka.bootstrap_servers)
    async with consumer:
        await consumer._client.set_topics([topic])
        partitions = [TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning()
        ends = await consumer.end_offsets(partitions)
        found = []
        while len(found) < sum(ends.values()):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                found += records
        return found


async def test_what_was_reported_is_in_the_log_and_is_what_the_core_says(settings):
    await create_topics(settings.kafka, wanted_topics(settings, inputs=3, arrival="producer"))
    start = clock.now_ms()
    span = Span(start, backfill_ms=20_000, for_ms=1_500)
    summary = await simulate(settings, PROFILE, OPTIONS, span, asyncio.Event())

    expected = Shopfloor(PROFILE, OPTIONS, start - 20_000).events_between(
        start - 20_000, start + 1_500
    )
    assert summary.events == len(expected) > 500
    kinds = Counter(msgspec.json.decode(event.value)["type"] for event in expected)
    assert summary.by_type == dict(sorted(kinds.items()))
    assert (summary.first_ms, summary.last_ms) == (
        expected[0].timestamp_ms,
        expected[-1].timestamp_ms,
    )
    for name, decode in (("orders", decode_orders), ("payments", decode_payments)):
        records = await records_of(settings, getattr(settings.topics, name))
        sent = [event for event in expected if event.topic == name]
        assert Counter((r.key, r.value, r.timestamp) for r in records) == Counter(
            (event.key, event.value, event.timestamp_ms) for event in sent
        )
        assert not [e for e in decode([r.value for r in records]) if isinstance(e, Rejected)]
        by_key = {}
        for record in records:
            assert by_key.setdefault(record.key, record.partition) == record.partition


async def test_stopping_ends_it_and_flushes(settings):
    await create_topics(settings.kafka, wanted_topics(settings, inputs=1))
    stopping = asyncio.Event()
    running = asyncio.create_task(
        simulate(settings, PROFILE, OPTIONS, Span(clock.now_ms()), stopping)
    )
    records = []
    while not records:
        await asyncio.sleep(0.1)
        records = await records_of(settings, settings.topics.orders)
    stopping.set()
    summary = await running
    found = [await records_of(settings, topic) for topic in (settings.topics.orders,)]
    assert len(found[0]) == summary.by_type["order.placed"]


async def test_history_needs_inputs_that_keep_the_producers_time(settings):
    await create_topics(settings.kafka, wanted_topics(settings, inputs=1, arrival="broker"))
    span = Span(clock.now_ms(), backfill_ms=1_000, for_ms=1)
    with pytest.raises(TopicsError, match="LogAppendTime"):
        await simulate(settings, PROFILE, OPTIONS, span, asyncio.Event())


async def test_missing_inputs_are_named_at_once(settings):
    with pytest.raises(TopicsError, match="topics create --inputs"):
        await simulate(settings, PROFILE, OPTIONS, Span(clock.now_ms()), asyncio.Event())

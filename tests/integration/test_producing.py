"""Sending events one by one and as batches: where they land, in which order, counted alike."""

from __future__ import annotations

from collections import defaultdict

import pytest
from support.kafka import read_all

from streams.records.kafka_topics import create_topics, wanted_topics
from streams.records.producing import BATCH_BYTES, event_sender
from streams.settings import load_settings
from streams.sources.outgoing import Outgoing

pytestmark = pytest.mark.stack
START_MS = 1_700_000_000_000
FILLER = b"x" * 300


def events(count: int, since: int = 0) -> list[Outgoing]:
    """Events of 40 orders in turn, a third of which are payments."""
    return [
        Outgoing(
            "payments" if number % 3 == 0 else "orders",
            b"order-%d" % (number % 40),
            b'{"type":"some.kind","market":"PK","n":%d,"filler":"%b"}' % (number, FILLER),
            START_MS + number,
        )
        for number in range(since, since + count)
    ]


@pytest.fixture
async def settings(stack, unique):
    settings = load_settings(
        overrides={
            "kafka.bootstrap_servers": stack.bootstrap,
            "topics.prefix": unique("ecindex"),
            "topics.orders": unique("orders"),
            "topics.payments": unique("payments"),
        }
    )
    await create_topics(settings.kafka, wanted_topics(settings, inputs=3, arrival="producer"))
    return settings


async def by_partition(settings):
    found = defaultdict(list)
    for name in ("orders", "payments"):
        topic = getattr(settings.topics, name)
        for record in await read_all(settings.kafka.bootstrap_servers, topic):
            found[name, record.partition].append((record.key, record.value, record.timestamp))
    return dict(found)


async def test_many_at_once_land_where_one_by_one_would_in_the_same_order(settings):
    first, many, last = events(120), events(4_000, 120), events(80, 4_120)
    assert sum(len(event.value) for event in many) > 4 * BATCH_BYTES, "several batches a partition"
    async with event_sender(settings) as sender:
        for event in first:
            await sender.send(event)
        await sender.send_history(many)
        for event in last:
            await sender.send(event)
    assert sender.sent.events == 4_200
    assert (sender.sent.first_ms, sender.sent.last_ms) == (START_MS, START_MS + 4_199)
    found = await by_partition(settings)
    # Each of 40 orders is in both inputs among the first 120, which went one by one.
    chosen = {
        (name, key): (name, partition)
        for (name, partition), records in found.items()
        for key, _, at_ms in records
        if at_ms < START_MS + len(first)
    }
    wanted = defaultdict(list)
    for event in (*first, *many, *last):
        wanted[chosen[event.topic, event.key]].append((event.key, event.value, event.timestamp_ms))
    assert found == dict(wanted)


async def test_a_record_larger_than_a_batch_is_sent_too(settings):
    large = Outgoing(
        "orders", b"o", b'{"type":"t","market":"PK","x":"%b"}' % (b"y" * BATCH_BYTES), 1
    )
    async with event_sender(settings) as sender:
        await sender.send_history([*events(2), large, *events(1, 2)])
    assert sender.sent.events == 4
    found = await by_partition(settings)
    assert large[1:] in [record for records in found.values() for record in records]


async def test_nothing_to_send_is_nothing_sent(settings):
    async with event_sender(settings) as sender:
        await sender.send_history([])
    assert sender.sent.events == 0
    assert await by_partition(settings) == {}

"""Ids of shoppers are nowhere: planted ones are searched for in all that a running stack has written."""

from __future__ import annotations

import aiohttp
import pytest
import redis.asyncio
from aiokafka.admin import AIOKafkaAdminClient
from support.flow_harness import order
from support.installation import Installation
from support.kafka import read_all

from streams.clock import now_ms

pytestmark = pytest.mark.stack

MARK = "maria.planted"
"""In every planted id, and in nothing else."""


def planted(number: int) -> str:
    return f"{MARK}.{number}@example.org"


async def sell(installed, producer):
    """Orders of every outcome, by planted shoppers; how many have what kind of end."""
    at_ms = now_ms()
    plain = 60
    for number in range(plain):  # by the compiled half of the fold
        event = order(f"e{number}", at_ms, shopper_id=planted(number), new_shopper=number % 2 == 0)
        await installed.send(producer, "orders", event, at_ms=at_ms)
    for number, changes in enumerate(
        (
            {"note": "half of a pair \ud83d"},  # by the Python half, as are the next two
            {"kind": "order.cancelled", "placed_at": order("x", at_ms)["occurred_at"]},
            {"currency": "XXX"},
            {"market": "XX"},
            {"currency": MARK},
            {"market": MARK},
            {"placed_at": "no time"},
            {"lines": [("Books", 1, -1)]},
            {"region": 5},
        )
    ):
        event = order(f"o{number}", at_ms, shopper_id=planted(1_000 + number), **changes)
        await installed.send(producer, "orders", event, at_ms=at_ms)
    late = order("late", at_ms - 600_000, shopper_id=planted(2_000))
    await installed.send(producer, "orders", late, at_ms=at_ms)
    for broken in (
        f'{{"shopper_id":"{planted(3_000)}"',
        f'{{"shopper_id":"{planted(3_001)}","shopper_id":"x"}}',
        f'{{"event_id":"{planted(3_002)}\\u0007","type":"order.placed"}}',
    ):
        await installed.send(producer, "orders", broken.encode(), at_ms=at_ms)
    await producer.flush()
    return plain


async def test_planted_ids_are_in_no_topic_key_metric_or_log(stack, unique, tmp_path):
    installed = Installation(stack, unique("pv"), tmp_path, inputs=2)
    installed.overrides["log.level"] = "debug"
    await installed.create_topics()
    worker = installed.start_worker()
    async with installed.producer() as producer:
        plain = await sell(installed, producer)

    async def counted():
        days = await installed.redis_values("PK", "days")
        # The late order counts in its day too, which may be the day before.
        by_day = [each for name, each in days.items() if name.startswith("orders:market:all:")]
        return sum(map(int, by_day)) == plain + 5

    await installed.until(counted)
    assert "shoppers:market:all:1h@status" in await installed.redis_values("PK")
    report = await installed.audit(markets=["PK"])
    assert report.equal, "\n".join(report.lines())

    found = await in_topics(installed)
    topics = installed.settings.topics
    kept = {topics.orders, topics.late, topics.dead_letters}  # as they came, by contract
    assert found.keys() >= {*kept, topics.partials, topics.values, topics.journal}
    assert {topic for topic, count in found.items() if count} == kept, found
    assert await in_redis(installed) == 0
    assert await in_metrics(installed.metrics_of(worker)) == 0
    installed.stop()
    assert MARK not in worker.log_tail(1_000_000)
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or MARK.encode() not in path.read_bytes(), path


async def in_topics(installed) -> dict[str, int]:
    """Number of records with a planted id, by topic of the installation, changelogs included."""
    admin = AIOKafkaAdminClient(bootstrap_servers=installed.stack.bootstrap)
    await admin.start()
    try:
        names = [name for name in await admin.list_topics() if name.startswith(installed.name)]
    finally:
        await admin.close()
    found = {}
    for name in names:
        texts = [
            b"\0".join((each.key or b"", each.value or b"", *(value for _, value in each.headers)))
            for each in await read_all(installed.stack.bootstrap, name)
        ]
        found[name] = sum(MARK.encode() in text for text in texts)
    return found


async def in_redis(installed) -> int:
    """How many keys, fields, members or entries of the installation hold a planted id."""
    client = redis.asyncio.Redis.from_url(installed.stack.redis_url)
    try:
        keys = [key async for key in client.scan_iter(match=f"{installed.name}:*")]
        assert len(keys) > 5
        # DUMP may compress: every value is read in plain by its type.
        found = sum(MARK.encode() in key for key in keys)
        for key in keys:
            read = {
                b"hash": client.hgetall,
                b"string": client.get,
                b"set": client.smembers,
                b"zset": lambda key: client.zrange(key, 0, -1),
                b"stream": client.xrange,
            }[await client.type(key)]
            found += MARK in repr(await read(key))
        return found
    finally:
        await client.aclose()


async def in_metrics(address: str) -> int:
    async with aiohttp.ClientSession() as session, session.get(address) as answer:
        text = await answer.text()
    assert "ecindex_events_total" in text
    return text.count(MARK)

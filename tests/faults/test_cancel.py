"""An order of three days ago is cancelled while workers are killed: its day is revised exactly once."""

from __future__ import annotations

import asyncio
import json
from collections import Counter

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from support.kafka import read_all
from support.rig import now_ms, until
from support.shop import instant

from streams.index.instants import parse_instant

pytestmark = [pytest.mark.stack, pytest.mark.asyncio(loop_scope="session")]

MARKET, CURRENCY = "MM", "MMK"  # no other test of this directory sells there
DAY_MS, MINUTE_MS = 86_400_000, 60_000


@pytest_asyncio.fixture(loop_scope="session", autouse=True)
async def _whole(bench):
    await bench.whole()


def order(kind, number, at_ms, **more):
    event = {
        "event_id": f"{kind}-{number}",
        "type": f"order.{kind}",
        "occurred_at": instant(at_ms),
        "market": MARKET,
        "order_id": f"cancelled-{number}",
        "currency": CURRENCY,
        "lines": [{"sku": "s", "category": "Books", "quantity": 2, "unit_price_minor": 150}],
    }
    return json.dumps({**event, **more}).encode()


@pytest.mark.deep
async def test_a_cancel_three_days_later_revises_its_day_once_though_workers_are_killed(bench):
    rig = bench.rig
    placed_ms = now_ms() - 3 * DAY_MS
    day = instant(placed_ms + 6 * 3_600_000 + 1_800_000)[:10]  # Myanmar is at +06:30
    for number in range(2):
        await rig.send("orders", 0, order("placed", number, placed_ms), timestamp_ms=placed_ms)

    sold = []

    async def live(number, *, ago_ms=0):
        for partition in range(rig.inputs):
            at_ms = now_ms() - ago_ms
            sold.append(at_ms)
            await rig.send("orders", partition, order("placed", f"{number}-{partition}", at_ms))

    async def shown(name):
        redis = await rig.read_redis()
        return redis.get(MARKET, {}).get("days", {}).get(f"{name}:market:all:{day}")

    async def kill():
        for worker in rig.workers:
            rig.fault(f"kill -9 {worker.name}")
            await asyncio.to_thread(worker.child.kill)

    await live(1, ago_ms=110_000)  # late, and its minute has ended when the owners are killed
    await until(lambda: _equals(shown("orders_valid"), "2"), 60, "the day as it ended")
    cancelled = order("cancelled", 0, now_ms(), placed_at=instant(placed_ms))
    await rig.send("orders", 0, cancelled)  # an order of before the log is known where it came late
    await kill()  # before any worker can have published it
    await until(lambda: _equals(shown("orders_valid"), "1"), 90, "the day revised")
    await kill()  # the next owner finds it published
    await rig.ready()
    await live(2)
    await bench.judge()

    assert [await shown(name) for name in ("orders", "orders_net", "sales_valid", "sales")] == [
        "2",
        "1",
        "300",
        "600",
    ]
    records = await read_all(rig.bootstrap, rig.settings.topics.journal)
    revisions = {
        (f"{value['index']}:{value['member']}", value["revision"], each["cause"], each["previous"])
        for record in records
        for each in json.loads(record.value).get("revisions", ())
        if (value := each["value"])["market"] == MARKET and value.get("day") == day
    }
    changed = ("orders_valid", "orders_net", "units_valid", "units_net", "sales_valid", "sales_net")
    found = {name: rest for name, *rest in revisions}
    assert len(revisions) == len(found), revisions
    assert {name: found[f"{name}:all"] for name in changed} == {
        "orders_valid": [1, "cancel", 2],
        "orders_net": [1, "cancel", 2],
        "units_valid": [1, "cancel", 4],
        "units_net": [1, "cancel", 4],
        "sales_valid": [1, "cancel", 600],
        "sales_net": [1, "cancel", 600],
    }
    assert {each[1:3] for each in revisions} == {(1, "cancel")}

    # The new owners never published these minutes, yet they restore them to an emptied Redis.
    history = f"{rig.tag(MARKET)}:history"
    async with Redis.from_url(rig.stack.redis_url) as client:

        async def minutes():
            points = [json.loads(text) for text in await client.zrange(history, 0, -1)]
            return {parse_instant(each["as_of"]): each["orders"] for each in points}

        await kill()
        rig.fault("Redis emptied")
        await client.flushall()
        await rig.ready()
        await live(3)
        await until(lambda: _longer(minutes(), 1_440), 60, "a day of minutes")
        found = {
            end_ms: orders for end_ms, orders in (await minutes()).items() if not end_ms % MINUTE_MS
        }
    ends = Counter(at_ms // MINUTE_MS * MINUTE_MS + MINUTE_MS for at_ms in sold)
    assert found == {end_ms: ends[end_ms] for end_ms in found}
    assert sum(found.values()) >= rig.inputs, "of before the owners were killed"
    assert await shown("orders_valid") == "1"


async def _longer(found, count):
    return len(await found) > count


async def _equals(found, wanted):
    return await found == wanted

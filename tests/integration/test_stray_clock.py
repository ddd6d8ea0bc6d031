"""Producers stamp the inputs, and one server's clock is 55 minutes ahead: all other orders are right."""

from __future__ import annotations

import pytest
from support.flow_harness import order, payment
from support.installation import Installation
from support.kafka import read_all
from support.reference import to_ms

from streams.clock import now_ms

pytestmark = pytest.mark.stack
AHEAD_MS = 55 * 60_000
EVENTS = {"orders": order, "payments": payment}


class Shop:
    """Sells: an order and its payment in each partition, stamped by the shop's clock."""

    def __init__(self, installed, producer):
        self.installed = installed
        self.producer = producer
        self.sent = 0

    async def sell(self, partition, ahead_ms=0):
        self.sent += 1
        at_ms = now_ms() + ahead_ms
        for topic, event in EVENTS.items():
            await self.installed.send(
                self.producer, topic, event(f"e{self.sent}", at_ms), at_ms=at_ms,
                partition=partition, imported=False,
            )  # fmt: skip
        await self.producer.flush()

    async def until(self, from_ms):
        """Sell until the market is live and fresh to an instant; never is its time ahead of now."""

        async def fresh():
            for partition in range(2):
                await self.sell(partition)
            values = await self.installed.redis_values("PK")
            as_of_ms = to_ms(values["@as_of"]) if "@as_of" in values else 0
            assert as_of_ms <= now_ms(), values
            return as_of_ms >= from_ms and values["@phase"] == "live"

        await self.installed.until(fresh, every_s=0.5)


async def test_one_record_of_a_fast_clock_changes_nothing_of_the_others(stack, unique, tmp_path):
    installed = Installation(stack, unique("stray"), tmp_path, inputs=2)
    await installed.create_topics()
    for _ in range(2):
        installed.start_worker()
    async with installed.producer() as producer:
        shop = Shop(installed, producer)
        await shop.until(now_ms())
        await shop.sell(0, ahead_ms=AHEAD_MS)
        await shop.until(now_ms() + 10_000)
        installed.workers[0].kill()  # what is doubted stands in the checkpoint
        await shop.until(now_ms() + 5_000)

    async def all_are_counted():
        days = await installed.redis_values("PK", "days")
        found = dict.fromkeys(EVENTS, 0)
        for name, text in days.items():
            index, dimension, *_ = name.split(":")
            if index in found and dimension == "market":
                found[index] += int(text)
        return found == dict.fromkeys(EVENTS, shop.sent)

    await installed.until(all_are_counted)
    for topic in (installed.settings.topics.late, installed.settings.topics.dead_letters):
        assert await read_all(installed.stack.bootstrap, topic) == []
    report = await installed.audit()
    assert report.equal, "\n".join(report.lines())
    installed.stop()

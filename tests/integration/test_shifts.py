"""A shift from a real worker: its record in Kafka, its field in Redis, its series in the scrape."""

from __future__ import annotations

import json

import msgspec
import pytest
from support.installation import Installation
from support.kafka import read_all

from streams.clock import now_ms
from streams.index.instants import parse_instant
from streams.index.panes import HOUR_MS, MINUTE_MS
from streams.publish.incident_records import decode_incident
from tests.integration.test_expectation import expected_orders, write_seed
from tests.support.flow_harness import order, payment

pytestmark = pytest.mark.stack
RUSH = 30


class Shop:
    """Sells ``times`` as many books as expected, each at its own time."""

    def __init__(self, installed):
        self.installed = installed
        self.sold_until_ms = now_ms() - 8 * MINUTE_MS
        self.number = 0

    async def sell(self, until_ms, times):
        async with self.installed.producer() as producer:
            waiting = []
            while self.sold_until_ms < until_ms:
                at_ms = self.sold_until_ms
                for topic, event in (
                    ("orders", order(f"e{self.number}", at_ms, lines=[("Books", 1, 100)])),
                    ("payments", payment(f"e{self.number}", at_ms)),
                ):
                    waiting.append(await self.installed.send(producer, topic, event, at_ms=at_ms))
                self.number += 1
                expected_ms = HOUR_MS / expected_orders(at_ms // HOUR_MS * HOUR_MS)
                self.sold_until_ms += max(1, round(expected_ms / times))
            for sent in waiting:
                await sent


@pytest.mark.deep
async def test_a_rush_is_published_by_a_worker(stack, unique, tmp_path):
    installed = Installation(stack, unique("shifts"), tmp_path)
    await installed.create_topics()
    shop = Shop(installed)
    began_ms = now_ms() - MINUTE_MS
    await shop.sell(began_ms, times=1)
    write_seed(tmp_path / "seed.csv", now_ms() // HOUR_MS * HOUR_MS)
    await installed.command("seed", str(tmp_path / "seed.csv"), "--json", check=0)
    installed.start_worker()

    async def published():
        await shop.sell(now_ms(), times=RUSH)
        topic = installed.settings.topics.shifts
        records = await read_all(stack.bootstrap, topic)
        found = [msgspec.json.decode(record.value) for record in records]
        return next((each for each in found if each["dimension"] == "market"), None)

    shift = await installed.until(published, 180)
    assert (shift["event"], shift["direction"], shift["market"]) == ("page", "up", "PK")
    assert abs(parse_instant(shift["start"]) - began_ms) <= 2 * MINUTE_MS
    assert shift["ratio"] > 2
    assert shift["contributors"]["category"][0]["member"] == "books"

    async def shown():
        return await installed.redis_values("PK", "shifts")

    active = await installed.until(shown)
    assert json.loads(active["market:all"])["direction"] == "up"
    ((name, text),) = (await installed.redis_values("PK", "incidents")).items()
    incident = decode_incident(text)
    assert (incident.id, incident.kind, incident.state) == (name, "jump", "open")
    assert json.loads(active["market:all"])["incident"] == shift["incident"] == name
    assert incident.difference.events > 0
    installed.stop()

"""One input stands still while the other flows: nothing that is counted from it is called fresh."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from redis.asyncio import Redis
from support.flow_harness import order, payment
from support.installation import Installation

from streams.clock import now_ms
from streams.index.instants import parse_instant
from streams.publish.keys import market_keys
from streams.reader import Limits, Reader, TooOldError

pytestmark = pytest.mark.stack

STEP_MS = 5_000


@pytest.fixture
async def installed(stack, unique, tmp_path):
    found = Installation(stack, unique("standing"), tmp_path, inputs=1)
    await found.create_topics()
    found.start_worker()
    yield found
    found.stop()


async def asked(installed, *arguments, code=0):
    _, out, _ = await installed.command(*arguments, "--json", check=code)
    return msgspec.json.decode(out.splitlines()[-1])


@pytest.mark.parametrize("standing", ["orders", pytest.param("payments", marks=pytest.mark.deep)])
async def test_values_of_an_input_that_stands_are_old_everywhere(installed, standing):
    settings = installed.settings
    topics = {"orders": settings.topics.orders, "payments": settings.topics.payments}
    (flowing,) = set(topics) - {standing}
    events = {"orders": order, "payments": payment}
    keys = market_keys("PK", settings.redis.keys_prefix)
    sent = 0

    async def send(producer, source):
        nonlocal sent
        sent += 1
        await installed.send(producer, source, events[source](f"e{sent}", now_ms()), at_ms=now_ms())
        await producer.flush()

    async with (
        installed.producer() as producer,
        Redis.from_url(settings.redis.url, decode_responses=True) as redis,
    ):

        async def as_of(name="@as_of"):
            return parse_instant(await redis.hget(keys.values, name) or "")

        async def published():
            for source in topics:
                await send(producer, source)
            return all([await as_of(f"@as_of:{source}") for source in topics])

        await installed.until(published)
        for _ in range(1_100):  # the partition halts: nobody reads on
            await installed.send(producer, standing, b"{", at_ms=now_ms())
        await producer.flush()

        async def apart():
            await send(producer, standing)
            await send(producer, flowing)
            old, new = await as_of(f"@as_of:{standing}"), await as_of(f"@as_of:{flowing}")
            return new - old >= 4 * STEP_MS and (old, new)

        await installed.until(apart)
        texts, encoded, changes = (
            await redis.hgetall(keys.values),
            await redis.get(keys.snapshot),
            await redis.xrevrange(keys.changes, count=1),
        )
        assert texts["@as_of"] == texts[f"@as_of:{standing}"] < texts[f"@as_of:{flowing}"]
        snapshot = msgspec.json.decode(encoded)
        assert snapshot["as_of"] == snapshot["sources"][standing] == texts["@as_of"]
        assert snapshot["sources"][flowing] > snapshot["as_of"]
        (_, newest) = changes[0]
        assert msgspec.json.decode(newest["sources"])[standing] == texts["@as_of"]

        # A reader whose limit lies between the two ages takes the one and refuses the other.
        now = now_ms()
        ages = {source: now - parse_instant(texts[f"@as_of:{source}"]) for source in topics}
        between = Limits((ages[standing] + ages[flowing]) // 2, None)

        def read():
            with Reader(
                settings.redis.url,
                prefix=settings.redis.keys_prefix,
                limits=between,
                now_ms=lambda: now,
            ) as reader:
                fresh = reader.get("PK", f"{flowing}:market:all:1m")
                with pytest.raises(TooOldError, match="the flow is behind"):
                    reader.get("PK", f"{standing}:market:all:1m")
                with pytest.raises(TooOldError, match="the flow is behind"):
                    reader.snapshot("PK")
                return fresh

        fresh = await asyncio.to_thread(read)
        assert fresh.as_of_ms >= parse_instant(texts[f"@as_of:{flowing}"])

        async def stale():
            await send(producer, flowing)
            (view,) = await asked(installed, "show", "PK", code=None)
            return view["state"] == "stale" and view

        view = await installed.until(stale)
        assert view["source_ages_s"][standing] > 30

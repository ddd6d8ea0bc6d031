"""A market whose as_of has run an hour ahead, and the documented way back."""

from __future__ import annotations

import asyncio
import shlex

import msgspec
import pytest
from redis.asyncio import Redis
from support.documented import PAGES, spans
from support.flow_harness import order, payment
from support.installation import Installation
from support.kafka import delete_topic, read_all

from streams.clock import now_ms
from streams.flow.compile import FENCE_KIND
from streams.flow.fence_record import decode_fence_record, encode_fence_record
from streams.flow.history_book import HistoryBook
from streams.index.history_records import ClockReset, reset_record
from streams.index.instants import parse_instant
from streams.index.panes import HOUR_MS
from streams.publish.keys import market_keys
from streams.reader import Limits, Reader
from streams.records.kafka_topics import connected, existing_partitions
from streams.settings import load_methodology
from streams.worker.history_reader import HistoryReader
from streams.worker.names import MERGED_TABLE, app_id, changelog_topic
from streams.worker.topic_ids import UNKNOWN, id_of, topic_identities

pytestmark = pytest.mark.stack

ANY_AGE = Limits(None, None)


@pytest.fixture
async def made(stack, unique, tmp_path):
    found = Installation(stack, unique("reset"), tmp_path, inputs=1, arrival="broker", partials=1)
    await found.create_topics()
    yield found
    found.stop()


@pytest.fixture
def installed(made):
    made.start_worker()
    return made


def documented():
    """The command as the runbook types it."""
    (found,) = {
        text
        for page in PAGES
        for text in spans(page)
        if text.startswith("ecindex clock reset M") and '"' in text
    }
    return shlex.split(found.replace("MARKET", "PK"))[1:]


async def plant_an_hour_ahead(installed):
    """Leave what a worker of version 0.2 left whose clock was an hour fast."""
    settings = installed.settings
    edition = load_methodology(settings).edition
    topic = changelog_topic(app_id(edition, settings.topics.prefix), MERGED_TABLE)
    kept = f"{FENCE_KIND}|PK|".encode()
    record = [
        each for each in await read_all(installed.stack.bootstrap, topic)
        if each.key.startswith(kept) and each.value
    ][-1]  # fmt: skip
    fence = decode_fence_record(record.value)
    ahead = msgspec.structs.replace(
        fence,
        as_of={each: at_ms + HOUR_MS for each, at_ms in fence.as_of.items()},
        headline=fence.headline + HOUR_MS,
        hours_until=now_ms() // HOUR_MS * HOUR_MS + HOUR_MS,
    )
    async with installed.producer() as producer:
        await producer.send_and_wait(topic, encode_fence_record(ahead), key=kept + b"fast.1")


@pytest.mark.deep
async def test_a_market_an_hour_ahead_goes_back_to_true_values(installed):
    settings = installed.settings
    keys = market_keys("PK", settings.redis.keys_prefix)
    sent = 0
    async with (
        installed.producer() as producer,
        Redis.from_url(settings.redis.url, decode_responses=True) as redis,
    ):

        async def values():
            nonlocal sent
            sent += 1
            await installed.send(producer, "orders", order(f"o{sent}", now_ms()))
            await installed.send(producer, "payments", payment(f"p{sent}", now_ms()))
            await producer.flush()
            return await redis.hgetall(keys.values)

        async def true_values():
            found = await values()
            as_of_ms = parse_instant(found.get("@as_of", "")) or 0
            counted = int(found.get("orders:market:all:1m", "0"))
            return abs(now_ms() - as_of_ms) < 20_000 and counted > 0 and found

        async def ahead():
            found = await values()
            return (parse_instant(found.get("@as_of", "")) or 0) > now_ms() + HOUR_MS // 2

        await installed.until(true_values)
        installed.stop()
        await plant_an_hour_ahead(installed)
        installed.start_worker()
        await installed.until(ahead)
        reader = Reader(settings.redis.url, prefix=settings.redis.keys_prefix, limits=ANY_AGE)
        before = await asyncio.to_thread(reader.get, "PK", "orders:market:all:1m")
        assert before.value == 0, "live and wrong, for an hour"

        _, out, _ = await installed.command(*documented(), check=0)
        assert out.startswith("PK: generation 1, as of ")
        found = await installed.until(true_values, within_s=15)
        assert found["@generation"] == "1"
        after = await asyncio.to_thread(reader.get, "PK", "orders:market:all:1m")
        reader.close()
        assert after.generation == 1
        assert after.as_of_ms < before.as_of_ms
        points = [score for _, score in await redis.zrange(keys.history, 0, -1, withscores=True)]
        assert max(points) <= now_ms()

    resets = [
        msgspec.json.decode(each.value)["resets"]
        for each in await read_all(installed.stack.bootstrap, settings.topics.journal)
        if b'"kind":"reset"' in each.value
    ]
    assert [reset["generation"] for (reset,) in resets] == [1]
    report = await installed.audit()
    assert report.equal, "\n".join(report.lines())


async def test_what_the_command_refuses_changes_nothing(installed):
    code, _, told = await installed.command("clock", "reset", "XX", "--reason", "why")
    assert code != 0
    assert "'XX' is not in methodology.toml" in told
    code, _, told = await installed.command("clock", "reset", "PK", "--reason", " ")
    assert code != 0
    assert "expected one line of 1 to 500 characters" in told
    assert not await read_all(installed.stack.bootstrap, installed.settings.topics.history)


async def test_what_is_declared_after_the_history_was_created_again_is_heard(installed):
    # The reader stood at the end of the log that is gone. In the new one it waited at that offset.
    topic = installed.settings.topics.history

    async def generation(wanted):
        return (await installed.redis_values("PK")).get("@generation") == wanted

    async def gone():
        return topic not in await existing_partitions(installed.settings.kafka)

    async with installed.producer() as producer:
        await installed.send(producer, "orders", order("o1", now_ms()))
        await installed.send(producer, "payments", payment("p1", now_ms()))
    await installed.until(lambda: generation("0"))
    await installed.command("clock", "reset", "PK", "--reason", "before", check=0)
    await installed.until(lambda: generation("1"))
    await delete_topic(installed.stack.bootstrap, topic)
    await installed.until(gone)
    orders = installed.settings.topics.orders
    async with connected(installed.settings.kafka) as admin:
        present = (await topic_identities(admin, [orders]))[orders].topic_id
    for lost in (
        ("clock", "reset", "PK", "--reason", "while it is gone"),
        ("expect", "PK", "all", "2026-11-01", "2026-11-02", "2"),
        ("topics", "accept", orders, f"id={present}"),
    ):
        code, _, said = await installed.command(*lost)
        assert code != 0
        assert topic in said, said
        assert "`ecindex topics create`" in said, said
    assert await gone()
    await installed.command("topics", "create", check=0)
    await installed.command("clock", "reset", "PK", "--reason", "after", check=0)
    await installed.until(lambda: generation("2"))


@pytest.mark.deep  # the promise is held above; this is the one reading
async def test_the_history_is_read_once_at_a_start(made):
    key, value = reset_record(ClockReset("PK", 1, "2026-11-01T00:00:00Z", "why"))
    topic = made.settings.topics.history
    async with connected(made.settings.kafka) as admin:
        known = (await topic_identities(admin, [topic]))[topic].topic_id
        seen = [UNKNOWN]  # by the watch of the topics
        book = CountingBook(["PK"])
        reader = HistoryReader(
            made.settings,
            book,
            lambda name: seen[-1] if name == topic else UNKNOWN,
            lambda name: id_of(admin._send_request, name),
        )
        async with made.producer() as producer:
            await producer.send_and_wait(topic, value, key=key)
            reading = asyncio.create_task(reader.run())
            await made.until(lambda: asyncio.sleep(0, reader.ready))
            seen.append(known)
            key, value = reset_record(ClockReset("PK", 2, "2026-11-01T00:00:00Z", "why"))
            await producer.send_and_wait(topic, value, key=key)
            await made.until(lambda: asyncio.sleep(0, book.markets["PK"].reset.generation == 2))
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    assert book.applied == 2


class CountingBook(HistoryBook):
    applied = 0

    def apply_record(self, key, value):
        self.applied += 1
        super().apply_record(key, value)

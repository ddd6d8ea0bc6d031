"""`streams.reader` against a real Redis that a real publisher fills and that is killed."""

from __future__ import annotations

import asyncio
import inspect
import itertools
from functools import partial

import pytest
from redis import Redis
from support.publications import AS_OF_MS, publication, value

from streams.index.panes import rfc3339
from streams.local.local_stack import LocalStack
from streams.publish import redis_state
from streams.publish.keys import market_keys
from streams.publish.metrics import Metrics
from streams.publish.redis_store import RedisStore
from streams.reader import (
    BEHIND_AFTER_MS,
    DEFAULT_PREFIX,
    SILENT_AFTER_MS,
    AbsentError,
    AsyncReader,
    Limits,
    Reader,
    TooOldError,
    UnreachableError,
)

pytestmark = pytest.mark.stack

NOW_MS = AS_OF_MS + 3_000
ORDERS, SALES, DAY = "orders:market:all:1m", "sales:market:all:1m", "orders:market:all:24h"
KEYS = market_keys("PK", DEFAULT_PREFIX)
VALUES = [
    value("orders", "market", "all", "1m", 12),
    value("sales", "market", "all", "1m", 2**70, unit="minor"),
    value("orders", "market", "all", "24h", None, status="filling", covered=0.1),
    value("category_share_by_orders", number=1e-7, unit="ratio"),
]
DEADLINE_S = 60


class Clock:
    """Stands until it is moved."""

    def __init__(self):
        self.ms = NOW_MS

    def __call__(self):
        return self.ms


class Both:
    """A reader of either kind, asked in the same way."""

    def __init__(self, reader):
        self.reader = reader

    async def ask(self, method, *arguments):
        called = getattr(self.reader, method)
        if isinstance(self.reader, Reader):
            return await asyncio.to_thread(called, *arguments)
        return await called(*arguments)

    async def get(self, market="PK", field=ORDERS):
        return await self.ask("get", market, field)

    async def snapshot(self, market="PK"):
        return await self.ask("snapshot", market)

    def watch(self):
        watched = self.reader.watch("PK", 0.01)
        following = watched.__anext__ if inspect.isasyncgen(watched) else partial(next, watched)

        async def one():
            if inspect.isasyncgen(watched):
                return await following()
            return await asyncio.to_thread(following)

        return lambda: asyncio.wait_for(one(), DEADLINE_S)

    async def close(self):
        await self.ask("close")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with LocalStack(tmp_path_factory.mktemp("redis"), with_kafka=False) as local:
        yield local.redis


@pytest.fixture
def client(server):
    with Redis.from_url(server.url) as client:
        client.flushall()
        yield client


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=[Reader, AsyncReader], ids=["sync", "async"])
async def make(request, server, clock, client):
    made = []

    def reader(**options):
        both = Both(request.param(server.url, now_ms=clock, **options))
        made.append(both)
        return both

    yield reader
    for each in made:
        await each.close()


@pytest.fixture
def reader(make):
    return make()


@pytest.fixture
async def publish(server, client):
    store = RedisStore(
        server.url,
        Metrics(markets=["PK"], version="0", edition=1, methodology="0"),
        prefix=DEFAULT_PREFIX,
        limits=redis_state.RedisLimits(60_000),
        timeout_s=3.0,
    )
    applied = itertools.count(10)

    async def write(
        values=VALUES, as_of_ms=AS_OF_MS, now_ms=NOW_MS, edition=1, definitions=0, fresh=False
    ):
        if fresh:
            store.drop("PK")
        made = publication(
            values,
            as_of_ms=as_of_ms,
            applied=next(applied),
            edition=edition,
            definitions=definitions,
        )
        await store.publish(made, now_ms)

    yield write
    await store.close()


async def test_value_status_and_age_come_at_once(reader, publish):
    await publish()
    found = await reader.get()
    assert (found.value, found.status, found.edition, found.phase) == (12, "ok", 1, "live")
    assert (found.as_of_ms, found.published_at_ms) == (AS_OF_MS, NOW_MS)


async def test_integers_are_exact_and_ratios_read_back_the_same(reader, publish):
    await publish()
    assert (await reader.get(field=SALES)).value == 2**70
    assert (await reader.get(field="category_share_by_orders:category:books:1m")).value == 1e-7


async def test_a_value_that_is_not_there_says_why(reader, publish):
    await publish()
    found = await reader.get(field=DAY)
    assert (found.value, found.status) == (None, "filling")


async def test_a_snapshot_is_every_value_of_one_version(reader, publish):
    await publish()
    assert (await reader.snapshot()).values == VALUES


async def test_absent_is_unknown_never_zero(reader, publish):
    with pytest.raises(AbsentError, match="nobody publishes"):
        await reader.get()
    with pytest.raises(AbsentError, match="nobody publishes"):
        await reader.snapshot()
    await publish()
    with pytest.raises(AbsentError, match="not among its values"):
        await reader.get(field="orders:market:all:2m")


@pytest.mark.parametrize("method", ["get", "snapshot"])
@pytest.mark.parametrize(
    ("silent_ms", "refused"), [(SILENT_AFTER_MS, False), (SILENT_AFTER_MS + 1, True)]
)
async def test_what_a_dead_publisher_left_is_refused(
    reader, publish, clock, method, silent_ms, refused
):
    await publish()
    clock.ms = NOW_MS + silent_ms
    if refused:
        with pytest.raises(TooOldError, match="last heard"):
            await getattr(reader, method)()
    else:
        await getattr(reader, method)()


@pytest.mark.parametrize(
    ("age_ms", "refused"), [(BEHIND_AFTER_MS, False), (BEHIND_AFTER_MS + 1, True)]
)
async def test_what_has_fallen_behind_is_refused(reader, publish, clock, age_ms, refused):
    clock.ms = AS_OF_MS + age_ms
    await publish(now_ms=clock.ms)
    if refused:
        with pytest.raises(TooOldError, match="behind"):
            await reader.get()
    else:
        await reader.get()


async def test_old_values_are_read_only_when_the_limits_allow_it(make, publish, clock):
    clock.ms = AS_OF_MS + 10**12
    await publish()
    assert (await make(limits=Limits(None, None)).get()).value == 12


async def test_never_older_after_newer(reader, publish, client, clock):
    """An emptied Redis takes what a paused publisher still has (known limit of exactness rule 7)."""
    await publish(as_of_ms=AS_OF_MS + 5_000)
    clock.ms += 5_000
    await reader.get()
    client.hset(KEYS.values, "@as_of", rfc3339(AS_OF_MS))
    client.hset(KEYS.values, "@published_at", rfc3339(clock.ms))
    with pytest.raises(TooOldError, match="has seen edition 1"):
        await reader.get()
    client.hset(KEYS.values, "@edition", "2")
    assert (await reader.get()).edition == 2
    client.hset(KEYS.values, "@edition", "1")
    with pytest.raises(TooOldError, match="has seen edition 2"):
        await reader.get()


async def test_never_older_definitions_after_newer(reader, publish, client, clock):
    """Neither they nor ``as_of`` may fall, whichever a paused publisher has the newer one of."""
    await publish(definitions=2)
    assert (await reader.get()).definitions == 2
    assert (await reader.snapshot()).definitions == 2
    client.delete(*KEYS)
    await publish(definitions=1, as_of_ms=AS_OF_MS + 5_000, fresh=True)
    clock.ms += 5_000
    for asked in (reader.get, reader.snapshot):
        with pytest.raises(TooOldError, match="has seen edition 1 generation 0 definitions 2"):
            await asked()
    client.delete(*KEYS)
    await publish(definitions=2, as_of_ms=AS_OF_MS + 5_000, fresh=True)
    assert (await reader.get()).as_of_ms == AS_OF_MS + 5_000
    client.delete(*KEYS)
    await publish(definitions=3, fresh=True)
    with pytest.raises(TooOldError, match="found edition 1 generation 0 definitions 3"):
        await reader.get()


async def test_an_older_edition_is_believed_once_the_keys_of_the_newer_expired(
    make, publish, client, clock
):
    reader = make(limits=Limits(None, None))
    await publish(edition=2)
    await reader.get()
    client.hset(KEYS.values, "@edition", "1")
    clock.ms += 59_999
    with pytest.raises(TooOldError):
        await reader.get()
    clock.ms += 1
    assert (await reader.get()).edition == 1


@pytest.mark.parametrize(
    ("name", "text"), [("@as_of", "soon"), ("@edition", "x"), (ORDERS, "12,5")]
)
async def test_what_is_not_the_contract_is_not_read(reader, publish, client, name, text):
    await publish()
    client.hset(KEYS.values, name, text)
    with pytest.raises(UnreachableError, match=r"docs/contract\.md"):
        await reader.get()


async def test_an_invalid_snapshot_is_not_read(reader, publish, client):
    await publish()
    client.set(KEYS.snapshot, "{")
    with pytest.raises(UnreachableError, match=r"docs/contract\.md"):
        await reader.snapshot()


async def test_a_watch_yields_each_version_once_and_reports_when_there_is_none(
    reader, publish, clock
):
    following = reader.watch()
    assert await following() is None, "nothing yet"
    await publish()
    assert (await following()).values[0].value == 12
    await publish([value("orders", "market", "all", "1m", 13)])
    assert (await following()).values[0].value == 13
    clock.ms += SILENT_AFTER_MS + 1
    assert await following() is None, "the publisher is gone"
    await publish(now_ms=clock.ms)
    assert (await following()).values[0].value == 12


async def test_a_restart_of_redis_is_survived(make, server, publish, clock):
    reader = make()
    await publish()
    assert (await reader.get()).value == 12
    following = reader.watch()
    assert await following() is not None
    server.kill()
    waiting = asyncio.ensure_future(following())
    with pytest.raises(UnreachableError, match="does not answer"):
        await reader.get()
    await asyncio.to_thread(server.start)
    assert await waiting is None
    with pytest.raises(AbsentError):
        await reader.get()
    await asyncio.sleep(0.6)  # the publisher tries again half a second after a failure
    await publish([value("orders", "market", "all", "1m", 14)])
    assert (await reader.get()).value == 14
    assert (await following()).values[0].value == 14


async def test_a_call_waits_for_a_redis_that_restarts(make, server, publish):
    reader = make()
    await publish()
    server.kill()
    asking = asyncio.ensure_future(reader.get())
    await asyncio.to_thread(server.start)
    with pytest.raises(AbsentError):  # an answer, if that of an emptied Redis
        await asking

"""Nothing that somebody else does to Redis leaves values that seem fresh, or that never expire."""

from __future__ import annotations

import re

import pytest
from redis.asyncio import Redis
from support.publications import (
    AS_OF_MS,
    incident,
    others_of_day,
    publication,
    status,
    suspicion,
    value,
)

from streams.publish.keys import MarketKeys, inputs_key, market_keys, markets_key
from streams.publish.metrics import Metrics
from streams.publish.redis_state import RedisLimits
from streams.publish.redis_store import SCRIPT, Outcome, RedisStore

pytestmark = pytest.mark.stack

NOW_MS = AS_OF_MS + 2_500
EXPIRE_MS = 60_000
COMMANDS = sorted(set(re.findall(r"'([A-Z]{3,})'", SCRIPT)) - {"MAXLEN"})
TYPES = MarketKeys(
    "hash", "hash", "string", "stream", "zset", "hash", "hash", "hash", "hash", "hash"
)


@pytest.fixture
async def client(stack):
    async with Redis.from_url(stack.redis_url, decode_responses=True) as redis:
        yield redis


@pytest.fixture
async def user(client, unique):
    """A user of Redis that may do everything, until the test takes a right away."""
    name = unique("user")
    await client.acl_setuser(
        name, enabled=True, passwords=["+pw"], keys=["*"], categories=["+@all"]
    )
    yield name
    await client.acl_deluser(name)


@pytest.fixture
def prefix(unique):
    return unique("p")


@pytest.fixture
def keys(prefix):
    return market_keys("PK", prefix)


@pytest.fixture
async def make_store(stack, user, prefix):
    stores = []

    def make(**options):
        store = RedisStore(
            stack.redis_url,
            Metrics(markets=["PK", "BD"], version="0", edition=1, methodology="0"),
            prefix=prefix,
            limits=RedisLimits(EXPIRE_MS),
            timeout_s=3.0,
            auth={"username": user, "password": "pw"},
            **({"retry_after_ms": 0} | options),
        )
        stores.append(store)
        return store

    yield make
    for store in stores:
        await store.close()


def made(applied, market="PK"):
    """A publication that fills every key of its market, each a minute after the one before."""
    as_of_ms = AS_OF_MS + 60_000 * applied
    series = {"market": market, "as_of_ms": as_of_ms}
    values = [
        value(number=applied, **series),
        value("orders", "market", "all", "1m", applied, **series),
    ]
    days = [value("orders", "market", "all", "day", applied, day="2023-11-14", **series)]
    watched = [status(evidence=6.0, direction=1)]
    return publication(
        values,
        days=days,
        watched=watched,
        suspicions=[suspicion()],
        incidents=[incident()],
        others=[others_of_day(("gnomes", applied))],
        applied=applied,
        **series,
    )


async def lifetimes(client, keys):
    """(shortest, longest) of them in ms; a key that never expires has -1."""
    each = [await client.pttl(key) for key in keys]
    return min(each), max(each)


async def assert_whole(client, keys, applied):
    assert [await client.type(key) for key in keys] == list(TYPES)
    shortest, longest = await lifetimes(client, keys)
    assert 0 < shortest <= longest <= EXPIRE_MS
    assert await client.hget(keys.fence, "applied") == str(applied)
    assert await client.hget(keys.values, "orders:category:books:1m") == str(applied)
    assert f'"value":{applied},' in await client.get(keys.snapshot)
    assert await client.hget(keys.days, "orders:market:all:2023-11-14") == str(applied)
    assert f'"orders":{applied}' in (await client.zrange(keys.history, -1, -1))[0]


@pytest.mark.parametrize("command", COMMANDS)
async def test_without_a_right_nothing_is_written_and_what_stands_expires(
    make_store, client, user, prefix, keys, command
):
    store, successor = make_store(), make_store()
    assert await store.publish(made(1), NOW_MS) is Outcome.WRITTEN
    before = [await client.dump(key) for key in keys]
    for key in keys:
        await client.pexpire(key, EXPIRE_MS // 2)
    await client.acl_setuser(user, enabled=True, commands=[f"-{command}"])
    assert await store.heartbeat(NOW_MS + 1_000) == {"PK": Outcome.FAILED}
    assert await store.publish(made(2), NOW_MS) is Outcome.FAILED
    assert await store.heartbeat(NOW_MS + 1_000) == {"PK": Outcome.FAILED}
    assert await successor.publish(made(3), NOW_MS) is Outcome.FAILED
    assert await successor.publish(made(3, "BD"), NOW_MS) is Outcome.FAILED
    assert [await client.dump(key) for key in keys] == before
    shortest, longest = await lifetimes(client, keys)
    assert 0 < shortest <= longest <= EXPIRE_MS // 2
    assert await client.exists(*market_keys("BD", prefix)) == 0
    assert store.health.trouble.refused_since_ms is not None
    assert command.lower() in store.health.trouble.detail
    assert not await store.probe(), "a worker that starts finds it as well"
    await client.acl_setuser(user, enabled=True, commands=[f"+{command}"])
    assert await store.heartbeat(NOW_MS) == {"PK": Outcome.WRITTEN}
    await assert_whole(client, keys, 2)


async def damage(client, key):
    """Put something of another type there, which never expires."""
    is_string = await client.type(key) == "string"
    await client.delete(key)
    await (client.rpush(key, "x") if is_string else client.set(key, "x"))


@pytest.mark.parametrize("name", MarketKeys._fields)
async def test_a_key_of_another_type_is_replaced_by_the_next_write(make_store, client, keys, name):
    store = make_store()
    await store.publish(made(1), NOW_MS)
    await client.hset(keys.days, "orders:market:all:2023-11-13", "7")  # of an earlier owner
    await damage(client, getattr(keys, name))
    assert await store.publish(made(2), NOW_MS) is Outcome.WRITTEN
    await store.heartbeat(NOW_MS)
    if name not in ("shifts", "suspicions", "incidents", "others"):  # written when they change
        await assert_whole(client, keys, 2)
    await damage(client, getattr(keys, name))
    assert await make_store().publish(made(3), NOW_MS) is Outcome.WRITTEN
    await assert_whole(client, keys, 3)
    kept = await client.hget(keys.days, "orders:market:all:2023-11-13")
    assert kept == (None if name == "days" else "7")


@pytest.mark.parametrize("name", MarketKeys._fields)
async def test_a_key_of_another_type_is_replaced_when_all_is_rewritten(
    make_store, client, keys, name
):
    store = make_store(rewrite_every_ms=0)
    await store.publish(made(1), NOW_MS)
    await damage(client, getattr(keys, name))
    assert await store.heartbeat(NOW_MS) == {"PK": Outcome.WRITTEN}
    await assert_whole(client, keys, 1)


async def test_a_stream_that_takes_no_entry_any_more_is_begun_anew(make_store, client, keys):
    store = make_store()
    for applied, owner in ((2, store), (3, make_store())):
        await store.publish(made(applied - 1), NOW_MS)
        await client.xadd(keys.changes, {"x": "y"}, id=f"{2**64 - 1}-{2**64 - 1}")
        assert await owner.publish(made(applied), NOW_MS) is Outcome.WRITTEN
        await assert_whole(client, keys, applied)
        ((_, entry),) = await client.xrange(keys.changes)
        assert entry["whole"] == "1"


async def test_fields_that_are_not_ours_are_gone_when_all_is_rewritten(make_store, client, keys):
    store = make_store(rewrite_every_ms=0)
    await store.publish(made(1), NOW_MS)
    before = [await client.hgetall(key) for key in (keys.values, keys.days, keys.shifts)]
    for key in (keys.values, keys.days, keys.shifts):
        await client.hset(key, "x", "y")
    await store.heartbeat(NOW_MS)
    assert [await client.hgetall(key) for key in (keys.values, keys.days, keys.shifts)] == before


@pytest.mark.parametrize("field", ["edition", "definitions", "applied"])
async def test_a_fence_that_is_no_version_is_replaced(make_store, client, keys, field):
    store = make_store()
    await store.publish(made(1), NOW_MS)
    for text in ("", "x", "1e3", "-", "1.5", "9" * 21):
        await client.hset(keys.fence, field, text)
        assert await store.heartbeat(NOW_MS) == {"PK": Outcome.WRITTEN}, text
        await assert_whole(client, keys, 1)


async def test_a_forged_version_stands_no_longer_than_values_without_a_publisher(
    make_store, client, keys
):
    store = make_store()
    await store.publish(made(1), NOW_MS)
    for key in keys:
        await client.persist(key)
    await client.hset(keys.fence, "edition", "999")
    assert await store.heartbeat(NOW_MS) == {"PK": Outcome.REFUSED}
    shortest, longest = await lifetimes(client, keys)
    assert 0 < shortest <= longest <= EXPIRE_MS
    await client.pexpire(keys.fence, EXPIRE_MS // 2)
    assert await store.heartbeat(NOW_MS) == {"PK": Outcome.REFUSED}
    assert await client.pttl(keys.fence) <= EXPIRE_MS // 2, "a refused call renews nothing"
    await client.delete(keys.fence)
    assert await store.heartbeat(NOW_MS) == {"PK": Outcome.WRITTEN}
    await assert_whole(client, keys, 1)


async def test_whatever_fails_in_the_middle_leaves_no_values(make_store, client, keys):
    """A script that fails, and fails again, stands for a cause that nobody has thought of."""
    line = "  in_chunks('HDEL', days"
    broken = SCRIPT.replace(line, f"  error('broken')\n{line}")
    assert broken != SCRIPT
    await make_store().publish(made(1), NOW_MS)
    store = make_store(script=broken)
    assert await store.publish(made(2), NOW_MS) is Outcome.FAILED
    assert "broken" in store.health.trouble.detail
    assert await client.exists(keys.values, keys.snapshot, keys.changes) == 0
    left = [key for key in keys if await client.exists(key)]
    assert left == [
        keys.fence,
        keys.history,
        keys.days,
        keys.shifts,
        keys.suspicions,
        keys.incidents,
        keys.others,
    ]
    shortest, longest = await lifetimes(client, left)
    assert 0 < shortest <= longest <= EXPIRE_MS
    assert await make_store().publish(made(2), NOW_MS) is Outcome.WRITTEN
    await assert_whole(client, keys, 2)


@pytest.mark.parametrize("command", ["PEXPIRE", "TYPE", "DEL", "SADD", "HSET"])
async def test_keys_of_no_market_expire_whatever_right_is_missing(
    make_store, client, user, prefix, command
):
    store = make_store()
    await client.acl_setuser(user, enabled=True, commands=[f"-{command}"])
    noted = await store.note_inputs({"orders-0": b"{}"})
    await store.publish(made(1), NOW_MS)
    assert noted == (command == "SADD")
    assert await client.exists(markets_key(prefix)) == (command == "HSET")
    assert not await store.probe()
    await client.acl_setuser(user, enabled=True, commands=[f"+{command}"])
    assert await store.note_inputs({"orders-0": b"{}"})
    await make_store().publish(made(2), NOW_MS)
    for key in (markets_key(prefix), inputs_key(prefix)):
        assert await client.pttl(key) > 0


async def test_keys_of_no_market_that_have_another_type_are_replaced(make_store, client, prefix):
    await client.mset({markets_key(prefix): "x", inputs_key(prefix): "x"})
    store = make_store()
    assert await store.note_inputs({"orders-0": b"{}"})
    await store.publish(made(1), NOW_MS)
    assert await client.hgetall(inputs_key(prefix)) == {"orders-0": "{}"}
    assert await client.smembers(markets_key(prefix)) == {"PK"}
    assert store.health.trouble is None

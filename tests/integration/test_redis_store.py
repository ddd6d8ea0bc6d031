"""Keys in a real Redis are fenced, expire, and are complete again after a loss.

Every test names its keys apart; those that empty or stop Redis have a server of their own.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import json

import msgspec
import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs
from support.publications import (
    AS_OF_MS,
    incident,
    incident_shift,
    others_of_day,
    publication,
    status,
    suspicion,
    value,
)

from streams.flow.publication import Headline, Inherited, Revision
from streams.index.member_lists import ListedMember, MemberList
from streams.index.panes import day_name
from streams.index.values import Fence, Snapshot
from streams.local.local_stack import LocalStack
from streams.publish.incident_records import decode_incident
from streams.publish.journal import decode_members
from streams.publish.keys import market_keys, markets_key
from streams.publish.metrics import Metrics
from streams.publish.other_records import read_others
from streams.publish.redis_state import RedisLimits
from streams.publish.redis_store import SCRIPT, Outcome, RedisStore
from streams.publish.suspicion_records import decode_suspicion

pytestmark = pytest.mark.stack

NOW_MS = AS_OF_MS + 2_500


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A Redis that these tests may empty, freeze and kill."""
    with LocalStack(tmp_path_factory.mktemp("redis"), with_kafka=False) as local:
        yield local.redis


@pytest.fixture
async def client(server):
    async with Redis.from_url(server.url, decode_responses=True) as redis:
        yield redis


@pytest.fixture
def metrics():
    return Metrics(markets=["PK"], version="0", edition=1, methodology="0")


@pytest.fixture
def prefix(unique):
    return unique("p")


@pytest.fixture
async def make_store(server, metrics, prefix):
    stores = []

    def make(**options):
        store = RedisStore(
            server.url,
            metrics,
            **({"prefix": prefix, "limits": RedisLimits(60_000), "timeout_s": 3.0} | options),
        )
        stores.append(store)
        return store

    yield make
    for store in stores:
        await store.close()


@pytest.fixture
def store(make_store):
    return make_store()


@pytest.fixture
def keys(prefix):
    return market_keys("PK", prefix)


@pytest.fixture
def count(metrics):
    return lambda name: metrics.registry.get_sample_value(f"ecindex_{name}", {"sink": "redis"})


class Watch:
    """A monotonic clock that moves only when a test moves it."""

    def __init__(self):
        self.ms = 1_000_000

    def __call__(self):
        return self.ms


async def test_one_publication_fills_every_key(store, client, keys, prefix):
    values = [
        value(number=3),
        value("category_share_by_orders", number=1e-7, unit="ratio"),
        value("orders", window="24h", number=None, status="filling", n=0),
        value("orders", "market", "all", "1m", 12),
        value("sales", "market", "all", "1m", 2**70, unit="minor"),
    ]
    days = [value("orders", "market", "all", "day", 99, day="2023-11-14")]
    assert await store.publish(publication(values, days=days), NOW_MS) is Outcome.WRITTEN
    assert await client.hgetall(keys.values) == {
        "orders:category:books:1m": "3",
        "category_share_by_orders:category:books:1m": "0.0000001",
        "orders:category:books:24h@status": "filling",
        "orders:market:all:1m": "12",
        "sales:market:all:1m": str(2**70),
        "@as_of": "2023-11-14T22:13:00.000Z",
        "@as_of:orders": "2023-11-14T22:13:00.000Z",
        "@generation": "0",
        "@definitions": "0",
        "@published_at": "2023-11-14T22:13:02.500Z",
        "@edition": "1",
        "@phase": "live",
        "@pages": "[]",
        "@restless": "[]",
    }
    snapshot = msgspec.json.decode(await client.get(keys.snapshot), type=Snapshot)
    assert snapshot.values == values
    assert snapshot.published_at == "2023-11-14T22:13:02.500Z"
    assert await client.hgetall(keys.days) == {"orders:market:all:2023-11-14": "99"}
    history = await client.zrange(keys.history, 0, -1, withscores=True)
    assert history == [
        (f'{{"as_of":"2023-11-14T22:13:00.000Z","orders":12,"sales":{2**70}}}', AS_OF_MS)
    ]
    assert await client.hgetall(keys.fence) == {
        "edition": "1",
        "generation": "0",
        "definitions": "0",
        "as_of_ms": str(AS_OF_MS),
        "applied": "10",
    }
    assert await client.smembers(markets_key(prefix)) == {"PK"}
    ((_, entry),) = await client.xrange(keys.changes)
    assert entry["as_of"] == "2023-11-14T22:13:00.000Z"
    assert (entry["edition"], entry["generation"]) == ("1", "0")
    assert json.loads(entry["sources"]) == {"orders": "2023-11-14T22:13:00.000Z"}
    assert entry["whole"] == "1"
    assert {change["field"] for change in json.loads(entry["changes"])} == {
        each.field for each in values
    }


ORDER = {
    "edition": ({"edition": 2, "as_of_ms": AS_OF_MS, "applied": 1}, {"edition": 1}),
    "generation": (
        {"generation": 1, "as_of_ms": AS_OF_MS, "applied": 1},
        {"as_of_ms": AS_OF_MS + 3_600_000, "applied": 10**6},
    ),
    "definitions": ({"definitions": 1}, {"definitions": 0}),
    "as_of": ({"as_of_ms": AS_OF_MS + 5_000}, {"as_of_ms": AS_OF_MS, "applied": 10**6}),
    "applied": ({"applied": 100}, {"applied": 99}),
    "beyond a double": ({"applied": 2**53 + 1}, {"applied": 2**53}),
    "not as text": ({"applied": 10}, {"applied": 9}),
    "beyond the promise": ({"applied": 2**63 - 1}, {"applied": 2**63 - 2}),
    "from nothing": ({"applied": 0}, {"applied": -1}),
}


@pytest.mark.parametrize(("newer", "older"), ORDER.values(), ids=ORDER)
async def test_an_older_version_never_replaces_a_newer_one(
    make_store, client, keys, count, newer, older
):
    await make_store().publish(publication([value(number=2)], **newer), NOW_MS)
    zombie = make_store()
    assert await zombie.publish(publication([value(number=1)], **older), NOW_MS) is Outcome.REFUSED
    assert await client.hget(keys.values, "orders:category:books:1m") == "2"
    assert await zombie.heartbeat(NOW_MS + 9_000) == {"PK": Outcome.REFUSED}
    assert await client.hget(keys.values, "@published_at") == "2023-11-14T22:13:02.500Z"
    assert count("publish_refusals_total") == 2
    assert count("publish_failures_total") == 0


@pytest.mark.parametrize(("newer", "older"), ORDER.values(), ids=ORDER)
async def test_without_the_fence_the_older_version_does_replace_it(
    make_store, client, keys, newer, older
):
    """Negative control: the tests above would see a fence that does not hold."""
    unfenced = SCRIPT.replace(
        "if present and not follows(sent.fence, stored) then return refuse() end", ""
    )
    assert unfenced != SCRIPT
    await make_store().publish(publication([value(number=2)], **newer), NOW_MS)
    zombie = make_store(script=unfenced)
    assert await zombie.publish(publication([value(number=1)], **older), NOW_MS) is Outcome.WRITTEN
    assert await client.hget(keys.values, "orders:category:books:1m") == "1"


async def test_newer_rows_never_bring_older_definitions_back(make_store, client, keys):
    """Definitions and (as_of, applied) are a product order: neither of two such versions follows."""
    versions = ({"definitions": 1}, {"as_of_ms": AS_OF_MS + 5_000})
    for held, sent in (versions, versions[::-1]):
        await client.delete(*keys)
        await make_store().publish(publication([value(number=1)], **held), NOW_MS)
        refused = await make_store().publish(publication([value(number=2)], **sent), NOW_MS)
        assert refused is Outcome.REFUSED
        assert await client.hget(keys.values, "orders:category:books:1m") == "1"


async def test_a_new_owner_waits_until_it_has_come_as_far_as_a_zombie_of_older_definitions(
    make_store, client, keys
):
    """``as_of`` never goes back, and then everything is as the newer definitions say."""
    gone, kept = value(member="gone"), value(number=1)
    zombie, owner = make_store(), make_store()

    def version(definitions, ahead_ms):
        return {"definitions": definitions, "as_of_ms": AS_OF_MS + ahead_ms}

    await zombie.publish(publication([gone, kept], **version(1, 10_000)), NOW_MS)
    new = [value(number=2)]
    assert await owner.publish(publication(new, **version(2, 5_000)), NOW_MS) is Outcome.REFUSED
    assert await client.hget(keys.values, "orders:category:gone:1m") == "1"
    assert await owner.publish(publication(new, **version(2, 10_000)), NOW_MS) is Outcome.WRITTEN
    assert await client.hget(keys.values, "orders:category:books:1m") == "2"
    for ahead_ms in (10_000, 15_000):
        again = publication([gone, kept], **version(1, ahead_ms))
        assert await zombie.publish(again, NOW_MS) is Outcome.REFUSED
    assert not await client.hexists(keys.values, "orders:category:gone:1m")
    assert await client.hget(keys.fence, "definitions") == "2"


async def test_the_members_stand_beside_the_values_until_others_are_published(
    make_store, client, keys
):
    def published(*members):
        listed = MemberList("PK", 1, {"category": [ListedMember(each) for each in members]})
        return dataclasses.replace(publication(), members=listed)

    async def found():
        listed = decode_members(await client.hget(keys.values, "@members"))
        return [each.id for each in listed.members["category"]]

    store = make_store()
    await store.publish(published("books", "toys"), NOW_MS)
    assert await found() == ["books", "toys"]
    await store.publish(publication(applied=11), NOW_MS)
    assert await found() == ["books", "toys"]
    again = dataclasses.replace(published("books"), fence=Fence(1, 0, 1, AS_OF_MS, 12))
    await store.publish(again, NOW_MS)
    assert await found() == ["books"]
    await client.delete(*keys)
    await store.heartbeat(NOW_MS + 1_000)
    assert await found() == ["books"]


async def test_days_of_members_that_are_gone_are_deleted_and_what_a_dead_owner_left_of_them(
    make_store, client, keys
):
    def of_day(member, number=1, dimension="category"):
        return value("orders", dimension, member, "day", number, day="2023-11-14")

    async def left():
        return {name.split(":")[2] for name in await client.hkeys(keys.days)}

    days = [of_day("all", 9, "market"), of_day("books"), of_day("toys"), of_day("other")]
    listed = MemberList("PK", 1, {"category": [ListedMember("books"), ListedMember("other")]})
    gone = [of_day("toys").key, value(member="toys").key]
    store = make_store()
    await store.publish(publication(days=days, applied=10), NOW_MS)
    assert await left() == {"all", "books", "toys", "other"}
    fence = Fence(1, 0, 1, AS_OF_MS, 11)
    later = dataclasses.replace(publication(), fence=fence, members=listed, gone=gone)
    await store.publish(later, NOW_MS)
    assert await left() == {"all", "books", "other"}
    # An owner published that, and died before it wrote Redis.
    await client.hset(keys.days, "orders:category:toys:2023-11-14", "1")
    new = dataclasses.replace(
        publication(days=days[:1]), fence=Fence(1, 0, 1, AS_OF_MS, 12), members=listed
    )
    await make_store().publish(new, NOW_MS)
    assert await left() == {"all", "books", "other"}
    # Whoever does not list members prunes none.
    await client.hset(keys.days, "orders:category:toys:2023-11-14", "1")
    new = dataclasses.replace(publication(days=days[:1]), fence=Fence(1, 0, 1, AS_OF_MS, 13))
    await make_store().publish(new, NOW_MS)
    assert await left() == {"all", "books", "toys", "other"}


async def test_keys_of_version_0_2_are_of_generation_and_definitions_0(make_store, client, keys):
    """An upgrade is no new edition: whoever published last hands over to the new version."""
    await make_store().publish(publication([value(number=1)], applied=9), NOW_MS)
    await client.hdel(keys.fence, "generation", "definitions")
    await client.hdel(keys.values, "@generation", "@definitions", "@as_of:orders")
    refused = await make_store().publish(publication(applied=8), NOW_MS)
    assert refused is Outcome.REFUSED
    new_owner = make_store()
    written = await new_owner.publish(publication([value(number=2)], applied=10), NOW_MS)
    assert written is Outcome.WRITTEN
    assert await client.hget(keys.fence, "generation") == "0"
    assert await client.hget(keys.values, "orders:category:books:1m") == "2"


async def test_a_newer_version_replaces_an_older_one(make_store, client, keys):
    for number, (newer, older) in enumerate(ORDER.values()):
        await client.delete(*keys)
        await make_store().publish(publication([value(number=number)], **older), NOW_MS)
        new_owner = make_store()
        written = await new_owner.publish(publication([value(number=-1)], **newer), NOW_MS)
        assert written is Outcome.WRITTEN
        assert await client.hget(keys.values, "orders:category:books:1m") == "-1"


async def test_the_same_version_again_changes_nothing(make_store, client, keys):
    first, second = make_store(), make_store()
    await first.publish(publication(), NOW_MS)
    before = await client.hgetall(keys.values), await client.get(keys.snapshot)
    assert await second.publish(publication(), NOW_MS) is Outcome.WRITTEN
    assert await first.publish(publication(), NOW_MS) is Outcome.WRITTEN
    assert (await client.hgetall(keys.values), await client.get(keys.snapshot)) == before


async def test_a_publisher_refuses_its_own_older_version_even_after_redis_forgot(
    store, client, keys
):
    await store.publish(publication(applied=98), NOW_MS)
    await client.delete(*keys)
    assert await store.publish(publication(applied=18), NOW_MS) is Outcome.REFUSED
    assert not await client.exists(*keys)


async def test_a_value_that_becomes_ok_loses_its_status(store, client, keys):
    field = "orders:category:books:1m"
    status = f"{field}@status"
    steps = itertools.count(1)

    async def publish(number, state):
        step = next(steps)
        await store.publish(
            publication([value(number=number, status=state, revision=step)], applied=step), NOW_MS
        )
        return await client.hmget(keys.values, field, status)

    assert await publish(None, "filling") == [None, "filling"]
    assert await publish(5, "warming") == ["5", "warming"]
    assert await publish(6, "ok") == ["6", None]
    assert await publish(None, "no_data") == [None, "no_data"]
    assert await publish(7, "ok") == ["7", None]
    changes = [json.loads(entry["changes"]) for _, entry in await client.xrange(keys.changes)]
    assert changes[1:] == [
        [{"field": field, "value": 5, "status": "warming", "revision": 2}],
        [{"field": field, "value": 6, "status": "ok", "revision": 3}],
        [{"field": field, "value": None, "status": "no_data", "revision": 4}],
        [{"field": field, "value": 7, "status": "ok", "revision": 5}],
    ]


async def test_a_value_that_is_no_longer_published_leaves_the_hash(store, client, keys):
    gone = value(member="toys", number=None, status="filling")
    await store.publish(publication([value(), gone], applied=1), NOW_MS)
    await store.publish(publication([value()], applied=2), NOW_MS)
    assert {f for f in await client.hkeys(keys.values) if "@" not in f} == {
        "orders:category:books:1m"
    }
    assert "orders:category:toys:1m@status" not in await client.hkeys(keys.values)
    (_, last) = (await client.xrange(keys.changes))[-1]
    assert json.loads(last["changes"])[0]["status"] == "gone"


async def test_shifts_that_go_on_are_there_and_gone_when_they_are_over(store, client, keys):
    assert await store.publish(publication(applied=1), NOW_MS) == Outcome.WRITTEN
    assert not await client.exists(keys.shifts)
    jump, stop = status(direction=1), status("market", "all", direction=-1)
    await store.publish(publication(applied=2, watched=[jump, stop]), NOW_MS)
    found = await client.hgetall(keys.shifts)
    assert set(found) == {"category:books", "market:all"}
    books = json.loads(found["category:books"])
    assert (books["direction"], books["ratio"], books["start"]) == (
        "up",
        6.0,
        "2023-11-14T22:03:00.000Z",
    )
    assert await store.heartbeat(NOW_MS + 1_000) == {"PK": Outcome.WRITTEN}
    await store.publish(publication(applied=3, watched=[status(), stop]), NOW_MS)
    assert await client.hkeys(keys.shifts) == ["market:all"]
    await client.delete(keys.shifts)  # lost: the next beat sends everything
    await store.heartbeat(NOW_MS + 2_000)
    assert await client.hkeys(keys.shifts) == ["market:all"]
    await store.publish(publication(applied=4, watched=[status()]), NOW_MS)
    assert not await client.exists(keys.shifts)


async def test_suspicions_are_there_as_long_as_they_hold(store, client, keys):
    await store.publish(publication(applied=1, suspicions=[suspicion()]), NOW_MS)
    ((name, text),) = (await client.hgetall(keys.suspicions)).items()
    assert (name, decode_suspicion(text).expected_a_minute) == ("market:all", 1_005.0)
    other = suspicion("category", "books", observed=600, expected=100.0)
    await store.publish(publication(applied=2, suspicions=[other]), NOW_MS)
    assert await client.hkeys(keys.suspicions) == ["category:books"]
    await store.publish(publication(applied=3), NOW_MS)
    assert not await client.exists(keys.suspicions)


async def test_incidents_are_there_while_they_are_kept(store, client, keys):
    await store.publish(publication(applied=1), NOW_MS)
    assert not await client.exists(keys.incidents)
    stop, jump = incident(), incident(incident_shift("category", "books", direction=1))
    await store.publish(publication(applied=2, incidents=[stop, jump]), NOW_MS)
    assert set(await client.hgetall(keys.incidents)) == {stop.id, jump.id}
    await client.delete(keys.incidents)  # lost: the next beat sends everything
    await store.heartbeat(NOW_MS + 2_000)
    over = incident(over_ms=AS_OF_MS)
    await store.publish(publication(applied=3, incidents=[over]), NOW_MS)
    ((name, text),) = (await client.hgetall(keys.incidents)).items()
    assert name == stop.id
    assert decode_incident(text).state == "over"
    await store.publish(publication(applied=4), NOW_MS)
    assert not await client.exists(keys.incidents)


async def test_what_other_is_made_of_is_there_by_day_and_back_when_redis_lost_it(
    store, client, keys
):
    hostile = "</script>\u05d2\u05e0\u05df\"\\'"
    yesterday = others_of_day(("pet food", 7), day=19_999)
    await store.publish(
        publication(applied=1, others=[others_of_day((hostile, 300)), yesterday]), NOW_MS
    )
    found = await client.hgetall(keys.others)
    assert set(found) == {"2024-10-04", "2024-10-03"}
    today, before = read_others(found | {"x": "[]"})
    assert (today.day, today.dimensions[0].largest[0].label) == ("2024-10-04", hostile)
    assert before.dimensions[0].undeclared == 7
    await client.delete(keys.others)  # lost: the next beat sends everything
    await store.heartbeat(NOW_MS + 2_000)
    assert await client.hgetall(keys.others) == found
    await store.publish(
        publication(applied=2, others=[others_of_day(("x", 1), day=20_001)]), NOW_MS
    )
    assert await client.hkeys(keys.others) == ["2024-10-05"]
    await store.publish(publication(applied=3), NOW_MS)
    assert not await client.exists(keys.others)


async def test_every_key_expires_and_a_heartbeat_renews_it(make_store, client, keys):
    days = [value("orders", "market", "all", "day", 9, day="2023-11-14")]
    headline = value("orders", "market", "all", "1m", 12)
    store = make_store(limits=RedisLimits(60_000))
    await store.publish(publication([headline], days=days), NOW_MS)
    there = [key for key in keys if await client.exists(key)]
    assert set(keys) - set(there) == {keys.shifts, keys.suspicions, keys.incidents, keys.others}
    for key in there:
        assert 0 < await client.pttl(key) <= 60_000
        await client.pexpire(key, 30_000)
    assert await store.heartbeat(NOW_MS + 1_000) == {"PK": Outcome.WRITTEN}
    for key in there:
        assert await client.pttl(key) > 30_000
    assert await client.hget(keys.values, "@published_at") == "2023-11-14T22:13:03.500Z"
    snapshot = json.loads(await client.get(keys.snapshot))
    assert snapshot["published_at"] == "2023-11-14T22:13:03.500Z"
    assert snapshot["as_of"] == "2023-11-14T22:13:00.000Z"


async def test_a_dead_publisher_leaves_nothing_behind(make_store, client, keys):
    await make_store(limits=RedisLimits(20)).publish(publication(), NOW_MS)
    while await client.exists(*keys):  # noqa: ASYNC110 - only Redis knows when
        await asyncio.sleep(0.005)


async def test_an_emptied_redis_is_filled_by_the_next_heartbeat(store, client, keys, prefix):
    days = [value("orders", "market", "all", "day", 9, day="2023-11-14")]
    headline = value("orders", "market", "all", "1m", 12)
    await store.publish(publication([headline], days=days), NOW_MS)
    before = {key: await client.dump(key) for key in keys if key != keys.changes}
    await client.flushall()
    assert await store.heartbeat(NOW_MS) == {"PK": Outcome.WRITTEN}
    assert {key: await client.dump(key) for key in keys if key != keys.changes} == before
    assert await client.smembers(markets_key(prefix)) == {"PK"}


async def test_an_emptied_redis_is_filled_by_the_next_publication(store, client, keys):
    await store.publish(publication([value(), value(member="toys")], applied=1), NOW_MS)
    await client.flushall()
    await client.script_flush()
    written = await store.publish(
        publication([value(), value(member="toys", number=2)], applied=2), NOW_MS
    )
    assert written is Outcome.WRITTEN
    assert await client.hmget(
        keys.values, "orders:category:books:1m", "orders:category:toys:1m"
    ) == ["1", "2"]


@pytest.mark.parametrize("name", ["fence", "values", "snapshot", "history", "days"])
async def test_one_lost_key_is_noticed(store, client, keys, name):
    days = [value("orders", "market", "all", "day", 9, day="2023-11-14")]
    headline = value("orders", "market", "all", "1m", 12)
    await store.publish(publication([headline], days=days), NOW_MS)
    await client.delete(getattr(keys, name))
    assert await store.heartbeat(NOW_MS) == {"PK": Outcome.WRITTEN}
    assert await client.exists(getattr(keys, name))


async def test_a_delta_is_not_applied_to_another_publishers_state(make_store, client, keys):
    first, second = make_store(), make_store()
    await first.publish(publication([value(), value(member="toys")], applied=1), NOW_MS)
    await second.publish(publication([value(number=5)], applied=2), NOW_MS)
    await first.publish(publication([value(), value(member="toys")], applied=3), NOW_MS)
    assert await client.hmget(
        keys.values, "orders:category:books:1m", "orders:category:toys:1m"
    ) == ["1", "1"]


async def test_a_new_owner_leaves_nothing_of_what_it_does_not_publish(make_store, client, keys):
    filling = value(member="toys", number=None, status="filling")
    await make_store().publish(publication([value(), filling], applied=1), NOW_MS)
    await make_store().publish(publication([value("sales")], applied=2), NOW_MS)
    fields = {field for field in await client.hkeys(keys.values) if not field.startswith("@")}
    assert fields == {"sales:category:books:1m"}


async def test_a_refusal_names_the_version_that_redis_holds(make_store):
    await make_store().publish(publication(applied=2), NOW_MS)
    zombie = make_store()
    with capture_logs() as logs:
        await zombie.publish(publication(applied=1), NOW_MS)
        await zombie.heartbeat(NOW_MS)
    (line,) = logs
    assert line["event"] == "redis_refused_older_version"
    assert line["found"] == ("1", "0", "0", str(AS_OF_MS), "2")


async def test_everything_is_rewritten_every_30_s(make_store, client, keys):
    watch = Watch()
    store = make_store(monotonic_ms=watch)
    await store.publish(publication(), NOW_MS)
    await client.hset(keys.values, "orders:category:books:1m", "tampered")
    watch.ms += 29_999
    await store.heartbeat(NOW_MS)
    assert await client.hget(keys.values, "orders:category:books:1m") == "tampered"
    watch.ms += 1
    await store.heartbeat(NOW_MS)
    assert await client.hget(keys.values, "orders:category:books:1m") == "1"
    assert len(await client.xrange(keys.changes)) == 1, "a rewrite tells no change"


async def test_racing_publishers_end_with_the_newest(make_store, client, keys):
    """Four publishers write 50 versions each in any order: the value read never goes back."""
    stores = [make_store() for _ in range(4)]
    seen = []

    async def write(position, store):
        for step in range(50):
            applied = step * len(stores) + position
            await store.publish(publication([value(number=applied)], applied=applied), NOW_MS)
            if step % 7 == position:
                await store.heartbeat(NOW_MS)

    written = asyncio.Event()

    async def read():
        while not written.is_set():
            number = await client.hget(keys.values, "orders:category:books:1m")
            if number is not None:
                seen.append(int(number))
            await asyncio.sleep(0)

    reader = asyncio.create_task(read())
    await asyncio.gather(*(write(position, store) for position, store in enumerate(stores)))
    written.set()  # a call that is cancelled may go on, and then share its connection
    await reader
    assert seen == sorted(seen)
    assert len(set(seen)) > 1
    assert await client.hget(keys.values, "orders:category:books:1m") == "199"


async def test_a_dropped_market_is_left_alone(store, client, keys):
    await store.publish(publication(), NOW_MS)
    store.drop("PK")
    assert await store.heartbeat(NOW_MS + 1_000) == {}
    assert await client.hget(keys.values, "@published_at") == "2023-11-14T22:13:02.500Z"


async def test_a_call_that_waits_while_its_market_is_dropped_sends_nothing(store, client, keys):
    await store.publish(publication(applied=1), NOW_MS)
    waiting = [
        asyncio.create_task(store.publish(publication(applied=applied), NOW_MS))
        for applied in (2, 3)
    ]
    await asyncio.sleep(0)
    store.drop("PK")
    assert (await asyncio.gather(*waiting))[1] is Outcome.DROPPED
    assert await client.hget(keys.fence, "applied") in ("1", "2")


async def test_changes_history_and_days_are_bounded(make_store, client, keys):
    store = make_store(limits=RedisLimits(60_000, changes_max=5))
    for minute in range(0, 27 * 60 + 1, 9):
        at_ms = AS_OF_MS + minute * 60_000
        await store.publish(
            publication(
                [value("orders", "market", "all", "1m", minute, as_of_ms=at_ms)], as_of_ms=at_ms
            ),
            at_ms,
        )
    assert await client.xlen(keys.changes) == 5
    scores = [score for _, score in await client.zrange(keys.history, 0, -1, withscores=True)]
    assert len(scores) == 26 * 60 // 9 + 1
    assert scores[-1] - scores[0] <= 26 * 3_600_000
    days = [
        value("orders", "market", "all", "day", day, day=day_name(19_000 + day))
        for day in range(40)
    ]
    await store.publish(publication(days=days, as_of_ms=at_ms + 1), at_ms)
    assert await client.hlen(keys.days) == 35


async def test_days_of_an_earlier_owner_are_kept_while_they_are_young(make_store, client, keys):
    old = value("orders", "market", "all", "day", 1, day="2023-09-01")
    young = value("orders", "market", "all", "day", 2, day="2023-11-01")
    today = value("orders", "market", "all", "day", 3, day="2023-11-14")
    await make_store().publish(publication(days=[old], applied=1), NOW_MS)
    await make_store().publish(publication(days=[young], applied=2), NOW_MS)
    await make_store().publish(publication(days=[today], applied=3), NOW_MS)
    assert await client.hgetall(keys.days) == {
        "orders:market:all:2023-11-01": "2",
        "orders:market:all:2023-11-14": "3",
    }


async def test_inherited_values_are_kept_below_the_owners_own_and_survive_a_loss(
    store, client, keys
):
    """Only a new owner's first publication contains ended days and minutes; no later one does."""
    minute = 60_000
    inherited = Inherited(
        {
            "2023-11-10": {"orders:market:all": 4, "sales_level_index:market:all": None},
            "2023-11-14": {"orders:market:all": 5, "shoppers:market:all": 3},
        },
        [Headline(AS_OF_MS - 2 * minute, 7, 70), Headline(AS_OF_MS - minute, 8, 80)],
    )
    own = value("orders", "market", "all", "day", 6, day="2023-11-14")
    orders = [value("orders", "market", "all", "1m", 9), value("sales", "market", "all", "1m", 90)]
    await store.publish(publication(orders, days=[own], inherited=inherited), NOW_MS)
    for _ in range(2):
        assert await client.hgetall(keys.days) == {
            "orders:market:all:2023-11-10": "4",
            "orders:market:all:2023-11-14": "6",
            "shoppers:market:all:2023-11-14": "3",
        }
        points = [json.loads(text) for text in await client.zrange(keys.history, 0, -1)]
        assert [(each["orders"], each["sales"]) for each in points] == [(7, 70), (8, 80), (9, 90)]
        await client.delete(*keys)
        assert await store.heartbeat(NOW_MS) == {"PK": Outcome.WRITTEN}


async def test_what_is_inherited_later_is_sent_with_a_delta(store, client, keys):
    """Headlines wait until orders were read, since the first publication may be of payments alone."""
    await store.publish(publication([], applied=1), NOW_MS)
    inherited = Inherited({"2023-11-13": {"orders:market:all": 4}}, [Headline(AS_OF_MS, 7, 70)])
    later_ms = AS_OF_MS + 60_000
    orders = [value("orders", "market", "all", "1m", 9, as_of_ms=later_ms)]
    await store.publish(
        publication(orders, as_of_ms=later_ms, applied=2, inherited=inherited), later_ms
    )
    assert await client.hgetall(keys.days) == {"orders:market:all:2023-11-13": "4"}
    points = [json.loads(text) for text in await client.zrange(keys.history, 0, -1)]
    assert [each["orders"] for each in points] == [7, 9]


async def test_a_revised_headline_corrects_its_point(store, client, keys):
    await store.publish(publication([value("orders", "market", "all", "1m", 12)]), NOW_MS)
    later_ms = AS_OF_MS + 60_000
    revised = value("orders", "market", "all", "1m", 13, revision=1)
    await store.publish(
        publication(
            [value("orders", "market", "all", "1m", 20, as_of_ms=later_ms)],
            as_of_ms=later_ms,
            revisions=[Revision(revised, 12, "late")],
        ),
        later_ms,
    )
    points = [json.loads(text)["orders"] for text in await client.zrange(keys.history, 0, -1)]
    assert points == [13, 20]


async def test_a_reset_removes_the_points_of_the_time_ahead_before_it_has_one_of_its_own(
    store, client, keys
):
    """Its first publication may be of payments alone, and show nothing of orders."""
    ahead_ms = AS_OF_MS + 3_600_000
    for at_ms in (AS_OF_MS - 60_000, ahead_ms):
        headline = value("orders", "market", "all", "1m", 12, as_of_ms=at_ms)
        await store.publish(publication([headline], as_of_ms=at_ms), at_ms)
    await store.publish(publication([], generation=1), NOW_MS)
    scores = [score for _, score in await client.zrange(keys.history, 0, -1, withscores=True)]
    assert scores == [AS_OF_MS - 60_000]


async def test_a_snapshot_without_room_leaves_out_the_smallest_members(
    make_store, client, keys, metrics
):
    store = make_store(limits=RedisLimits(60_000, snapshot_bytes_max=8_192))
    values = [value("orders", "market", "all", "1m", 500)]
    values += [value(member=f"c{position:02}", number=position) for position in range(60)]
    await store.publish(publication(values), NOW_MS)
    text = await client.get(keys.snapshot)
    snapshot = json.loads(text)
    assert len(text) <= 8_192
    kept = [each["member"] for each in snapshot["values"]]
    assert kept == ["all", *(f"c{position:02}" for position in range(61 - len(kept), 60))]
    assert snapshot["left_out"] == 61 - len(kept) > 0
    left_out = metrics.registry.get_sample_value(
        "ecindex_snapshot_left_out_values", {"market": "PK"}
    )
    assert left_out == snapshot["left_out"]
    assert await client.hlen(keys.values) == 61 + 9, "the hash has them all"


async def test_a_killed_redis_costs_one_log_line_a_minute_and_no_exception(
    make_store, server, keys, client, count
):
    watch = Watch()
    store = make_store(monotonic_ms=watch)
    await store.publish(publication(applied=1), NOW_MS)
    server.kill()
    with capture_logs() as logs:
        for applied in range(2, 30):
            watch.ms += 1_000
            outcome = await store.publish(publication(applied=applied), NOW_MS)
            assert outcome is Outcome.FAILED
        assert [line["event"] for line in logs] == ["redis_failed"]
        server.start()
        watch.ms += 1_000
        assert await store.heartbeat(NOW_MS) == {"PK": Outcome.WRITTEN}
    assert [line["event"] for line in logs] == ["redis_failed", "redis_answers_again"]
    assert logs[1]["failures"] == count("publish_failures_total") == 28
    assert await client.hget(keys.fence, "applied") == "29"


async def test_a_frozen_redis_costs_one_time_out_not_one_a_market(make_store, server, count):
    watch = Watch()
    store = make_store(monotonic_ms=watch, timeout_s=1.0)  # less is missed on a busy machine
    markets = ["PK", "BD", "LK"]
    for market in markets:
        outcome = await store.publish(publication(market=market, applied=1), NOW_MS)
        assert outcome is Outcome.WRITTEN
    server.pause()
    try:
        assert await store.publish(publication(applied=2), NOW_MS) is Outcome.FAILED
        assert set((await store.heartbeat(NOW_MS)).values()) == {Outcome.FAILED}
    finally:
        server.resume()
    watch.ms += 500
    assert await store.heartbeat(NOW_MS) == dict.fromkeys(markets, Outcome.WRITTEN)


async def test_a_restarted_redis_is_filled_again(make_store, server, client, keys):
    store = make_store(retry_after_ms=0)
    await store.publish(publication(), NOW_MS)
    server.restart(crash=True)
    assert await store.heartbeat(NOW_MS) == {"PK": Outcome.WRITTEN}
    assert await client.hget(keys.values, "orders:category:books:1m") == "1"


async def test_a_url_that_nobody_answers_fails_quietly(metrics):
    store = RedisStore(
        "redis://127.0.0.1:1/0", metrics, prefix="p", limits=RedisLimits(60_000), timeout_s=3.0
    )
    assert await store.publish(publication(), NOW_MS) is Outcome.FAILED
    await store.close()

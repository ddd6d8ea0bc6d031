"""Negative controls: a fault is planted with its guard on and off. Without it, O, P or V must fail."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition
from support.rig import Rig, now_ms
from support.shop import shop
from support.watchers import RedisWatch

pytestmark = pytest.mark.stack


@pytest.fixture
async def rig(tmp_path, stack, unique):
    async with Rig(tmp_path, stack=stack, name=unique("control")) as made:
        yield made


async def produce(rig, events, span_s, seed=1):
    start_ms = now_ms() + 300
    made = shop(
        events, seed=seed, first=seed * 1_000_000, start_ms=start_ms, span_ms=int(span_s * 1000),
        backlog=0,
    )  # fmt: skip
    await rig.produce(made, begin_ms=start_ms)


async def wrong(rig):
    """Assert that O finds wrong checkpoints, or P finds that they never catch up, without a crash."""

    async def judged():
        await rig.caught_up(15)
        await rig.assert_exact()

    with pytest.raises(AssertionError, match=r"^(O: checkpoints|P: )") as failure:
        await judged()
    print(*str(failure.value).splitlines()[:2])  # noqa: T201 - the reason of the failure
    assert not any(worker.exits for worker in rig.workers), "a crash is no negative control"


@pytest.mark.chaos
@pytest.mark.parametrize("guarded", [True, False])
async def test_a_chunk_lost_on_the_way_is_read_again(rig, guarded):
    """The contiguity guard of exactness rule 2 rereads a chunk that was lost before the fold."""
    await rig.ready(rig.worker("a", "lost_chunks", *([] if guarded else ["no_contiguity"])))
    await produce(rig, 4_000, 12)
    if guarded:
        await rig.caught_up()
        await rig.assert_exact()
    else:
        await wrong(rig)


@pytest.mark.parametrize("guarded", [True, False])
@pytest.mark.deep
async def test_committed_offsets_that_ran_ahead_lose_nothing(rig, guarded):
    """The state, not the committed offset, decides where reading resumes: exactness rule 2."""
    patches = [] if guarded else ["believes_commits", "no_contiguity"]
    first = rig.worker("a", *patches)
    await rig.ready(first)
    await produce(rig, 1_000, 3)
    await rig.caught_up()
    assert (await first.leave())[0] == 0
    await produce(rig, 1_000, 1, seed=2)
    tps = [TopicPartition(topic, n) for topic in rig.topic.values() for n in range(rig.inputs)]
    consumer = AIOKafkaConsumer(bootstrap_servers=rig.bootstrap, group_id=rig.group)
    consumer.assign(tps)
    async with consumer:
        await consumer.commit(await consumer.end_offsets(tps))
    rig.workers.clear()
    await rig.ready(rig.worker("b", *patches))
    await produce(rig, 1_000, 3, seed=3)
    if guarded:
        await rig.caught_up()
        await rig.assert_exact()
    else:
        await wrong(rig)


@pytest.mark.chaos
@pytest.mark.parametrize("guarded", [True, False])
async def test_a_zombie_writes_nothing_older_to_redis(rig, guarded):
    """The fenced call to Redis refuses a zombie's older values: exactness rule 7.

    Patches keep the zombie from noticing that it was away and that its markets have a new owner.
    Without them it would notice within milliseconds, and it would write before that only by chance.
    """
    patches = ["never_away", "keeps_markets", *([] if guarded else ["no_redis_fence"])]
    workers = [rig.worker(name, *patches) for name in ("a", "b")]
    await rig.ready()
    watch = RedisWatch(rig).start()
    producing = asyncio.create_task(produce(rig, 9_000, 45))
    for worker in workers:
        await asyncio.sleep(8)
        rig.fault(f"SIGSTOP {worker.name}")
        worker.child.pause()
        await asyncio.sleep(12)
        worker.child.resume()
        rig.fault(f"SIGCONT {worker.name}")
    await producing
    await asyncio.sleep(2)
    assert watch.polls > 100
    if guarded:
        assert not watch.violations, watch.violations[:5]
    else:
        assert any("after" in each for each in watch.violations)

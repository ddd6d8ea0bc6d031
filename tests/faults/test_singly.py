"""One fault at a time on a real broker and Redis with two real workers; O, P and V judge each.

The tests that take longest run with the mixes only (``pytest -m chaos``).
"""

from __future__ import annotations

import asyncio
import time

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import DeleteGroupsRequest
from aiokafka.structs import TopicPartition
from faults.conftest import Bench
from support.kafka import group_members, read_all
from support.oracle import CheckpointTail
from support.rig import Rig, until

from streams.worker.stops import ExitCode

pytestmark = [pytest.mark.stack, pytest.mark.asyncio(loop_scope="session")]


@pytest_asyncio.fixture(loop_scope="session", autouse=True)
async def _whole(bench):
    await bench.whole()


@pytest.mark.chaos
async def test_workers_join_and_leave_in_order(bench):
    async def leave_and_join():
        for _ in range(3):
            leaver = bench.rig.workers.pop(0)
            bench.rig.fault(f"SIGTERM {leaver.name}")
            code, seconds = await leaver.leave()
            assert code == 0, leaver.child.last_words()
            assert seconds < 15
            await bench.whole()

    await bench.burst(leave_and_join)
    await bench.judge()


async def test_both_workers_killed_at_once(bench):
    async def kill():
        for worker in bench.rig.workers:
            bench.rig.fault(f"kill -9 {worker.name}")
            await asyncio.to_thread(worker.child.kill)

    await bench.burst(kill)
    await bench.judge()


@pytest.mark.parametrize(
    "where",
    ["forward", "back", pytest.param("group deleted", marks=pytest.mark.chaos)],
)
@pytest.mark.deep
async def test_the_committed_offset_is_advisory(bench, where):
    rig = bench.rig
    for worker in rig.workers:
        assert (await worker.leave())[0] == 0
    # A group that has members accepts no commit from outside.
    await until(lambda: _has_no_members(rig), 15, "the group being empty")
    tps = [TopicPartition(topic, n) for topic in rig.topic.values() for n in range(rig.inputs)]
    await bench.burst(events=400, span_s=1)
    if where == "group deleted":
        await _delete_group(rig)
    else:
        consumer = AIOKafkaConsumer(bootstrap_servers=rig.bootstrap, group_id=rig.group)
        consumer.assign(tps)
        async with consumer:
            ends = await consumer.end_offsets(tps)
            await consumer.commit({tp: ends[tp] if where == "forward" else 0 for tp in tps})
    rig.fault(f"committed offsets: {where}")
    await bench.whole()
    await bench.burst(events=400, span_s=1)
    await bench.judge()


async def _has_no_members(rig):
    return not await group_members(rig.bootstrap, rig.group)


async def _delete_group(rig):
    admin = AIOKafkaAdminClient(bootstrap_servers=rig.bootstrap)
    await admin.start()
    try:
        node = await admin.find_coordinator(rig.group)
        answer = await admin._client.send(node, DeleteGroupsRequest([rig.group]))
        assert [code for _, code in answer.results] == [0]
    finally:
        await admin.close()


@pytest.mark.parametrize("fault", ["killed", "emptied", "frozen"])
@pytest.mark.deep
async def test_redis_loses_everything_and_gets_it_back(bench, fault):
    rig = bench.rig
    redis = rig.stack.redis
    watch = rig.watchers[0]
    seen = {}

    async def lose():
        rig.fault(f"Redis {fault}")
        async with CheckpointTail(rig) as tail:
            await tail.read()
            before = sum(tail.through.values())
            if fault == "killed":
                await asyncio.to_thread(redis.kill)
            elif fault == "frozen":
                redis.pause()
            await asyncio.sleep(2)
            if fault != "emptied":
                # Folding does not wait for Redis: checkpoints go on while it is away.
                await until(lambda: _grew(tail, before), 20, "folding while Redis is away")
        if fault == "killed":
            await asyncio.to_thread(redis.start)
        elif fault == "frozen":
            redis.resume()
        else:
            await _flush(rig)
        back = time.monotonic()
        rig.fault("Redis is back")
        await until(lambda: _republished(watch, back), 30, "everything in Redis again")
        seen["after_s"] = time.monotonic() - back

    await bench.burst(lose)
    await bench.judge()
    rig.note(f"republished {seen['after_s']:.2f} s after the return")


async def _grew(tail, before):
    await tail.read()
    return sum(tail.through.values()) > before


async def _flush(rig):
    from redis.asyncio import Redis

    async with Redis.from_url(rig.stack.redis_url) as client:
        await client.flushall()


def _republished(watch, since):
    if not watch.samples or watch.samples[-1][0] < since:
        return False
    return watch.high.keys() <= watch.samples[-1][1].keys()


@pytest.mark.chaos
async def test_the_broker_is_away_while_a_worker_recovers(bench):
    rig = bench.rig

    async def away():
        victim = rig.workers[0]
        rig.fault(f"kill -9 {victim.name}, then the broker")
        await asyncio.to_thread(victim.child.kill)
        await asyncio.sleep(6.2)  # the session has timed out: the other worker begins to recover
        await asyncio.to_thread(rig.stack.kafka.kill)
        await asyncio.sleep(8)
        await asyncio.to_thread(rig.stack.kafka.start)
        rig.fault("broker is back")

    await bench.burst(away)
    await bench.judge()


@pytest.mark.deep
async def test_a_changelog_that_refuses_records_stops_the_worker_and_loses_nothing(bench):
    rig = bench.rig
    topic = rig.checkpoint_topics["orders"]

    def refused():
        exits = [each.code for worker in rig.workers for each in worker.exits]
        return exits.count(ExitCode.SEND_FAILED)

    before = refused()

    async def refuse():
        rig.fault(f"{topic} refuses writes")
        await rig.alter(topic, max_message_bytes=100)
        await asyncio.sleep(9)
        await until(lambda: refused() > before, 60, "the end of a worker that was refused")
        await rig.alter(topic)
        rig.fault(f"{topic} takes writes again")

    await bench.burst(refuse)
    await bench.judge()


async def test_dead_letters_that_are_refused_hold_the_checkpoint_back(bench):
    """A checkpoint past the record would leave it neither counted nor dead: sequence V1."""
    rig = bench.rig
    dead_letters = rig.settings.topics.dead_letters
    await rig.caught_up()
    await rig.alter(dead_letters, max_message_bytes=100)
    rig.fault(f"{dead_letters} refuses writes")
    place = await rig.send("orders", 0, b'{"no": "order"}')
    await bench.burst(events=400, span_s=4)
    assert await _through(rig, "orders", 0) < place
    await rig.alter(dead_letters)
    rig.fault(f"{dead_letters} takes writes again")
    await bench.judge()
    assert place in await _set_aside(rig, dead_letters)


@pytest.mark.deep
async def test_a_stop_flushes_nothing_past_a_dead_letter_that_is_not_acknowledged(bench):
    """SIGTERM used to cancel the flush that waited for the dead letter, which led to sequence V1."""
    rig = bench.rig
    await asyncio.gather(*(worker.leave() for worker in rig.workers))
    alone = rig.worker("alone", "dead_letters_hang")
    await rig.ready(alone)
    place = await rig.send("orders", 0, b'{"no": "order"}')
    await bench.burst(events=400, span_s=1)
    await until(lambda: "a dead letter hangs" in alone.log(), 60, "the dead letter being sent")
    code, _ = await alone.leave(60)
    assert code == ExitCode.DRAIN_TIMEOUT
    assert await _through(rig, "orders", 0) < place
    await bench.whole()
    await bench.judge()
    assert place in await _set_aside(rig, rig.settings.topics.dead_letters)


async def _through(rig, topic, partition):
    chain = (await rig.chains())[topic, partition]
    return chain[-1].through if chain else -1


async def _set_aside(rig, topic):
    records = await read_all(rig.bootstrap, topic)
    return {
        int(dict(record.headers)["source_offset"])
        for record in records
        if dict(record.headers)["source_topic"].decode() == rig.topic["orders"]
        and dict(record.headers)["source_partition"] == b"0"
    }


@pytest.mark.deep
async def test_rejects_in_every_chunk_do_not_keep_the_checkpoint_back(bench):
    rig = bench.rig
    await bench.burst(events=300, span_s=1)
    await rig.caught_up()
    grew = 0
    async with CheckpointTail(rig) as tail:
        await tail.read()
        before = tail.through.get(("orders", 1), -1)
        began = time.monotonic()
        # For six seconds, on a busy machine for longer. At most 900 of them: a thousand would halt the
        # partition, on a machine that is quick.
        while (lasts_s := time.monotonic() - began) < 6 or (not grew and lasts_s < 60):
            await rig.send("orders", 1, b"not JSON")
            await asyncio.sleep(0.01 if lasts_s < 6 else 0.2)
            if time.monotonic() - began > 2 and not grew:
                await tail.read()
                grew = tail.through.get(("orders", 1), -1) - before
    assert grew > 0
    await bench.judge()


@pytest.mark.chaos
async def test_a_worker_with_a_stuck_fold_ends_by_its_deadline(bench):
    rig = bench.rig
    await asyncio.gather(*(worker.leave() for worker in rig.workers))
    stuck = rig.worker("stuck", "stuck_fold")
    await rig.ready(stuck)
    await bench.burst(events=100, span_s=1)
    await until(lambda: _is_silent(rig), 30, "the fold to be stuck")
    code, seconds = await stuck.leave(25)
    assert code == ExitCode.DRAIN_TIMEOUT
    assert seconds < 20
    await bench.whole()
    await bench.judge()


async def _is_silent(rig):
    return not await rig.scrape()


@pytest.mark.deep
async def test_a_stop_while_recovering_ends_in_order(bench):
    rig = bench.rig
    for delay_s in (1.5, 2.5):
        joining = rig.worker(f"brief-{delay_s}")
        await asyncio.sleep(delay_s)
        code, _ = await joining.leave(60)
        assert code in (0, -15), joining.child.last_words()  # -15: it was still importing
    await bench.whole()
    await bench.burst(events=400, span_s=1)
    await bench.judge()


@pytest.mark.chaos
async def test_a_spare_without_partitions_takes_over_from_a_killed_owner(tmp_path, bench, unique):
    """Each topic has one partition, so the second worker owns none. It must stay in the group."""
    spare = Bench(Rig(tmp_path, stack=bench.rig.stack, name=unique("spare"), inputs=1, partials=1))
    async with spare.rig as rig:
        owner = rig.worker("owner")
        await rig.ready()
        rig.worker("spare")
        await rig.ready()
        await spare.burst(events=300, span_s=8)
        await rig.caught_up()
        rig.fault("kill -9 the owner for good")
        owner._leaving = True
        await asyncio.to_thread(owner.child.kill)
        await spare.burst(events=300, span_s=2)
        rig.workers.remove(owner)
        await spare.judge()
        owned = [line for line in rig.workers[0].log().splitlines() if "partitions_owned" in line]
        assert '"sources": 0' in owned[0] or "sources=0" in owned[0]

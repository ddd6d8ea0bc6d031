"""The transport with real workers and a real broker: exact (O) and moving (P) after every fault."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time

import pytest
from support.kafka import (
    alter_topic,
    commit,
    committed,
    create_topic,
    delete_records,
    delete_topic,
    group_members,
    produce,
    read_partitions,
)
from support.toys import Toys

from streams.local.local_stack import LocalStack
from streams.settings import default_config, load_methodology, load_settings
from streams.worker.app import IndexWorker
from streams.worker.broken_connections import reopen_broken
from streams.worker.stops import ExitCode

pytestmark = pytest.mark.stack

ENDS_WITHIN_S = 60
"""Longer than a process that ends by itself takes on a busy machine."""


@pytest.fixture
async def toys(stack, unique, tmp_path):
    made = Toys(stack, unique("toy"), tmp_path, partitions=4)
    yield made
    for child in made.children.values():
        child.kill()


@pytest.fixture
async def own(unique, tmp_path, cache_dir):
    """Toys on a broker of their own, to be frozen and killed."""
    with LocalStack(tmp_path / "own", cache_dir=cache_dir, with_redis=False) as local:
        made = Toys(local, unique("toy"), tmp_path, partitions=4)
        await made.create()
        yield made


async def until(condition, within_s=60.0):
    deadline = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "did not happen in time"
        await asyncio.sleep(0.05)
    return found


async def test_the_oracle_reads_a_topic_that_is_empty_and_one_that_has_become_so(stack, unique):
    topic = unique("empty")
    await create_topic(stack.bootstrap, topic, 3)
    nothing = {0: [], 1: [], 2: []}
    assert await read_partitions(stack.bootstrap, topic, 3) == (nothing, {0: 0, 1: 0, 2: 0})
    await produce(stack.bootstrap, topic, [b"1", b"2"], partition=1)
    await produce(stack.bootstrap, topic, [b"3"], partition=2)
    await delete_records(stack.bootstrap, topic, 1, 2)
    found, ends = await read_partitions(stack.bootstrap, topic, 3)
    assert {number: [r.value for r in records] for number, records in found.items()} == {
        0: [], 1: [], 2: [b"3"],
    }  # fmt: skip
    assert ends == {0: 0, 1: 2, 2: 1}


async def test_a_workers_consumer_runs_with_what_the_settings_say(stack, tmp_path):
    """The heartbeat was set, and a quarter of the session was used."""
    kafka = {
        "bootstrap_servers": stack.bootstrap,
        "session_timeout_ms": 7_000,
        "heartbeat_ms": 1_234,
        "request_timeout_ms": 45_678,
        "fetch_min_bytes": 4_321,
        "fetch_max_wait_ms": 500,
        "fetch_max_bytes": 123_456,
    }
    settings = load_settings(
        default_config("ecindex.toml"),
        {"data_dir": tmp_path} | {f"kafka.{name}": value for name, value in kafka.items()},
    )
    worker = IndexWorker(settings, load_methodology(settings), {"orders": 1, "payments": 1})
    worker.create()
    consumer = worker.app.consumer._new_consumer_thread()._create_worker_consumer(
        worker.app.transport
    )
    await consumer.start()
    try:
        assert consumer._client._get_conn.__module__ == reopen_broken.__module__
        coordinator, fetcher = consumer._coordinator, consumer._fetcher
        assert kafka == {
            "bootstrap_servers": ",".join(consumer._client._bootstrap_servers),
            "session_timeout_ms": coordinator._session_timeout_ms,
            "heartbeat_ms": coordinator._heartbeat_interval_ms,
            "request_timeout_ms": consumer._client._request_timeout_ms,
            "fetch_min_bytes": fetcher._fetch_min_bytes,
            "fetch_max_wait_ms": fetcher._fetch_max_wait_ms,
            "fetch_max_bytes": fetcher._max_partition_fetch_bytes,
        }
    finally:
        await consumer.stop()


@pytest.mark.slow
@pytest.mark.deep
async def test_two_workers_killed_and_frozen_are_exact(toys):
    await toys.create()
    for worker in ("one", "two"):
        toys.start(worker)
    dice = random.Random(7)
    producing = asyncio.create_task(toys.produce(100_000, per_s=4000))
    for _ in range(3):
        await asyncio.sleep(dice.uniform(2.5, 5.0))
        worker = dice.choice(["one", "two"])
        toys.children[worker].kill()
        toys.start(worker)
    zombie = toys.children["two"]
    # One that is not of the group yet would be away from nothing.
    await until(lambda: toys.reports("two", "recovered", zombie.pid))
    zombie.pause()
    await asyncio.sleep(10)  # longer than the session of 6 s: its partitions are the other's
    zombie.resume()
    assert await asyncio.to_thread(zombie.wait, ENDS_WITHIN_S) == ExitCode.AWAY, zombie.log_tail(60)
    toys.start("two")
    await producing
    await toys.assert_exact()


async def test_a_worker_stopped_during_a_rebalance_leaves_the_group(toys):
    """A member that does not leave would hold the next workers back until its session is over."""
    await toys.create()
    first, second = toys.start("one"), toys.start("two")
    await toys.produce(1_000)
    await until(lambda: toys.reports("one", "recovered") and toys.reports("two", "recovered"))
    await toys.assert_exact()
    heard = second.log_tail(500).count("it is rebalancing")
    os.kill(first.pid, signal.SIGTERM)
    await until(lambda: second.log_tail(500).count("it is rebalancing") > heard)
    os.kill(second.pid, signal.SIGTERM)
    for child in (first, second):
        assert await asyncio.to_thread(child.wait, ENDS_WITHIN_S) == ExitCode.OK, child.log_tail(60)
    assert await group_members(toys.stack.bootstrap, toys.name) == 0, second.log_tail(60)


async def test_transaction_markers_are_gaps_and_count_as_read(toys):
    """A log that ends in a marker has no record at its last offset, and is read to its end."""
    await toys.create()
    toys.start("one")
    await until(lambda: toys.reports("one", "recovered"))
    for number in range(6):
        await toys.produce_in_transaction(number, count=50, commit=number % 3 != 1)
    await toys.assert_exact()
    ends = {name: s["log_end"] for name, s in toys.reports("one")[-1].items() if "-in-" in name}
    await until(
        lambda: all(
            s["position"] == s["log_end"] and s["caught_up_at"]
            for name, s in toys.reports("one")[-1].items()
            if name in ends
        )
    )


@pytest.mark.deep
async def test_a_compacted_source_has_gaps_that_are_not_losses(toys):
    await toys.create(
        cleanup_policy="compact",
        segment_ms=100,
        min_cleanable_dirty_ratio=0.01,
        max_compaction_lag_ms=100,
        delete_retention_ms=0,
    )
    for first in range(0, 1200, 300):
        await toys.produce_keyed(first, keys=20, count=300)
        await asyncio.sleep(0.3)
    await until_compacted(toys)
    toys.start("one")
    await toys.assert_exact()


async def until_compacted(toys):
    for _ in range(120):
        log, ends = await read_partitions(toys.stack.bootstrap, toys.topic, toys.partitions)
        if all(len(log[number]) < ends[number] - 100 for number in log):
            return
        await asyncio.sleep(0.5)
    pytest.fail("the broker did not compact")


@pytest.mark.deep
async def test_a_slow_agent_holds_the_fetch_back(toys):
    """Without a bound the queue takes all that the broker has; with it, eight chunks."""
    await toys.create()
    await toys.produce(40_000)
    toys.start("one", "--slow-ms", "20", "--chunk-records", "200")
    await toys.assert_exact()
    largest = toys.reports("one")[-1]["queue"]
    assert 1 <= largest <= 8


@pytest.mark.deep
async def test_every_codec_decodes(toys):
    await toys.create()
    for partition, codec in enumerate(["gzip", "snappy", "lz4", "zstd"]):
        await toys.produce_compressed(partition, codec, count=2000)
    toys.start("one")
    await toys.assert_exact()


@pytest.mark.deep
async def test_an_idle_partition_stays_caught_up_and_a_paused_one_is_not(toys):
    await toys.create()
    await toys.produce(400)
    toys.start("one")
    await toys.assert_exact()

    def caught_up():
        status = toys.reports("one")[-1]
        return [s["caught_up_at"] for name, s in status.items() if "-in-" in name]

    await until(lambda: len(caught_up()) == 4 and all(caught_up()))
    for _ in range(3):
        before = max(caught_up())
        await until(lambda before=before: min(caught_up()) > before + 200)

    (toys.directory / "one" / "pause").touch()
    await until(lambda: caught_up() == [None] * 4)
    await toys.produce(400)
    await asyncio.sleep(1.0)
    assert caught_up() == [None] * 4
    assert sum(s["n"] for name, s in toys.reports("one")[-1].items() if "-in-" in name) == 400
    (toys.directory / "one" / "pause").unlink()
    await toys.assert_exact()


@pytest.mark.deep
async def test_a_refused_record_ends_the_worker_and_nothing_is_lost(toys):
    await toys.create()
    child = toys.start("one")
    await toys.produce(4000)
    await toys.assert_exact()
    await alter_topic(toys.stack.bootstrap, toys.changelog, {"max.message.bytes": "50"})
    await toys.produce(4000)
    assert await asyncio.to_thread(child.wait, ENDS_WITHIN_S) == ExitCode.SEND_FAILED
    assert toys.changelog in child.log_tail(60)
    await alter_topic(toys.stack.bootstrap, toys.changelog, {"max.message.bytes": "1000000"})
    toys.start("one")
    await toys.assert_exact()


@pytest.mark.deep
async def test_join_and_leave_by_sigterm(toys):
    await toys.create()
    toys.start("one")
    producing = asyncio.create_task(toys.produce(40_000, per_s=4000))
    for _ in range(3):
        joins = len(toys.reports("two", "recovered"))
        toys.start("two")
        await until(lambda joins=joins: len(toys.reports("two", "recovered")) > joins)
        await asyncio.sleep(0.5)
        child = toys.children["two"]
        await asyncio.to_thread(child.terminate, ENDS_WITHIN_S)
        assert child.returncode == ExitCode.OK
    await producing
    await toys.assert_exact()


@pytest.mark.deep
async def test_a_fold_that_never_returns_ends_by_the_deadline(toys):
    await toys.create()
    child = toys.start("one", "--stuck")
    await toys.produce(40)
    await until(lambda: toys.reports("one", "stuck"))
    began = time.monotonic()
    await asyncio.to_thread(child.terminate, ENDS_WITHIN_S)
    assert child.returncode == ExitCode.DRAIN_TIMEOUT
    assert time.monotonic() - began > 10


@pytest.mark.deep
async def test_a_fold_that_never_returns_is_seen_by_the_watchdog(toys):
    await toys.create()
    await toys.produce(4000)
    child = toys.start("one", "--stuck", "--no-progress-ms", "3000")
    assert await asyncio.to_thread(child.wait, ENDS_WITHIN_S) == ExitCode.NO_PROGRESS


async def test_a_log_cut_below_the_state_halts_with_the_offsets(toys):
    await toys.create()
    child = toys.start("one")
    await toys.produce(400)
    await toys.assert_exact()
    await asyncio.to_thread(child.terminate, 20)
    await toys.produce(400)
    await delete_records(toys.stack.bootstrap, toys.topic, 0, 150)
    child = toys.start("one")
    assert await asyncio.to_thread(child.wait, ENDS_WITHIN_S) == ExitCode.LOG_CHANGED
    assert f"{toys.topic}-0: the state continues at offset 100" in child.log_tail(60)


@pytest.mark.deep
async def test_records_that_are_never_acknowledged_end_the_worker(own):
    # Slow, so that there is more to fold, and to write, when the broker no longer answers.
    slow = ("--slow-ms", "200", "--chunk-records", "100")
    child = own.start("one", "--ack-limit-ms", "3000", *slow)
    await own.produce(40)
    await own.assert_exact()
    producing = asyncio.create_task(own.produce(20_000))
    await until(lambda: own.reports("one")[-1]["queue"] > 4)
    own.stack.kafka.pause()
    try:
        assert await asyncio.to_thread(child.wait, ENDS_WITHIN_S) == ExitCode.SEND_FAILED
    finally:
        own.stack.kafka.resume()
    own.start("one")
    await producing
    await own.assert_exact()


@pytest.mark.slow
@pytest.mark.parametrize("away_s", [9, 40])
@pytest.mark.deep
async def test_a_broker_that_is_away_costs_nothing(own, away_s):
    for worker in ("one", "two"):
        own.start(worker)
    await own.produce(4000)
    await own.assert_exact()
    await own.produce(20_000)
    await asyncio.sleep(0.3)
    await asyncio.to_thread(own.stack.kafka.kill)
    await asyncio.sleep(away_s)
    await asyncio.to_thread(own.stack.kafka.start)
    await own.produce(4000)
    supervising = asyncio.create_task(supervise(own))
    await own.assert_exact()
    supervising.cancel()


async def supervise(toys):
    """Start workers that gave up again, whenever they do."""
    while True:
        for worker, child in list(toys.children.items()):
            if not child.running:
                toys.start(worker)
        await asyncio.sleep(0.2)


@pytest.mark.deep
async def test_a_broker_that_stalls_recovery_ends_the_worker_instead_of_its_recovery(own):
    """In Faust as shipped, recovery would be dead from here on and the worker heartbeat for ever."""
    await own.produce(4000)
    child = own.start("one", "--request-timeout-ms", "6000", "--hold-assigned-s", "4")
    await until(lambda: own.reports("one", "assigned"))
    own.stack.kafka.pause()
    try:
        code = await asyncio.to_thread(child.wait, ENDS_WITHIN_S)
    finally:
        own.stack.kafka.resume()
    assert code == ExitCode.RECOVERY_STUCK
    own.start("one")
    await own.assert_exact()


@pytest.mark.deep
async def test_a_recovery_that_reads_nothing_ends_the_worker_while_the_broker_answers(toys):
    """Faust warns and waits, and the worker heartbeats: its partitions were nobody's for ever."""
    await toys.create()
    await toys.produce(4000)
    first = toys.start("one")
    await toys.assert_exact()
    await asyncio.to_thread(first.terminate, 20)
    child = toys.start("two", "--deaf", "--deaf-ms", "3000")
    assert await asyncio.to_thread(child.wait, ENDS_WITHIN_S) == ExitCode.RECOVERY_STUCK
    assert "no changelog record in 3 s" in child.log_path.read_text()
    toys.start("three")
    await toys.produce(1000)
    await toys.assert_exact()


@pytest.mark.deep
async def test_an_exception_in_a_fold_ends_the_worker_and_loses_nothing(toys):
    await toys.create()
    child = toys.start("one", "--crash-at", "2001")
    await toys.produce(4000, per_s=8000)
    assert await asyncio.to_thread(child.wait, ENDS_WITHIN_S) == ExitCode.CRASHED
    assert "planted at 2001" in child.log_tail(200)
    toys.start("one")
    await toys.assert_exact()


@pytest.mark.deep
async def test_a_spare_takes_over(stack, unique, tmp_path):
    toys = Toys(stack, unique("toy"), tmp_path, partitions=2)
    await toys.create()
    for worker in ("one", "two", "three"):
        toys.start(worker)
        await until(lambda worker=worker: toys.reports(worker, "recovered"))
    await toys.produce(4000)
    await toys.assert_exact()
    for worker in ("one", "two"):
        toys.children[worker].kill()
    await toys.produce(4000)
    await toys.assert_exact()
    toys.children["three"].kill()


async def test_a_topic_deleted_under_a_worker_halts_it_and_a_new_one_is_not_taken_for_it(toys):
    await toys.create()
    child = toys.start("one")
    await toys.produce(4000)
    await toys.assert_exact()
    await delete_topic(toys.stack.bootstrap, toys.topic)
    assert await asyncio.to_thread(child.wait, ENDS_WITHIN_S) == ExitCode.LOG_CHANGED
    await create_topic(toys.stack.bootstrap, toys.topic, toys.partitions)
    await toys.produce(400)
    child = toys.start("one")
    assert await asyncio.to_thread(child.wait, ENDS_WITHIN_S) == ExitCode.LOG_CHANGED
    assert "the log holds 0 to 100" in child.log_tail(100)


@pytest.mark.deep
async def test_a_missing_topic_is_reported_at_start(toys):
    child = toys.start("one", "--request-timeout-ms", "6000")
    assert await asyncio.to_thread(child.wait, ENDS_WITHIN_S) == ExitCode.USAGE


@pytest.mark.deep
async def test_offsets_are_committed_for_lag_monitors_and_never_believed(toys):
    await toys.create()
    child = toys.start("one")
    await toys.produce(4000)
    await toys.assert_exact()
    await until_committed(toys, dict.fromkeys(range(4), 1000))
    await asyncio.to_thread(child.terminate, 20)
    await toys.produce(4000)
    for wrong in (0, 1500):
        await commit(toys.stack.bootstrap, toys.name, toys.topic, dict.fromkeys(range(4), wrong))
        child = toys.start("one")
        await toys.assert_exact()
        await until_committed(toys, dict.fromkeys(range(4), 2000))
        await asyncio.to_thread(child.terminate, 20)


async def until_committed(toys, wanted):
    deadline = time.monotonic() + 20
    found = None
    while found != wanted:
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.2)
        found = await committed(toys.stack.bootstrap, toys.name, toys.topic)


@pytest.mark.deep
async def test_a_plain_topic_beside_it_works_as_ever(toys, unique):
    plain = unique("plain")
    await toys.create()
    await create_topic(toys.stack.bootstrap, plain)
    toys.start("one", "--plain-topic", plain)
    await toys.produce(400)
    await produce(toys.stack.bootstrap, plain, [b"x"] * 50)
    await toys.assert_exact()
    await until(lambda: toys.reports("one")[-1]["plain"] == 50)
    deadline = time.monotonic() + 20
    while await committed(toys.stack.bootstrap, toys.name, plain) != {0: 50}:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.2)

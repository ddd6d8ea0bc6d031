"""Inputs are read committed: by the service's own reader of batches, and by every other reader."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.structs import TopicPartition
from support import worker_child
from support.flow_harness import order
from support.installation import Installation
from support.kafka import create_topic, produce
from support.toys import Toys

from streams.clock import now_ms
from streams.operate.workers_http import WorkerError, partition_states
from streams.records.kafka_logs import open_logs
from streams.settings import KafkaSettings
from streams.worker.open_transactions import appended_at

pytestmark = pytest.mark.stack


@pytest.fixture
async def toys(stack, unique, tmp_path):
    made = Toys(stack, unique("toy"), tmp_path, partitions=1)
    yield made
    for child in made.children.values():
        child.kill()


async def until(condition, within_s=30.0):
    deadline = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "did not happen in time"
        await asyncio.sleep(0.05)
    return found


async def transactional(stack, name):
    producer = AIOKafkaProducer(bootstrap_servers=stack.bootstrap, transactional_id=name)
    await producer.start()
    await producer.begin_transaction()
    return producer


async def test_interleaved_transactions_are_exact_and_an_open_one_holds_the_partition(toys, stack):
    """Two producers and plain records in one partition; what is aborted was longer than a fetch."""
    await toys.create(message_timestamp_type="LogAppendTime")
    toys.start("one")
    await until(lambda: toys.reports("one", "recovered"))

    def status():
        return next(s for name, s in toys.reports("one")[-1].items() if "-in-" in name)

    await toys.produce(100)
    first, second = [await transactional(stack, f"{toys.name}-{n}") for n in "ab"]
    begun = await first.send_and_wait(toys.topic, b"1", partition=0)
    held = await second.send_and_wait(toys.topic, b"2", partition=0)
    await toys.produce(300)
    await second.abort_transaction()
    await until(lambda: status()["position"] == begun.offset and status()["log_end"] > begun.offset)
    await until(lambda: status()["log_end"] >= held.offset + 302)
    assert (status()["stable_end"], status()["n"]) == (begun.offset, 100)
    known_ms = status()["caught_up_at"]
    await toys.produce(1)
    await until(lambda: status()["log_end"] >= held.offset + 303)
    assert status()["caught_up_at"] == known_ms, "what it holds may still count"

    await first.commit_transaction()
    await until(lambda: status()["position"] == status()["log_end"])
    assert status()["n"] == 402
    await first.begin_transaction()
    await asyncio.gather(
        *[await first.send(toys.topic, b"9" * 900, partition=0) for _ in range(3_000)]
    )
    await first.abort_transaction()
    for producer in (first, second):
        await producer.stop()
    await toys.produce(10)
    await toys.assert_exact()
    await until(lambda: status()["position"] == status()["log_end"])
    assert status()["n"] == 412


async def test_every_other_reader_leaves_out_what_was_aborted_and_ends_at_what_is_open(
    stack, unique
):
    topic = unique("orders")
    await create_topic(stack.bootstrap, topic)
    await produce(stack.bootstrap, topic, [b"plain"])
    for value, commits in ((b"committed", True), (b"aborted", False)):
        producer = await transactional(stack, f"{topic}-{value.decode()}")
        await producer.send_and_wait(topic, value, partition=0)
        await (producer.commit_transaction() if commits else producer.abort_transaction())
        await producer.stop()
    await produce(stack.bootstrap, topic, [b"plain"])
    opened = await transactional(stack, f"{topic}-open")
    held = await opened.send_and_wait(topic, b"open", partition=0)
    await produce(stack.bootstrap, topic, [b"behind"])

    async def read():
        tp = TopicPartition(topic, 0)
        async with open_logs(KafkaSettings(bootstrap_servers=stack.bootstrap)) as logs:
            extent = (await logs.extents_of([tp]))[tp]
            return extent, [r.value async for batch in logs.read(tp, extent) for r in batch]

    extent, values = await read()
    assert (extent.end, values) == (held.offset, [b"plain", b"committed", b"plain"])
    await opened.commit_transaction()
    await opened.stop()
    _, values = await read()
    assert values == [b"plain", b"committed", b"plain", b"open", b"behind"]


async def test_the_age_of_an_open_transaction_is_told_by_the_brokers_stamp_alone(stack, unique):
    kafka = KafkaSettings(bootstrap_servers=stack.bootstrap)
    for stamped in ("LogAppendTime", "CreateTime"):
        topic = unique("held")
        await create_topic(stack.bootstrap, topic, message_timestamp_type=stamped)
        await produce(stack.bootstrap, topic, [b"plain"] * 3)
        opened = await transactional(stack, topic)
        held = await opened.send_and_wait(topic, b"open", partition=0, timestamp_ms=1_000)
        await opened.send_and_wait(topic, b"open", partition=0)
        found = await appended_at(kafka, TopicPartition(topic, 0), held.offset)
        if stamped == "LogAppendTime":
            assert abs(found - now_ms()) < 600_000
            assert found == held.timestamp
        else:
            assert found is None, "an import's is years old"
        await opened.abort_transaction()
        await opened.stop()


@pytest.mark.parametrize("counts_aborted", [pytest.param(False, marks=pytest.mark.deep), True])
async def test_the_audit_finds_a_service_that_counts_what_was_aborted(
    stack, unique, tmp_path, counts_aborted
):
    """The audit reads the inputs with another reader than the service, so one fault is not both's."""
    installed = Installation(stack, unique("tx"), tmp_path, inputs=1)
    await installed.create_topics()
    patch = ("--patch", "counts_aborted") if counts_aborted else ()
    installed.start_worker((sys.executable, Path(worker_child.__file__), *patch))
    topic = f"{installed.name}-orders"
    at_ms = now_ms()  # of all, so that one pane holds what counts and what does not
    async with installed.producer() as producer:
        await installed.send(producer, "orders", order("plain", at_ms))
        await producer.flush()
    aborting = await transactional(stack, f"{topic}-aborts")
    for number in range(3):
        event = json.dumps(order(f"aborted-{number}", at_ms)).encode()
        await aborting.send_and_wait(topic, event, partition=0)
    await aborting.abort_transaction()
    await aborting.stop()
    report = await installed.audit()
    installed.stop()
    found = {(each.stage, each.field) for each in report.differences}
    assert report.equal is not counts_aborted, "\n".join(report.lines())
    assert (("checkpoint", "orders") in found) is counts_aborted, found


@pytest.mark.deep  # the parts: tests/unit/worker/test_intake.py, and the broker's stamp above
async def test_a_new_owner_tells_the_age_of_a_transaction_that_was_open_before_it(
    stack, unique, tmp_path
):
    installed = Installation(stack, unique("age"), tmp_path, inputs=1, arrival="broker")
    await installed.create_topics()
    opened = await transactional(stack, installed.name)
    held = await opened.send_and_wait(f"{installed.name}-orders", b"{}", partition=0)
    await asyncio.sleep(8)
    child = installed.start_worker()
    began_ms = now_ms()
    try:

        async def told():
            url = installed.metrics_of(child)
            if url is None:
                return None
            with contextlib.suppress(WorkerError):
                for state in await partition_states(url.removesuffix("/metrics")):
                    off_ms = now_ms() - held.timestamp - state.open_transaction_ms
                    if abs(off_ms) < 5_000 and (
                        state.open_transaction_ms > now_ms() - began_ms + 3_000
                    ):
                        return state
            return None

        state = await installed.until(told)
        assert state.topic == f"{installed.name}-orders"
    finally:
        await opened.abort_transaction()
        await opened.stop()
        installed.stop()


@pytest.mark.deep  # tests/unit/worker/test_level1.py has the fetch; here it comes as a broker sends it
async def test_nothing_but_an_aborted_transaction_on_a_quiet_input(stack, unique, tmp_path):
    installed = Installation(stack, unique("quiet"), tmp_path, inputs=1, arrival="broker")
    await installed.create_topics()
    for _ in range(2):
        installed.start_worker()
    topic = f"{installed.name}-orders"
    try:
        async with installed.producer() as producer:
            await installed.send(producer, "orders", order("first", now_ms()))
            await producer.flush()
            await installed.audit()
            for number in range(3):
                aborting = await transactional(stack, f"{topic}-{number}")
                event = json.dumps(order(f"aborted-{number}", now_ms())).encode()
                await aborting.send_and_wait(topic, event, partition=0)
                await asyncio.sleep(0.5)  # so that the marker comes in a fetch of its own
                await aborting.abort_transaction()
                await aborting.stop()
                await asyncio.sleep(0.5)
            report = await installed.audit()
            assert report.equal, "\n".join(report.lines())
            assert all(child.running for child in installed.workers)
            assert not [child for child in installed.workers if "CRASHED" in child.log_tail(1_000)]
    finally:
        installed.stop()

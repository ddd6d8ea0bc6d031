"""A worker continues no checkpoints of another log unasked, and names the fix: exactness rule 9."""

from __future__ import annotations

import asyncio
import itertools
import re

import msgspec
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from aiokafka.structs import TopicPartition
from support.flow_harness import METHODOLOGY, order, payment
from support.installation import Installation
from support.kafka import create_topic, delete_topic, read_partitions

from streams.clock import now_ms
from streams.flow.chain import CheckpointRecord, encode_checkpoint
from streams.settings import KafkaSettings
from streams.worker.stated_topics import TAIL_RECORDS, stated_ids
from streams.worker.topic_ids import topic_identities

pytestmark = pytest.mark.stack
EDITION = METHODOLOGY.edition


@pytest.fixture
async def stopped(stack, unique, tmp_path):
    """An installation that folded a few events and was stopped."""
    installed = Installation(stack, unique("i"), tmp_path, inputs=2)
    await installed.create_topics()
    installed.start_worker()
    async with installed.producer() as producer:
        for number in range(40):
            at_ms = now_ms()
            await installed.send(producer, "orders", order(f"o{number}", at_ms), at_ms=at_ms)
            await installed.send(producer, "payments", payment(f"p{number}", at_ms), at_ms=at_ms)
        await producer.flush()
    report = await installed.audit()
    assert report.equal, "\n".join(report.lines())
    installed.stop()
    return installed


async def test_the_newest_checkpoint_of_each_partition_names_the_topic_that_it_is_of(stack, unique):
    def checkpoint(topic_id, through):
        return encode_checkpoint(
            CheckpointRecord(1, "", topic_id, 3, through, None, 1, through, {}, [], [])
        )

    topic = unique("changelog")
    await create_topic(stack.bootstrap, topic, 4)
    # An older owner's came later; what followed are more tombstones than are read at first.
    newest = [checkpoint("old", 7), checkpoint("new", 1 << 40), checkpoint("old", 9)]
    held = [[*newest, *[None] * TAIL_RECORDS], [checkpoint("old", 3)], [None] * 3]
    async with AIOKafkaProducer(bootstrap_servers=stack.bootstrap, acks="all") as producer:
        for number, values in enumerate(held):
            for value in values:
                await producer.send_and_wait(topic, value, key=b"key", partition=number)
    kafka = KafkaSettings(bootstrap_servers=stack.bootstrap)
    ends = {TopicPartition(topic, number): end for number, end in enumerate((67, 1, 3, 0))}
    assert await stated_ids(kafka, ends) == {"new", "old"}
    assert await stated_ids(kafka, {TopicPartition(topic, 0): 67}) == {"new"}
    assert await stated_ids(kafka, {TopicPartition(topic, 2): 3}) == set()


async def identities(installed):
    admin = AIOKafkaAdminClient(bootstrap_servers=installed.stack.bootstrap)
    await admin.start()
    try:
        topics = installed.settings.topics
        return await topic_identities(admin, [topics.orders, topics.payments, "no-such-topic"])
    finally:
        await admin.close()


async def recreated(installed, topic):
    await delete_topic(installed.stack.bootstrap, topic)

    async def made():
        return topic in (await installed.create_topics()).created

    await installed.until(made)


@pytest.mark.deep
async def test_a_topic_made_anew_is_not_the_one_that_was_folded(stopped):
    topic = stopped.settings.topics.orders
    before = await identities(stopped)
    await recreated(stopped, topic)
    after = await identities(stopped)
    assert before.keys() == after.keys() == {topic, stopped.settings.topics.payments}
    assert before[topic].topic_id != after[topic].topic_id
    # As long as the old log and longer: only the id tells.
    async with stopped.producer() as producer:
        for number in range(200):
            await stopped.send(producer, "orders", order(f"new{number}", now_ms()), at_ms=now_ms())
        await producer.flush()
    child = stopped.start_worker()

    async def halted():
        return '"reason": "recreated"' in child.log_tail(2_000)

    await stopped.until(halted)
    assert child.running
    words = child.log_tail(2_000)
    assert f"is of id {before[topic].topic_id}" in words
    assert f"`ecindex topics accept {topic} id={after[topic].topic_id}`" in words
    stopped.stop()
    await another_edition_goes_on(stopped)  # the other way out


def raised_edition(installed):
    text = installed.settings.methodology.read_text()
    old, new = f"edition = {EDITION}\n", f"edition = {EDITION + 1}\n"
    assert old in text
    return text.replace(old, new)


async def another_edition_goes_on(installed):
    """Do what the message advises."""
    text = raised_edition(installed)
    raised = installed.directory / "methodology.toml"
    raised.write_text(text)
    installed.overrides["methodology"] = raised
    created = (await installed.create_topics()).created
    assert {name.split(f"-e{EDITION + 1}-")[0] for name in created} == {installed.name}
    child = installed.start_worker()
    report = await installed.audit(markets=["PK"])
    assert report.equal, "\n".join(report.lines())
    assert report.judged["values"] > 100
    assert child.running


async def test_partitions_that_were_added_while_no_worker_ran_are_taken_in(stopped):
    topic = stopped.settings.topics.payments
    admin = AIOKafkaAdminClient(bootstrap_servers=stopped.stack.bootstrap)
    await admin.start()
    try:
        await admin.create_partitions({topic: NewPartitions(total_count=5)})
    finally:
        await admin.close()

    async def grown():
        return (await identities(stopped))[topic].partitions == 5

    await stopped.until(grown)
    async with stopped.producer() as producer:
        for number in range(10):
            at_ms = now_ms()
            event = payment(f"added{number}", at_ms)
            place = {"at_ms": at_ms, "partition": number % 5}
            await stopped.send(producer, "payments", event, **place)
        await producer.flush()
    _, before, _ = await stopped.command("topics", "check", "--inputs", "2", check=1)
    assert "ecindex topics migrate" in before
    # What a worker does itself, unless the broker does not let it.
    _, grown_to, _ = await stopped.command("topics", "migrate", check=0)
    assert "checkpoint" in grown_to
    assert "has 5 partitions now" in grown_to
    _, again, _ = await stopped.command("topics", "migrate", check=0)
    assert again.strip() == "no topic lacks partitions"
    stopped.start_worker()
    report = await stopped.audit()
    assert report.equal, "\n".join(report.lines())
    assert len([source for source in report.sources if source.startswith(topic)]) == 5


@pytest.mark.deep  # tests/unit/flow/test_log_change.py: what it is called, and where it goes on
async def test_a_state_beyond_the_end_of_the_log_halts_until_it_is_accepted(stopped):
    topic = f"{stopped.name}-e{EDITION}-checkpoint-{stopped.name}-orders-changelog"
    found, _ = await read_partitions(stopped.stack.bootstrap, topic, 2)
    last = [record for record in found[0] if record.value is not None][-1]
    content = msgspec.msgpack.decode(last.value, type=CheckpointRecord)
    content.through = 1_000_000
    async with stopped.producer() as producer:
        value = msgspec.msgpack.encode(content)
        await producer.send_and_wait(topic, value, key=last.key, partition=0)
    child = stopped.start_worker()

    async def halted():
        return '"reason": "cut"' in child.log_tail(2_000)

    await stopped.until(halted)
    assert child.running
    words = child.log_tail(2_000)
    assert "the state continues at offset 1000001, the log ends at" in words
    command = re.search(r"run `ecindex (topics accept \S+ 0:\d+\.\.end=\d+)`", words)
    await stopped.command(*command[1].split(), check=0)

    async def goes_on():
        return "log_change_accepted" in child.log_tail(2_000)

    await stopped.until(goes_on)
    stopped.stop()


@pytest.mark.deep
async def test_a_new_edition_runs_beside_the_old_until_it_has_caught_up(stack, unique, tmp_path):
    installed = Installation(stack, unique("i"), tmp_path, inputs=2)
    await installed.create_topics()
    older = installed.start_worker()
    versions = []

    async def sell(number):
        async with installed.producer() as producer:
            for partition in range(2):
                at_ms = now_ms()
                sold = order(f"o{number}-{partition}", at_ms)
                await installed.send(producer, "orders", sold, at_ms=at_ms, partition=partition)
            await producer.flush()
        values = await installed.redis_values("PK")
        if "@edition" in values:
            versions.append((int(values["@edition"]), values["@as_of"]))
        return versions[-1] if versions else (0, "")

    sales = itertools.count()

    async def shows(edition):
        return (await sell(next(sales)))[0] == edition

    await installed.until(lambda: shows(EDITION))
    text = raised_edition(installed)
    raised = tmp_path / "methodology.toml"
    raised.write_text(text)
    installed.overrides["methodology"] = raised
    await installed.create_topics()
    newer = installed.start_worker()
    await installed.until(lambda: shows(EDITION + 1))
    for _ in range(20):  # the older goes on folding, and no longer shows
        assert (await sell(next(sales)))[0] == EDITION + 1
    assert versions == sorted(versions)
    assert [as_of for _, as_of in versions] == sorted(as_of for _, as_of in versions)
    assert older.running
    assert newer.running
    # The audit is about one edition: while the older goes on, the last record of a key may be its.
    assert (await asyncio.to_thread(older.terminate)) == 0
    for _ in range(20):
        await sell(next(sales))
        await asyncio.sleep(0.5)
    report = await installed.audit(markets=["PK"])
    assert report.equal, "\n".join(report.lines())
    installed.stop()

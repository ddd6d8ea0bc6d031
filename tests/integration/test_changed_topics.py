"""Topics that change under two workers: what halts, what goes on, and the command that mends it."""

from __future__ import annotations

import asyncio
import json
import shlex
import urllib.request

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from aiokafka.errors import TopicAlreadyExistsError
from structlog.testing import capture_logs
from support.flow_harness import METHODOLOGY, order, payment
from support.installation import Installation
from support.kafka import create_topic, delete_records, delete_topic, read_all, read_partitions

from streams.clock import now_ms
from streams.flow.chunk import SourcePartition
from streams.index.instants import parse_instant
from streams.records.kafka_topics import existing_partitions
from streams.settings import load_methodology
from streams.worker.app import IndexWorker
from streams.worker.topic_growth import grow_topics

pytestmark = pytest.mark.stack
EDITION = METHODOLOGY.edition


class Load:
    """Sends orders and payments all the time; counts the orders that each topic id acknowledged."""

    def __init__(self, installed):
        self.installed = installed
        self.sent = 0
        self.acknowledged = {"orders": 0, "payments": 0}
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self):
        async with self.installed.producer() as producer:
            while True:
                for _ in range(20):
                    self.sent += 1
                    at_ms = now_ms()
                    for topic, event in (
                        ("orders", order(f"o{self.sent}", at_ms)),
                        ("payments", payment(f"p{self.sent}", at_ms)),
                    ):
                        sent = await self.installed.send(producer, topic, event)
                        sent.add_done_callback(lambda done, topic=topic: self._count(topic, done))
                await asyncio.sleep(0.1)

    def _count(self, topic, done):
        if not done.cancelled() and done.exception() is None:
            self.acknowledged[topic] += 1

    async def stop(self):
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


@pytest.fixture
async def loaded(stack, unique, tmp_path):
    """Two workers that are live under load."""
    installed = Installation(stack, unique("c"), tmp_path, inputs=2, arrival="broker")
    await installed.create_topics()
    for _ in range(2):
        installed.start_worker()
    load = Load(installed)
    try:
        await installed.until(lambda: flows(installed))
        await installed.until(lambda: kept(installed))
        yield installed, load
    finally:
        await load.stop()
        installed.stop()


async def flows(installed):
    """Whether both workers own inputs and both sources are 10 s young: before a window is covered.

    A topic that is deleted while the second worker still joins is read by nobody, so nothing halts.
    """
    if not all(partitions(installed, child) for child in installed.workers):
        return False
    values = await installed.redis_values("PK")
    ages = [parse_instant(values.get(f"@as_of:{name}", "")) for name in ("orders", "payments")]
    return all(as_of is not None and now_ms() - as_of < 10_000 for as_of in ages)


async def kept(installed):
    """Whether each partition of the inputs has a checkpoint.

    Rows without one stay at level 2 when the log that they are of is deleted (decision 0114).
    """
    for topic in (installed.settings.topics.orders, installed.settings.topics.payments):
        changelog = f"{installed.name}-e{EDITION}-checkpoint-{topic}-changelog"
        found, _ = await read_partitions(installed.stack.bootstrap, changelog, 2)
        if not all(found.values()):
            return False
    return True


async def fresh(installed, source="orders"):
    """Wait until values hold what a source's log held when this was called."""
    asked_ms = now_ms()

    async def holds():
        values = await installed.redis_values("PK")
        as_of = parse_instant(values.get(f"@as_of:{source}", ""))
        return as_of is not None and as_of >= asked_ms

    await installed.until(holds)


async def day_orders(installed):
    days = await installed.redis_values("PK", "days")
    return sum(
        int(v) for k, v in days.items() if k.startswith("orders:market:all:") and "@" not in k
    )


async def shows(installed, orders):
    """Wait until the days show so many orders."""
    found = []

    async def there():
        found.append(await day_orders(installed))
        return found[-1] == orders

    try:
        await installed.until(there)
    except AssertionError:
        assert found[-1] == orders
        raise


async def steady_orders(installed):
    """Wait until what was folded before a halt is published; return the sum."""
    last = []

    async def stands():
        last.append(await day_orders(installed))
        return len(last) > 40 and len(set(last[-40:])) == 1

    await installed.until(stands)
    return last[-1]


def events(installed, name):
    """Each record of this name in the workers' logs."""
    found = []
    for child in installed.workers:
        lines = child.log_tail(100_000).splitlines()
        found += [json.loads(line) for line in lines if f'"event": "{name}"' in line]
    return found


def logged(installed, name, **fields):
    """Wait for a log record; return its command, without ``run`` and the backticks."""

    async def there():
        for each in events(installed, name):
            if all(each.get(key) == value for key, value in fields.items()):
                return each
        return None

    return installed.until(there)


async def typed(installed, action):
    """Type the command of an action as it stands."""
    command = action.split("`")[1]
    program, *arguments = shlex.split(command)
    assert program == "ecindex"
    await installed.command(*arguments, check=0)


def partitions(installed, child):
    """Return the inputs that a worker owns as {(topic, partition): why it halted}."""
    url = installed.metrics_of(child)
    if url is None or not child.running:
        return {}
    with urllib.request.urlopen(url.replace("/metrics", "/partitions"), timeout=10) as answer:
        return {(each["topic"], each["partition"]): each["halted"] for each in json.load(answer)}


def halted(installed):
    """Return {(topic, partition): why} over all workers."""
    found = {}
    for child in installed.workers:
        found |= partitions(installed, child)
    return found


def metric(installed, name):
    lines = []
    for child in installed.workers:
        with urllib.request.urlopen(installed.metrics_of(child), timeout=10) as answer:
            lines += [line for line in answer.read().decode().splitlines() if line.startswith(name)]
    return lines


async def recreate(installed, topic, inputs=None):
    await delete_topic(installed.stack.bootstrap, topic)
    if inputs is not None:
        installed.inputs = inputs

    async def made():
        return topic in (await installed.create_topics()).created

    await installed.until(made)


async def equal(installed, load, **options):
    await load.stop()
    report = await installed.audit(**options)
    assert report.equal, "\n".join(report.lines())
    assert all(child.running for child in installed.workers)
    return report


async def test_a_recreated_input_halts_alone_and_goes_on_when_accepted(loaded):
    installed, load = loaded
    topic = installed.settings.topics.orders
    # One partition more than it had: no state says of which topic that one is.
    await recreate(installed, topic, inputs=3)
    new = await logged(installed, "partition_halted", topic=topic, reason="recreated")
    assert "was deleted and created again" in new["detail"]

    async def all_halted():
        found = halted(installed)
        ours = [why for (name, _), why in found.items() if name == topic]
        return len(ours) == 3 and all(why and why.startswith("recreated") for why in ours)

    await installed.until(all_halted)
    before = await steady_orders(installed)
    # More than the old log had: at no offset the new one may be taken for it.
    async with installed.producer() as producer:
        for number in range(3_000):
            await installed.send(producer, "orders", order(f"new{number}", now_ms()))
        await producer.flush()
    await fresh(installed, "payments")
    assert await day_orders(installed) == before
    assert not [why for (name, _), why in halted(installed).items() if name != topic and why]
    await typed(installed, new["action"])

    async def counted():
        return await day_orders(installed) >= before + 3_000

    await installed.until(counted)
    await load.stop()
    there = {
        json.loads(record.value)["event_id"]
        for record in await read_all(installed.stack.bootstrap, topic)
    }

    async def all_counted():
        return await day_orders(installed) == before + len(there)

    await installed.until(all_counted)
    async with installed.producer() as producer:
        sent = await installed.send(producer, "orders", b"{", partition=0)
        await producer.flush()
    offset = (await sent).offset  # of the log that is there, which people can look up
    await logged(installed, "record_set_aside", topic=topic, partition=0, offset=offset)
    await equal(installed, load)
    # It is the log's own now: the next owner goes on without being asked again.
    for child in installed.workers:
        child.terminate()
    installed.workers.clear()
    installed.start_worker()
    await equal(installed, load)


@pytest.mark.deep
async def test_partitions_that_are_added_under_load_are_counted_from_the_first_record_on(loaded):
    installed, load = loaded
    topic = installed.settings.topics.orders
    admin = AIOKafkaAdminClient(bootstrap_servers=installed.stack.bootstrap)
    await admin.start()
    try:
        await admin.create_partitions({topic: NewPartitions(total_count=4)})
    finally:
        await admin.close()

    async def owned():
        found = halted(installed)
        return len([1 for name, _ in found if name == topic]) == 4 and not any(found.values())

    await installed.until(owned)
    async with installed.producer() as producer:
        for number in range(100):
            event = order(f"added{number}", now_ms())
            await installed.send(producer, "orders", event, partition=number % 4)
        await producer.flush()
    await fresh(installed)
    await equal(installed, load)
    await shows(installed, load.acknowledged["orders"] + 100)


@pytest.mark.deep
async def test_retention_that_overtook_a_partition_halts_it_alone_until_the_gap_is_accepted(loaded):
    installed, load = loaded
    topic = installed.settings.topics.orders
    await load.stop()
    await equal(installed, load)
    installed.stop()
    before = await day_orders(installed)
    installed.workers.clear()
    end = len([r for r in await read_all(installed.stack.bootstrap, topic) if r.partition == 0])
    async with installed.producer() as producer:
        for number in range(10):
            event = order(f"gone{number}", now_ms())
            await installed.send(producer, "orders", event, partition=0)
        await producer.flush()
    await delete_records(installed.stack.bootstrap, topic, 0, end + 6)
    for _ in range(2):
        installed.start_worker()
    found = await logged(installed, "partition_halted", topic=topic, partition=0, reason="gap")
    assert f"offsets {end} to {end + 5} are gone" in found["detail"]
    assert found["action"] == f"run `ecindex topics accept {topic} 0:{end}..{end + 5}`"
    async with installed.producer() as producer:
        for partition in range(2):
            for number in range(20):
                event = order(f"after{partition}-{number}", now_ms())
                await installed.send(producer, "orders", event, partition=partition)
        await producer.flush()

    async def lag():
        rows = metric(installed, f'ecindex_consumer_lag_records{{partition="0",topic="{topic}"}}')
        return [row for row in rows if float(row.split()[-1]) == 30]

    await installed.until(lag)  # asked for while it is halted: 6 that are gone, 4, and 20 more
    assert [key for key, why in halted(installed).items() if why] == [(topic, 0)]
    url = installed.metrics_of(installed.workers[0])
    for child in installed.workers:
        url = installed.metrics_of(child)
        await installed.command("dead-letters", "release", topic, "0", "--worker", url, check=1)
    await typed(installed, found["action"])

    async def counted():
        return await day_orders(installed) == before + 4 + 40

    await installed.until(counted)
    await equal(installed, load)


async def goes_on_after_a_start(installed):
    """Assert that the next start is not refused, and counts what comes."""
    installed.stop()
    installed.workers.clear()
    installed.start_worker()
    load = Load(installed)
    await fresh(installed)
    await equal(installed, load)


@pytest.mark.deep
async def test_recreated_partials_heal_and_the_next_start_is_not_refused(loaded):
    installed, load = loaded
    topic = installed.settings.topics.partials
    await recreate(installed, topic)
    await fresh(installed)
    await equal(installed, load)
    await shows(installed, load.acknowledged["orders"])
    await goes_on_after_a_start(installed)


@pytest.mark.deep
@pytest.mark.parametrize("count", [1, 5])
async def test_own_topics_that_are_made_with_another_number_of_partitions_heal(loaded, count):
    installed, load = loaded
    topics = installed.settings.topics
    for which in ("partials", "journal", "values", "late", "dead_letters"):
        topic = getattr(topics, which)
        await delete_topic(installed.stack.bootstrap, topic)
        await made_with(installed, topic, count)
        if count == 1:
            found = await logged(installed, "topic_too_short", topic=topic)
            assert f"{topic} has 1 partitions and needs" in found["action"]
        await fresh(installed)
    before = await installed.command("topics", "check", check=None)
    assert "partitions:" not in before[1], before
    await equal(installed, load)
    await shows(installed, load.acknowledged["orders"])
    # The next start finds the topics as they are now.
    await goes_on_after_a_start(installed)


@pytest.mark.deep
async def test_an_input_that_is_made_with_fewer_partitions_is_mended_by_two_commands(loaded):
    installed, load = loaded
    topic = installed.settings.topics.orders
    await delete_topic(installed.stack.bootstrap, topic)
    await made_with(installed, topic, 1)
    short = await logged(installed, "topic_too_short", topic=topic)
    assert short["action"].endswith("; run `ecindex topics migrate --inputs 2`")
    await typed(installed, short["action"])

    async def both_halted():
        ours = [why for (name, _), why in halted(installed).items() if name == topic]
        return len(ours) == 2 and all(why and why.startswith("recreated") for why in ours)

    await installed.until(both_halted)
    new = await logged(installed, "partition_halted", topic=topic, reason="recreated")
    await typed(installed, new["action"])
    await fresh(installed)
    await equal(installed, load)


@pytest.mark.deep
async def test_a_start_halts_what_has_fewer_partitions_than_it_had_and_is_not_refused(loaded):
    installed, load = loaded
    topics = installed.settings.topics
    installed.stop()  # a kill would leave rows without a checkpoint, whose log is deleted below
    installed.workers.clear()
    for topic in (topics.orders, topics.partials):
        await delete_topic(installed.stack.bootstrap, topic)
        await made_with(installed, topic, 1)
    for _ in range(2):
        installed.start_worker()
    short = await logged(installed, "topic_too_short", topic=topics.orders)
    assert short["action"].endswith("; run `ecindex topics migrate --inputs 2`")
    await logged(installed, "topic_too_short", topic=topics.partials)
    grown = await logged(installed, "topics_grown")
    assert grown["partitions"][topics.partials] == installed.settings.topics.partials_partitions
    await typed(installed, short["action"])

    async def both_halted():
        ours = [why for (name, _), why in halted(installed).items() if name == topics.orders]
        return len(ours) == 2 and all(why and why.startswith("recreated") for why in ours)

    await installed.until(both_halted)
    new = await logged(installed, "partition_halted", topic=topics.orders, reason="recreated")
    await typed(installed, new["action"])
    await fresh(installed)
    await equal(installed, load)


@pytest.mark.deep
async def test_a_changelog_of_checkpoints_that_is_made_with_more_partitions_gives_them_to_its_input(
    loaded,
):
    installed, load = loaded
    orders = installed.settings.topics.orders
    topic = f"{installed.name}-e{EDITION}-checkpoint-{orders}-changelog"
    await delete_topic(installed.stack.bootstrap, topic)
    await made_with(installed, topic, 3)
    short = await logged(installed, "topic_too_short", topic=orders)
    assert short["action"].endswith("; run `ecindex topics migrate --inputs 3`")
    await typed(installed, short["action"])
    await fresh(installed)
    await equal(installed, load)
    await shows(installed, load.acknowledged["orders"])


async def made_with(installed, topic, count):
    """Create a topic with so many partitions, as soon as the broker has deleted it."""
    stamps = {"message.timestamp.type": "LogAppendTime"}  # without them workers refuse the partials

    async def made():
        try:
            await create_topic(installed.stack.bootstrap, topic, count, **stamps)
        except TopicAlreadyExistsError:
            return False
        return True

    await installed.until(made)


@pytest.mark.deep  # one of them in a plain run: test_doctor's; what varies is the topic
async def test_own_topics_that_are_deleted_are_named_at_once_and_heal_when_created(loaded):
    installed, _load = loaded
    for which in ("journal", "values", "dead_letters", "late", "history", "shifts"):
        topic = getattr(installed.settings.topics, which)
        said = f'ecindex_topic_missing{{topic="{topic}"}} 1.0'
        await delete_topic(installed.stack.bootstrap, topic)
        found = await logged(installed, "topic_missing", topic=topic)
        assert metric(installed, said)
        await typed(installed, found["action"])

        async def back(said=said):
            return not metric(installed, said)

        await installed.until(back)
    await fresh(installed)
    assert all(child.running for child in installed.workers)


@pytest.mark.deep
async def test_a_deleted_changelog_of_checkpoints_is_named_and_all_is_counted_again(loaded):
    installed, load = loaded
    orders = installed.settings.topics.orders
    topic = f"{installed.name}-e{EDITION}-checkpoint-{orders}-changelog"
    await delete_topic(installed.stack.bootstrap, topic)
    found = await logged(installed, "topic_missing", topic=topic)
    await typed(installed, found["action"])
    await fresh(installed)
    await equal(installed, load)
    await shows(installed, load.acknowledged["orders"])


@pytest.mark.deep
async def test_a_deleted_table_of_merged_slots_is_named_with_what_mends_it(loaded):
    installed, load = loaded
    topic = f"{installed.name}-e{EDITION}-merged-changelog"
    await delete_topic(installed.stack.bootstrap, topic)
    found = await logged(installed, "topic_missing", topic=topic)
    assert "raise `edition` in methodology.toml" in found["action"]
    # Nothing was merged yet, so a new table begins with all there is. Else level 2 publishes nothing:
    # tests/unit/flow/test_compile.py.
    await installed.create_topics()
    await fresh(installed)
    await equal(installed, load)


async def test_a_partition_without_a_changelog_is_halted_for_the_alert_until_it_is_revoked(
    stack, unique, tmp_path
):
    """Recovery names it, then builds what it can; that took the gauge away, and nobody was paged."""
    installed = Installation(stack, unique("c"), tmp_path, inputs=1)
    await installed.create_topics()
    settings = installed.settings
    inputs = (settings.topics.orders, settings.topics.payments)
    worker = IndexWorker(settings, load_methodology(settings), dict.fromkeys(inputs, 1))
    worker.create()
    await worker.outbox.start()
    changelog = f"{installed.name}-e{EDITION}-checkpoint-{settings.topics.orders}-changelog"
    await grow_topics(settings.kafka, {changelog: 2})

    async def grown():
        return (await existing_partitions(settings.kafka))[changelog] == 2

    await installed.until(grown)
    unpaired = SourcePartition(settings.topics.orders, 1)
    shown = {"topic": unpaired.topic, "partition": "1"}

    def halts():
        return worker.metrics.registry.get_sample_value("ecindex_partition_halted", shown)

    try:
        for _ in range(2):
            worker.app.on_unpaired(frozenset({unpaired}))
            with capture_logs() as lines:
                await worker.app.on_recovered(frozenset())
            assert halts() == 1
            # A start knew no topic yet when it was asked, and named a command that changes nothing.
            actions = [line["action"] for line in lines if line["event"] == "partition_halted"]
            assert len(actions) == 1
            assert actions[0].endswith("; run `ecindex topics migrate --inputs 2`")
            worker.app._on_revoked(frozenset({unpaired}))
            assert halts() is None
    finally:
        await worker.outbox.close()

"""Topics on a real broker are created as wanted; differences are named with the fix."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from support.kafka import create_topic, delete_topic

from streams.flow.chain import CheckpointRecord, encode_checkpoint
from streams.local.local_stack import LocalStack
from streams.records.altering_topics import alter_topic
from streams.records.kafka_topics import (
    DAY_MS,
    Changelog,
    TopicsError,
    ask_for_coordinator,
    check_topics,
    create_topics,
    existing_partitions,
    input_kept_ms,
    input_needed_ms,
    migrate_topics,
    plan_topics,
    require_inputs,
    wanted_topics,
)
from streams.settings import load_methodology, load_settings
from streams.worker import names

pytestmark = pytest.mark.stack


@pytest.fixture
def settings(stack, unique):
    return load_settings(
        overrides={
            "kafka.bootstrap_servers": stack.bootstrap,
            "topics.prefix": unique("ecindex"),
            "topics.orders": unique("orders"),
            "topics.payments": unique("payments"),
            "topics.partials_partitions": 3,
        }
    )


@pytest.fixture
async def admin(stack):
    client = AIOKafkaAdminClient(bootstrap_servers=stack.bootstrap)
    await client.start()
    yield client
    await client.close()


async def configs_of(admin, topic):
    (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    return {entry[0]: entry[1] for entry in answer.resources[0][4]}


async def test_topics_are_created_with_exactly_the_wanted_configs(settings, admin):
    topics = settings.topics
    log = Changelog(f"{names.app_id(1, topics.prefix)}-orders-changelog", 2)
    wanted = wanted_topics(settings, inputs=2, arrival="producer", changelogs=[log])
    report = await create_topics(settings.kafka, wanted)
    assert set(report.created) == {topic.name for topic in wanted}
    assert report.differences == ()

    described = {t["topic"]: t["partitions"] for t in await admin.describe_topics()}
    counts = {topic.name: len(described[topic.name]) for topic in wanted}
    prefix = topics.prefix
    assert counts == {
        topics.orders: 2,
        topics.payments: 2,
        f"{prefix}.partials": 3,
        f"{prefix}.values": 3,
        f"{prefix}.journal": 3,
        f"{prefix}.shifts": 1,
        f"{prefix}.history": 1,
        f"{prefix}.answers": 1,
        f"{prefix}.definitions": 1,
        f"{prefix}.late": 4,
        f"{prefix}.dead-letters": 4,
        log.name: 2,
    }
    partials = await configs_of(admin, topics.partials)
    assert partials["cleanup.policy"] == "compact"
    assert partials["min.compaction.lag.ms"] == "3600000"
    assert partials["segment.bytes"] == "16777216"
    assert partials["segment.ms"] == "60000"
    assert partials["min.cleanable.dirty.ratio"] == "0.1"
    assert partials["delete.retention.ms"] == "86400000"
    assert int(partials["max.message.bytes"]) > 1024 * 1024
    changelog = await configs_of(admin, log.name)
    assert changelog["compression.type"] == "lz4"
    assert changelog["cleanup.policy"] == "compact"
    journal = await configs_of(admin, topics.journal)
    assert journal["cleanup.policy"] == "delete"
    assert int(journal["retention.ms"]) == 400 * 86_400_000
    orders = await configs_of(admin, topics.orders)
    assert orders["message.timestamp.type"] == "CreateTime"
    assert orders["retention.ms"] == "-1"


async def test_creating_again_creates_nothing_and_finds_no_difference(settings):
    wanted = wanted_topics(settings, inputs=1, arrival="broker")
    await create_topics(settings.kafka, wanted)
    again = await create_topics(settings.kafka, wanted)
    assert again.created == ()
    assert again.differences == ()


async def test_inputs_are_stamped_by_the_broker_and_kept_as_long_as_doctor_advises(settings, admin):
    wanted = await plan_topics(settings, inputs=1)
    await create_topics(settings.kafka, wanted)
    methodology = load_methodology(settings)
    for topic in (settings.topics.orders, settings.topics.payments):
        configs = await configs_of(admin, topic)
        assert configs["message.timestamp.type"] == "LogAppendTime"
        assert int(configs["retention.ms"]) == input_kept_ms(methodology) == 61 * DAY_MS
    slow = replace(methodology, day_grace_ms=100 * DAY_MS)
    assert input_kept_ms(slow) > input_needed_ms(slow) > slow.day_grace_ms


async def test_inputs_that_were_made_for_an_import_are_accepted_as_they_are(settings):
    await create_topics(settings.kafka, await plan_topics(settings, inputs=1, arrival="producer"))
    accepted = await plan_topics(settings, inputs=1)
    assert await check_topics(settings.kafka, accepted) == []
    (first, *_) = await check_topics(
        settings.kafka, await plan_topics(settings, inputs=1, arrival="broker")
    )
    assert first.fix == f"ecindex topics alter {first.topic} {first.setting}={first.wanted}"


async def test_one_configuration_is_set_and_the_others_stay(settings, admin):
    topic = settings.topics.orders
    await create_topics(settings.kafka, wanted_topics(settings, inputs=1, arrival="producer"))
    await alter_topic(settings.kafka, topic, "retention.bytes", "1000000")
    await alter_topic(settings.kafka, topic, "message.timestamp.type", "LogAppendTime")
    configs = await configs_of(admin, topic)
    assert configs["retention.bytes"] == "1000000"
    assert configs["retention.ms"] == "-1"
    assert configs["message.timestamp.type"] == "LogAppendTime"
    with pytest.raises(TopicsError, match=r"no\.such\.setting"):
        await alter_topic(settings.kafka, topic, "no.such.setting", "1")
    with pytest.raises(TopicsError, match=f"nearest to it: {topic}"):
        await alter_topic(settings.kafka, f"{topic}x", "retention.ms", "1")


async def test_the_inputs_are_created_only_when_asked(settings):
    report = await create_topics(settings.kafka, wanted_topics(settings))
    assert settings.topics.orders not in report.created
    missing = [found for found in report.differences if found.setting == "topic"]
    assert {found.topic for found in missing} == {settings.topics.orders, settings.topics.payments}
    assert all("--inputs" in found.fix for found in missing)


async def test_a_missing_input_is_advised_with_the_partitions_that_it_had(settings, stack):
    # `--inputs 6`, whatever it had, made an input that its checkpoints' changelog does not fit.
    topics = settings.topics
    wanted = wanted_topics(settings, inputs=2)
    made = [
        replace(topic, partitions=4) if topic.name == topics.payments else topic for topic in wanted
    ]
    await create_topics(settings.kafka, made)
    await create_topics(settings.kafka, await plan_topics(settings))

    async def advised(**options):
        plan = await plan_topics(settings, **options)
        missing = (topics.orders, topics.payments)
        found = await check_topics(settings.kafka, plan)
        return {each.fix for each in found if each.topic in missing and each.setting == "topic"}

    async def gone(topic):
        await delete_topic(stack.bootstrap, topic)
        while topic in await existing_partitions(settings.kafka):  # noqa: ASYNC110 - a broker's answer
            await asyncio.sleep(0.05)

    await gone(topics.orders)
    assert await advised() == {"ecindex topics create --inputs 2"}
    assert await advised(inputs=1) == {"ecindex topics create --inputs 2"}
    with pytest.raises(TopicsError, match="topics create --inputs 2"):
        await require_inputs(settings, producer_time=True)
    await gone(topics.payments)
    # One command creates both. More partitions than there were are taken in; fewer are not.
    assert await advised() == {"ecindex topics create --inputs 4"}
    await create_topics(settings.kafka, await plan_topics(settings, inputs=4))
    assert await advised() == set()


async def test_a_difference_is_named_with_the_command_that_fixes_it(settings, admin):
    topics = settings.topics
    await admin.create_topics(
        [
            NewTopic(topics.partials, 2, 1, topic_configs={"cleanup.policy": "delete"}),
            NewTopic(topics.orders, 5, 1),
            NewTopic(topics.payments, 5, 1),
        ]
    )
    await create_topics(settings.kafka, wanted_topics(settings))
    found = await check_topics(settings.kafka, wanted_topics(settings, arrival="broker"))
    by_setting = {(one.topic, one.setting): one for one in found}
    partitions = by_setting[topics.partials, "partitions"]
    assert (partitions.found, partitions.wanted) == ("2", "3")
    assert partitions.fix == "ecindex topics migrate"
    policy = by_setting[topics.partials, "cleanup.policy"]
    assert (policy.found, policy.wanted) == ("delete", "compact")
    assert policy.fix == f"ecindex topics alter {topics.partials} cleanup.policy=compact"
    assert (topics.orders, "message.timestamp.type") in by_setting
    assert (topics.orders, "partitions") not in by_setting, "any partition count will do"


async def test_inputs_with_fewer_partitions_than_asked_for_are_advised_with_what_adds_them(
    settings,
):
    # `topics migrate` was advised. Without --inputs it leaves inputs alone: "no topic lacks partitions".
    topics = settings.topics
    inputs = {topics.orders, topics.payments}
    await create_topics(settings.kafka, wanted_topics(settings, inputs=2))
    await create_topics(settings.kafka, await plan_topics(settings))

    async def fixes(asked):
        found = await check_topics(settings.kafka, await plan_topics(settings, inputs=asked))
        return {each.topic: each.fix for each in found if each.setting == "partitions"}

    async def migrated(asked):
        """Do what `ecindex topics migrate` does, until the broker shows it."""
        plan = await plan_topics(settings, inputs=asked)
        grown = await migrate_topics(settings.kafka, plan)
        counts = await existing_partitions(settings.kafka)
        while any(counts[topic] < count for topic, count in grown.items()):
            counts = await existing_partitions(settings.kafka)
        return set(grown)

    assert await fixes(4) == dict.fromkeys(inputs, "ecindex topics migrate --inputs 4")
    assert await migrated(None) == set()
    assert await migrated(4) == inputs
    changelogs = await fixes(4)
    assert set(changelogs.values()) == {"ecindex topics migrate"}
    assert await migrated(None) == set(changelogs)
    assert await fixes(4) == {}
    surplus = await fixes(1)
    assert set(surplus) == inputs
    assert all("--inputs" in fix and "`" not in fix for fix in surplus.values())


async def made_anew(settings, stack, counts):
    """Create topics again with other numbers of partitions, and wait until the broker shows them."""
    for topic in counts:
        await delete_topic(stack.bootstrap, topic)
    while counts.keys() & await existing_partitions(settings.kafka):  # noqa: ASYNC110 - a broker's answer
        await asyncio.sleep(0.05)
    for topic, count in counts.items():
        await create_topic(stack.bootstrap, topic, count, cleanup_policy="compact")
    await shown(settings, counts)


async def shown(settings, counts):
    while not counts.items() <= (await existing_partitions(settings.kafka)).items():  # noqa: ASYNC110
        await asyncio.sleep(0.05)


async def typed(settings):
    """Type each command that `ecindex topics check` names for partitions, as it stands; return them."""
    found = await check_topics(settings.kafka, await plan_topics(settings))
    fixes = {each.fix for each in found if each.setting == "partitions"}
    for fix in fixes:
        program, *command = fix.split()
        assert (program, *command[:2]) == ("ecindex", "topics", "migrate"), fix
        inputs = int(command[3]) if command[2:3] == ["--inputs"] else None
        plan = await plan_topics(settings, inputs=inputs)
        await shown(settings, await migrate_topics(settings.kafka, plan))
    return fixes


async def own(settings):
    """Make all topics, with two partitions of the inputs; return those of our own with their counts."""
    await create_topics(settings.kafka, wanted_topics(settings, inputs=2))
    await create_topics(settings.kafka, await plan_topics(settings))
    inputs = {settings.topics.orders, settings.topics.payments}
    counts = await existing_partitions(settings.kafka)
    return {
        topic: count
        for topic, count in counts.items()
        if topic.startswith(settings.topics.prefix) and topic not in inputs
    }


async def test_our_own_topics_that_are_made_with_other_partitions_are_mended_by_what_is_advised(
    settings, stack
):
    # `set topics.partials_partitions to the number found` was advised, for any of them: markets were
    # sought where they were not, or workers ended at their first record.
    counts = await own(settings)
    merged = f"{settings.topics.prefix}-e{load_methodology(settings).edition}-merged-changelog"
    values = settings.topics.values
    several = [topic for topic, count in counts.items() if count > 1 and topic != values]
    for topics in (several, [values]):
        await made_anew(settings, stack, dict.fromkeys(topics, 1))
        assert await typed(settings) == {"ecindex topics migrate"}
        assert await typed(settings) == set()
    assert counts.items() <= (await existing_partitions(settings.kafka)).items()
    surplus = {topic: count + 2 for topic, count in counts.items()}
    for topic, count in surplus.items():
        if topic not in (settings.topics.partials, merged):
            await made_anew(settings, stack, {topic: count})
    # A changelog of checkpoints has as many as its input had; the others do no harm.
    found = await check_topics(settings.kafka, await plan_topics(settings))
    assert {(each.topic, each.found, each.wanted[:16]) for each in found if each.found == "2"} == {
        (topic, "2", "4, as many as ec")
        for topic in (settings.topics.orders, settings.topics.payments)
    }
    assert await typed(settings) == {"ecindex topics migrate --inputs 4"}
    assert await typed(settings) == set()
    # Partials and the merged changelog are assigned together.
    for topic, other, count in (
        (settings.topics.partials, merged, 5),
        (merged, settings.topics.partials, 6),
    ):
        await made_anew(settings, stack, {topic: count})
        assert await typed(settings) == {"ecindex topics migrate"}
        assert (await existing_partitions(settings.kafka))[other] == count
    assert await typed(settings) == set()


async def test_the_number_of_places_for_markets_is_what_checkpoints_say_then_what_topics_say(
    settings, stack
):
    await own(settings)
    edition = load_methodology(settings).edition
    other = load_settings(
        overrides=settings.model_dump()
        | {"topics": settings.topics.model_dump() | {"partials_partitions": 5}}
    )

    async def advised(asked):
        found = await check_topics(settings.kafka, await plan_topics(asked))
        return {each.fix.split(":")[0] for each in found if each.setting == "partitions"}

    assert await advised(settings) == set()
    assert await advised(other) == {"set topics.partials_partitions to 3"}
    assert await migrate_topics(other.kafka, await plan_topics(other)) == {}
    by_market = names.by_market(settings, edition)
    await made_anew(settings, stack, dict.fromkeys(by_market, 5))
    assert await advised(settings) == {"set topics.partials_partitions to 5"}
    changelog = f"{settings.topics.prefix}-e{edition}-checkpoint-{settings.topics.orders}-changelog"
    made = CheckpointRecord(edition, "", "id", 2, 1, None, 1, 7, {}, [], [], places=3)
    async with AIOKafkaProducer(bootstrap_servers=stack.bootstrap) as producer:
        await producer.send_and_wait(changelog, encode_checkpoint(made), b"key", partition=1)
    assert await advised(settings) == set()
    assert (
        await advised(other) == set()
    )  # it is the workers' to refuse: tests/unit/flow/test_chain.py


async def test_a_broker_that_is_not_there_is_named(unique):
    settings = load_settings(overrides={"kafka.bootstrap_servers": "127.0.0.1:1"})
    with pytest.raises(TopicsError, match=r"127\.0\.0\.1:1"):
        await check_topics(settings.kafka, wanted_topics(settings))


@pytest.mark.deep
async def test_a_new_broker_makes_its_topic_of_groups_when_it_is_asked(tmp_path, cache_dir):
    with LocalStack(tmp_path, cache_dir=cache_dir, with_redis=False) as new:
        kafka = load_settings(overrides={"kafka.bootstrap_servers": new.bootstrap}).kafka
        assert "__consumer_offsets" not in await existing_partitions(kafka)
        await ask_for_coordinator(kafka, "some-group")
        async with asyncio.timeout(30):
            while "__consumer_offsets" not in await existing_partitions(kafka):  # noqa: ASYNC110 - the broker's
                await asyncio.sleep(0.05)


async def test_a_broker_that_is_not_there_has_none(settings):
    away = settings.kafka.model_copy(update={"bootstrap_servers": "127.0.0.1:1"})
    with pytest.raises(TopicsError, match=r"kafka\.bootstrap_servers"):
        await ask_for_coordinator(away, "some-group")

"""`ecindex translate` on a real broker: each thing is stated once, whatever ends meanwhile."""

from __future__ import annotations

import asyncio
import json
import random
import signal
from collections import Counter

import pytest
from support.command import Command
from support.kafka import delete_topic, read_all
from support.methodologies import DEMO
from support.translators import (
    create_all,
    deliver,
    expected,
    is_at_the_end,
    samples,
    source_file,
    stated,
    translating,
    until,
)

from streams.console.errors import WrongTopicsError
from streams.local.local_stack import LocalStack
from streams.operate.dead_letters import DeadLetterSelection, list_set_aside, replay
from streams.records.kafka_topics import (
    check_topics,
    create_topics,
    existing_partitions,
    plan_topics,
)
from streams.settings import SettingsError, as_toml, load_settings
from streams.translator.translator_process import translate
from streams.worker import names
from streams.worker.topic_growth import grow_topics
from tools.woocommerce_orders import (
    PERSON,
    UNPAID,
    as_bytes,
    line,
    order,
    refund,
    story,
    three_lines,
)

pytestmark = pytest.mark.stack
SOURCE = "woocommerce"


@pytest.fixture
def make(stack, unique, tmp_path):
    """Make the settings of a source of one topic."""

    def settings(*, keyed=False, topics=None, **more):
        names_of = topics or [unique("shop")]
        return load_settings(
            overrides={
                "kafka.bootstrap_servers": stack.bootstrap,
                "topics.orders": unique("orders"),
                "topics.payments": unique("payments"),
                "topics.prefix": unique("ecindex"),
                "methodology": DEMO,
                "sources.files": [str(source_file(tmp_path, names_of, keyed=keyed))],
                "sources.dead_letter_secret": "pepper",
                **more,
            }
        ), names_of[0]

    return settings


def keyed(records):
    return [(str(each["id"]).encode(), as_bytes(each)) for each in records]


async def translated(settings):
    """Return once all that was delivered is translated."""

    async def is_translated():
        return await is_at_the_end(settings)

    await until(is_translated)


@pytest.mark.parametrize("is_keyed", [False, True])
async def test_the_fixture_becomes_what_the_check_says_and_nothing_else_is_kept(make, is_keyed):
    settings, topic = make(keyed=is_keyed)
    await create_all(settings)
    records = keyed(story())
    events, refused = expected(settings, [value for _, value in records])
    await deliver(settings, topic, records)

    async with translating(settings) as translator:
        await translated(settings)
        counted = {
            name: await translator.sample(name, source=SOURCE)
            for name in ("records_total", "refused_total", "ignored_total", "waiting", "orders")
        }
        sent = [
            await translator.sample("events_total", topic=each) for each in ("orders", "payments")
        ]
    assert await stated(settings) == events
    by_topic = Counter(each[0] for each in events)
    assert sent == [by_topic["orders"], by_topic["payments"]]
    assert counted == {
        "records_total": 14, "refused_total": 1, "ignored_total": 2, "waiting": 0, "orders": 4,
    }  # fmt: skip

    # The one that was refused: an amount of yen with decimals.
    listing = await list_set_aside(settings, settings.topics.dead_letters, DeadLetterSelection())
    (dead,) = listing.dead_letters
    assert (dead.reason, dead.source.topic, dead.earlier) == ("untranslatable", topic, False)
    (refusal,) = refused
    assert dead.detail == refusal.detail
    kept = json.loads(dead.value)
    assert (kept["source"], kept["path"]) == (SOURCE, "$.line_items[0].total")
    assert kept["types"]["$.line_items[].total"] == "text"
    assert len(kept["hash"]) == 64
    where = [names.translated_topic(settings.topics.prefix, topic), settings.topics.dead_letters]
    if not is_keyed:
        by_order = names.by_order_topic(settings.topics.prefix, SOURCE)
        where += [by_order, names.translated_topic(settings.topics.prefix, by_order)]
    personal = [PERSON[each].encode() for each in ("email", "last_name", "phone", "address_1")]
    for name in where:
        content = await read_all(settings.kafka.bootstrap_servers, name)
        assert content
        for record in content:
            whole = b"%b %b %r" % (record.key or b"", record.value or b"", record.headers)
            assert not [each for each in personal if each in whole], name

    # It is sent again from its topic: the dead letter has no original.
    assert (await replay(settings, [dead])).sent == 1
    there = await read_all(settings.kafka.bootstrap_servers, topic)
    assert Counter(each.value for each in there)[as_bytes(story()[12])] == 2


async def test_what_was_stated_is_known_after_a_restart(make):
    settings, topic = make()
    await create_all(settings)
    lines = three_lines()
    before = [order(1, lines), order(2, lines, refunds=[refund(9, 500)]), order(3, lines, **UNPAID)]
    after = [
        order(1, lines),
        order(2, lines, modified="2026-11-27T08:00:00", refunds=[refund(9, 500)]),
        order(1, lines, status="cancelled", modified="2026-11-28T08:00:00"),
        order(3, lines),
    ]
    events, _ = expected(settings, [as_bytes(each) for each in [*before, *after]])
    first, _ = expected(settings, [as_bytes(each) for each in before])
    assert len(events) == len(first) + 2
    for records in (before, after):
        await deliver(settings, topic, keyed(records))
        async with translating(settings) as translator:
            await translated(settings)
            assert await translator.sample("orders", source=SOURCE) == 3
        assert (await stated(settings) == first) == (records is before)
    assert await stated(settings) == events


async def test_a_state_that_is_gone_is_not_taken_for_one_that_has_not_begun(make):
    settings, topic = make(keyed=True)
    await create_all(settings)
    await deliver(settings, topic, keyed([order(1, three_lines())]))
    async with translating(settings):
        await translated(settings)
    events = await stated(settings)
    changelog = names.translated_topic(settings.topics.prefix, topic)
    await delete_topic(settings.kafka.bootstrap_servers, changelog)

    async def is_made():
        wanted = await plan_topics(settings, inputs=3, arrival="broker")
        return changelog in (await create_topics(settings.kafka, wanted)).created

    await until(is_made)
    async with translating(settings) as translator:

        async def is_refused():
            return await translator.sample("partitions", state="restoring") >= 1

        await until(is_refused)
        await asyncio.sleep(1)
        assert await translator.sample("records_total") == 0
    assert await stated(settings) == events


def orders_with_duplicates(count, seed=1):
    """Orders, half of them with a later update, and a third of the deliveries twice."""
    drawn = random.Random(seed)
    found = []
    for number in range(count):
        sold = [line(1, f"SKU-{number % 90}", 2, 2100 + number), line(2, "MUG", 1, 700)]
        found.append((number, order(number, sold)))
        if number % 2:
            later = {"modified": "2026-11-25T08:00:00", "refunds": [refund(number, 500)]}
            found.append((number + drawn.randrange(400), order(number, sold, **later)))
        if number % 3 == 0:
            found.append((number + drawn.randrange(800), order(number, sold)))
    found.sort(key=lambda each: each[0])
    return [record for _, record in found]


@pytest.mark.slow
async def test_a_translator_that_is_killed_states_nothing_twice_and_loses_nothing(make, tmp_path):
    settings, topic = make(**{"kafka.session_timeout_ms": 6_000})
    await create_all(settings)
    records = keyed(orders_with_duplicates(5_000))
    events, _ = expected(settings, [value for _, value in records])
    file = tmp_path / "ecindex.toml"
    file.write_text(as_toml(settings))
    slices = [records[at::4] for at in range(4)]
    # Whole orders stay in their order: slices are cut by order.
    slices = [[each for each in records if int(each[0]) % 4 == at] for at in range(4)]
    for at, part in enumerate(slices):
        stated_before = len(await stated(settings))
        delivering = asyncio.create_task(deliver(settings, topic, part))
        command = Command("translate", "--config", file, "--json")
        try:
            await asyncio.to_thread(command.line)
            if at < 3:

                async def has_begun(before=stated_before):
                    return len(await stated(settings)) > before

                await until(has_begun)
                code, _, log = await asyncio.to_thread(command.end, signal.SIGKILL)
                assert code == -signal.SIGKILL, log
            else:
                await delivering

                async def is_complete():
                    return len(await stated(settings)) >= len(events)

                await until(is_complete)
                code, _, log = await asyncio.to_thread(command.end, signal.SIGTERM)
                assert code == 0, log
            await delivering
        finally:
            await asyncio.to_thread(command.__exit__)
    found = await stated(settings)
    ids = Counter(json.loads(value)["event_id"] for _, _, value in found)
    assert [each for each in ids.items() if each[1] > 1] == []
    assert found == events


@pytest.mark.slow
async def test_a_broker_that_is_killed_within_transactions_changes_nothing(
    make, tmp_path, cache_dir
):
    with LocalStack(tmp_path / "stack", with_redis=False, cache_dir=cache_dir) as local:
        settings, topic = make(**{"kafka.bootstrap_servers": local.bootstrap})
        await create_all(settings)
        records = keyed(orders_with_duplicates(2_000))
        events, _ = expected(settings, [value for _, value in records])
        most = len(records) * 3 // 4
        await deliver(settings, topic, records[:most])
        async with translating(settings) as translator:

            async def has_begun():
                return await translator.sample("events_total")

            sent = await until(has_begun)
            await asyncio.to_thread(local.kafka.kill)
            assert 0 < sent < len(events)
            await asyncio.to_thread(local.kafka.start)
            await deliver(settings, topic, records[most:])
            await translated(settings)
        assert await stated(settings) == events


async def ready(url):
    """How many partitions a translator has that are restored."""
    return (await samples(url)).get(f'ecindex_source_partitions{{source="{SOURCE}",state="ready"}}')


@pytest.mark.slow
async def test_a_translator_that_was_frozen_writes_nothing_once_another_has_its_partitions(
    make, tmp_path
):
    settings, topic = make(keyed=True)
    await create_all(settings)
    records = keyed(orders_with_duplicates(600))
    events, _ = expected(settings, [value for _, value in records])
    file = tmp_path / "ecindex.toml"
    file.write_text(as_toml(settings))
    third = len(records) // 3
    with Command("translate", "--config", file, "--json") as frozen:
        url = (await asyncio.to_thread(frozen.line))["metrics"]
        await deliver(settings, topic, records[:third])
        await translated(settings)
        frozen.process.send_signal(signal.SIGSTOP)
        await deliver(settings, topic, records[third : 2 * third])
        async with translating(settings) as other:

            async def has_all():
                return await other.sample("partitions", state="ready") == 3

            await until(has_all)
            await translated(settings)
            frozen.process.send_signal(signal.SIGCONT)  # it wakes with a state that is outdated
            await deliver(settings, topic, records[2 * third :])

            async def share():
                both = [await ready(url), await other.sample("partitions", state="ready")]
                return sum(both) == 3 and all(both)

            await until(share)
            await translated(settings)
        assert await stated(settings) == events
        code, _, log = await asyncio.to_thread(frozen.end, signal.SIGTERM)
        assert code == 0, log


@pytest.mark.slow
async def test_translators_share_the_work_and_one_leaves(make):
    settings, topic = make(keyed=True)
    await create_all(settings, partitions=4)
    records = keyed(orders_with_duplicates(600))
    events, _ = expected(settings, [value for _, value in records])
    async with translating(settings) as one, translating(settings) as two:

        async def both_have_some():
            ready = [await each.sample("partitions", state="ready") for each in (one, two)]
            return ready == [2, 2]

        await until(both_have_some)
        half = len(records) // 2
        await deliver(settings, topic, records[:half])
        await translated(settings)
        read = [await each.sample("records_total") for each in (one, two)]
        assert all(read), read
        assert sum(read) == half
        await deliver(settings, topic, records[half:])
        await two.stop()

        async def has_all():
            return await one.sample("partitions", state="ready") == 4

        await until(has_all)
        await translated(settings)
        assert await stated(settings) == events


async def started(settings):
    """Start a translator that must not start."""
    async with asyncio.timeout(60):
        await translate(settings, asyncio.Event(), print)


async def test_what_cannot_be_read_is_named_before_anything_starts(make, tmp_path):
    settings, topic = make()
    with pytest.raises(WrongTopicsError) as missing:
        await started(settings)
    named = f"topic {topic} does not exist; create it, or mend where.topics of source {SOURCE}"
    assert named in str(missing.value)
    by_order = names.by_order_topic(settings.topics.prefix, SOURCE)
    assert f"topic {by_order} does not exist; run `ecindex topics create`" in str(missing.value)
    grown, topic = make(keyed=True)
    await create_all(grown, partitions=2)
    await grow_topics(grown.kafka, {topic: 3})

    async def has_grown():
        return (await existing_partitions(grown.kafka))[topic] == 3

    await until(has_grown)
    assert [
        difference
        for difference in await check_topics(grown.kafka, await plan_topics(grown))
        if "changelog" in difference.topic
    ] == []
    with pytest.raises(WrongTopicsError, match="has 2 partitions and needs 3; an order of"):
        await started(grown)
    twice = [source_file(tmp_path, [topic], name=name) for name in ("one", "two")]
    with pytest.raises(SettingsError) as caught:
        await started(make(**{"sources.files": [*map(str, twice)]})[0])
    assert f"not {topic}" in str(caught.value)
    assert str(twice[0]) in str(caught.value)
    with pytest.raises(SettingsError, match="readable file"):
        await started(make(**{"sources.files": ["nowhere.toml"]})[0])
    with pytest.raises(SettingsError, match="source files"):
        await started(make(**{"sources.files": []})[0])

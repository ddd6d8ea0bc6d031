"""`ecindex doctor` finds each of a list of planted faults, and names a command that exists."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from redis.asyncio import Redis
from support.flow_harness import METHODOLOGY, order, payment
from support.installation import Installation
from support.kafka import alter_topic, delete_records, delete_topic, produce, read_all
from support.valkeys import HOST, Valkey

from streams.clock import now_ms
from streams.local import ports
from streams.proof.doctor.diagnose import diagnose
from streams.proof.doctor.findings import Level
from streams.proof.doctor.stored_records import stored_kinds
from streams.worker import names

pytestmark = pytest.mark.stack
PAUSE_S = 0.1
"""Nothing moves here, so nothing needs time to settle."""


async def told(installed, workers=()):
    """{(level, check, where): finding} of all that doctor tells."""
    diagnosis = await diagnose(installed.settings, workers, pause_s=PAUSE_S)
    return {
        (each.level.value, each.check, each.where): each
        for each in diagnosis.findings
        if each.level is not Level.OK and each.where != "workers"
    }


@pytest.fixture
async def made(stack, unique, tmp_path):
    """An installation of topics without a worker."""
    found = Installation(stack, unique("df"), tmp_path, inputs=2, arrival="broker")
    await found.create_topics()
    yield found
    found.stop()


@pytest.fixture
async def folded(made):
    """An installation that folded a few events; its worker has left."""
    worker = made.start_worker()
    async with made.producer() as producer:
        for number in range(40):
            at_ms = now_ms()
            await made.send(producer, "orders", order(f"o{number}", at_ms))
            await made.send(producer, "payments", payment(f"p{number}", at_ms))
        await producer.flush()
    assert (await made.audit()).equal
    worker.terminate()
    return made


async def test_only_the_missing_worker_is_told_of_a_sound_installation_and_then_what_is_planted(
    made,
):
    found = await told(made)
    group = names.app_id(METHODOLOGY.edition, made.settings.topics.prefix)
    no_worker = ("wrong", "workers", f"group {group}")
    assert found.keys() == {no_worker}

    # A record that cannot be read, in each topic and in a key of Redis.
    kinds = stored_kinds(made.settings, METHODOLOGY.edition)
    async with made.producer() as producer:
        for topic in kinds:
            await producer.send(topic, b"rubbish", key=b"PK|nobody|knows", partition=0)
        await producer.flush()
    client = Redis.from_url(made.stack.redis_url)
    await client.hset(f"{made.name}:v1:inputs", "orders-0", "rubbish")
    await client.aclose()
    found = await told(made)
    assert found.keys() == {
        no_worker,
        *(("wrong", kind.check, topic) for topic, kind in kinds.items()),
        ("wrong", "definitions", "PK"),
        ("wrong", "redis", f"{made.name}:v1:inputs orders-0"),
    }
    for topic, kind in kinds.items():
        assert f"{topic}-0@0, key " in found["wrong", kind.check, topic].found


async def test_servers_and_files_that_are_not_there(made):
    made.overrides["redis.url"] = f"redis://127.0.0.1:{ports.choose(1)[0]}/0"
    assert ("wrong", "redis", made.settings.redis.url) in await told(made)
    made.overrides["kafka.bootstrap_servers"] = f"127.0.0.1:{ports.choose(1)[0]}"
    assert ("wrong", "broker", made.settings.kafka.bootstrap_servers) in await told(made)
    made.overrides["methodology"] = made.directory / "torn.toml"
    made.overrides["methodology"].write_text("edition = ")
    (wrong,) = (await told(made)).values()
    assert (wrong.check, wrong.level) == ("methodology", Level.WRONG)


@pytest.mark.parametrize("kind", ["redis+sentinel://{}/mymaster", "redis+cluster://{}"])
async def test_sentinels_or_a_cluster_of_which_nobody_answers(made, kind):
    nodes = ",".join(f"127.0.0.1:{port}" for port in ports.choose(2))
    made.overrides["redis.url"] = url = kind.format(nodes)
    (wrong,) = [each for key, each in (await told(made)).items() if key[1] == "redis"]
    assert (wrong.level, wrong.where) == (Level.WRONG, url)
    assert " at 0x" not in wrong.found


async def test_a_replica_that_takes_no_writes(made, tmp_path):
    with Valkey(tmp_path / "v", "--replicaof", f"{HOST} {ports.choose(1)[0]}") as replica:
        add_reader(replica)
        made.overrides |= {"redis.url": replica.url, "redis.username": "reader"}
        made.overrides["redis.password"] = "pw"
        found = await told(made)
        wrong = found["wrong", "redis", replica.url]
        assert "READONLY" in wrong.found
        assert "redis.url" in wrong.fix
        replica.db.execute_command("REPLICAOF", "NO", "ONE")
        assert ("wrong", "redis", replica.url) not in await told(made)


def add_reader(server):
    """The reader of docs/security.md, who may ask neither ROLE nor INFO; of any prefix."""
    rules = "on >pw ~* +@read +@connection"
    server.db.execute_command("ACL", "SETUSER", "reader", *rules.split())


@pytest.mark.deep
async def test_topics_that_are_not_as_they_must_be(made):
    topics, bootstrap = made.settings.topics, made.stack.bootstrap
    await alter_topic(bootstrap, topics.orders, {"retention.bytes": "1000000"})
    await alter_topic(
        bootstrap,
        topics.payments,
        {
            "message.timestamp.type": "CreateTime",
            "retention.ms": "86400000",
            "cleanup.policy": "compact",
        },
    )
    await alter_topic(bootstrap, topics.partials, {"cleanup.policy": "delete"})
    await delete_topic(bootstrap, topics.journal)
    made.overrides["topics.partials_partitions"] = 5  # 3 were made
    await write(made, topics.values, b"PK|orders|market|all|1m", b"no value of ours")
    await produce(bootstrap, topics.orders, [b"{}"] * 10_001)
    planted = {
        ("warning", "input retention", topics.orders),
        ("warning", "input retention", topics.payments),
        ("warning", "input arrival", topics.payments),
        ("wrong", "input compaction", topics.payments),
        ("wrong", "topics", f"{topics.partials} cleanup.policy"),
        ("wrong", "topics", f"{topics.journal} topic"),
        ("wrong", "topics", f"{topics.values} partitions"),
        ("wrong", "values", topics.values),
        ("warning", "lag", f"{topics.orders}-0"),
    }

    async def all_told():  # a broker shows what was changed a little later
        return (await told(made)).keys() >= planted

    await made.until(all_told)


@pytest.mark.deep
async def test_checkpoints_that_do_not_match_what_is_there(folded):
    topics, bootstrap = folded.settings.topics, folded.stack.bootstrap
    await produce(bootstrap, topics.journal, [b"no journal record of ours"])
    group = names.app_id(METHODOLOGY.edition, topics.prefix)
    changelog = names.changelog_topic(group, names.checkpoint_table(topics.payments))
    first = next(each for each in await read_all(bootstrap, changelog) if each.partition == 0)
    await write(folded, changelog, first.key, b"no checkpoint")
    await delete_topic(bootstrap, topics.orders)

    async def recreated():
        return topics.orders in (await folded.create_topics()).created

    await folded.until(recreated)
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_partitions({topics.payments: NewPartitions(3)})
    finally:
        await admin.close()
    changed = folded.directory / "methodology.toml"
    changed.write_text(
        folded.settings.methodology.read_text().replace("grace_ms = 120000", "grace_ms = 130000")
    )
    folded.overrides["methodology"] = changed
    client = Redis.from_url(folded.stack.redis_url)
    await client.hset(f"{folded.name}:v1:{{PK}}:fence", "edition", "none")
    await client.aclose()
    planted = {
        ("wrong", "journal"),
        ("wrong", "checkpoints"),
        ("wrong", "identity"),
        ("wrong", "methodology"),
        ("wrong", "redis"),
        ("wrong", "workers"),
    }

    async def all_told():
        found = await told(folded)
        return {(level, check) for level, check, _ in found} >= planted and found

    found = await folded.until(all_told)
    reasons = {each.where: each.found for each in found.values() if each.check == "identity"}
    assert reasons[f"{topics.orders}-0"].startswith("topic id")
    assert f"{topics.payments}-1" not in reasons  # partitions that were added are taken in


@pytest.mark.deep
async def test_what_ends_every_new_owner_is_named_and_a_tombstone_mends_it(made):
    topics = made.settings.topics
    group = names.app_id(METHODOLOGY.edition, topics.prefix)
    tables = (names.checkpoint_table(topics.orders), names.MERGED_TABLE)
    changelogs = [names.changelog_topic(group, each) for each in tables]
    keys = {changelogs[0]: f"{topics.orders}|0|nobody|7".encode(), changelogs[1]: b"h|PK|0|nobody"}
    for topic in changelogs:
        await write(made, topic, keys[topic], b"rubbish")
    await write(made, topics.partials, b"rubbish", b"rubbish")  # is passed over
    child = made.start_worker()
    await made.until(lambda: asyncio.sleep(0, not child.running))
    found = await told(made)
    for topic in changelogs:
        (finding,) = [each for (_, _, where), each in found.items() if where == topic]
        assert finding.level is Level.WRONG
        assert f"{topic}-0@0, key {keys[topic].decode()!r}" in finding.found
        assert "tombstone" in finding.fix
        await write(made, topic, keys[topic], None)
    made.start_worker()
    async with made.producer() as producer:
        await made.send(producer, "orders", order("o", now_ms()))
        await producer.flush()
    await made.until(lambda: made.redis_values("PK"))
    found = await told(made)
    assert {
        found["warning", check, topic].level
        for check, topic in zip(("checkpoints", "merged table"), changelogs, strict=True)
    } == {Level.WARNING}  # it was replaced, and compaction has not come by yet


@pytest.mark.deep
async def test_a_log_that_no_longer_holds_what_comes_next(folded):
    topics, bootstrap = folded.settings.topics, folded.stack.bootstrap
    await produce(bootstrap, topics.orders, [b"{}"] * 50, partition=1)
    records = [each for each in await read_all(bootstrap, topics.orders) if each.partition == 1]
    await delete_records(bootstrap, topics.orders, 1, records[-1].offset)
    found = await told(folded)
    assert "retention overtook" in found["wrong", "lag", f"{topics.orders}-1"].found


@pytest.mark.deep
async def test_workers_that_do_not_answer_or_halted_and_a_redis_that_was_emptied(made):
    child = made.start_worker()
    topic = made.settings.topics.orders
    async with made.producer() as producer:
        await made.send(producer, "orders", order("o", now_ms()), partition=1)
        await producer.flush()
        # A halted partition would hold back the market's first values.
        await made.until(lambda: made.redis_values("PK"))
        for _ in range(1_100):
            await made.send(producer, "orders", b"{", partition=0)
        await producer.flush()

    async def printed():
        return made.metrics_of(child)

    url = (await made.until(printed)).rpartition("/")[0]
    nobody = f"http://127.0.0.1:{ports.choose(1)[0]}"

    async def halted():
        found = await told(made, [url, nobody])
        return found if ("wrong", "readiness", nobody) in found and _halted(found) else None

    found = await made.until(halted)
    (finding,) = _halted(found)
    assert finding.fix.endswith(f"ecindex dead-letters release {topic} 0 --worker {url}")
    await asyncio.to_thread(child.kill)
    client = Redis.from_url(made.stack.redis_url)
    await client.delete(*[key async for key in client.scan_iter(f"{made.name}:*")])
    await client.aclose()
    found = await told(made, [url])
    assert ("wrong", "readiness", url) in found
    assert [check for _, check, where in found if where.endswith(" PK")] == ["redis"]


@pytest.mark.deep
async def test_a_frozen_worker_is_found_by_what_it_no_longer_renews(made):
    child = made.start_worker()
    async with made.producer() as producer:
        await made.send(producer, "orders", order("o", now_ms()))
        await producer.flush()
    await made.until(lambda: made.redis_values("PK"))
    child.pause()
    made.overrides["intervals.stale_after_s"] = 6  # silent after half of it

    async def silent():
        found = await told(made)
        return [each for key, each in found.items() if key[:2] == ("wrong", "redis")]

    try:
        (finding,) = await made.until(silent)
        assert "renewed" in finding.found
    finally:
        child.resume()


def _halted(found):
    return [each for each in found.values() if each.check == "halted"]


async def write(installed, topic, key, value):
    async with installed.producer() as producer:
        await producer.send_and_wait(topic, value, key=key, partition=0)

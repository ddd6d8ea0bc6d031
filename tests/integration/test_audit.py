"""Oracle O against a real installation: equal while it runs, and every tampering is found."""

from __future__ import annotations

import asyncio
import random
import time

import msgspec
import pytest
import redis.asyncio
from aiokafka import AIOKafkaProducer
from support.flow_harness import METHODOLOGY, order, payment
from support.installation import Installation
from support.kafka import delete_records, read_all

from streams.clock import now_ms
from streams.flow.chain import CheckpointRecord
from streams.flow.merged import MergedRecord
from streams.index.definition_records import definitions_record
from streams.index.definitions import Definitions, MemberDefinition
from streams.index.shoppers import ShopperSketch

pytestmark = pytest.mark.stack
EDITION = METHODOLOGY.edition

CATEGORIES = ["Books", "Computing", "Men's Fashion", "never heard of"]


@pytest.fixture
async def installed(stack, unique, tmp_path):
    """Topics and one worker."""
    found = Installation(stack, unique("a"), tmp_path)
    found.overrides["intervals.stale_after_s"] = 600
    await found.create_topics()
    found.start_worker()
    yield found
    found.stop()


async def history(installed, producer, minutes=6, rate=4):
    """Some minutes up to now of two markets: late, too late, ahead, dead, twice, cancelled, paid."""
    rng = random.Random(7)
    begin_ms = now_ms() - minutes * 60_000
    for number in range(minutes * 60 * rate):
        at_ms = begin_ms + number * 1_000 // rate
        lag_ms = rng.choice([0, 0, 0, 0, 0, 3_000, 30_000, 115_000, 130_000, -100_000, -400_000])
        market, currency = rng.choice([("PK", "PKR"), ("BD", "BDT"), ("PK", "BDT"), ("XX", "PKR")])
        event = order(
            f"e{number}",
            at_ms - lag_ms,
            market=market,
            currency=currency,
            lines=[
                (rng.choice(CATEGORIES), rng.randint(1, 3), rng.randint(0, 9_999))
                for _ in range(rng.randint(1, 3))
            ],
            payment_method=rng.choice(["cod", "Easypay", "barter"]),
            region=rng.choice(["punjab", "nowhere"]),
        )
        if number % 5:
            event["shopper_id"] = f"shopper-{number % 211}"
        if number % 3:
            event["new_shopper"] = number % 4 == 0
        paid = payment(
            f"p{number}",
            at_ms - lag_ms,
            market=market,
            currency=currency,
            kind=rng.choice(["payment.captured", "payment.captured", "payment.failed"]),
            amount=rng.randint(0, 9_999),
        )
        if number % 7 == 0:
            paid["placed_at"] = event["placed_at"] = event["occurred_at"]
            event["type"] = rng.choice(["order.cancelled", "order.refunded"])
            event["order_id"] = f"order-e{number - 1}"  # some were refused, in another currency
        for _ in range(2 if number % 50 == 0 else 1):
            await installed.send(producer, "orders", event, at_ms=at_ms)
            await installed.send(producer, "payments", paid, at_ms=at_ms)
    await installed.send(producer, "orders", b"{", at_ms=begin_ms)
    await producer.flush()


async def newest(installed, topic, chosen):
    """Newest standing record of a topic that ``chosen`` accepts."""
    separator = "." if topic in ("values", "journal") else "-"
    found = await read_all(installed.stack.bootstrap, f"{installed.name}{separator}{topic}")
    standing = found if topic == "journal" else {record.key: record for record in found}.values()
    return [r for r in standing if r.value is not None and chosen(r)][-1]


async def forge(installed, record, value):
    async with AIOKafkaProducer(bootstrap_servers=installed.stack.bootstrap) as producer:
        await producer.send_and_wait(
            record.topic, value, key=record.key, partition=record.partition,
            headers=list(record.headers),
        )  # fmt: skip


async def tamper(installed, topic, chosen, change):
    """Overwrite a record with a changed one; what puts the original back."""
    record = await newest(installed, topic, chosen)
    await forge(installed, record, changed := change(record.value))

    async def undo():
        # A worker that wrote a newer record meanwhile has put it right; ours would be the older one.
        latest = await newest(installed, topic, lambda r: r.key == record.key)
        if topic == "journal" or latest.value == changed:
            await forge(installed, record, record.value)

    return undo


def change_row(type_):
    def change(value):
        record = msgspec.msgpack.decode(value, type=type_)
        rows = [record.row] if type_ is MergedRecord else [each.numbers for *_, each in record.rows]
        row = next(each for each in rows if each)
        row[1] += 1
        return msgspec.msgpack.encode(record)

    return change


def add_one_shopper(value):
    """A shopper in the first register of a merged quarter of an hour."""
    record = msgspec.msgpack.decode(value, type=MergedRecord)
    sketch = ShopperSketch.from_bytes(record.shoppers)
    sketch.registers[0] += 1
    record.shoppers = sketch.to_bytes()
    return msgspec.msgpack.encode(record)


def no_shoppers(value):
    record = msgspec.msgpack.decode(value, type=CheckpointRecord)
    record.sketches.clear()
    return msgspec.msgpack.encode(record)


def narrow(value):
    content = msgspec.json.decode(value)
    content["lower"] += 1.0
    return msgspec.json.encode(content)


def change_value(value):
    content = msgspec.json.decode(value)
    content["value"] += 1
    return msgspec.json.encode(content)


def change_journal(value):
    content = msgspec.json.decode(value)
    next(each for each in content["values"] if each["window"] == "day")["n"] += 1
    return msgspec.json.encode(content)


def is_count(record):
    return b"|orders|market|all|" in record.key and b"fence" not in record.key


def is_shoppers(record):
    return b"|shoppers|market|all|day|" in record.key and b'"lower":null' not in record.value


def has_shoppers(record):
    return bool(msgspec.msgpack.decode(record.value, type=CheckpointRecord).sketches)


def has_rows(record):
    rows = msgspec.msgpack.decode(record.value, type=CheckpointRecord).rows
    return any(row[3] for row in rows)


async def test_equal_at_rest_and_every_tampering_is_found(installed):
    async with installed.producer() as producer:
        # Longer than a quarter of an hour: days of shoppers advance by those.
        await history(installed, producer, minutes=17, rate=2)
    report = await installed.audit()
    assert report.equal, "\n".join(report.lines())
    for stage in ("checkpoint", "partials", "merged", "values", "journal", "redis", "set_aside"):
        assert report.judged[stage] > 20, (stage, report.judged)
    outcomes = {name for each in report.sources.values() for name in each["outcomes"]}
    assert outcomes >= {
        "accepted", "duplicate", "too_late", "ahead", "wrong_currency", "unknown_market",
        "invalid_json",
    }  # fmt: skip

    checkpoints = f"e{EDITION}-checkpoint-{installed.name}-orders-changelog"
    merged = (lambda r: r.key.startswith(b"m|PK")), change_row(MergedRecord)
    quarter = (lambda r: r.key.startswith(b"q|PK")), add_one_shopper
    minute = (lambda r: b'"window":"day"' in r.value), change_journal  # of a value that stands
    for stage, topic, chosen, change in (
        ("checkpoint", checkpoints, has_rows, change_row(CheckpointRecord)),
        ("merged", f"e{EDITION}-merged-changelog", *merged),
        ("checkpoint", checkpoints, has_shoppers, no_shoppers),
        ("merged", f"e{EDITION}-merged-changelog", *quarter),
        ("values", "values", is_count, change_value),
        ("values", "values", is_shoppers, narrow),
        ("journal", "journal", *minute),
    ):
        undo = await tamper(installed, topic, chosen, change)
        report = await installed.audit()
        await undo()
        assert {each.stage for each in report.differences} >= {stage}, stage
        assert all(each.where and each.act for each in report.differences)
    report = await installed.audit()
    assert report.equal, "\n".join(report.lines())
    await redis_fields_are_judged(installed)


async def stop_between_publications(installed):
    """Stop the worker where Redis holds what Kafka does: a stop between the two is found, rightly."""
    for _ in range(5):
        installed.stop()
        installed.workers.clear()
        code, out, _ = await installed.command("audit")
        if code == 0:
            return
        installed.start_worker()
        report = await installed.audit()
        assert report.equal, "\n".join(report.lines())
    pytest.fail(out)


async def redis_fields_are_judged(installed):
    # Its owner rewrites Redis each 30 s: such a field would not stand.
    await stop_between_publications(installed)
    client = redis.asyncio.Redis.from_url(installed.stack.redis_url)
    base = f"{installed.name}:v1:{{PK}}"
    try:
        day = next(iter(await client.hgetall(f"{base}:days"))).decode()
        for key, field in ((f"{base}:values", "orders:market:all:5m"), (f"{base}:days", day)):
            original = await client.hget(key, field)
            await client.hset(key, field, "123456789")
            code, out, _ = await installed.command("audit", "--json")
            await client.hset(key, field, original)
            found = msgspec.json.decode(out.splitlines()[-1])
            assert code == 1
            assert [
                (each["stage"], each["key"], each["found"]) for each in found["differences"]
            ] == [("redis", f"PK {field}", "123456789")], found["differences"]
    finally:
        await client.aclose()
    code, out, _ = await installed.command("audit")
    assert code == 0, out
    assert "equal: everything matches the log" in out


@pytest.mark.deep
async def test_equal_while_events_keep_coming_and_a_worker_is_killed(installed):
    stop = asyncio.Event()

    async def sell(producer):
        rng = random.Random(3)
        number = 0
        while not stop.is_set():
            for _ in range(5):
                number += 1
                at_ms = now_ms()
                lag_ms = rng.choice([0, 0, 0, 4_000, 15_000])
                await installed.send(
                    producer, "orders", order(f"l{number}", at_ms - lag_ms), at_ms=at_ms
                )
                await installed.send(
                    producer, "payments", payment(f"l{number}", at_ms - lag_ms), at_ms=at_ms
                )
            await asyncio.sleep(0.05)

    async with installed.producer() as producer:
        selling = asyncio.create_task(sell(producer))

        async def published():
            return "@as_of" in await installed.redis_values("PK")

        await installed.until(published)
        report = await installed.audit(markets=["PK"])
        assert report.equal, "\n".join(report.lines())
        assert report.judged["redis"] > 500
        installed.start_worker()
        installed.workers[0].kill()
        await asyncio.sleep(2)
        report = await installed.audit(markets=["PK"])
        assert report.equal, "\n".join(report.lines())
        stop.set()
        await selling
    report = await installed.audit(markets=["PK"])
    assert report.equal, "\n".join(report.lines())


@pytest.mark.deep
async def test_a_log_that_nobody_folds_is_a_difference_that_says_who_must_act(installed):
    async with installed.producer() as producer:
        await history(installed, producer, minutes=1)
        assert (await installed.audit()).equal
        installed.stop()
        await installed.send(producer, "orders", order("unseen", now_ms()), partition=0)
        definitions = Definitions("PK", category={"books": MemberDefinition()})
        key, value = definitions_record(
            definitions, base=0, read_to=0, by="a", reason="r", at_ms=now_ms(), nonce="n"
        )
        await producer.send_and_wait(installed.settings.topics.definitions, value, key=key)
    began = time.monotonic()
    report = await installed.audit(wait_ms=2_000)
    assert {each.stage for each in report.differences} == {"progress"}, report.lines()
    unread = [each.key for each in report.differences if each.field == "through"]
    # On a busy machine there once was a second one of progress, then of what was published.
    assert unread == [f"{installed.settings.topics.orders}-0"], report.lines()
    lagging = [each for each in report.differences if each.field == "definitions"]
    assert [each[1:5] for each in lagging] == [
        ("PK", "definitions", "at least 1, the version in force", "0")
    ]
    assert all("doctor" in each.act for each in report.differences)
    assert time.monotonic() - began < 60


@pytest.mark.deep
async def test_what_a_cut_log_cannot_show_is_reported_and_the_rest_is_judged(installed):
    async with installed.producer() as producer:
        await history(installed, producer, minutes=4)
        before = await installed.audit()
        assert before.equal, "\n".join(before.lines())
        topics = installed.settings.topics
        for topic in (topics.orders, topics.payments):
            for partition in range(installed.inputs):
                await delete_records(installed.stack.bootstrap, topic, partition, 20)
        report = await installed.audit()
    assert report.equal, "\n".join(report.lines())
    reasons = {each.reason for each in report.not_judged}
    assert "the beginning of the log is gone" in reasons
    assert report.judged["values"] < before.judged["values"]
    assert report.sources[f"{topics.orders}-0"]["begin"] == 20
    assert any("the beginning of the log is gone" in line for line in report.lines())

"""`ecindex door` on real brokers: what is answered 202 is in the topic, whatever ends meanwhile."""

from __future__ import annotations

import asyncio
import gzip
import json
import signal
from collections import Counter

import aiohttp
import pytest
from support.command import Command, until
from support.doors import (
    ORDERS_ONLY,
    TOKEN,
    TOKENS,
    doors,
    order,
    payment,
    with_tokens,
)
from support.kafka import read_all
from support.methodologies import DEMO

from streams.door.door_process import SPOOL
from streams.door.door_tokens import new_token
from streams.local import ports
from streams.local.local_stack import LocalStack
from streams.records.kafka_topics import create_topics, wanted_topics
from streams.settings import SettingsError, as_toml, load_settings

pytestmark = pytest.mark.stack
LINES = "application/x-ndjson"


@pytest.fixture
async def settings(stack, unique, tmp_path):
    settings = load_settings(
        overrides={
            "kafka.bootstrap_servers": stack.bootstrap,
            "topics.orders": unique("orders"),
            "topics.payments": unique("payments"),
            "topics.prefix": unique("ecindex"),
            "data_dir": str(tmp_path / "data"),
            "methodology": DEMO,
        }
    )
    await create_topics(settings.kafka, wanted_topics(settings, inputs=3, arrival="broker"))
    # A broker that begins to lead new partitions may take longer than the default.
    return with_tokens(settings, spool_after_ms=60_000)


async def in_topics(settings):
    """(topic, key, event id) of each record, sorted."""
    found = [
        (name, record.key.decode(), json.loads(record.value)["event_id"])
        for name in ("orders", "payments")
        for record in await read_all(
            settings.kafka.bootstrap_servers, getattr(settings.topics, name)
        )
    ]
    return sorted(found)


async def test_events_of_every_form_reach_their_topics_with_their_keys(settings):
    cloud = {"specversion": "1.0", "id": "c", "source": "/shop", "type": "any"}
    ce = {f"ce-{name}": value for name, value in cloud.items()}
    lines = "\n".join(json.dumps(each) for each in (order("l1"), payment("l2"))).encode()
    async with doors(settings) as sender:
        taken = [
            await sender.post(order("one")),
            await sender.post([order("a1"), payment("a2", order_id=7), order("a3")]),
            await sender.post(lines, kind=LINES),
            await sender.post(
                gzip.compress(lines), kind=LINES, headers={"Content-Encoding": "gzip"}
            ),
            await sender.post(
                cloud | {"data": order("c1")}, kind="application/cloudevents+json; charset=utf-8"
            ),
            await sender.post(
                [cloud | {"data": payment("c2")}], kind="application/cloudevents-batch+json"
            ),
            await sender.post(order("c3", order_id=""), headers=ce),
            await sender.post(order("bd", market="BD", currency="BDT"), token=ORDERS_ONLY),
        ]
        health = await sender.get("/healthz")
        metrics = await sender.metrics()
    assert [(status, answer["accepted"], answer["kept"]) for status, answer in taken] == [
        (202, count, "kafka") for count in (1, 3, 2, 2, 1, 1, 1, 1)
    ]
    assert health == (200, {"status": "ok", "kept": "kafka", "spool_bytes": 0})
    assert await in_topics(settings) == sorted(
        [
            *(
                ("orders", f"o-{name}", name)
                for name in ("one", "a1", "a3", "l1", "l1", "c1", "bd")
            ),
            ("orders", "c3", "c3"),
            ("payments", "7", "a2"),
            *(("payments", f"o-{name}", name) for name in ("l2", "l2", "c2")),
        ]
    )
    assert metrics['ecindex_door_requests_total{outcome="kafka",token="shop"}'] == 7
    assert metrics['ecindex_door_events_total{token="shop"}'] == 11
    assert metrics['ecindex_door_events_total{token="bd"}'] == 1
    assert metrics['ecindex_door_last_event_timestamp_seconds{token="bd"}'] > 1.7e9
    assert metrics["ecindex_door_spool_bytes"] == metrics["ecindex_door_spool_age_seconds"] == 0


async def test_a_refused_request_leaves_nothing_and_says_what_was_expected(settings):
    settings = with_tokens(settings, body_bytes_max=20_000, events_max=10)
    async with doors(settings) as sender:
        status, answer = await sender.post(
            [order("r1"), order("r2", market=None), payment("r3", amount_minor="ten"), order("r4")]
        )
        assert (status, answer["refused"]) == (422, 2)
        assert [(each["index"], each["path"], each["detail"]) for each in answer["events"]] == [
            (1, "$.market", "expected text, found null"),
            (
                2,
                "$.amount_minor",
                "expected a whole number of minor units, 0 or more, at most 10000000000000, found text",
            ),
        ]
        cloud = {"specversion": "1.0", "id": "c", "source": "/", "type": "t"}
        status, answer = await sender.post(
            cloud | {"data": order("r5", currency="EUR")}, kind="application/cloudevents+json"
        )
        assert (status, answer["events"][0]["path"]) == (422, "$.data.currency")
        status, answer = await sender.post([order("r6"), payment("r7")], token=ORDERS_ONLY)
        assert (status, [each["path"] for each in answer["events"]]) == (
            403,
            ["$.market", "$.market"],
        )
        kinds = payment("r8", market="BD", currency="BDT")
        assert (await sender.post(kinds, token=ORDERS_ONLY))[1]["events"][0]["path"] == "$.type"
        many = [order(f"m{n}") for n in range(11)]
        statuses = [
            (await sender.post(order("x"), token=None))[0],
            (await sender.post(order("x"), token=new_token()))[0],
            (await sender.post(order("x"), headers={"Origin": "https://evil.example"}))[0],
            (await sender.post(order("x"), kind="text/plain"))[0],
            (await sender.post(b"[1,"))[0],
            (await sender.post(b""))[0],
            (await sender.post(many))[0],
            (await sender.post(order("x", note="x" * 20_000)))[0],
            (
                await sender.post(
                    gzip.compress(b" " * 1_000_000), headers={"Content-Encoding": "gzip"}
                )
            )[0],
            (await sender.post(b"no gzip", headers={"Content-Encoding": "gzip"}))[0],
        ]
        metrics = await sender.metrics()
    assert statuses == [401, 401, 403, 415, 400, 400, 413, 413, 413, 400]
    assert await in_topics(settings) == []
    assert metrics['ecindex_door_requests_total{outcome="unknown",token=""}'] == 3
    assert metrics['ecindex_door_requests_total{outcome="refused",token="shop"}'] == 9
    assert metrics['ecindex_door_events_total{token="shop"}'] == 0


async def test_a_token_that_sends_too_much_is_told_when_to_come_again(settings):
    slow = TOKENS[0] | {"events_per_s": 1}
    broken = [order("1", market=7)] * 3
    async with doors(with_tokens(settings, [slow], events_max=3)) as sender:
        assert (await sender.post(broken))[0] == 422, "what is refused counts too"
        status, answer = await sender.post(broken)
        assert (status, answer["detail"]) == (429, "this token may send 1 events a second")
        assert 1 <= int(sender.headers["Retry-After"]) <= 3
        metrics = await sender.metrics()
    assert metrics['ecindex_door_requests_total{outcome="limited",token="shop"}'] == 1


async def test_a_line_that_cannot_be_counted_is_named_and_the_order_counts(settings):
    lines = [{"quantity": 1, "unit_price_minor": 5}, {"quantity": 1, "unit_price_minor": -5}]
    async with doors(settings) as sender:
        status, answer = await sender.post([order("0"), order("1", lines=lines)])
    (left_out,) = answer["left_out"]
    assert (status, left_out["index"], left_out["path"]) == (202, 1, "$.lines[1].unit_price_minor")


@pytest.mark.parametrize(
    ("changes", "without_tokens", "named"),
    [
        ({"tokens": ()}, False, "door.tokens"),
        ({"host": "0.0.0.0"}, False, "door.host"),
        ({"host": "0.0.0.0", "tokens": ()}, True, "door.host"),
    ],
)
async def test_a_door_that_anybody_could_use_does_not_start(
    settings, changes, without_tokens, named
):
    with pytest.raises(SettingsError) as caught:
        async with doors(with_tokens(settings, **changes), without_tokens=without_tokens):
            pass
    assert {problem.setting for problem in caught.value.problems} == {named}


async def test_a_token_of_a_market_that_the_methodology_has_not_does_not_start(settings):
    with pytest.raises(SettingsError, match="not XX"):
        async with doors(with_tokens(settings, [TOKENS[0] | {"markets": ["PK", "XX"]}])):
            pass


async def test_without_tokens_whoever_is_on_this_machine_may_send(settings):
    async with doors(with_tokens(settings, tokens=()), without_tokens=True) as sender:
        assert (await sender.post(order("1"), token=None))[0] == 202


def started(settings, file, *arguments):
    file.write_text(as_toml(settings))
    command = Command("door", "--config", file, "--json", *arguments)
    return command, command.line()


class Shop:
    """Posts one event after the other to wherever the door is, and knows what it was answered."""

    def __init__(self):
        self.url = None
        self.sent, self.accepted, self.kept = 0, set(), Counter()
        self.unavailable = 0

    async def sell(self, stopped):
        own = {"Authorization": f"Bearer {TOKEN}"}
        async with aiohttp.ClientSession() as client:
            while not stopped.is_set():
                self.sent += 1
                names = [f"{self.sent}-{at}" for at in range(3)]
                events = [order(names[0]), payment(names[1]), order(names[2])]
                try:
                    async with client.post(self.url, json=events, headers=own) as answer:
                        found = await answer.json()
                        if answer.status == 202:
                            self.accepted.update(names)
                            self.kept[found["kept"]] += 3
                        else:
                            assert answer.status == 503
                            self.unavailable += 1
                except aiohttp.ClientError:
                    await asyncio.sleep(0.02)

    async def after(self, more, kept):
        """Return once more events were kept in a place."""
        before = self.kept[kept]
        await until_true(lambda: self.kept[kept] >= before + more)


async def until_true(condition):
    await asyncio.to_thread(until, condition)


@pytest.mark.slow
async def test_nothing_answered_202_is_lost_while_kafka_and_the_door_are_killed(
    tmp_path, cache_dir
):
    with LocalStack(tmp_path / "stack", with_redis=False, cache_dir=cache_dir) as local:
        settings = load_settings(
            overrides={
                "kafka.bootstrap_servers": local.bootstrap,
                "data_dir": str(tmp_path / "data"),
                "methodology": DEMO,
            }
        )
        await create_topics(settings.kafka, wanted_topics(settings, inputs=3, arrival="broker"))
        settings = with_tokens(settings, port=ports.choose(1)[0], spool_after_ms=300)
        shop, stopped, file = Shop(), asyncio.Event(), tmp_path / "ecindex.toml"
        first, addresses = await asyncio.to_thread(started, settings, file)
        shop.url = addresses["events"]
        selling = asyncio.create_task(shop.sell(stopped))
        try:
            await shop.after(100, "kafka")
            await asyncio.to_thread(local.kafka.kill)
            await shop.after(200, "spool")
            await asyncio.to_thread(first.end, signal.SIGKILL)
            # Kafka is still away: the next door begins with what the first has left.
            second, _ = await asyncio.to_thread(started, settings, file)
            await shop.after(200, "spool")
            assert list((tmp_path / "data" / SPOOL).glob("*.spool"))
            await asyncio.to_thread(local.kafka.start)
            await shop.after(300, "kafka")
            stopped.set()
            await selling
            code, _, log = await asyncio.to_thread(second.end, signal.SIGTERM)
        finally:
            stopped.set()
            for command in (first, second):
                command.__exit__()
            await asyncio.wait({selling})
        assert code == 0, log
        assert shop.unavailable == 0
        records = await in_topics(settings)
        counted = Counter(event_id for _, _, event_id in records)
        assert shop.accepted - counted.keys() == set()
        assert len(counted) <= 3 * shop.sent
        assert {key: event_id for _, key, event_id in records} == {
            f"o-{event_id}": event_id for event_id in counted
        }
        assert not list((tmp_path / "data" / SPOOL).glob("*.spool"))
        # What the killed door had given to its producer, and what it was sending when it was killed.
        assert counted.total() - len(counted) <= 9, counted.most_common(5)


@pytest.mark.slow
async def test_a_full_spool_says_when_to_come_again_and_takes_events_once_kafka_is_there(
    tmp_path, cache_dir
):
    with LocalStack(tmp_path / "stack", with_redis=False, cache_dir=cache_dir) as local:
        settings = load_settings(
            overrides={
                "kafka.bootstrap_servers": local.bootstrap,
                "data_dir": str(tmp_path / "data"),
                "methodology": DEMO,
            }
        )
        await create_topics(settings.kafka, wanted_topics(settings, inputs=1, arrival="broker"))
        settings = with_tokens(
            settings, spool_after_ms=200, spool_bytes_max=50_000, body_bytes_max=20_000
        )
        async with doors(settings) as sender:
            await asyncio.to_thread(local.kafka.pause)
            accepted = []
            for number in range(100):
                status, answer = await sender.post(order(f"{number}", note="x" * 5_000))
                if status == 503:
                    break
                assert (status, answer["kept"]) == (202, "spool")
                accepted.append(f"{number}")
            assert 5 <= len(accepted) < 10
            assert sender.headers["Retry-After"] == "30"
            metrics = await sender.metrics()
            assert 25_000 < metrics["ecindex_door_spool_bytes"] <= 50_000
            assert 0.2 < metrics["ecindex_door_spool_age_seconds"] < 600
            assert (await sender.get("/healthz"))[0] == 503
            await asyncio.to_thread(local.kafka.resume)
            while (await sender.get("/healthz"))[1]["kept"] == "spool":  # noqa: ASYNC110 - of a process
                await asyncio.sleep(0.05)
            assert (await sender.get("/healthz"))[1]["spool_bytes"] == 0
            assert (await sender.post(order("last")))[0] == 202
        found = [event_id for _, _, event_id in await in_topics(settings)]
        # Each once: the producer's own acknowledgement was waited for. What was refused as the spool
        # was full may be there too, as its sender would send it again.
        assert Counter(found) == Counter({*accepted, "last", *found})
        assert {*accepted, "last"} <= set(found)


@pytest.mark.slow
async def test_shops_that_go_on_selling_do_not_keep_the_door_on_disk(tmp_path, cache_dir):
    """A frame that is written before the one before it is acknowledged keeps the spool from emptying."""
    with LocalStack(tmp_path / "stack", with_redis=False, cache_dir=cache_dir) as local:
        settings = load_settings(
            overrides={
                "kafka.bootstrap_servers": local.bootstrap,
                "data_dir": str(tmp_path / "data"),
                "methodology": DEMO,
            }
        )
        await create_topics(settings.kafka, wanted_topics(settings, inputs=1, arrival="broker"))
        async with doors(with_tokens(settings, spool_after_ms=500)) as sender:
            shops, stopped = [Shop() for _ in range(12)], asyncio.Event()
            for shop in shops:
                shop.url = sender.addresses.events
            selling = [asyncio.create_task(shop.sell(stopped)) for shop in shops]
            try:
                await asyncio.to_thread(local.kafka.pause)
                await shops[0].after(30, "spool")
                await asyncio.to_thread(local.kafka.resume)
                for shop in shops:
                    await shop.after(30, "kafka")
            finally:
                stopped.set()
                await asyncio.gather(*selling)
        assert sum(shop.unavailable for shop in shops) == 0

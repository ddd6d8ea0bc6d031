"""Deliveries of vendors to `ecindex door` on real brokers: what is answered 200 is in its topic."""

from __future__ import annotations

import asyncio
import json
import signal

import aiohttp
import pytest
from support.command import Command
from support.door_sources import SECRET, in_base64, signed, sold, source_file, woocommerce_order
from support.doors import doors, order, with_tokens
from support.kafka import read_all
from support.methodologies import DEMO

from streams.operate.dead_letters import DeadLetterSelection, list_set_aside, replay
from streams.records.kafka_topics import create_topics, plan_topics
from streams.settings import SettingsError, as_toml, load_settings, load_sources
from tests.property.test_source_records import EXAMPLES

pytestmark = pytest.mark.stack


@pytest.fixture
async def settings(stack, unique, tmp_path):
    """Settings of a door to which WooCommerce, by the example's file, and a small source deliver."""
    woocommerce = (EXAMPLES / "woocommerce.toml").read_text()
    files = {
        "woocommerce": woocommerce.replace(
            'files = ["woocommerce.ndjson"]', f'topics = ["{unique("woo")}"]'
        ).replace("[time]", '[webhook]\nsignature = "woocommerce"\n[time]', 1),
        "shop": source_file("shop", topic=unique("shop")),
    }
    for name, text in files.items():
        (tmp_path / f"{name}.toml").write_text(text)
    (tmp_path / "secrets").write_text(f"woocommerce:{SECRET} of Woo\nshop:{SECRET}\n")
    settings = load_settings(
        overrides={
            "kafka.bootstrap_servers": stack.bootstrap,
            "topics.orders": unique("orders"),
            "topics.payments": unique("payments"),
            "topics.prefix": unique("ecindex"),
            "data_dir": str(tmp_path / "data"),
            "methodology": DEMO,
            "sources.files": [str(tmp_path / f"{name}.toml") for name in files],
            "door.secrets_file": str(tmp_path / "secrets"),
        }
    )
    await create_topics(settings.kafka, await plan_topics(settings, inputs=2))
    return with_tokens(settings, spool_after_ms=2_000)


async def values_of(settings, topic):
    records = await read_all(settings.kafka.bootstrap_servers, topic)
    return [json.loads(record.value) for record in records]


async def in_kafka(sender):
    """Return once nothing waits on disk: a slow broker may make the door write there."""
    while (await sender.get("/healthz"))[1]["spool_bytes"]:  # noqa: ASYNC110 - of a process
        await asyncio.sleep(0.05)


async def test_deliveries_reach_the_topic_of_their_source_and_read_as_they_came(settings):
    woocommerce, shop = load_sources(settings)
    bodies = [woocommerce_order(number) for number in range(5)]
    async with doors(settings) as sender:
        for body in bodies:
            status, answer = await sender.deliver(
                "woocommerce", body, signed(body, f"{SECRET} of Woo")
            )
            assert (status, answer["outcome"]) == (200, "taken")
        body = json.dumps(sold()).encode()
        assert (await sender.deliver("shop", body, signed(body)))[0] == 200
        assert (await sender.deliver("shop", body, signed(body, "x" * 20)))[0] == 401
        assert (await sender.post(order("beside")))[0] == 202
        await in_kafka(sender)
        metrics = await sender.metrics()
    records = await read_all(settings.kafka.bootstrap_servers, woocommerce.topics[0])
    read = [woocommerce.compiled.read(record.value) for record in records]
    assert sorted(map(str, read)) == sorted(str(woocommerce.compiled.read(each)) for each in bodies)
    written = b"".join(record.value for record in records)
    assert b"Greta" in bodies[0]
    assert b"Greta" not in written
    (one,) = await values_of(settings, shop.topics[0])
    assert one["customer"] == {"id": 7}
    assert len(await values_of(settings, settings.topics.orders)) == 1
    name = "ecindex_door_deliveries_total"
    kept = [metrics[f'{name}{{outcome="{each}",source="shop"}}'] for each in ("kafka", "spool")]
    assert sum(kept) == 1
    assert metrics[f'{name}{{outcome="unsigned",source="shop"}}'] == 1
    assert metrics[f'{name}{{outcome="dead_letter",source="shop"}}'] == 0
    assert metrics['ecindex_door_last_delivery_timestamp_seconds{source="shop"}'] > 1.7e9
    assert metrics['ecindex_door_source_silent_after_seconds{source="shop"}'] == 3_600
    assert metrics['ecindex_door_source_silent_after_seconds{source="woocommerce"}'] == 43_200


async def test_what_cannot_be_decoded_is_listed_as_a_dead_letter_and_not_replayed(settings):
    async with doors(settings) as sender:
        for body in (b"Anna's order", b'{"lines":{}}', b'{"lines":{}}'):
            assert (await sender.deliver("shop", body, signed(body)))[0] == 200
        await in_kafka(sender)
    shop = load_sources(settings)[1]
    assert await values_of(settings, shop.topics[0]) == []
    found = await list_set_aside(
        settings, settings.topics.dead_letters, DeadLetterSelection(topic=shop.topics[0])
    )
    assert (found.by_reason, found.earlier) == ({"undecoded": 3}, 0)
    assert sorted(each.detail for each in found.dead_letters) == [
        "shop: expected JSON, found none: JSON is malformed: invalid character (byte 0) - at `$`",
        *["shop: expected array | null, found object - at `$.lines`"] * 2,
    ]
    assert f"{shop.topics[0]} (door) undecoded" in found.dead_letters[0].line()
    assert "Anna" not in str(found.as_json())
    replayed = await replay(settings, found.dead_letters)
    left_out = {"deliveries to the door, whose originals are not kept": 3}
    assert (replayed.sent, replayed.left_out) == (0, left_out)


async def test_the_settings_of_a_door_to_which_nobody_could_deliver_are_refused(settings):
    for changes, named in (
        ({"spool_after_ms": 4_001}, "door.spool_after_ms"),
        ({"secrets_file": None}, "door.secrets_file"),
    ):
        with pytest.raises(SettingsError) as caught:
            async with doors(with_tokens(settings, **changes)):
                pass
        assert {problem.setting for problem in caught.value.problems} == {named}


async def test_a_door_without_tokens_takes_deliveries_and_no_events(settings):
    async with doors(with_tokens(settings, tokens=())) as sender:
        body = json.dumps(sold()).encode()
        assert (await sender.deliver("shop", body, signed(body)))[0] == 200
        assert (await sender.post(order("1")))[0] == 401


def logged(command, event):
    """The next line of a command's log about an event."""
    return next(line for line in command.process.stderr if f'"{event}"' in line)


async def test_secrets_and_tokens_are_read_again_on_sighup(settings, tmp_path):
    file, secrets = tmp_path / "ecindex.toml", tmp_path / "secrets"
    file.write_text(as_toml(settings))
    body = json.dumps(sold()).encode()
    with Command("door", "--config", file, "--json") as door:
        addresses = await asyncio.to_thread(door.line)
        assert [each.rpartition("/")[2] for each in addresses["sources"]] == ["woocommerce", "shop"]
        url = addresses["sources"][1]
        async with aiohttp.ClientSession() as client:

            async def status(secret):
                headers = {"X-WC-Webhook-Signature": in_base64(body, secret)}
                async with client.post(url, data=body, headers=headers) as answer:
                    return answer.status

            assert [await status(each) for each in (SECRET, "a new secret of it")] == [200, 401]
            secrets.write_text("shop:a new secret of it\n")  # half of it, by a mistake
            door.process.send_signal(signal.SIGHUP)
            log = await asyncio.to_thread(logged, door, "not_read_again")
            assert "one or 2 secrets of woocommerce" in log
            assert [await status(each) for each in (SECRET, "a new secret of it")] == [200, 401]
            with secrets.open("a") as more:
                more.write(f"woocommerce:{SECRET} of Woo\n")
            door.process.send_signal(signal.SIGHUP)
            await asyncio.to_thread(logged, door, "read_again")
            assert [await status(each) for each in (SECRET, "a new secret of it")] == [401, 200]
        code, _, _ = await asyncio.to_thread(door.end, signal.SIGTERM)
    assert code == 0

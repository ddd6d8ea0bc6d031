"""What a delivery of a vendor is answered, and what is kept of it; where it goes is a stub here."""

from __future__ import annotations

import asyncio
import gzip
import json
from types import SimpleNamespace

import aiohttp
import pytest
from structlog.testing import capture_logs
from support.door_sources import (
    FORM,
    SECRET,
    in_base64,
    of_stripe,
    signed,
    sold,
    source_file,
    woocommerce_order,
)
from support.doors import Sender, stub_door

from streams.settings import DeclaredSource
from streams.translate.compiled_source import CompiledSource
from streams.translate.source_file import parse_source
from tests.property.test_source_records import EXAMPLES

NOW_S = 1_795_000_000
NOW_MS = NOW_S * 1_000
SECOND = "the secret that it gets"
STRIPE = '[webhook]\nsignature = "stripe"'
SHOPIFY = '[webhook]\nsignature = "shopify"\ndeliveries_per_s = 2'


def declared(text):
    file = parse_source(text)
    return DeclaredSource(file, CompiledSource(file))


WOOCOMMERCE = declared(
    (EXAMPLES / "woocommerce.toml").read_text()
    .replace('files = ["woocommerce.ndjson"]', 'topics = ["woo"]')
    .replace("[time]", '[webhook]\nsignature = "woocommerce"\n[time]')
)  # fmt: skip
SOURCES = [
    declared(source_file("shop", topic="shop.deliveries")),
    declared(source_file("cards", STRIPE)),
    declared(source_file("shopify", SHOPIFY)),
    WOOCOMMERCE,
]
SECRETS = {
    "shop": (SECRET.encode(), SECOND.encode()),
    "cards": (SECRET.encode() * 2,),
    "shopify": (SECRET.encode() * 3,),
    "woocommerce": (SECRET.encode() * 4,),
}


@pytest.fixture
async def door():
    """(sender, keeper, door) of a door with four sources."""
    door, keeper = stub_door(SOURCES, SECRETS, b"key", lambda: NOW_MS, body_bytes_max=3_000_000)
    port = await door.start()
    address = SimpleNamespace(events=f"http://127.0.0.1:{port}/v1/events")
    try:
        async with aiohttp.ClientSession() as client:
            yield Sender(client, address, json.loads(door._openapi)), keeper, door
    finally:
        await door.stop()


def counted(door, source):
    """Deliveries of a source by outcome, those that there were."""
    (metric,) = door._parts.metrics._deliveries.collect()
    return {
        each.labels["outcome"]: int(each.value)
        for each in metric.samples
        if each.labels["source"] == source and each.value
    }


async def test_of_a_signed_delivery_that_is_kept_which_is_mapped(door):
    sender, keeper, server = door
    body = json.dumps(sold(), indent=1).encode()
    for secret in (SECRET, SECOND):
        headers = signed(body, secret) | {"X-WC-Webhook-Topic": "product.deleted"}
        assert await sender.deliver("shop", body, headers) == (
            200,
            {"outcome": "taken", "kept": "kafka"},
        )
    one, other = keeper.events
    assert one == other, "and the same delivery has the same key"
    assert (one.topic, one.timestamp_ms, one.headers) == ("shop.deliveries", NOW_MS, ())
    assert json.loads(one.value) == {
        "id": 1, "currency": "PKR", "at": "2026-11-24T10:00:00Z", "customer": {"id": 7},
        "lines": [{"id": 1, "n": 2, "price": "10.50"}],
    }  # fmt: skip
    assert counted(server, "shop") == {"kafka": 2}


async def test_of_an_order_of_woocommerce_nothing_personal_is_kept_and_all_that_is_read(door):
    sender, keeper, _ = door
    body = woocommerce_order(7)
    await sender.deliver("woocommerce", body, signed(body, SECRET * 4))
    (record,) = keeper.events
    for planted in (b"Greta", b"Musterfrau", b"Hauptweg", b"555 0199", b"@example"):
        assert planted in body
        assert planted not in record.value
    assert WOOCOMMERCE.compiled.read(record.value) == WOOCOMMERCE.compiled.read(body)
    assert len(record.value) < len(body) / 3


@pytest.mark.parametrize(
    ("body", "path", "expected", "found"),
    [
        (b"", "$", "JSON", "none: Input data was truncated"),
        (b"\x00\xff", "$", "JSON", "none: JSON is malformed: invalid character (byte 0)"),
        (b"id=1&name=Anna", "$", "JSON", "none: JSON is malformed: invalid character (byte 0)"),
        (b'[{"id":1}]', "$", "object", "array"),
        (b'{"lines":{"0":{"name":"Anna"}}}', "$.lines", "array | null", "object"),
        (b'{"id":"' + b"Anna" * 500_000 + b'"}', "$", "at most 1000000 bytes that are mapped",
         "2000009 bytes"),
    ],
)  # fmt: skip
async def test_what_cannot_be_decoded_is_a_dead_letter_without_its_content(
    door, body, path, expected, found
):
    sender, keeper, server = door
    with capture_logs() as logs:
        answer = await sender.deliver("shop", body, signed(body))
    assert answer == (200, {"outcome": "dead_letter", "kept": "kafka"})
    (record,) = keeper.events
    letter = json.loads(record.value)
    said = {"source": "shop", "path": path, "expected": expected, "found": found}
    assert {name: letter[name] for name in said} == said
    assert letter.keys() - said.keys() == {"types", "hash"}
    assert (record.topic, record.key) == ("ecindex.dead-letters", b"shop")
    headers = {name: content.decode() for name, content in record.headers}
    assert headers == {
        "reason": "undecoded",
        "detail": f"shop: expected {expected}, found {found} - at `{path}`",
        "source_topic": "shop.deliveries", "source_partition": "-1", "source_offset": "-1",
        "source_timestamp_ms": str(NOW_MS), "original_value_bytes": str(len(body)),
    }  # fmt: skip
    assert logs == [{"event": "delivery_undecoded", "log_level": "warning"} | said]
    assert "Anna" not in str(record)
    assert counted(server, "shop") == {"dead_letter": 1}


BODY = json.dumps(sold()).encode()
GOOD = in_base64(BODY)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, BODY),
        ({"X-WC-Webhook-Signature": ""}, BODY),
        ({"X-WC-Webhook-Signature": GOOD}, BODY + b" "),
        ({"X-WC-Webhook-Signature": GOOD[:-1]}, BODY),
        ({"X-WC-Webhook-Signature": in_base64(BODY, SECRET * 3)}, BODY),
        ({"X-Shopify-Hmac-Sha256": GOOD}, BODY),
        ({"Authorization": f"Bearer {SECRET}"}, BODY),
        ([("X-WC-Webhook-Signature", GOOD), ("X-WC-Webhook-Signature", GOOD)], BODY),
        ({"Content-Type": FORM}, b"webhook_id=x"),
        ({"Content-Type": FORM}, b"webhook_id=1&name=Anna"),
        ({"Content-Type": FORM, "X-WC-Webhook-Signature": "x"}, b"webhook_id=1"),
        ({"Content-Type": "application/json"}, b"webhook_id=1"),
    ],
)
async def test_of_what_is_not_signed_nothing_is_kept(door, headers, body):
    sender, keeper, server = door
    status, answer = await sender.deliver("shop", body, headers)
    assert (status, answer["title"]) == (401, "Unauthorized")
    assert "X-WC-Webhook-Signature" in answer["detail"]
    assert keeper.events == []
    assert counted(server, "shop") == {"unsigned": 1}


async def test_the_ping_of_a_new_webhook_of_woocommerce_is_answered_200(door):
    sender, keeper, server = door
    ping = {"Content-Type": FORM}
    answer = await sender.deliver("shop", b"webhook_id=12", ping)
    assert answer == (200, {"outcome": "ping", "kept": None})
    assert (await sender.deliver("shopify", b"webhook_id=12", ping))[0] == 401
    assert keeper.events == []
    assert counted(server, "shop") == {"ping": 1}
    (last,) = server._parts.metrics._last_delivery.collect()
    assert last.samples == [], "a ping is no delivery"


async def test_woocommerce_speaks_http_1_0(door):
    sender, keeper, _ = door
    port = int(sender.addresses.events.rpartition(":")[2].partition("/")[0])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"POST /v1/sources/shop HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        b"X-WC-Webhook-Signature: %b\r\nContent-Length: %d\r\n\r\n%b" % (GOOD.encode(), len(BODY), BODY)
    )  # fmt: skip
    assert b" 200 OK" in await reader.readline()
    writer.close()
    assert len(keeper.events) == 1


async def test_a_delivery_of_stripe_is_as_old_as_its_signature(door):
    sender, keeper, _ = door
    body = json.dumps(sold()).encode()
    for age_s, status in ((0, 200), (300, 200), (301, 401), (-3_600, 200)):
        headers = of_stripe(body, NOW_S - age_s, SECRET * 2)
        assert (await sender.deliver("cards", body, headers))[0] == status, age_s
    assert len(keeper.events) == 3


async def test_a_path_takes_what_its_own_secret_has_signed(door):
    sender, keeper, server = door
    assert (await sender.deliver("cards", BODY, signed(BODY)))[0] == 401
    own = {"X-Shopify-Hmac-Sha256": in_base64(BODY, SECRET * 3)}
    for topic, shop in (("orders/create", "a"), ("refunds/create", "b")):
        # Neither is signed, so neither says anything here.
        headers = own | {"X-Shopify-Topic": topic, "X-Shopify-Shop-Domain": f"{shop}.example"}
        assert (await sender.deliver("shopify", BODY, headers))[0] == 200
    assert len(set(keeper.events)) == 1
    status, answer = await sender.deliver("shopify", BODY, own)
    assert (status, sender.headers["Retry-After"]) == (429, "1")
    assert "deliveries_per_s" in answer["detail"]
    assert counted(server, "shopify") == {"kafka": 2, "limited": 1}


async def test_what_can_not_be_kept_is_to_be_sent_again(door):
    sender, keeper, server = door
    keeper.full = True
    for body in (BODY, b"no JSON"):
        assert (await sender.deliver("shop", body, signed(body)))[0] == 503
        assert sender.headers["Retry-After"] == "30"
    large = b" " * 3_000_001
    assert (await sender.deliver("shop", large, signed(large)))[0] == 413
    small = gzip.compress(large)
    packed = signed(small) | {"Content-Encoding": "gzip"}
    assert (await sender.deliver("shop", small, packed))[0] == 413
    assert (await sender.deliver("shop", BODY, signed(BODY) | {"Origin": "null"}))[0] == 403
    assert (await sender.deliver("shop", b"no gzip", packed))[0] == 400
    assert counted(server, "shop") == {"unavailable": 2, "refused": 4}
    assert keeper.events == []


async def test_what_came_compressed_was_signed_before(door):
    sender, keeper, _ = door
    packed = signed(BODY) | {"Content-Encoding": "gzip"}
    assert (await sender.deliver("shop", gzip.compress(BODY), packed))[0] == 200
    assert json.loads(keeper.events[0].value)["id"] == 1


async def test_other_secrets_hold_from_the_next_delivery_on(door):
    sender, _, server = door
    server._parts.sources.take_secrets(SECRETS | {"shop": (SECOND.encode(),)})
    statuses = [
        (await sender.deliver("shop", BODY, signed(BODY, each)))[0] for each in (SECRET, SECOND)
    ]
    assert statuses == [401, 200]


async def test_a_source_that_delivers_nothing_here_is_told_so(door):
    sender, _, _ = door
    url = sender.addresses.events.replace("events", "sources/other")
    async with sender._client.post(url, data=b"{}") as answer:
        assert (answer.status, answer.content_type) == (404, "application/problem+json")

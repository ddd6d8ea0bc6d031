"""Every poison record is set aside with its reason and place, and no worker restarts."""

from __future__ import annotations

import json

import pytest
import pytest_asyncio
from aiokafka import codec as codecs
from support.kafka import read_all
from support.rig import now_ms
from support.shop import instant

from streams.worker import unpacking
from streams.worker.batches import TOO_LARGE

pytestmark = [pytest.mark.stack, pytest.mark.asyncio(loop_scope="session")]

TEN_YEARS_MS = 10 * 365 * 86_400_000


@pytest_asyncio.fixture(loop_scope="session", autouse=True)
async def _whole(bench):
    await bench.whole()


@pytest.fixture(autouse=True)
def _unpacks_all(monkeypatch):
    """A test before that made an application has changed aiokafka in this process for good."""
    for module in (unpacking.compiled, unpacking.pure):
        for name in ("gzip_decode", "lz4_decode", "zstd_decode"):
            monkeypatch.setattr(module, name, getattr(codecs, name))


def good(**changes):
    """A valid order that occurs now, with the given fields changed."""
    event = {
        "event_id": "poison",
        "type": "order.placed",
        "occurred_at": instant(now_ms()),
        "market": "PK",
        "order_id": "order-poison",
        "currency": "PKR",
        "lines": [{"sku": "s", "category": "Books", "quantity": 1, "unit_price_minor": 100}],
    }
    return {**event, **changes}


def lines(**changes):
    line = {"sku": "s", "category": "Books", "quantity": 1, "unit_price_minor": 100}
    return good(lines=[{**line, **changes}])


def text(event):
    return json.dumps(event).encode()


def raw(event, old, new):
    """JSON of an event with one piece replaced by bytes that json.dumps would not write."""
    encoded = text(event)
    assert old in encoded
    return encoded.replace(old, new)


MARKET = b'"market": "PK"'
NESTED = b"[" * 100_000 + b"]" * 100_000
PRICE = b'"unit_price_minor": 100'


def poison():
    """Poison by name: (value, expected reason). A reason of None accepts any reason."""
    return {
        "NaN": (raw(good(), PRICE, b'"unit_price_minor": NaN'), "invalid_json"),
        "Infinity": (raw(good(), PRICE, b'"unit_price_minor": Infinity'), "invalid_json"),
        "duplicate key": (raw(good(), MARKET, MARKET + b', "market": "BD"'), "duplicate_key"),
        "100k [": (b"[" * 100_000, None),
        "100k [ in an unknown field": (raw(good(), MARKET, MARKET + b', "x": ' + NESTED), None),
        "null literal": (b"null", "schema"),
        "empty": (b"", "empty"),
        "5 MB": (text(good(note="x" * 5_000_000)), "too_large"),
        "wrong currency": (text(good(currency="BDT")), "wrong_currency"),
        "unknown market": (text(good(market="XX")), "unknown_market"),
        "no type": (text(good(type=None)), "schema"),
        "in ten years": (text(good(occurred_at=instant(now_ms() + TEN_YEARS_MS))), "ahead"),
        "ten years ago": (text(good(occurred_at=instant(now_ms() - TEN_YEARS_MS))), "too_late"),
        "no time": (text(good(occurred_at="yesterday, about noon")), "invalid_time"),
        "invalid UTF-8": (raw(good(), b"poison", b"poi\xff\xfeson"), "invalid_utf8"),
        "id with a newline": (text(good(event_id="a\nb")), "control_character"),
        "id too long": (text(good(event_id="x" * 200)), None),
        "placed after it": (text(good(placed_at=instant(now_ms() + 400_000))), "placed_after_occurred"),
        "cancelled without placed_at": (text(good(type="order.cancelled")), "placed_at_missing"),
        "an array": (b"[1, 2]", "schema"),
    }  # fmt: skip


def odd():
    """Odd records that are no poison: they count, as far as they can be counted, or are ignored."""
    events = {
        "1e400": raw(good(), PRICE, b'"unit_price_minor": 1e400'),
        "negative price": text(lines(unit_price_minor=-1)),
        "zero quantity": text(lines(quantity=0)),
        "price beyond 64 bits": text(lines(unit_price_minor=2**70)),
        "fraction": text(lines(unit_price_minor=0.5)),
        "broken text": raw(good(), MARKET, MARKET + b', "note": "\xff \\ud83d"'),
        "other type": text(good(type="order.eaten")),
        "tombstone": None,
        "byte order mark": b"\xef\xbb\xbf" + text(good()),
    }
    return {
        name: value and value.replace(b'"poison"', f'"odd {number}"'.encode())
        for number, (name, value) in enumerate(events.items())
    }


async def test_poison_is_set_aside_and_nothing_else_happens(bench):
    rig = bench.rig
    exits = [len(worker.exits) for worker in rig.workers]
    await rig.alter_input("orders", max_message_bytes=8_000_000)
    expected = {}
    for number, (name, (value, reason)) in enumerate(poison().items()):
        partition = number % rig.inputs
        key = b"k" if number % 2 or value is None else None
        offset = await rig.send("orders", partition, value, key)
        expected[partition, offset] = (name, value, key, reason)
    counted = {}
    for number, (name, value) in enumerate(odd().items()):
        partition = number % rig.inputs
        counted[partition, await rig.send("orders", partition, value, b"k")] = name
    bomb = b" " * 100_000_000
    for codec in ("gzip", "zstd"):
        offset = await rig.send("orders", 1, bomb, compression_type=codec, max_batch_size=2**27)
        expected[1, offset] = (f"{codec} bomb", TOO_LARGE, None, "invalid_json")
    await bench.burst(events=1_000, span_s=3, backlog=0)
    await rig.caught_up()
    found = await _set_aside(rig)
    assert not {name for place, name in counted.items() if place in found}
    for place, (name, value, key, reason) in expected.items():
        assert place in found, f"{name} at {place} was not set aside"
        record, headers = found[place]
        if reason is not None:
            assert headers["reason"] == reason, name
        assert headers["reason"], name
        assert record.key == key, name
        if value is None or len(value) < 500_000:
            assert record.value == value, name
        else:
            assert headers["original_value_bytes"] == str(len(value))
            assert value.startswith(record.value)
            assert len(record.value) > 100_000
    assert [len(worker.exits) for worker in rig.workers] == exits
    batch = await bench.judge()
    for (partition, offset), (name, *_, reason) in expected.items():
        source, (_, headers) = batch.sources["orders", partition], found[partition, offset]
        if reason == "too_late":
            assert source.outcomes[offset] == reason, name
        elif not name.endswith("bomb"):  # never unpacked, so the worker does not know its size
            assert source.reasons[offset] == headers["reason"], name


async def _set_aside(rig):
    found = {}
    for topic in (rig.settings.topics.dead_letters, rig.settings.topics.late):
        for record in await read_all(rig.bootstrap, topic):
            headers = {name: content.decode() for name, content in record.headers}
            if headers["source_topic"] == rig.topic["orders"]:
                place = (int(headers["source_partition"]), int(headers["source_offset"]))
                found[place] = (record, headers)
    return found

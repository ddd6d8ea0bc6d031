"""What real shops send: it counts, as far as it can be counted, on real servers."""

from __future__ import annotations

import json

import pytest
from support.flow_harness import order, payment
from support.installation import Installation
from support.methodologies import DEMO_TEXT

from streams.clock import now_ms
from streams.index.panes import rfc3339

pytestmark = pytest.mark.stack

LINE = {"quantity": 1, "unit_price_minor": 100}


@pytest.fixture
async def installed(stack, unique, tmp_path):
    found = Installation(stack, unique("s"), tmp_path, inputs=1, arrival="broker")
    path = tmp_path / "methodology.toml"
    text = DEMO_TEXT.replace("grace_ms = 120000", "grace_ms = 3600000")
    path.write_text(text.replace('"school_education", "books",', '"books", "চাল",', 1))
    found.overrides["methodology"] = path
    await found.create_topics()
    found.start_worker()
    yield found
    found.stop()


def written(event: dict, old: str, new: bytes) -> bytes:
    """JSON of an event with one piece replaced by bytes that json.dumps would not write."""
    value = json.dumps(event).encode()
    assert old.encode() in value
    return value.replace(old.encode(), new)


def odd_orders(at_ms: int) -> list[bytes]:
    def text(event_id: str, **changes) -> bytes:
        return json.dumps(order(event_id, at_ms) | changes).encode()

    plain = order("n0", at_ms) | {"lines": [LINE]}
    smallest = {
        name: plain[name] for name in ("type", "occurred_at", "market", "currency", "lines")
    }
    return [
        written(plain, '"quantity": 1', b'"quantity": 1.0'),
        written(plain | {"event_id": "n1"}, "100", b"1e2"),
        written(plain | {"event_id": "n2"}, '"market"', b'"note": "\\ud83d \xff", "market"'),
        json.dumps(smallest | {"event_id": "n3"}).encode(),
        text("n4", lines=[LINE, {"quantity": 1, "unit_price_minor": -500, "sku": "VOUCHER"}]),
        text("n5", lines=[LINE, LINE | {"quantity": 0}, LINE | {"quantity": 1.5}]),
        text("n6", lines=[LINE | {"quantity": 0}]),
        text("n7", lines=[LINE] * 501),
        text("n8", shopper_id="", lines=[LINE | {"sku": ""}]),
        text("n9", lines=[LINE | {"category": "চাল"}]),
        text("n10", lines=[LINE | {"category": "চুল"}]),
    ]


async def test_what_a_real_shop_sends_counts_and_the_audit_agrees(installed):
    at_ms = now_ms()
    others = [
        order(f"x{n}", at_ms, kind=f"order.{kind}") for n in range(700) for kind in ("paid", "x")
    ]
    queue = [order(f"q{n}", at_ms - 12_000 * n) for n in range(250)]
    early = payment("p", at_ms, placed_at=rfc3339(at_ms + 200))
    async with installed.producer() as producer:
        for event in [*others, *queue, *odd_orders(at_ms)]:
            await installed.send(producer, "orders", event)
        await producer.send(installed.settings.topics.orders, None, key=b"deleted")
        await installed.send(producer, "payments", early)
        await producer.flush()
    report = await installed.audit()
    assert report.equal, "\n".join(report.lines())
    topics = installed.settings.topics
    assert report.sources[f"{topics.orders}-0"]["outcomes"] == {"accepted": 261, "ignored": 1_401}
    assert report.sources[f"{topics.payments}-0"]["outcomes"] == {"accepted": 1}

    async def shown():
        days = await installed.redis_values("PK", "days")
        orders = [int(n) for name, n in days.items() if name.startswith("orders:market:all:")]
        rice = [int(n) for name, n in days.items() if name.startswith("orders:category:চাল:")]
        return (sum(orders), sum(rice)) == (261, 1)

    await installed.until(shown)

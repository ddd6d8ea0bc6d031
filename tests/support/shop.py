"""A deterministic list of order and payment events: several markets, duplicates, disorder, rejects.

The seed and the start decide everything: the events, their partitions and their record timestamps. A
timestamp is the instant at which the event is due, so admission does not depend on the machine's speed.
"""

from __future__ import annotations

import json
import random
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime

ORDERS, PAYMENTS = "orders", "payments"
CURRENCIES = {"PK": "PKR", "BD": "BDT", "LK": "LKR", "NP": "NPR", "MM": "MMK"}
CATEGORIES = [
    "Mobiles & Tablets", "Men's Fashion", "Womens Fashion", "Appliances", "Books", "General",
    "Something Else",
]  # fmt: skip
METHODS = ["cod", "Credit_Card", "easypaisa", "bank_transfer", "voucher", "cowries"]
REGIONS = ["Punjab", "dhaka", "Western", "Yangon", "nowhere"]
CHANNELS = ["web", "android", "store"]

DUPLICATES, DISORDER, TOO_LATE, BROKEN = 0.01, 0.02, 0.0005, 0.0005


@dataclass(frozen=True, slots=True)
class Made:
    """One record to produce. ``due_ms`` is its time on the list's own clock and its timestamp."""

    topic: str
    partition: int
    key: bytes
    value: bytes
    due_ms: int


def instant(ms: int) -> str:
    text = datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{ms % 1000:03d}Z"


def shop(
    count: int,
    *,
    seed: int,
    start_ms: int,
    span_ms: int,
    backlog: float = 0.1,
    backlog_ms: int = 65 * 60_000,
    first: int = 0,
    partitions: int = 4,
    markets: tuple[str, ...] = tuple(CURRENCIES),
) -> list[Made]:
    """Make ``count`` records; the first ``backlog`` share of them are due before ``start_ms``.

    ``first`` is the number of the first event, for lists that share a log.
    """
    dice = random.Random(seed)
    before = int(count * backlog)
    made: list[Made] = []
    recent: dict[str, list[Made]] = {ORDERS: [], PAYMENTS: []}
    for number in range(count):
        if number < before:
            due_ms = start_ms - backlog_ms + number * backlog_ms // before
        else:
            due_ms = start_ms + (number - before) * span_ms // (count - before)
        topic = ORDERS if dice.random() < 0.62 else PAYMENTS
        if dice.random() < DUPLICATES and recent[topic]:
            old = dice.choice(recent[topic])
            again = Made(topic, old.partition, old.key, old.value, due_ms)
            made.append(again)
            continue
        market = dice.choices(markets, weights=range(len(markets), 0, -1))[0]
        occurred_ms = due_ms - dice.randrange(0, 400)
        kind = dice.random()
        if kind < DISORDER:
            occurred_ms = due_ms - dice.randrange(3_000, 60_000)
        elif kind < DISORDER + TOO_LATE:
            occurred_ms = due_ms - dice.randrange(200_000, 400_000)
        broken = kind > 1 - BROKEN
        make = _order if topic == ORDERS else _payment
        event = make(dice, first + number, market, occurred_ms)
        if broken:
            event["currency"] = "XXX"
        key = event["order_id"].encode()
        value = json.dumps(event, separators=(",", ":")).encode()
        record = Made(topic, zlib.crc32(key) % partitions, key, value, due_ms)
        made.append(record)
        if not broken:
            recent[topic].append(record)
            del recent[topic][:-300]
    return made


def _order(dice: random.Random, number: int, market: str, occurred_ms: int) -> dict:
    event = {
        "event_id": f"o{number}",
        "type": "order.placed",
        "occurred_at": instant(occurred_ms),
        "market": market,
        "order_id": f"order-{number}",
        "currency": CURRENCIES[market],
        "lines": [
            {
                "sku": f"sku-{dice.randrange(50)}",
                "category": dice.choice(CATEGORIES),
                "quantity": dice.randrange(1, 5),
                "unit_price_minor": dice.randrange(0, 2_000_000),
            }
            for _ in range(dice.choice((1, 1, 1, 2, 3)))
        ],
    }
    kind = dice.random()
    if kind < 0.04:
        event["type"] = "order.cancelled" if kind < 0.02 else "order.refunded"
        event["placed_at"] = instant(occurred_ms - dice.randrange(0, 3 * 86_400_000))
    if dice.random() < 0.8:
        event["payment_method"] = dice.choice(METHODS)
    if dice.random() < 0.5:
        event["region"] = dice.choice(REGIONS)
    if dice.random() < 0.5:
        event["channel"] = dice.choice(CHANNELS)
    if number % 4:
        event["shopper_id"] = f"shopper-{number * 7919 % 5_003}"
    if number % 3:
        event["new_shopper"] = number % 5 == 0
    return event


def _payment(dice: random.Random, number: int, market: str, occurred_ms: int) -> dict:
    event = {
        "event_id": f"p{number}",
        "type": dice.choices(
            ("payment.captured", "payment.failed", "payment.refunded"), (90, 7, 3)
        )[0],
        "occurred_at": instant(occurred_ms),
        "market": market,
        "order_id": f"order-{number}",
        "method": dice.choice(METHODS),
        "amount_minor": dice.randrange(0, 5_000_000),
        "currency": CURRENCIES[market],
    }
    if dice.random() < 0.5:
        event["placed_at"] = instant(occurred_ms - dice.randrange(0, 2 * 86_400_000))
    return event

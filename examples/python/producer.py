"""Send orders and their payments to Kafka, as docs/contract.md wants them.

    KAFKA_BOOTSTRAP=127.0.0.1:9092 uv run python examples/python/producer.py --orders 20

Four things make the counts right:

- The key of every record is the ``order_id``. All events of an order are then in one partition, and
  duplicates are found within a partition.
- ``event_id`` follows from the order and what happened to it. A random id would make each retry a new
  event.
- ``occurred_at`` is stored with the order. An event that is sent again says the same time as before.
- ``acks="all"`` and idempotence: a record that was acknowledged is neither lost nor written twice.

So sending everything again after a failure is safe: ``--at`` and ``--shop`` name the same orders.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

BOOTSTRAP = os.environ.get("KAFKA_BOOTSTRAP", "127.0.0.1:9092")
PRICE_MINOR = 1_500
"""15.00 euros: money is an integer of the currency's minor unit."""


def placed(order_id: str, at: str) -> dict[str, object]:
    """Make the event of an order that was placed."""
    return {
        "event_id": f"{order_id}:placed",
        "type": "order.placed",
        "occurred_at": at,
        "market": "HOME",
        "order_id": order_id,
        "payment_method": "card",
        "currency": "EUR",
        "lines": [
            {"sku": "atlas", "category": "books", "quantity": 1, "unit_price_minor": PRICE_MINOR}
        ],
    }


def captured(order_id: str, at: str) -> dict[str, object]:
    """Make the event of the payment of that order."""
    return {
        "event_id": f"{order_id}:captured",
        "type": "payment.captured",
        "occurred_at": at,
        "placed_at": at,
        "market": "HOME",
        "order_id": order_id,
        "method": "card",
        "amount_minor": PRICE_MINOR,
        "currency": "EUR",
    }


def events(shop: str, at: str, orders: int) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield (topic, event) of all orders; the same ones whenever it is called."""
    for number in range(orders):
        order_id = f"{shop}-{at}-{number}"
        yield "orders", placed(order_id, at)
        yield "payments", captured(order_id, at)


async def send(shop: str, at: str, orders: int) -> None:
    """Send all events; return once every one is acknowledged. Raises KafkaError."""
    producer = AIOKafkaProducer(
        bootstrap_servers=BOOTSTRAP,
        acks="all",
        enable_idempotence=True,
        request_timeout_ms=10_000,
        key_serializer=str.encode,
        value_serializer=lambda event: json.dumps(event).encode(),
    )
    async with producer:
        sent = [
            await producer.send(topic, event, key=event["order_id"])
            for topic, event in events(shop, at, orders)
        ]
        await asyncio.gather(*sent)


def main() -> int:
    """Exit with 0 when all is acknowledged, 2 when Kafka cannot be reached or refuses."""
    parser = argparse.ArgumentParser(description="Send orders and payments of market HOME.")
    parser.add_argument("--orders", type=int, default=20, help="how many (default: 20)")
    parser.add_argument("--shop", default="python", help="begins every order_id")
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    parser.add_argument("--at", default=now, help="when they were placed (default: now)")
    given = parser.parse_args()
    logging.basicConfig(level=logging.CRITICAL)  # what goes wrong is said once, below
    again = f"--orders {given.orders} --shop {given.shop} --at {given.at}"
    try:
        asyncio.run(send(given.shop, given.at, given.orders))
    except KafkaError as error:
        print(
            f"Kafka at {BOOTSTRAP} did not take the events: {error}. "
            f"To send the same ones again: {again}",
            file=sys.stderr,
        )
        return 2
    print(f"{given.orders} orders and as many payments acknowledged; the same again: {again}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

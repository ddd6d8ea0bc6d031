"""Pre-made order events for benches: 400 bytes, 1-4 lines, several markets, all accepted."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import numpy as np
from aiokafka import AIOKafkaProducer

from streams.index.methodology import Methodology
from streams.index.panes import rfc3339

BATCH_BYTES = 512 * 1024
MARKETS = ("PK", "BD", "LK", "NP", "MM")
_METHODS = ("cod", "Easypay", "Payaxis", "jazzwallet", "easypay_voucher", "bankalfalah")
_CHANNELS = ("web", "app", "marketplace")


def order_events(
    methodology: Methodology, count: int, *, first_ms: int, rate_per_s: int, seed: int = 1
) -> Iterator[tuple[bytes, bytes, int]]:
    """Yield (key, value, timestamp ms) of ``count`` orders, ``rate_per_s`` a second of event time."""
    rng = np.random.default_rng(seed)
    block = 10_000
    for start in range(0, count, block):
        size = min(block, count - start)
        lines_of = rng.choice(4, size, p=[0.5, 0.3, 0.15, 0.05]) + 1
        market_of = rng.integers(0, len(MARKETS), size)
        draws = rng.integers(0, 1 << 30, (size, 12)).tolist()
        for offset, (lines, which) in enumerate(
            zip(lines_of.tolist(), market_of.tolist(), strict=True)
        ):
            number = start + offset
            spec = methodology.markets[MARKETS[which]]
            at_ms = first_ms + number * 1000 // rate_per_s
            draw = draws[offset]
            items = ",".join(
                f'{{"sku":"sku-{draw[line] % 9973}",'
                f'"category":"{spec.categories[draw[line] % 14]}",'
                f'"quantity":{draw[line] % 3 + 1},"unit_price_minor":{draw[line + 4] % 900_000}}}'
                for line in range(lines)
            )
            order_id = f"o-{number:010d}"
            value = (
                f'{{"event_id":"e-{number:010d}-{draw[8]:08x}","type":"order.placed",'
                f'"occurred_at":"{rfc3339(at_ms)}","market":"{spec.code}",'
                f'"order_id":"{order_id}","payment_method":"{_METHODS[draw[9] % 6]}",'
                f'"shopper_id":"s-{draw[10] % 100_000}",'
                f'"region":"{spec.regions[draw[11] % (len(spec.regions) - 1)]}",'
                f'"channel":"{_CHANNELS[draw[8] % 3]}","currency":"{spec.currency}",'
                f'"lines":[{items}]}}'
            )
            yield order_id.encode(), value.encode(), at_ms


async def produce(
    bootstrap: str, topic: str, partitions: int, events: Iterator[tuple[bytes, bytes, int]]
) -> int:
    """Write the events round robin to the partitions, in large batches; the bytes of their values."""
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        acks="all",
        max_batch_size=BATCH_BYTES,
        max_request_size=2 * BATCH_BYTES,
        compression_type=None,
    )
    await producer.start()
    written = 0
    try:
        builders = [producer.create_batch() for _ in range(partitions)]
        waiting: list[asyncio.Future[object]] = []
        for number, (key, value, at_ms) in enumerate(events):
            partition = number % partitions
            written += len(value)
            if builders[partition].append(key=key, value=value, timestamp=at_ms) is None:
                waiting.append(
                    await producer.send_batch(builders[partition], topic, partition=partition)
                )
                builders[partition] = producer.create_batch()
                builders[partition].append(key=key, value=value, timestamp=at_ms)
        for partition, builder in enumerate(builders):
            if builder.record_count():
                waiting.append(await producer.send_batch(builder, topic, partition=partition))
        await asyncio.gather(*waiting)
    finally:
        await producer.stop()
    return written

"""Writes records of many partitions as one unit: readers of what is committed see all of them or none.

One producer has one transactional id, which belongs to the partition that is read. A new owner of the
partition starts a producer of the same id. By that the broker aborts what the former owner had begun,
and refuses whatever it still sends. aiokafka 0.14 tells the broker no generation of the group
(TxnOffsetCommit 0), so nothing else would tell a frozen owner from the new one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.partitioner import murmur2

from streams.settings import KafkaSettings
from streams.worker import packing

TRANSACTION_MS = 30_000
"""The broker ends a transaction that is open for so long; meanwhile it holds back those who read it."""
START_S = 60.0
CLOSE_S = 5.0
BATCH_BYTES = 512 * 1024
_POSITIVE = 0x7FFFFFFF


class Write(NamedTuple):
    """One record to write. ``partition`` None: it follows from the key, as with any Kafka client.

    Its timestamp is now: where producers stamp the inputs, that is when an event arrives.
    """

    topic: str
    partition: int | None
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()


class TransactionalWriter:
    """A producer with a transactional id."""

    def __init__(self, kafka: KafkaSettings, transactional_id: str) -> None:
        packing.install()
        self._producer = AIOKafkaProducer(
            **kafka.client_options(),
            transactional_id=transactional_id,
            transaction_timeout_ms=TRANSACTION_MS,
            acks="all",
            compression_type="lz4",
            max_batch_size=BATCH_BYTES,
            request_timeout_ms=kafka.request_timeout_ms,
        )

    async def start(self) -> None:
        """Connect, end what a former owner had begun, and keep it from writing more.

        Whatever was committed under the id is readable then. Raises KafkaError.
        """
        try:
            async with asyncio.timeout(START_S):
                await self._producer.start()
        except TimeoutError as error:
            raise KafkaError(f"no transaction coordinator answered within {START_S:g} s") from error

    async def write(self, records: Iterable[Write]) -> None:
        """Write records as one unit. Raises KafkaError; then this writer is of no more use."""
        try:
            await self._producer.begin_transaction()
        except AssertionError as error:  # how aiokafka says that its sender has failed since
            raise KafkaError("the producer has failed") from error
        batches = await self._partitioned(records)
        sent = [
            await self._producer.send_batch(batch, topic, partition=partition)
            for (topic, partition), several in batches.items()
            for batch in several
        ]
        # A commit of aiokafka would pass over a batch that the broker has refused.
        for outcome in await asyncio.gather(*sent, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome
        await self._producer.commit_transaction()

    async def close(self) -> None:
        """Disconnect; a transaction that is open is ended by the next owner, or by its time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self._producer.stop()

    async def _partitioned(self, records: Iterable[Write]) -> dict[tuple[str, int], list[Any]]:
        counts: dict[str, int] = {}
        hashes: dict[bytes, int] = {}
        batches: dict[tuple[str, int], list[Any]] = {}
        for topic, partition, key, value, headers in records:
            number = partition
            if number is None:
                assert key is not None, "a partition follows from a key"
                count = counts.get(topic)
                if count is None:
                    count = counts[topic] = len(await self._producer.partitions_for(topic))
                hashed = hashes.get(key)
                if hashed is None:
                    hashed = hashes[key] = murmur2(key) & _POSITIVE
                number = hashed % count
            several = batches.get((topic, number))
            if several is None:
                several = batches[topic, number] = [self._producer.create_batch()]
            row = {"timestamp": None, "key": key, "value": value, "headers": [*headers]}
            if several[-1].append(**row) is None:
                several.append(self._producer.create_batch())
                several[-1].append(**row)
        return batches

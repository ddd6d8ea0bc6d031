"""Reads logs from beginning to end, one partition at a time, in the order of offsets.

Like the service it reads committed: records of aborted transactions are left out, and a log ends where
a transaction is open.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from streams.clock import monotonic_ms
from streams.console.errors import OperationError
from streams.flow.incarnation import in_log
from streams.records.kafka_words import in_words
from streams.settings import KafkaSettings

STALL_LIMIT_MS = 60_000
PASSES_MAX = 3
_POLL_MS = 500
_FETCH_WAIT_MS = 10
_BACKOFF_MS = 10
_FETCH_BYTES = 4 * 1024 * 1024
_TIMESTAMP_TYPES = {0: "CreateTime", 1: "LogAppendTime"}


class Stored(NamedTuple):
    """A record with its place in its log."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]
    timestamp_ms: int
    timestamp_type: int

    @property
    def where(self) -> str:
        """``topic-partition@offset``."""
        return f"{self.topic}-{self.partition}@{in_log(self.offset)}"

    @property
    def arrival(self) -> str:
        """Type of the timestamp: ``CreateTime``, ``LogAppendTime`` or ``unknown``."""
        return _TIMESTAMP_TYPES.get(self.timestamp_type, "unknown")


class Extent(NamedTuple):
    """What a partition's log holds: offsets ``begin <= offset < end``.

    ``end`` is the last stable offset: what an open transaction holds back does not count yet.
    """

    begin: int
    end: int


class Logs:
    """Reads any partition; nothing is committed, no group is joined."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self.records_read = 0

    async def extents(self, topics: Iterable[tuple[str, int]]) -> dict[TopicPartition, Extent]:
        """Return the extent of every partition of topics, given with their partition counts."""
        return await self.extents_of(
            [TopicPartition(topic, number) for topic, count in topics for number in range(count)]
        )

    async def extents_of(self, tps: Sequence[TopicPartition]) -> dict[TopicPartition, Extent]:
        """Return the extent of each partition."""
        if not tps:
            return {}
        begins = await self._consumer.beginning_offsets(tps)
        ends = await self._consumer.end_offsets(tps)
        return {tp: Extent(begins[tp], ends[tp]) for tp in tps}

    async def since(self, tp: TopicPartition, instant_ms: int) -> Extent:
        """Return the extent from the first record stamped at ``instant_ms`` or later."""
        extent = (await self.extents_of([tp]))[tp]
        found = (await self._consumer.offsets_for_times({tp: max(0, instant_ms)}))[tp]
        begin = extent.end if found is None else max(extent.begin, found.offset)
        return Extent(min(begin, extent.end), extent.end)

    async def read(self, tp: TopicPartition, extent: Extent) -> AsyncIterator[list[Stored]]:
        """Yield the records of ``extent`` in batches."""
        if extent.begin >= extent.end:
            return
        consumer = self._consumer
        consumer.assign([tp])
        consumer.seek(tp, extent.begin)
        position, moved_ms = extent.begin, monotonic_ms()
        while position < extent.end:
            fetched = await consumer.getmany(tp, timeout_ms=_POLL_MS)
            batch = [
                _stored(record) for record in fetched.get(tp, ()) if record.offset < extent.end
            ]
            if batch:
                self.records_read += len(batch)
                yield batch
            # The last offsets of a log may hold no record (transaction markers, compaction).
            reached = await consumer.position(tp)
            if reached > position:
                position, moved_ms = reached, monotonic_ms()
            elif monotonic_ms() - moved_ms > STALL_LIMIT_MS:
                raise OperationError(
                    f"{tp.topic}-{tp.partition}: nothing came from offset {position} on in "
                    f"{STALL_LIMIT_MS // 1000} s, the log ends at {extent.end}; check the broker"
                )

    async def read_on(self, tp: TopicPartition) -> AsyncIterator[list[Stored]]:
        """Yield every record of a compacted log, with those that came while it was read.

        Compaction may take a key's old record before it is read, and its new one is beyond the end that
        was asked first. Reading goes on until a pass found the log at its end, ``PASSES_MAX`` times at
        most, since a busy log always grows.
        """
        position = 0
        for _ in range(PASSES_MAX):
            extent = (await self.extents_of([tp]))[tp]
            if position >= extent.end:
                return
            async for batch in self.read(tp, Extent(max(position, extent.begin), extent.end)):
                yield batch
            position = extent.end


def _stored(record: Any) -> Stored:
    return Stored(
        record.topic,
        record.partition,
        record.offset,
        record.key,
        record.value,
        record.headers,
        record.timestamp,
        record.timestamp_type,
    )


@asynccontextmanager
async def open_logs(kafka: KafkaSettings) -> AsyncIterator[Logs]:
    """Connect and yield a reader. Raises OperationError when the broker does not answer."""
    consumer = AIOKafkaConsumer(
        **kafka.client_options(),
        enable_auto_commit=False,
        isolation_level="read_committed",
        auto_offset_reset="none",
        max_partition_fetch_bytes=_FETCH_BYTES,
        # A fetch that waits at the end of one partition holds up the first fetch of the next.
        fetch_max_wait_ms=_FETCH_WAIT_MS,
        # aiokafka waits so long each time it asks of a topic that is not assigned.
        retry_backoff_ms=_BACKOFF_MS,
        request_timeout_ms=min(kafka.request_timeout_ms, 40_000),
    )
    try:
        await consumer.start()
        # If its tasks have not run once, stop() of aiokafka 0.14 lets their cancellation out.
        await asyncio.sleep(0)
        yield Logs(consumer)
    except KafkaError as error:
        raise OperationError(
            f"Kafka at {kafka.bootstrap_servers} (kafka.bootstrap_servers): {in_words(error)}"
        ) from error
    finally:
        await consumer.stop()

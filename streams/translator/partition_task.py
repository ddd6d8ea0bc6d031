"""Translates one partition: restores its state, then batch after batch, each as one transaction.

The state's topic says where to go on, as the state itself (exactness rule 2). Nothing of a batch is
kept in memory that was not committed: whatever fails, the task begins anew from the topic.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import NamedTuple

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError, ProducerFenced
from aiokafka.structs import TopicPartition

from streams import clock
from streams.console.errors import OperationError
from streams.records.kafka_logs import open_logs
from streams.records.kafka_topics import connected
from streams.settings import Settings
from streams.translate.order_book import OrderBook
from streams.translate.read_progress import (
    PROGRESS_KEY,
    ReadProgress,
    decode_progress,
    encode_progress,
)
from streams.translate.translating import DeadRecord, RecordPlace, Translated
from streams.translator.readings import SourceReading
from streams.translator.transactional_writer import TransactionalWriter, Write
from streams.translator.translator_metrics import TranslatorMetrics
from streams.worker import names
from streams.worker.topic_ids import topic_identities

RETRY_S = 4.0
"""Longer than two heartbeats: an owner that was frozen first learns that it is none any more."""
POLL_MS = 500
FETCH_BYTES = 8 * 1024 * 1024
"""Of one fetch: a transaction for each hundred large orders would cost more than the orders."""
BATCH_RECORDS_MAX = 1_000
"""About 60 ms of work, for which heartbeats and other partitions wait."""
UNTRANSLATABLE = "untranslatable"
"""Reason of the dead letters of sources."""

_log = structlog.get_logger(__name__)


class TaskParts(NamedTuple):
    """What tasks share. ``committed``: what the group's offsets say; they prove nothing but a loss."""

    settings: Settings
    metrics: TranslatorMetrics
    partitions: dict[str, int]
    committed: Callable[[TopicPartition], Awaitable[int | None]]


class PartitionTask:
    """One partition of one reading, for as long as this process owns it."""

    def __init__(self, reading: SourceReading, partition: int, parts: TaskParts) -> None:
        self.tp = TopicPartition(reading.topic, partition)
        self.source = reading.source.name
        self.next_offset: int | None = None
        """The next record to translate, committed; None until the state is restored."""
        self.lag = 0
        self.book: OrderBook | None = None
        self._reading = reading
        self._parts = parts
        prefix = parts.settings.topics.prefix
        self._changelog = TopicPartition(names.translated_topic(prefix, reading.topic), partition)
        self._by_order = names.by_order_topic(prefix, self.source)
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """End after the batch under way."""
        self._stopping.set()

    async def run(self) -> None:
        """Translate until stopped; after a failure of Kafka from the committed state on."""
        while not self._stopping.is_set():
            try:
                async with AsyncExitStack() as stack:
                    await self._session(stack)
            except (KafkaError, OperationError) as error:
                fenced = isinstance(error, ProducerFenced)
                text = "another translator has this partition" if fenced else str(error)
                _log.warning("partition_begins_anew", **self.tp._asdict(), detail=text)
            finally:
                self.next_offset, self.book, self.lag = None, None, 0
            try:
                async with asyncio.timeout(RETRY_S):
                    await self._stopping.wait()
            except TimeoutError:
                continue

    async def _session(self, stack: AsyncExitStack) -> None:
        kafka = self._parts.settings.kafka
        writer = TransactionalWriter(kafka, f"{self._changelog.topic}-{self._changelog.partition}")
        stack.push_async_callback(writer.close)
        await writer.start()  # from here on nobody else writes this state
        place = await self._place()
        step, book = self._reading.step(self._parts.settings, place)
        progress = await self._restored(book)
        consumer = AIOKafkaConsumer(
            **kafka.client_options(),
            enable_auto_commit=False,
            isolation_level="read_committed",
            auto_offset_reset="none",
            max_partition_fetch_bytes=FETCH_BYTES,
            # A transaction costs as much as a hundred records: single ones wait for others.
            fetch_min_bytes=kafka.fetch_min_bytes,
            fetch_max_wait_ms=kafka.fetch_max_wait_ms,
            request_timeout_ms=kafka.request_timeout_ms,
        )
        stack.push_async_callback(consumer.stop)
        await consumer.start()
        begin = await self._position(consumer, progress, place)
        # Written at once: that a partition was begun with shows that its state is there.
        await writer.write([self._progress(place, begin)])
        consumer.assign([self.tp])
        consumer.seek(self.tp, begin)
        self.next_offset, self.book = begin, book
        while not self._stopping.is_set():
            fetched = await consumer.getmany(
                self.tp, timeout_ms=POLL_MS, max_records=BATCH_RECORDS_MAX
            )
            records = fetched.get(self.tp)
            if records:
                translated = step.translate(records, clock.now_ms())
                after = records[-1].offset + 1
                await writer.write([*self._writes(translated), self._progress(place, after)])
                self.next_offset = after
                self._parts.metrics.count(self.source, translated, book)
                self._log_refused(translated)
            ahead = await consumer.position(self.tp)
            self.lag = max(0, (consumer.highwater(self.tp) or 0) - ahead)

    async def _place(self) -> RecordPlace:
        """Return which log is read. Raises OperationError for topics that cannot be used."""
        async with connected(self._parts.settings.kafka) as admin:
            found = await topic_identities(admin, [self.tp.topic, self._changelog.topic])
        for topic, partition in (self.tp, self._changelog):
            if topic not in found or found[topic].partitions <= partition:
                raise OperationError(
                    f"topic {topic} has no partition {partition}; run `ecindex topics create`, then "
                    "`ecindex topics migrate`"
                )
        return RecordPlace(self.tp.topic, found[self.tp.topic].topic_id, self.tp.partition)

    async def _restored(self, book: OrderBook) -> ReadProgress | None:
        """Read the state; return how far it goes, None for one that has not begun."""
        progress: ReadProgress | None = None
        async with open_logs(self._parts.settings.kafka) as logs:
            extent = (await logs.extents_of([self._changelog]))[self._changelog]
            async for batch in logs.read(self._changelog, extent):
                for key, value in ((stored.key, stored.value) for stored in batch):
                    try:
                        if key != PROGRESS_KEY:
                            book.restore(key or b"", value)
                        elif value is not None:
                            progress = decode_progress(value)
                    except msgspec.DecodeError as error:
                        raise OperationError(f"topic {self._changelog.topic}: {error}") from error
        return progress

    async def _position(
        self, consumer: AIOKafkaConsumer, progress: ReadProgress | None, place: RecordPlace
    ) -> int:
        """Return the next record to translate."""
        begin = (await consumer.beginning_offsets([self.tp]))[self.tp]
        end = (await consumer.end_offsets([self.tp]))[self.tp]
        where = self.tp._asdict()
        if progress is None:
            committed = await self._parts.committed(self.tp)
            if committed:
                group = names.translator_group(self._parts.settings.topics.prefix)
                raise OperationError(
                    f"{self.tp.topic}-{self.tp.partition} was translated up to offset {committed}, "
                    f"and its state in topic {self._changelog.topic} is gone: bring the topic back, or "
                    f"delete the consumer group {group} to state all of it again"
                )
            return int(begin)
        if place.topic_id and progress.topic_id and place.topic_id != progress.topic_id:
            _log.warning(
                "topic_created_again", **where, detail="it is translated from its beginning"
            )
            return int(begin)
        if progress.next_offset < begin:
            missed = begin - progress.next_offset
            _log.error(
                "records_missed", **where, records=missed, detail="deleted before they were read"
            )
            self._parts.metrics.missed(self.source, missed)
            return int(begin)
        if progress.next_offset > end:
            _log.error("log_was_cut", **where, end=end, next_offset=progress.next_offset)
            return int(end)
        return progress.next_offset

    def _log_refused(self, found: Translated) -> None:
        if found.dead:
            first = found.dead[0]
            where = {"topic": first.origin.topic, "partition": first.origin.partition}
            _log.warning(
                "records_refused",
                **where,
                offset=first.origin.offset,
                records=len(found.dead),
                detail=first.detail,
            )

    def _progress(self, place: RecordPlace, next_offset: int) -> Write:
        value = encode_progress(place.topic_id, next_offset)
        return self._to_changelog(PROGRESS_KEY, value)

    def _to_changelog(self, key: bytes, value: bytes | None) -> Write:
        return Write(self._changelog.topic, self._changelog.partition, key, value)

    def _writes(self, found: Translated) -> Iterator[Write]:
        topics = self._parts.settings.topics
        inputs = {"orders": topics.orders, "payments": topics.payments}
        for event in found.events:
            yield Write(inputs[event.topic], None, event.key, event.value)
        if found.by_order:
            count = self._parts.partitions[self._by_order]
            for key, value in found.by_order:
                partition = int.from_bytes(key[:8], "big") % count
                yield Write(self._by_order, partition, key, value)
        for key, state in found.states.items():
            yield self._to_changelog(key, state)
        for dead in found.dead:
            yield _dead_letter(topics.dead_letters, dead)


def _dead_letter(topic: str, dead: DeadRecord) -> Write:
    """Return the dead letter of a record that was refused, with headers as those of a worker.

    It is said to be cut, so a replay takes the record from its topic, for as long as it is there.
    """
    origin = dead.origin
    headers = (
        ("reason", UNTRANSLATABLE.encode()),
        ("detail", dead.detail.encode(errors="replace")),
        ("source_topic", origin.topic.encode()),
        ("source_partition", str(origin.partition).encode()),
        ("source_offset", str(origin.offset).encode()),
        ("source_timestamp_ms", str(origin.timestamp_ms).encode()),
        ("source_topic_id", origin.topic_id.encode()),
        ("original_value_bytes", str(dead.value_bytes).encode()),
    )
    partition = origin.partition % names.SET_ASIDE_PARTITIONS
    return Write(topic, partition, None, dead.value, headers)

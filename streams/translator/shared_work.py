"""Which partitions are this process's, by the consumer group, and a task for each.

The group's consumer reads nothing: it is a member, learns its partitions, and commits offsets for lag
monitors. Each task reads for itself. A partition that goes from one process to another needs no
hand-over: the new owner's producer ends the former's transaction, and the state's topic says where to
go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from streams.settings import Settings
from streams.translator.partition_task import PartitionTask, TaskParts
from streams.translator.readings import SourceReading
from streams.translator.translator_metrics import SourceNow, TranslatorMetrics
from streams.worker import names

COMMIT_S = 5.0
STOP_S = 10.0
"""Longest wait for batches under way; what is cut off was not committed, and is translated again."""
REBALANCE_MS = 30_000
FETCH_BYTES = 1_024
"""Of what the group's consumer fetches before it is told to fetch nothing."""

_log = structlog.get_logger(__name__)


class SharedWork(ConsumerRebalanceListener):  # type: ignore[misc]
    """The tasks of one process."""

    def __init__(
        self, settings: Settings, readings: Iterable[SourceReading], partitions: dict[str, int]
    ) -> None:
        self._settings = settings
        self._readings = {reading.topic: reading for reading in readings}
        sources = {reading.source.name for reading in self._readings.values()}
        self.metrics = TranslatorMetrics(sorted(sources), self.now)
        self._parts = TaskParts(settings, self.metrics, partitions, self._committed)
        self._tasks: dict[TopicPartition, PartitionTask] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._has_joined = False
        kafka = settings.kafka
        self._consumer = AIOKafkaConsumer(
            **kafka.client_options(),
            group_id=names.translator_group(settings.topics.prefix),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=kafka.session_timeout_ms,
            heartbeat_interval_ms=kafka.heartbeat_ms,
            rebalance_timeout_ms=REBALANCE_MS,
            request_timeout_ms=kafka.request_timeout_ms,
            max_partition_fetch_bytes=FETCH_BYTES,
            partition_assignment_strategy=[StickyPartitionAssignor],
        )

    @property
    def is_ready(self) -> bool:
        """Whether the group has given out its partitions, and all of this process's are restored."""
        return self._has_joined and all(
            task.next_offset is not None for task in self._tasks.values()
        )

    def now(self, source: str) -> SourceNow:
        """What there is of a source at this moment."""
        tasks = [task for task in self._tasks.values() if task.source == source]
        ready = sum(task.next_offset is not None for task in tasks)
        books = [task.book for task in tasks if task.book is not None]
        return SourceNow(
            ready=ready,
            restoring=len(tasks) - ready,
            lag=sum(task.lag for task in tasks),
            orders=sum(book.orders for book in books),
            waiting=sum(book.waiting for book in books),
        )

    async def run(self, stopped: asyncio.Event) -> None:
        """Translate until ``stopped`` is set. Raises what ended a task, which is a bug."""
        await self._consumer.start()
        waiting = asyncio.create_task(stopped.wait())
        ends: set[asyncio.Future[Any]] = {waiting, self._failed}
        try:
            self._consumer.subscribe(list(self._readings), listener=self)
            while not waiting.done() and not self._failed.done():
                await asyncio.wait(ends, timeout=COMMIT_S, return_when=asyncio.FIRST_COMPLETED)
                await self._consumer.getmany(timeout_ms=0)  # a member that never asks is put out
                await self._commit()
            if self._failed.done():
                self._failed.result()
        finally:
            waiting.cancel()
            await self._stop_tasks()
            await self._commit()
            with suppress(
                TimeoutError
            ):  # of a broker that is away; others learn by the session's end
                async with asyncio.timeout(STOP_S):
                    await self._consumer.stop()

    async def on_partitions_revoked(self, revoked: object) -> None:
        """Go on: until another process begins with a partition nobody else translates it."""

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Begin with partitions that are new here, and end with those that are no more."""
        owned = set(assigned)
        self._consumer.pause(*owned)
        for tp in self._tasks.keys() - owned:
            self._tasks.pop(tp).stop()
        for tp in sorted(owned - self._tasks.keys()):
            task = self._tasks[tp] = PartitionTask(
                self._readings[tp.topic], tp.partition, self._parts
            )
            running = asyncio.create_task(task.run())
            self._running.add(running)
            running.add_done_callback(self._ended)
        self._has_joined = True
        _log.info("partitions_assigned", partitions=len(owned))

    def _ended(self, running: asyncio.Task[None]) -> None:
        self._running.discard(running)
        if not running.cancelled() and (error := running.exception()) and not self._failed.done():
            self._failed.set_exception(error)

    async def _stop_tasks(self) -> None:
        for task in self._tasks.values():
            task.stop()
        running = set(self._running)
        if running:
            _, late = await asyncio.wait(running, timeout=STOP_S)
            for each in late:
                each.cancel()
            if late:
                await asyncio.wait(late, timeout=STOP_S)

    async def _committed(self, tp: TopicPartition) -> int | None:
        committed: int | None = await self._consumer.committed(tp)
        return committed

    async def _commit(self) -> None:
        offsets = {
            tp: task.next_offset for tp, task in self._tasks.items() if task.next_offset is not None
        }
        try:
            if offsets:
                async with asyncio.timeout(COMMIT_S):
                    await self._consumer.commit(offsets)
        except (KafkaError, TimeoutError) as error:  # in a rebalance, or the broker is away
            _log.debug("offsets_not_committed", detail=repr(error))

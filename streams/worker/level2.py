"""Level 2 in the worker: one runner per partials partition applies, steps, publishes and keeps tables.

Exactness rule 7 sets the order of publishing: journal and values acknowledged, then the fence record,
then Redis, then metrics. If the fence record came before its journal, it would tell the new owner that
closings were journaled which a crash has lost (sequence V9).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import groupby

import structlog

from streams.clock import monotonic_ms
from streams.flow.chain import NEW_EDITION
from streams.flow.chunk import Chunk, SourcePartition
from streams.flow.compile import PartitionCompile, TableBatch
from streams.flow.publication import Publication
from streams.flow.wire import SKIPPED
from streams.publish import journal
from streams.publish.metrics import Metrics
from streams.publish.redis_store import Outcome, RedisStore
from streams.publish.shift_records import shift_records
from streams.settings import Settings
from streams.worker.history_reader import HistoryReader
from streams.worker.intake import Intake
from streams.worker.outbox import Outbox
from streams.worker.waiting import set_within

TABLE_EVERY_MS = 1_000
REPLAYED_STEP_S = 0.05
STEP_IDLE_S = 0.5
"""Longest time without a step. What is due by the clock alone (the journal of a market without events)
waits no longer. All else is due with a record: a check every 50 ms was 140 checks a second."""
CATCHING_UP_EVERY_MS = 2_000
"""Time between publications while old records are read. Each is soon replaced: at the normal four a
second they took a quarter of the time that reading could have had (decision 0026)."""
SLICES_A_STEP = 5
"""Slices of other definitions that are read between two steps. Other tasks run between two slices."""
LONG_STEP_MS = 30
TURN_S = 0.5
"""Longest wait for a turn. Acknowledgements take tens of milliseconds; a runner does not wait for those
of a partition without a leader."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Level2Parts:
    """What all markets runners of a process share."""

    settings: Settings
    outbox: Outbox
    intake: Intake
    metrics: Metrics
    store: RedisStore
    clock: Callable[[], int]
    history: HistoryReader
    may_publish: Callable[[], bool]
    """Returns False once the process was away or is ending: what it knows may be outdated."""
    read_again: Callable[[], None]
    """Has every state recovered anew."""
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by the runner that steps."""
    doubted_tables: set[int] = field(default_factory=set)
    """Partitions whose table seemed to have lost its records when it was read last."""


class MarketsRunner:
    """Owns one partition of ``ecindex.partials`` and the markets in it."""

    def __init__(
        self, parts: Level2Parts, sp: SourcePartition, compiled: PartitionCompile, changelog: str
    ) -> None:
        self.sp = sp
        self.closed = False
        self.compiled = compiled
        self._parts = parts
        self._changelog = changelog
        self._replayed = False
        self._touched = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._revised_after_final = 0
        self._logged_troubles: dict[str, int] = {}
        """By market: version of definitions that cannot be applied, once that was logged."""
        self._skipped = dict.fromkeys(SKIPPED, 0)

    def start(self, on_done: Callable[[asyncio.Task[None]], None]) -> None:
        """Begin to publish."""
        if not self.compiled.markets:
            return
        loop = asyncio.get_running_loop()
        for work, name in ((self._publishing(), "publish"), (self._keeping(), "table")):
            task = loop.create_task(work, name=f"level2-{name}-{self.sp.partition}")
            task.add_done_callback(on_done)
            self._tasks.append(task)

    def close(self) -> None:
        """Publish nothing more: the markets are another worker's. Synchronous."""
        self.closed = True
        if self.compiled.lost is not None:
            self._parts.metrics.drop_partition(self.sp.topic, self.sp.partition)
        for task in self._tasks:
            task.cancel()
        for market in self.compiled.markets:
            self._parts.store.drop(market)
            self._parts.metrics.drop_market(market)

    def apply_chunk(self, chunk: Chunk) -> None:
        """Apply a chunk that the guard accepted."""
        self.compiled.apply_chunk(chunk)
        for reason, count in self.compiled.skipped.items():
            self._parts.metrics.partials_skipped.labels(reason).inc(count - self._skipped[reason])
            self._skipped[reason] = count
        self._touched.set()
        self._parts.intake.advance(self.sp, chunk.last_offset)

    # -- publishing ------------------------------------------------------------------------------

    async def _publishing(self) -> None:
        """Publish what is due, once the log was read to where it ended at assignment."""
        # The first publication may cover one topic alone: the other's rows come in a moment.
        apart_ms = 0
        while not self.closed:
            if not self._replayed:
                await asyncio.sleep(REPLAYED_STEP_S)
                # Seeds come before the first step: an expectation learnt without them would differ.
                read = self._parts.intake.has_caught_up(self.sp)
                if read and self._parts.history.ready:
                    self.compiled.replayed()
                    self._replayed = True
                    self._judge_table()
                continue
            if self.compiled.outdated:
                # Nothing was published. The next runner reads the table by what is known now.
                _log.warning("definitions_were_behind", partition=self.sp.partition)
                self._parts.read_again()
                return
            await self._follow_definitions()
            self._touched.clear()
            if await self._step():
                await self._apart(apart_ms)
                apart_ms = CATCHING_UP_EVERY_MS
            busy = self.compiled.behind or self.compiled.following
            wait_s = REPLAYED_STEP_S if busy else STEP_IDLE_S
            await set_within(self._touched, wait_s)

    async def _follow_definitions(self) -> None:
        """Go on to the definitions in force: here, all that was published is acknowledged.

        In slices, and publishing between some of them: it takes seconds.
        """
        for _ in range(SLICES_A_STEP):
            if self.compiled.follow():
                _log.info(
                    "definitions_applied",
                    partition=self.sp.partition,
                    versions={
                        code: market.progress.market.definitions
                        for code, market in self.compiled.markets.items()
                    },
                )
            if not self.compiled.following:
                break
            await asyncio.sleep(0)
        for code, trouble in self.compiled.unapplied.items():
            if self._logged_troubles.get(code) != trouble.version:
                self._logged_troubles[code] = trouble.version
                _log.error(
                    "definitions_not_applied",
                    market=code,
                    version=trouble.version,
                    reason=trouble.reason,
                    action=f"run `ecindex definitions undo {code}`, or apply others",
                )

    def _judge_table(self) -> None:
        """Tell that the table lost its records, if a second reading of it says so too.

        An owner before this one, which did not know yet that it was replaced, may have written the
        first of them just after the table was read, and the rows that they hold were deleted.
        """
        topic, partition = self.sp.topic, self.sp.partition
        doubted = self._parts.doubted_tables
        if self.compiled.lost is None:
            doubted.discard(partition)
        elif partition not in doubted:
            doubted.add(partition)
            _log.warning("table_read_again", topic=topic, partition=partition)
            self._parts.read_again()
        else:
            self._parts.metrics.partition_halted.labels(topic, str(partition)).set(1)
            _log.error(
                "partition_halted",
                topic=topic,
                partition=partition,
                reason="table_lost",
                detail=self.compiled.lost,
                action=NEW_EDITION,
            )

    async def _step(self) -> bool:
        """Publish what a step finds due; return whether there was anything.

        A step that took long keeps its turn until its publications are out. When a worker starts, each
        of its markets learns its expectation: without the turn the first publication would wait for
        its acknowledgements until all the others have learnt.
        """
        async with _turn(self._parts.turn):
            began_ms = monotonic_ms()
            publications = self.compiled.step(self._parts.clock())
            if monotonic_ms() - began_ms >= LONG_STEP_MS:
                await self._publish_all(publications)
                return bool(publications)
        await self._publish_all(publications)
        return bool(publications)

    async def _publish_all(self, publications: Iterable[Publication]) -> None:
        for publication in publications:
            await self._publish(publication)

    async def _apart(self, catching_up_ms: int) -> None:
        """Wait between publications; wait less once there is nothing left to catch up with."""
        began_ms = monotonic_ms()
        while True:
            await asyncio.sleep(self._parts.settings.intervals.publish_min_interval_ms / 1000)
            if self.compiled.detecting or not self.compiled.catching_up(self._parts.clock()):
                return
            if self.closed or monotonic_ms() - began_ms >= catching_up_ms:
                return

    async def _publish(self, publication: Publication) -> None:
        parts = self._parts
        began_ms = monotonic_ms()
        topics = parts.settings.topics
        records = [
            *journal.journal_records(publication, topics.journal),
            *journal.value_records(publication, topics.values),
            *_tombstones(publication, topics.values),
        ]
        found = shift_records(publication, topics.shifts)
        await asyncio.gather(self._acknowledged(records), self._acknowledged(found, partition=0))
        fence = self.compiled.fence_batch(publication)
        in_values = journal.fence_record(publication, self.compiled.nonce, topics.values)
        await asyncio.gather(self._write(fence), self._acknowledged([in_values]))
        if self.closed or not parts.may_publish():
            return
        self._delete(fence)
        self._retire(fence.retired, publication)
        now_ms = parts.clock()
        outcome = await parts.store.publish(publication, now_ms)
        if self.closed or outcome is Outcome.REFUSED or not parts.may_publish():
            return
        parts.metrics.index.show(publication)
        parts.metrics.definitions_published.labels(publication.market).set(
            publication.fence.definitions
        )
        parts.metrics.publish_duration.observe((monotonic_ms() - began_ms) / 1000)
        parts.metrics.event_to_publish.observe(max(0, now_ms - publication.as_of_ms) / 1000)
        revised = sum(market.revised_after_final for market in self.compiled.markets.values())
        parts.metrics.revised_after_final.inc(revised - self._revised_after_final)
        self._revised_after_final = revised

    def _retire(self, writers: Iterable[str], publication: Publication) -> None:
        """Delete the fence records of former writers, and replaced lists of members.

        Otherwise the topic and its readers would hold a record of each owner that ever was.
        """
        topic, outbox = self._parts.settings.topics.values, self._parts.outbox
        retired = [
            journal.retired_fence(publication.market, writer, publication.fence, topic)
            for writer in writers
        ]
        for record in (*retired, *journal.retired_lists(publication, topic)):
            outbox.put(
                record.topic,
                self.sp.partition,
                record.key,
                record.value,
                record.headers,
                self._parts.clock(),
            )

    async def _acknowledged(
        self, records: Iterable[journal.Record], partition: int | None = None
    ) -> None:
        partition = self.sp.partition if partition is None else partition
        outbox, now_ms = self._parts.outbox, self._parts.clock()
        written = []
        for (topic, headers), group in groupby(records, key=lambda r: (r.topic, r.headers)):
            pairs = ((record.key, record.value) for record in group)
            written.append(outbox.put_all(topic, partition, pairs, headers, now_ms))
        await asyncio.gather(*written)

    # -- the table -------------------------------------------------------------------------------

    async def _keeping(self) -> None:
        while not self.closed:
            await asyncio.sleep(TABLE_EVERY_MS / 1000)
            if self._replayed:
                batch = self.compiled.table_batch()
                await self._write(batch)
                if not self.closed:
                    self._delete(batch)

    async def _write(self, batch: TableBatch) -> None:
        if batch.writes:
            await self._parts.outbox.put_all(self._changelog, self.sp.partition, batch.writes)

    def _delete(self, batch: TableBatch) -> None:
        """Delete the records that the acknowledged ones contain or replace."""
        outbox, partition = self._parts.outbox, self.sp.partition
        if batch.deletes:
            outbox.put_all(self._changelog, partition, ((key, None) for key in batch.deletes))
        if batch.tombstones:
            topic = self._parts.settings.topics.partials
            outbox.put_all(topic, partition, ((key, None) for key in batch.tombstones))


def _tombstones(publication: Publication, topic: str) -> Iterable[journal.Record]:
    headers = journal.version_headers(publication.fence)
    for key in publication.gone:
        yield journal.Record(topic, key.encode(), None, headers, publication.market)


@asynccontextmanager
async def _turn(lock: asyncio.Lock) -> AsyncIterator[None]:
    """Hold the lock, or go on without it after ``TURN_S``."""
    held = False
    try:
        async with asyncio.timeout(TURN_S):
            held = await lock.acquire()
    except TimeoutError:
        pass
    try:
        yield
    finally:
        if held:
            lock.release()

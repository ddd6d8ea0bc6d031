"""A Faust transport whose chunk topics arrive as one message a fetch part.

Faust's conductor, scheduler, compiled stream iterator and agents run unchanged; what is replaced:
  the fetch        ChunkRecords in place of a record object each (worker/fetch.py)
  the position     the state's, not the group's committed offset (`seek_to_committed`)
  acknowledgement  none for chunk topics (acks=False): offsets are committed from `mark_done` only,
                   because stock accounting commits over lost messages and over gaps
Threads: the aiokafka consumer lives in the consumer thread and is touched only there. Calling it
from the main loop races Faust's drain (KeyError in fetched_records, dead worker).
"""

from __future__ import annotations

import asyncio
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata
from faust.serializers.schemas import Schema
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from mode import Service, get_logger

from streams.clock import now_ms
from streams.flow.chunk import Chunk, SourcePartition
from streams.worker.fetch import chunk_records, chunks_of
from streams.worker.stops import ExitCode, Fatal, Presence, StopSwitch

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping

    import faust

    from streams.worker.intake import Intake

logger = get_logger(__name__)

_BEAT_S = 0.2
_COMMIT_LIMIT_S = 2.0
"""A commit is advisory; one that hangs must not delay a rebalance or a stop."""


@dataclass(frozen=True, slots=True)
class FetchSettings:
    """How chunk topics are fetched."""

    min_bytes: int = 64 * 1024
    """Small fetches cost more than what is in them: 1,000 events/s took 69 % of a core, now 10."""
    max_wait_ms: int = 50
    """How long the broker may wait for ``min_bytes``; also how stale `caught_up_at` can get."""
    partition_bytes: int = 1024 * 1024
    chunk_records: int = 4000
    queue_chunks: int = 8
    """Chunks that wait for an agent; beyond them the fetch waits, which is the back-pressure."""
    raw: bool = True
    """False: wrap aiokafka's public path instead of its PartitionRecords (a third slower)."""

    def __post_init__(self) -> None:
        """Refuse what would break a promise made elsewhere."""
        if not 0 < self.max_wait_ms <= 500:
            raise ValueError(f"fetch max_wait_ms must be within 1..500, not {self.max_wait_ms}")
        if self.queue_chunks < 1 or self.chunk_records < 1:
            raise ValueError("fetch queue_chunks and chunk_records must be positive")


class Listeners(NamedTuple):
    """Called on the main loop as partitions come and go."""

    on_assigned: Callable[[frozenset[SourcePartition]], None]
    on_revoked: Callable[[frozenset[SourcePartition]], None]


class RawSchema(Schema):  # type: ignore[misc]
    """Hands the consumer's key and value through as they are."""

    def loads_key(self, app: Any, message: Any, **_: Any) -> Any:  # noqa: ARG002
        """The message's key."""
        return message.key

    def loads_value(self, app: Any, message: Any, **_: Any) -> Any:  # noqa: ARG002
        """The message's value."""
        return message.value


class _ReadOffsets(dict[TP, int | None]):
    """Faust's read offsets, blind to chunk topics.

    Faust drops a message below the highest offset it has read. After a re-seek that is every chunk
    until the old position is reached again: the guard decides instead, and it alone.
    """

    def __init__(self, chunk_topics: frozenset[str]) -> None:
        super().__init__()
        self._chunk_topics = chunk_topics

    def __missing__(self, tp: TP) -> None:
        return None

    def __setitem__(self, tp: TP, offset: int | None) -> None:
        if tp.topic not in self._chunk_topics:
            super().__setitem__(tp, offset)

    def update(self, offsets: Mapping[TP, int | None]) -> None:  # type: ignore[override]
        """Set several at once."""
        for tp, offset in offsets.items():
            self[tp] = offset


class ChunkConsumerThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    """Owns the aiokafka consumer; every method here runs on its loop unless it says otherwise."""

    consumer: ChunkConsumer

    def __post_init__(self) -> None:
        """Take what is shared with the main thread."""
        super().__post_init__()
        self._fetch: FetchSettings = self.transport.fetch
        self._intake: Intake = self.transport.intake
        self._presence: Presence = self.transport.presence
        self._switch: StopSwitch = self.transport.switch
        self._clock: Callable[[], int] = self.transport.clock
        self._next_fetch: dict[TopicPartition, int] = {}

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # Faust has no settings for these three; aiokafka reads them when its consumer starts.
        consumer._fetch_min_bytes = self._fetch.min_bytes
        consumer._fetch_max_wait_ms = self._fetch.max_wait_ms
        consumer._max_partition_fetch_bytes = self._fetch.partition_bytes
        return consumer

    async def on_start(self) -> None:
        """Start the consumer and hook its fetcher before anything can be fetched."""
        await super().on_start()
        if self._fetch.raw:
            fetcher = self._ensure_consumer()._fetcher
            fetcher._proc_fetch_request = functools.partial(
                self._on_fetch, fetcher, fetcher._proc_fetch_request
            )

    @Service.task
    async def _beat(self) -> None:
        while not self.should_stop:
            self._presence.beat()
            await self.sleep(_BEAT_S)

    async def _on_fetch(
        self, fetcher: Any, proceed: Any, assignment: Any, node_id: int, request: Any
    ) -> bool:
        asked = [
            (tp, assignment.state_value(tp), offset)
            for topic, partitions in request.topics
            if topic in self._intake.chunk_topics
            for tp, offset in (
                (TopicPartition(topic, partition), offset) for partition, offset, _ in partitions
            )
        ]
        stamps = [state.timestamp for _, state, _ in asked]
        sent_at = self._clock()
        woken: bool = await proceed(assignment, node_id, request)
        # The leader looked at its log no earlier than it got the request and, having waited at most
        # max_wait for data, about no later than that. A response that lay in the socket while this
        # process was suspended must not count as fresh.
        seen_at = min(self._clock(), sent_at + self._fetch.max_wait_ms)
        for (tp, state, offset), stamp in zip(asked, stamps, strict=True):
            # aiokafka stamps a partition's state with a new int on each response it accepts.
            if state.timestamp is stamp:
                continue
            chunk_records(fetcher._records.get(tp), self._fetch.chunk_records)
            if state.highwater is not None and state.highwater >= offset:
                sp = SourcePartition(tp.topic, tp.partition)
                self._intake.on_response(sp, state.highwater, seen_at)
        return woken

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Seek chunk topics to their state's position (runs on the main loop)."""
        found = await self.call_thread(self._seek_to_state)
        return {TP(*tp): offset for tp, offset in found.items()}

    async def _seek_to_state(self) -> dict[TopicPartition, int]:
        consumer = self._ensure_consumer()
        changelogs = self.app.tables.changelog_topics
        ours: list[TopicPartition] = []
        others: list[TopicPartition] = []
        for tp in consumer.assignment():
            if tp.topic in self._intake.chunk_topics:
                # Not open: not recovered yet. Nothing may be read of it, so no seek either.
                if self._intake.is_open(SourcePartition(tp.topic, tp.partition)):
                    ours.append(tp)
            elif tp.topic not in changelogs:
                others.append(tp)
        found: dict[TopicPartition, int] = await self._seek_open(ours) if ours else {}
        if others:
            # With no arguments aiokafka would seek every assigned partition.
            committed = await consumer.seek_to_committed(*others)
            found |= {tp: offset for tp, offset in committed.items() if offset is not None}
        return found

    async def _seek_open(self, tps: list[TopicPartition]) -> dict[TopicPartition, int]:
        consumer = self._ensure_consumer()
        begins = await consumer.beginning_offsets(tps)
        ends = await consumer.end_offsets(tps)
        found: dict[TopicPartition, int] = {}
        for tp in tps:
            # Read now, not before the two requests: an agent may have folded on meanwhile.
            target = self._intake.position(SourcePartition(tp.topic, tp.partition))
            if target is None:
                target = begins[tp]
            if not begins[tp] <= target <= ends[tp]:
                reason = (
                    f"{tp.topic}-{tp.partition}: the state goes on at offset {target}, but the log "
                    f"holds {begins[tp]} to {ends[tp]}: cut by retention, or the topic was recreated"
                )
                self._switch.trip(Fatal(ExitCode.LOG_CHANGED, reason))
                raise Fatal(ExitCode.LOG_CHANGED, reason)
            consumer.seek(tp, target)
            self._next_fetch[tp] = target
            found[tp] = target
        return found

    async def reseek(self, sp: SourcePartition) -> None:
        """Read ``sp`` again from its guard (runs on the main loop)."""
        await self.call_thread(self._reseek, TopicPartition(sp.topic, sp.partition))

    async def _reseek(self, tp: TopicPartition) -> None:
        if tp in self._ensure_consumer().assignment() and self._intake.is_open(
            SourcePartition(*tp)
        ):
            await self._seek_open([tp])

    async def _fetch_records(
        self, consumer: Any, active_partitions: Any, timeout: float | None = None, **kwargs: Any
    ) -> Any:
        if self._fetch.raw:
            return await super()._fetch_records(consumer, active_partitions, timeout, **kwargs)
        # Short waits: this path looks at the fetch responses only when a call returns.
        wait = min(timeout or 0.0, 0.2)
        fetched = await super()._fetch_records(consumer, active_partitions, wait, **kwargs)
        return await self._wrap(consumer, fetched)

    async def _wrap(self, consumer: Any, fetched: Any) -> Any:
        for tp in consumer.assignment():
            if tp.topic not in self._intake.chunk_topics or tp not in self._next_fetch:
                fetched.pop(tp, None) if tp.topic in self._intake.chunk_topics else None
                continue
            sp = SourcePartition(tp.topic, tp.partition)
            began, reached = self._next_fetch[tp], await consumer.position(tp)
            records = fetched.get(tp, ())
            if reached > began:
                first = records[0].offset if records else reached
                if first > began and (await consumer.beginning_offsets([tp]))[tp] > began:
                    began = first  # retention cut the log: no gap of it, so let the guard refuse
                fetched[tp] = chunks_of(sp, records, began, reached, self._fetch.chunk_records)
                self._next_fetch[tp] = reached
            end, seen_at = consumer.highwater(tp), consumer.last_poll_timestamp(tp)
            if end is not None and seen_at is not None:
                self._intake.on_response(sp, end, seen_at)
        return fetched

    async def commit_done(self, offsets: Mapping[SourcePartition, int]) -> bool:
        """Commit for lag monitors; False when it did not work (nothing depends on it)."""
        consumer = self._ensure_consumer()
        assigned = consumer.assignment()
        wanted = {
            TopicPartition(*sp): OffsetAndMetadata(offset, "")
            for sp, offset in offsets.items()
            if sp in assigned
        }
        if not wanted:
            return True
        try:
            await asyncio.wait_for(consumer.commit(wanted), _COMMIT_LIMIT_S)
        except (KafkaError, TimeoutError) as error:
            logger.info("Offsets not committed (advisory): %r", error)
            return False
        return True

    def on_loop(self, work: Coroutine[Any, Any, Any]) -> asyncio.Future[Any]:
        """Run ``work`` on this thread's loop, past its method queue (from the main loop).

        The queue has two workers; a commit that waits for a broker would occupy one of them.
        """
        return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.thread_loop))


class ChunkConsumer(driver.Consumer):  # type: ignore[misc]
    """Faust's consumer for chunk topics; lives on the main loop."""

    _thread: ChunkConsumerThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._intake: Intake = self.transport.intake
        self._listeners: Listeners = self.transport.listeners
        self._chunk_topics = self._intake.chunk_topics
        self._read_offset = _ReadOffsets(self._chunk_topics)
        self._reseeking: dict[SourcePartition, asyncio.Task[None]] = {}
        self._intake.bind(self)

    def _new_consumer_thread(self) -> ChunkConsumerThread:
        return ChunkConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def _to_message(self, tp: Any, record: Any) -> Any:
        if type(record) is not Chunk:
            return super()._to_message(tp, record)
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            record.last_offset,
            0.0,  # a chunk has a timestamp a record; Faust's is not read
            0,
            (),
            None,
            record,
            None,
            0,
            len(record),
            tp if type(tp) is TP else TP(tp.topic, tp.partition),
            generation_id=self.app.consumer_generation_id,
        )

    def highwater(self, tp: Any) -> int:
        """Log end as of the last fetch; 0 when not known.

        aiokafka asserts that the partition is assigned, and a rebalance between its thread and ours
        made that assertion end the worker.
        """
        if tp.topic in self._chunk_topics:
            return self._intake.log_end(SourcePartition(tp.topic, tp.partition)) or 0
        return super().highwater(tp)  # type: ignore[no-any-return]

    def on_buffer_full(self, tp: Any) -> None:
        """Do not pause a chunk topic whose queue fills.

        Faust's fetcher sleeps a whole second once every partition is paused, and a queue of chunks
        is worked off in a tenth of that. The bounded queue makes the fetch wait by itself.
        """
        if tp.topic not in self._chunk_topics:
            super().on_buffer_full(tp)

    def _owned(self, tps: Iterable[Any]) -> frozenset[SourcePartition]:
        return frozenset(
            SourcePartition(tp.topic, tp.partition) for tp in tps if tp.topic in self._chunk_topics
        )

    async def on_partitions_revoked(self, revoked: Any) -> None:
        """Drop state first, with no await before it: the next owner may be waiting for us."""
        sps = self._owned(revoked)
        self._intake.close(self._intake.owned | sps)
        self._listeners.on_revoked(sps)
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: Any, generation_id: int = 0) -> None:
        """Tell what is ours now; recovery follows."""
        self._listeners.on_assigned(self._owned(assigned))
        await super().on_partitions_assigned(assigned, generation_id)

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Seek to where the states go on; the one path of recovery, resume and a stopped flow."""
        found: Mapping[TP, int] = await super().seek_to_committed()
        for tp, offset in found.items():
            if tp.topic in self._chunk_topics:
                self._intake.begin_at(SourcePartition(tp.topic, tp.partition), offset)
        return found

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:  # noqa: ARG002, FBT001, FBT002 - Faust's signature
        """Commit what `mark_done` told, in place of what streams acknowledged."""
        done = self._intake.take_done()
        if not done or self._thread.thread_loop.is_closed():
            return False
        return bool(await self._thread.on_loop(self._thread.commit_done(done)))

    # -- intake.Reader

    def reseek(self, sp: SourcePartition) -> None:
        """Read ``sp`` again from its guard, soon."""
        task = self._reseeking.get(sp)
        if task is None or task.done():
            logger.info("Reading %s again from offset %s", sp, self._intake.position(sp))
            self._reseeking[sp] = self.loop.create_task(self._reseek(sp))

    async def _reseek(self, sp: SourcePartition) -> None:
        try:
            await self._thread.reseek(sp)
        except KafkaError as error:
            # A rebalance or an absent broker: both bring another seek, or the watchdog.
            logger.warning("Could not seek %s: %r", sp, error)

    def hold(self, sp: SourcePartition) -> None:
        """Deliver nothing more of ``sp``."""
        self.pause_partitions([TP(*sp)])

    def unhold(self, sp: SourcePartition) -> None:
        """Deliver ``sp`` again."""
        self.resume_partitions([TP(*sp)])


class ChunkTransport(driver.Transport):  # type: ignore[misc]
    """Found through `App._new_transport`, not by URL scheme."""

    Consumer = ChunkConsumer

    def __init__(
        self,
        url: Any,
        app: Any,
        *,
        intake: Intake,
        fetch: FetchSettings,
        listeners: Listeners,
        presence: Presence,
        switch: StopSwitch,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        super().__init__(url, app)
        self.intake = intake
        self.fetch = fetch
        self.listeners = listeners
        self.presence = presence
        self.switch = switch
        self.clock = clock


def require_compiled_streams() -> None:
    """Refuse Faust's pure-Python stream iterator.

    It acknowledges messages that it skipped as stale, the compiled one does not; and it is slower.
    Tested against is the compiled one only.
    """
    from faust import streams  # noqa: PLC0415
    from faust.transport import conductor  # noqa: PLC0415

    if streams._CStreamIterator is None or conductor.ConductorHandler is None:
        raise Fatal(
            ExitCode.USAGE,
            "Faust's compiled stream iterator is missing: install the faust-streaming wheel for "
            "this platform (and unset NO_CYTHON)",
        )


def chunk_topic(app: faust.App, name: str, queue_chunks: int) -> Any:
    """The Faust topic of a chunk topic, for an agent to read."""
    topic = app.topic(name, schema=RawSchema(), acks=False)
    # app.topic(maxsize=) is accepted and not passed on: without this the queue has no bound.
    topic.maxsize = queue_chunks
    return topic

"""Faust's consumer on the main loop, with our own accounting of chunk topics.

Faust's accounting of offsets (read offsets, gaps, acknowledgements) is off for chunk topics: it drops
what a re-seek reads again, and it commits past lost messages and gaps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from aiokafka.errors import KafkaError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from mode import get_logger

from streams.flow.chunk import Chunk, SourcePartition
from streams.worker.consumer_thread import ChunkConsumerThread

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from streams.worker.intake import Intake

logger = get_logger(__name__)


_HANDOVER_S = 2.0


class Listeners(NamedTuple):
    """Callbacks for partitions that are assigned and revoked; they run on the main loop."""

    on_assigned: Callable[[frozenset[SourcePartition]], None]
    on_revoked: Callable[[frozenset[SourcePartition]], None]
    drain: Callable[[float], Awaitable[bool]]
    on_log_moved: Callable[[SourcePartition, int, int], None]
    """The log of a partition no longer holds the next offset; its first offset, and its end."""


class _ReadOffsets(dict[TP, int | None]):
    """Faust's read offsets, without those of chunk topics.

    Faust drops a message below the highest offset it has read. After a re-seek it would drop every
    chunk up to the old position. For chunk topics the guard alone decides.
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


class ChunkConsumer(driver.Consumer):  # type: ignore[misc]
    """Faust's consumer for chunk topics; lives on the main loop."""

    _thread: ChunkConsumerThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._intake: Intake = self.transport.intake
        self._listeners: Listeners = self.transport.listeners
        self._chunk_topics = self._intake.chunk_topics
        self._read_offset = _ReadOffsets(self._chunk_topics)
        self._asking_anew: asyncio.Task[None] | None = None
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
            0.0,  # a chunk holds one timestamp per record; this one is not read
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
        """Return the log end as of the last fetch; 0 when unknown.

        Faust would ask aiokafka, which asserts that the partition is assigned. A rebalance between
        its thread and ours made that assertion end the worker.
        """
        if tp.topic in self._chunk_topics:
            return self._intake.log_end(SourcePartition(tp.topic, tp.partition)) or 0
        return super().highwater(tp)  # type: ignore[no-any-return]

    def on_buffer_full(self, tp: Any) -> None:
        """Do not pause a chunk topic whose queue fills.

        Faust's fetcher sleeps a whole second once every partition is paused; an agent folds a queue
        of chunks in a tenth of that. The bounded queue makes the fetch wait by itself.
        """
        if tp.topic not in self._chunk_topics:
            super().on_buffer_full(tp)

    def _owned(self, tps: Iterable[Any]) -> frozenset[SourcePartition]:
        return frozenset(
            SourcePartition(tp.topic, tp.partition) for tp in tps if tp.topic in self._chunk_topics
        )

    async def on_partitions_revoked(self, revoked: Any) -> None:
        """Drop the state first, with no await before it: the new owner may be waiting for us."""
        sps = self._owned(revoked)
        self._intake.close(self._intake.owned | sps)
        await self._notify(self._listeners.on_revoked, sps)
        # Records that land soon are there before the new owner reads the changelog. Any other is
        # a late write like a zombie's, which the new owner's state allows for.
        await self._listeners.drain(_HANDOVER_S)
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: Any, generation_id: int = 0) -> None:
        """Pass the partitions that are ours now to the listener; recovery follows."""
        await self._notify(self._listeners.on_assigned, self._owned(assigned))
        await super().on_partitions_assigned(assigned, generation_id)

    async def _notify(
        self,
        listener: Callable[[frozenset[SourcePartition]], None],
        sps: frozenset[SourcePartition],
    ) -> None:
        try:
            listener(sps)
        except Exception as error:
            # aiokafka only logs what a rebalance listener raises, and continues the rebalance.
            await self.crash(error)
            raise

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Seek to where the states continue; recovery, resume and a stopped flow all call this."""
        found: Mapping[TP, int] = await super().seek_to_committed()
        for tp, offset in found.items():
            if tp.topic in self._chunk_topics:
                self._intake.begin_at(SourcePartition(tp.topic, tp.partition), offset)
        self._report_moved()
        return found

    def _report_moved(self) -> None:
        moved, self._thread.moved = self._thread.moved, {}
        for sp, (begin, end) in moved.items():
            if self._intake.is_open(sp):
                self._listeners.on_log_moved(sp, begin, end)

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:  # noqa: FBT001, FBT002 - Faust's signature
        """Commit the offsets given to `mark_done`; Faust commits those of other topics.

        Chunk topics acknowledge nothing, so Faust's own accounting knows none of their offsets.
        """
        committed = bool(await super().force_commit(topics, start_new_transaction))
        done = self._intake.take_done()
        if not done or self._thread.thread_loop.is_closed():
            return committed
        if await self._thread.on_loop(self._thread.commit_done(done)):
            return True
        self._intake.give_back(done)
        return committed

    def ask_anew(self, *, rejoin: bool) -> None:
        """Ask for metadata at once; with ``rejoin`` join the group anew, so that all is recovered."""
        self._asking_anew = self.loop.create_task(self._thread.ask_anew(rejoin=rejoin))

    # -- intake.ConsumerControl

    def reseek(self, sp: SourcePartition) -> None:
        """Schedule that ``sp`` is read again from the offset that its guard expects."""
        task = self._reseeking.get(sp)
        if task is None or task.done():
            logger.info("Reading %s again from offset %s", sp, self._intake.position(sp))
            self._reseeking[sp] = self.loop.create_task(self._reseek(sp))

    async def _reseek(self, sp: SourcePartition) -> None:
        try:
            await self._thread.reseek(sp)
            self._report_moved()
        except KafkaError as error:
            # After a rebalance or a broker's absence another seek follows, or the watchdog acts.
            logger.warning("Could not seek %s: %r", sp, error)

    def hold(self, sp: SourcePartition) -> None:
        """Stop delivering ``sp``."""
        self.pause_partitions([TP(*sp)])

    def unhold(self, sp: SourcePartition) -> None:
        """Deliver ``sp`` again."""
        self.resume_partitions([TP(*sp)])

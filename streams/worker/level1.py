"""Level 1 in the worker: one runner per source partition, from recovery to revocation.

The exactness rules demand an order of effects, and only this module keeps it:
  rows of the chain acknowledged -> first mark and first flush
  late events and dead letters acknowledged -> checkpoint
  rows -> the mark that covers them, in the same partition
  checkpoint and rows acknowledged -> offset committed, retired records deleted
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import structlog

from streams.clock import monotonic_ms
from streams.flow.admission import DEAD, DOUBTED, IGNORED, OF_A_RECORD, UNMATCHED
from streams.flow.chain import Identity
from streams.flow.chunk import Chunk, SourcePartition
from streams.flow.incarnation import in_log, through_in_log
from streams.flow.log_change import LogChange
from streams.flow.set_aside import Folded, SetAside
from streams.flow.source import Send, SourceLevel
from streams.index.input_reports import InputWindow, Taken
from streams.index.methodology import Methodology
from streams.index.stamps import IMPORTED
from streams.publish.metrics import Metrics
from streams.settings import Settings
from streams.worker.data_errors import DataErrorLog
from streams.worker.intake import Intake
from streams.worker.log_clock import LogClock
from streams.worker.names import SET_ASIDE_PARTITIONS
from streams.worker.outbox import Outbox
from streams.worker.waiting import set_within, until_next

SLICE_RECORDS = 2000
"""Records folded between two checks of the size of the coming checkpoint."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Level1Parts:
    """What all source runners of a process share."""

    settings: Settings
    methodology: Methodology
    outbox: Outbox
    intake: Intake
    metrics: Metrics
    log_clock: LogClock
    topics_known: Callable[[], bool] = lambda: True
    """Whether the topics were just seen unchanged. A mark of a topic that has got partitions since would
    let ``as_of`` pass what these hold."""
    release_url: Callable[[], str | None] = lambda: None
    """Address at which this worker takes the release of a partition; None where it takes none."""
    errors: DataErrorLog = field(default_factory=DataErrorLog)


class SourceRunner:
    """Owns one source partition."""

    def __init__(
        self,
        parts: Level1Parts,
        sp: SourcePartition,
        *,
        identity: Identity,
        changelog: str,
        nonce: str,
        partials_id: str,
    ) -> None:
        """``partials_id``: incarnation of the partials that the rows go to; empty: not known."""
        topics = parts.settings.topics
        self.sp = sp
        self.closed = False
        self.halted: str | None = None
        """Why nothing is folded until ``release``; None while the runner folds."""
        self.releasable = True
        """Whether ``release`` mends what has halted it."""
        self._released = False
        """True from ``release`` until the next chunk."""
        self.change: LogChange | None = None
        """The change of the log that halted it, which only the operator can accept."""
        self.level = SourceLevel(
            sp,
            parts.methodology,
            identity,
            nonce,
            topics.partials_partitions,
            payments=sp.topic == topics.payments,
            partials_id=partials_id,
        )
        self.taken = InputWindow(sp.topic, sp.partition)
        """What became of the last records, for everybody who looks."""
        self._parts = parts
        self._changelog = changelog
        self._rows_found: list[Send] = []
        self._set_aside_sends: list[asyncio.Future[int]] = []
        self._rows: dict[int, asyncio.Future[int]] = {}
        """By partials partition: the last row that is not known to be acknowledged."""
        self._full = asyncio.Event()
        """Set when a flush is due now: the coming record is full, or the process is stopping."""
        self._room = asyncio.Event()
        self._room.set()
        self._draining = False
        self._flushing = False
        """Whether a checkpoint was sent that is not acknowledged."""
        self._task: asyncio.Task[None] | None = None
        self._marked_at_ms = 0
        self._flushed_at_ms = self._days_sent_at_ms = monotonic_ms()

    # -- life ------------------------------------------------------------------------------------

    def recover(self, records: dict[bytes, bytes]) -> None:
        """Rebuild the state. Nothing is written yet: the state may prove to be of another log."""
        self._rows_found = self.level.recover(records)

    def start(self, on_done: Callable[[asyncio.Task[None]], None]) -> None:
        """Begin to send and flush; the rows of the whole chain go first (sequence V2)."""
        self._send(self._rows_found)
        self._rows_found = []
        name = f"level1-{self.sp}"
        self._task = asyncio.get_running_loop().create_task(self._run(), name=name)
        self._task.add_done_callback(on_done)

    def close(self) -> None:
        """Write nothing more: the partition is another worker's. Synchronous."""
        self.closed = True
        self._room.set()
        if self._task is not None:
            self._task.cancel()

    async def drain(self) -> None:
        """Flush what is folded and send its last mark; the process is stopping.

        The sending task does it, in its own order. If it were cancelled in the middle of a flush, it
        would forget which late events and dead letters must land before the next checkpoint
        (sequence V1).
        """
        self._draining = True
        self._full.set()
        if self._task is not None:
            await asyncio.wait({self._task})

    # -- folding ---------------------------------------------------------------------------------

    async def fold_chunk(self, chunk: Chunk) -> None:
        """Fold a chunk that the guard accepted; flush in between when the coming record is full."""
        if self._released:
            # Reading began anew, so the log's end is that of now. An operator releases what is already
            # there: to halt again every 10,000 records would need as many releases.
            self._released = False
            self.level.forgive_rejects(self._parts.intake.log_end(self.sp) or 0)
        limit = self._parts.settings.intervals.checkpoint_bytes
        start = 0
        while True:
            await self._room.wait()
            if self.closed:
                return
            stop = min(start + SLICE_RECORDS, len(chunk))
            folded = self.level.fold_chunk(chunk, start, stop)
            self._set_aside(folded)
            # A stretch of nothing but aborted records or markers has no time of its own.
            appended_ms = chunk.timestamps_ms[stop - 1] if chunk.by_broker and stop else None
            self._parts.intake.advance(self.sp, self.level.through, appended_ms)
            self._count(folded)
            start = stop
            if self.level.chain.pending_bytes >= limit:
                self._room.clear()
                self._full.set()
            if self.level.rejects_too_many:
                self.halt("rejects", "half of the last records are dead letters")
                return
            if start >= len(chunk):
                return

    def halt(
        self, reason: str, detail: str, action: str | None = None, *, releasable: bool = True
    ) -> None:
        """Stop this source partition; the others continue (exactness rule 8).

        ``action``: the command that lets it go on, when it is not a release. Where no command is given
        and it is not ``releasable``, ``detail`` says what does.
        """
        self.releasable = releasable and action is None
        known, self.halted = self.halted, f"{reason}: {detail}"
        if action is not None:
            self.halted = f"{self.halted}; run `{action}`"
        self._parts.intake.pause(self.sp)
        self._parts.metrics.partition_halted.labels(self.sp.topic, str(self.sp.partition)).set(1)
        if known == self.halted:
            return
        _log.error(
            "partition_halted",
            topic=self.sp.topic,
            partition=self.sp.partition,
            offset=through_in_log(self.level.through),
            reason=reason,
            detail=detail,
            action=self._release_advice
            if self.releasable
            else detail
            if action is None
            else f"run `{action}`",
        )

    @property
    def _release_advice(self) -> str:
        url, topic = self._parts.release_url(), self.sp.topic
        if url is None:
            return (
                f"see `ecindex dead-letters list --topic {topic}`; only a worker takes a release that "
                "listens to 127.0.0.1 or 0.0.0.0: set metrics.host, and restart this one"
            )
        return (
            f"run `ecindex dead-letters release {topic} {self.sp.partition} --worker {url}` on this "
            f"machine once the cause is gone; see `ecindex dead-letters list --topic {topic}`"
        )

    @property
    def durable(self) -> bool:
        """Whether an acknowledged checkpoint holds all that is folded."""
        return not (self._flushing or self.level.chain.due)

    def halt_for(self, change: LogChange) -> None:
        """Stop this source partition until the operator accepts a change of its log."""
        self.change = change
        self.halt(change.kind, change.detail, change.command)

    def accept(self, change: LogChange) -> None:
        """Go on after a change of the log that the operator accepted (exactness rule 9)."""
        self.change = None
        self.level.continue_at(change.resume_at, change.topic_id)
        # One of which nothing was counted is read from where its log begins.
        if self._parts.intake.is_open(self.sp) and self.level.through >= 0:
            self._parts.intake.advance(self.sp, self.level.through)
        _log.warning(
            "log_change_accepted",
            topic=self.sp.topic,
            partition=self.sp.partition,
            change=change.name,
            detail=change.detail,
        )
        if self.halted is not None:
            self.release()

    def release(self) -> None:
        """Continue after ``halt``; rejects that the log already holds do not halt it again."""
        self.halted = None
        self._released = True
        self._parts.metrics.partition_halted.labels(self.sp.topic, str(self.sp.partition)).set(0)
        self._parts.intake.resume(self.sp)

    def _count(self, folded: Folded) -> None:
        metrics = self._parts.metrics
        for outcome, count in folded.outcomes.items():
            metrics.events.labels(self.sp.topic, outcome).inc(count)
        for set_aside in folded.dead:
            metrics.dead_letters.labels(set_aside.reason).inc()
        for reason, count in folded.ignored.items():
            metrics.ignored.labels(reason).inc(count)
        for reason, lost in folded.parts.items():
            metrics.parts_lost.labels(reason).inc(lost.lost)
        self._parts.errors.log_parts_lost(self.sp.topic, self.sp.partition, folded.parts)
        self._note_taken(folded)

    def _note_taken(self, folded: Folded) -> None:
        outcomes = folded.outcomes
        records = sum(outcomes[name] for name in OF_A_RECORD)
        if not records:
            return
        window = self.taken
        if folded.dead:
            last = folded.dead[-1]
            window.reason, window.detail = last.reason, last.detail
            window.offset = in_log(last.offset)
        if folded.parts:
            window.part = max(folded.parts.values(), key=lambda lost: lost.offset).detail
        lost_parts = sum(lost.lost for lost in folded.parts.values())
        taken = Taken(
            records,
            outcomes[DEAD],
            outcomes[IGNORED],
            lost_parts,
            outcomes[UNMATCHED],
            outcomes[DOUBTED],
        )
        window.add(self._parts.log_clock.now_ms(), taken)

    def _set_aside(self, folded: Folded) -> None:
        topics = self._parts.settings.topics
        for topic, records in ((topics.late, folded.late), (topics.dead_letters, folded.dead)):
            if records:
                self._parts.errors.log_set_aside(self.sp.topic, self.sp.partition, records)
            for record in records:
                self._set_aside_sends.append(self._send_set_aside(topic, record))

    def _send_set_aside(self, topic: str, record: SetAside) -> asyncio.Future[int]:
        headers: tuple[tuple[str, bytes], ...] = (
            ("reason", record.reason.encode()),
            ("detail", record.detail.encode(errors="replace")),
            ("source_topic", self.sp.topic.encode()),
            ("source_partition", str(self.sp.partition).encode()),
            ("source_offset", str(in_log(record.offset)).encode()),
            ("source_timestamp_ms", str(record.timestamp_ms).encode()),
            ("source_topic_id", self.level.topic_id.encode()),
        )
        if record.imported:
            headers += IMPORTED
        key, value = record.key or b"", record.value or b""
        if len(key) + len(value) > SET_ASIDE_BYTES_MAX:
            # The broker would refuse the whole record, and a worker that cannot set a record aside
            # can never continue. The source topic still holds it, at the offset in the headers.
            headers += (
                ("original_key_bytes", str(len(key)).encode()),
                ("original_value_bytes", str(len(value)).encode()),
            )
            key = key[:SET_ASIDE_KEY_BYTES_MAX]
            value = value[: SET_ASIDE_BYTES_MAX - len(key)]
        partition = self.sp.partition % SET_ASIDE_PARTITIONS
        return self._parts.outbox.put(
            topic,
            partition,
            None if record.key is None else key,
            None if record.value is None else value,
            headers,
            self._parts.log_clock.now_ms(),
        )

    # -- sending ---------------------------------------------------------------------------------

    async def _run(self) -> None:
        intervals = self._parts.settings.intervals
        await asyncio.gather(*self._rows.values())
        self._rows.clear()
        while not self.closed:
            # All runners of a process send at the same moment: what they send into one partials
            # partition is then one batch, and one fetch for its reader, not one per runner.
            await set_within(self._full, until_next(intervals.partials_ms) / 1000)
            self._send_partials()
            since_ms = monotonic_ms() - self._flushed_at_ms
            if self._full.is_set() or since_ms >= intervals.checkpoint_ms:
                await self._flush()
            if self._draining:
                return

    def _send_partials(self) -> None:
        """Send the rows that changed, then the marks that cover them; no await in between."""
        level = self.level
        caught_up_at = self._parts.intake.caught_up_at(self.sp)
        self._send(level.partials(caught_up_at))
        if not self._parts.topics_known():
            return
        now = monotonic_ms()
        if now - self._days_sent_at_ms >= self._parts.methodology.out_of_order_ms:
            # The mark claims what happened until then, less this time, and a day's values are as of it.
            # With a checkpoint each minute they lacked a minute of orders, and looked fresh.
            self._send_days()
        every = self._draining or now - self._marked_at_ms >= MARK_EVERY_MS
        if every:
            self._marked_at_ms = now
        self._send(level.marks(self._parts.log_clock.log_ms(), caught_up_at, every=every))

    def _send_days(self) -> None:
        self._days_sent_at_ms = monotonic_ms()
        self._send(self.level.day_partials())

    async def _flush(self) -> None:
        level = self.level
        self._flushed_at_ms = began_ms = monotonic_ms()
        if level.chain.due:
            # All that this prefix set aside must be acknowledged first (sequence V1). Nothing is
            # folded meanwhile: more would be set aside each time, and a source with many rejects
            # would never be flushed.
            self._room.clear()
            set_aside, self._set_aside_sends = self._set_aside_sends, []
            await asyncio.gather(*set_aside)
            if self.closed:
                return
            self._send(level.partials())
            self._send_days()
            flush = level.flush()
            self._flushing = True
            outbox, partition = self._parts.outbox, self.sp.partition
            records = [*flush.parts, (flush.key, flush.value)]
            written = outbox.put_all(self._changelog, partition, records)
            rows, self._rows = self._rows, {}
            self._full.clear()
            self._room.set()
            await asyncio.gather(written, *rows.values())
            self._flushing = False
            if self.closed:
                return
            self._parts.metrics.flush_duration.observe((monotonic_ms() - began_ms) / 1000)
            self._parts.intake.mark_done(self.sp, flush.through)
            if flush.delete_keys:
                outbox.put_all(self._changelog, partition, ((k, None) for k in flush.delete_keys))
        else:
            self._full.clear()
            self._room.set()

    def _send(self, sends: Iterable[Send]) -> None:
        by_partition: dict[int, list[tuple[bytes, bytes]]] = {}
        for partition, key, value in sends:
            by_partition.setdefault(partition, []).append((key, value))
        topic = self._parts.settings.topics.partials
        for partition, records in by_partition.items():
            self._rows[partition] = self._parts.outbox.put_all(topic, partition, records)


SET_ASIDE_BYTES_MAX = 512 * 1024
"""A late event or dead letter is cut when key and value exceed this; the contract allows half of it."""
SET_ASIDE_KEY_BYTES_MAX = 4 * 1024
MARK_EVERY_MS = 1_000

"""What the flow half sees of the transport: accept, advance, mark_done, caught_up_at.

An agent's loop, which has no await between `accept` and the last `outbox.put`:

    async for chunk in stream:
        await outbox.room()
        part = intake.accept(chunk)
        if part is None:
            continue                      # not ours, seen already, or a hole that is being re-read
        ...fold part, put what it writes...
        intake.advance(part.sp, part.last_offset)

and, once the checkpoint that includes it is acknowledged, ``intake.mark_done(sp, through)``.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

from streams.clock import monotonic_ms
from streams.worker.caught_up import CaughtUp
from streams.worker.contiguity import Guard, offset_after

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from streams.flow.chunk import Chunk, SourcePartition


class Positions(Protocol):
    """Where each recovered state continues; asked once per partition after each recovery."""

    def next_offset(self, sp: SourcePartition) -> int | None:
        """Return the first offset not in the state; None: read from the beginning of the log."""
        ...

    def base(self, sp: SourcePartition) -> int:
        """Return what to add to the offsets of a log that is read from its beginning."""
        ...


class ConsumerControl(Protocol):
    """What the intake asks of the consumer, on the main thread. All three only schedule."""

    def reseek(self, sp: SourcePartition) -> None:
        """Read ``sp`` again from the offset that its guard expects."""
        ...

    def hold(self, sp: SourcePartition) -> None:
        """Stop delivering ``sp``."""
        ...

    def unhold(self, sp: SourcePartition) -> None:
        """Deliver ``sp`` again."""
        ...


class Intake:
    """The chunk topics' positions: which records the state includes, and what the log holds.

    Used on the main thread, except `on_response`, which the consumer's thread calls.
    """

    def __init__(
        self,
        chunk_topics: Iterable[str],
        *,
        monotonic: Callable[[], int] = monotonic_ms,
        to_log: Callable[[int], int | None] = lambda steady_ms: steady_ms,
    ) -> None:
        """``to_log``: an instant of ``monotonic`` -> of the log (`LogClock.at`)."""
        self.chunk_topics = frozenset(chunk_topics)
        self._monotonic = monotonic
        self._to_log = to_log
        self._guard = Guard(self._on_gap, clock=monotonic)
        self._reader: ConsumerControl | None = None
        self._lock = threading.Lock()
        self._caught_up: dict[SourcePartition, CaughtUp] = {}
        self._paused: set[SourcePartition] = set()
        self._done: dict[SourcePartition, int] = {}
        self._stopped = False
        self.topic_ids: dict[str, str] = {}
        """Id of each topic to read; a topic without one is read by its name."""
        self.lost: set[SourcePartition] = set()
        """Source partitions that had a state which could not be recovered."""
        self.counted: dict[SourcePartition, int] = {}
        """The next offset that the group has committed of those without a state and without a beginning
        of their log. The consumer's thread sets it before it reports that the log has moved."""
        self.closings = 0
        """Number of times partitions were revoked. Compare it before and after an await."""

    # -- for the flow half

    @property
    def owned(self) -> frozenset[SourcePartition]:
        """Source partitions that are ours and recovered."""
        return frozenset(self._caught_up)

    @property
    def dropped_records(self) -> int:
        """Records not accepted so far (redelivered, or read before their turn)."""
        return self._guard.dropped_records

    def accept(self, chunk: Chunk) -> Chunk | None:
        """Return the part of ``chunk`` that follows the state, or None when there is none.

        A returned chunk may have no records, for a stretch of the log that holds none (transaction
        markers, compaction). Fold it like any other: its ``last_offset`` is progress.
        """
        if self._stopped or chunk.sp in self._paused:
            return None
        return self._guard.accept(chunk)

    def advance(
        self, sp: SourcePartition, through_offset: int, appended_ms: int | None = None
    ) -> None:
        """Note that the state now includes everything up to ``through_offset``.

        ``appended_ms``: when the broker appended the last record of it; None when a producer's clock
        stamped it.
        """
        expected = self._guard.advance(sp, through_offset)
        with self._lock:
            self._caught_up[sp].on_progress(expected, appended_ms)

    def mark_done(self, sp: SourcePartition, through_offset: int) -> None:
        """Schedule the commit of what an acknowledged checkpoint includes, for lag monitors.

        The commit is advisory: recovery never reads it. None is made for a partition we lost.
        """
        if sp in self._caught_up:
            self._done[sp] = offset_after(through_offset)

    def caught_up_at(self, sp: SourcePartition) -> int | None:
        """Return the log's time (ms) at the last fetch response whose log end the state has reached.

        None while paused, recovering or not ours, before the first such response, and before the
        log's time is known.
        """
        if sp in self._paused:
            return None
        with self._lock:
            state = self._caught_up.get(sp)
            return None if state is None else state.log_ms(self._to_log)

    def has_caught_up(self, sp: SourcePartition) -> bool:
        """Return whether the state has reached the log end of any fetch response since recovery."""
        with self._lock:
            state = self._caught_up.get(sp)
            return state is not None and state.at_ms is not None

    def position(self, sp: SourcePartition) -> int | None:
        """Return the next offset to fold; None when not ours, or its beginning is unknown."""
        return self._guard.expected(sp)

    def log_end(self, sp: SourcePartition) -> int | None:
        """Return the log end as of the last fetch response (what the next record will get)."""
        with self._lock:
            state = self._caught_up.get(sp)
            return None if state is None else state.log_end

    def stable_end(self, sp: SourcePartition) -> int | None:
        """Return how far the log could be read as of the last fetch response.

        That is the log end, or where an open transaction begins.
        """
        with self._lock:
            state = self._caught_up.get(sp)
            return None if state is None else state.stable_end

    def open_transaction_ms(self, sp: SourcePartition) -> int:
        """Return for how long one open transaction has held the partition; 0 when none does.

        By the broker's stamp on its first record where that is known; else since this worker saw it.
        """
        with self._lock:
            state = self._caught_up.get(sp)
            if state is None or state.held_since_ms is None:
                return 0
            now_ms = self._monotonic()
            seen_ms, log_ms = now_ms - state.held_since_ms, self._to_log(now_ms)
            if state.held_from_ms is None or log_ms is None:
                return seen_ms
            return max(seen_ms, log_ms - state.held_from_ms)

    def undated_transactions(self, seen_ms: int) -> list[tuple[SourcePartition, int]]:
        """Return (source partition, its first offset) of open transactions of unknown age.

        ``seen_ms``: those alone that this worker has seen for as long.
        """
        now_ms = self._monotonic()
        with self._lock:
            return [
                (sp, state.stable_end)
                for sp, state in self._caught_up.items()
                if state.held_since_ms is not None
                and state.stable_end is not None
                and not state.asked_when_held
                and now_ms - state.held_since_ms >= seen_ms
            ]

    def date_transaction(self, sp: SourcePartition, offset: int, appended_ms: int | None) -> None:
        """Note when the broker appended the first record of the transaction open at ``offset``.

        In the log's time; None: the broker does not say.
        """
        with self._lock:
            state = self._caught_up.get(sp)
            if state is not None and state.stable_end == offset:
                state.held_from_ms, state.asked_when_held = appended_ms, True

    def base(self, sp: SourcePartition) -> int:
        """Return what to add to an offset of the log of ``sp``; any thread may ask."""
        return self._guard.base(sp)

    @property
    def paused(self) -> frozenset[SourcePartition]:
        """Source partitions held back by `pause`; any thread may ask."""
        return frozenset(self._paused)

    def is_paused(self, sp: SourcePartition) -> bool:
        """Return whether ``sp`` is held back by `pause`."""
        return sp in self._paused

    def pause(self, sp: SourcePartition) -> None:
        """Halt one source partition until `resume` or a rebalance; the others continue.

        ``on_recovered`` may call it too, for a state that cannot be built.
        """
        self._paused.add(sp)
        if self._reader is not None:
            self._reader.hold(sp)

    def resume(self, sp: SourcePartition) -> None:
        """Continue a paused partition from where its state ends."""
        if sp not in self._paused:
            return
        self._paused.discard(sp)
        if self._reader is not None:
            # What was queued meanwhile has been dropped, so the position is ahead of the state.
            self._reader.unhold(sp)
            self._reader.reseek(sp)

    # -- for the transport half

    def bind(self, reader: ConsumerControl) -> None:
        """Set the consumer that reads for this intake."""
        self._reader = reader

    def open(self, sp: SourcePartition, next_offset: int | None, base: int = 0) -> None:
        """Accept ``sp`` from now on: it is ours and its state is recovered.

        ``base``: what to add to the log's own offsets when it is read from its beginning.
        """
        self._guard.open(sp, next_offset, base)
        if next_offset is not None:
            # What was recovered is acknowledged, so it may be committed. Without this an idle
            # partition whose last commit was lost in a crash would show its lag for ever.
            self._done[sp] = next_offset
        with self._lock:
            self._caught_up[sp] = CaughtUp()

    def begin_at(self, sp: SourcePartition, earliest: int) -> None:
        """Set the offset at which the log of ``sp`` begins."""
        self._guard.begin_at(sp, earliest)

    def on_log_end(self, sp: SourcePartition, log_end: int) -> None:
        """Record where the broker says that a log ends which nobody fetches.

        The consumer's thread calls it.
        """
        with self._lock:
            state = self._caught_up.get(sp)
            if state is not None:
                # In a log that took another's place, offsets go on: without the base nothing was left
                # to read of it, and a release forgave nothing.
                state.log_end = self._guard.base(sp) + log_end

    def on_ready(self) -> None:
        """Hold again what was paused while its state was built: Faust has resumed everything."""
        if self._reader is not None:
            for sp in self._paused:
                self._reader.hold(sp)

    def close(self, sps: Iterable[SourcePartition]) -> None:
        """Give up these partitions; their queued chunks are dropped."""
        self.closings += 1
        for sp in sps:
            self._guard.close(sp)
            self._paused.discard(sp)
            self.lost.discard(sp)
            self.counted.pop(sp, None)
            self._done.pop(sp, None)
            with self._lock:
                self._caught_up.pop(sp, None)

    def stop(self) -> None:
        """Accept nothing more: the process is draining."""
        self._stopped = True

    def is_open(self, sp: SourcePartition) -> bool:
        """Return whether ``sp`` is ours and recovered."""
        return self._guard.is_open(sp)

    def on_response(self, sp: SourcePartition, log_end: int, stable_end: int, at_ms: int) -> None:
        """Record a fetch response that the leader gave at ``at_ms`` of the steady clock.

        The consumer's thread calls it.
        """
        with self._lock:
            state = self._caught_up.get(sp)
            if state is not None:
                state.on_response(log_end, stable_end, at_ms, self._guard.expected(sp))

    def take_done(self) -> dict[SourcePartition, int]:
        """Return the next offsets to commit, each of them once."""
        done, self._done = self._done, {}
        return done

    def give_back(self, done: Mapping[SourcePartition, int]) -> None:
        """Keep offsets that could not be committed for the next commit."""
        for sp, offset in done.items():
            if sp in self._caught_up:
                self._done.setdefault(sp, offset)

    def _on_gap(self, sp: SourcePartition) -> None:
        if self._reader is not None:
            self._reader.reseek(sp)

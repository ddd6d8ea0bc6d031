"""Level 1 of one source partition as its owner runs it: fold, partials, marks, checkpoints.

Every result is a list of ``Send``: what to write where, in which order. The worker writes it to
Kafka, the model of tests/model to a fake log. The order is decided here, once:

- ``recover`` returns the rows of the whole chain. They are sent before the first mark, and
  acknowledged before the first flush (sequence V2).
- ``partials`` returns the rows touched; the marks that cover them are sent after them, to the same
  partitions.
- ``flush`` is called when late and dead-letter records were acknowledged (sequence V1).
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from streams.flow.chain import CHAIN_LENGTH, Chain, Flush, Identity
from streams.flow.chunk import Chunk, SourcePartition
from streams.flow.fold import SourceFold
from streams.flow.set_aside import Folded
from streams.flow.source_state import SourceState
from streams.flow.state import NEVER_MS, Day, Pane, SlotKey
from streams.flow.topic_progress import shows_live
from streams.flow.wire import (
    MarkRecord,
    PartialRecord,
    encode_partial,
    mark_key,
    partial_key,
    partition_of,
)
from streams.index.methodology import Methodology
from streams.index.partials import Row, to_wire

REJECTS_WINDOW = 10_000
REJECTS_MIN = 1_000
REJECTS_SHARE_MAX = 0.5


class Send(NamedTuple):
    """One record for ``ecindex.partials``."""

    partition: int
    key: bytes
    value: bytes


class SourceLevel:
    """Level 1 of one source partition."""

    def __init__(
        self,
        sp: SourcePartition,
        methodology: Methodology,
        identity: Identity,
        nonce: str,
        partials_partitions: int,
        *,
        payments: bool,
        chain_length: int = CHAIN_LENGTH,
    ) -> None:
        self.sp = sp
        self.nonce = nonce
        self.source = SourceState(sp, methodology, payments=payments)
        self._fold = SourceFold(self.source)
        self.chain = Chain(self.source, identity, nonce, length=chain_length)
        self._edition = methodology.edition
        self._out_of_order_ms = methodology.out_of_order_ms
        self._step_ms = methodology.step_ms
        self._unacknowledged: set[SlotKey] = set()
        """Slots whose row was sent since the last flush was built."""
        self._marked_steps: dict[int, list[int | None]] = {}
        self._live: set[str] = set()
        """Markets that a mark sent by this writer has shown live."""
        self._partition_of = {
            market: partition_of(market, partials_partitions) for market in methodology.markets
        }
        self._mark_partitions = sorted(set(self._partition_of.values()))
        self._recent: deque[tuple[int, int]] = deque()
        self._recent_records = self._recent_dead = 0

    @property
    def through(self) -> int:
        """Last offset included."""
        return self.source.through

    def recover(self, records: dict[bytes, bytes]) -> list[Send]:
        """Rebuild from the checkpoint records of this partition; return the rows to send again."""
        sends = [self._send(*found) for found in self.chain.recover(records)]
        self._unacknowledged.clear()  # they are acknowledged before the first flush
        return sends

    def fold_chunk(self, chunk: Chunk, start: int = 0, stop: int | None = None) -> Folded:
        """Fold part of a chunk."""
        folded = self._fold.fold(chunk, start, stop)
        records = (len(chunk) if stop is None else min(stop, len(chunk))) - start
        self._recent.append((records, len(folded.dead)))
        self._recent_records += records
        self._recent_dead += len(folded.dead)
        while self._recent_records - self._recent[0][0] >= REJECTS_WINDOW:
            oldest_records, oldest_dead = self._recent.popleft()
            self._recent_records -= oldest_records
            self._recent_dead -= oldest_dead
        return folded

    @property
    def rejects_too_many(self) -> bool:
        """Whether more than half of the last 10,000 records were dead letters, and at least 1,000.

        Something upstream is wrong then.
        """
        dead = self._recent_dead
        return dead >= REJECTS_MIN and dead > REJECTS_SHARE_MAX * self._recent_records

    def forgive_rejects(self) -> None:
        """Start the count of rejects anew (``dead-letters release``)."""
        self._recent.clear()
        self._recent_records = self._recent_dead = 0

    def partials(self, caught_up_at: int | None = None) -> list[Send]:
        """Return the rows touched since the last call that a mark of this ``caught_up_at`` covers.

        Panes that ``as_of`` cannot reach by that mark wait: a row is then sent once or twice, not
        with every event of its five seconds. Rows of days go with the checkpoint, with one
        exception: a mark whose watermark closes a day must find the day's row sent.
        """
        covered_ms = NEVER_MS if caught_up_at is None else caught_up_at
        return self._send_slots(self.source.take_touched_live(covered_ms))

    def day_partials(self) -> list[Send]:
        """Return the rows of the days touched since the last call."""
        return self._send_slots(self.source.take_touched_days())

    def marks(self, now_ms: int, caught_up_at: int | None, *, every: bool = True) -> list[Send]:
        """Return one progress record for each partials partition, to send after what it covers.

        With ``every`` False, return a mark only where ``as_of`` could take a step that the last
        mark did not allow: the others can wait.

        Rows of days go with the checkpoint only. So a mark does not claim to be caught up past the
        close of a day whose row still waits: level 2 would close that day without it.
        """
        if caught_up_at is not None:
            caught_up_at = min(caught_up_at, self.source.pending_days_close_ms() - 1)
        watermarks = self.source.watermarks()
        key = mark_key(self.sp, self.nonce)
        found = []
        for partition in self._mark_partitions:
            own = {
                market: watermark_ms
                for market, watermark_ms in watermarks.items()
                if self._partition_of[market] == partition
            }
            steps = [self._step(caught_up_at), *map(self._step, own.values())]
            if not every and steps == self._marked_steps.get(partition):
                continue
            self._marked_steps[partition] = steps
            self._live |= {market for market, at_ms in own.items() if shows_live(at_ms, now_ms)}
            live = sorted(self._live & own.keys())
            mark = MarkRecord(self._edition, self.through, own, caught_up_at, now_ms, live)
            found.append(Send(partition, key, encode_partial(mark)))
        return found

    def _step(self, progress_ms: int | None) -> int | None:
        if progress_ms is None:
            return None
        return (progress_ms - self._out_of_order_ms) // self._step_ms

    def flush(self) -> Flush:
        """Build the next checkpoint record.

        The caller waits for two acknowledgements first: of everything sent before the last flush,
        and of that flush.
        """
        unacknowledged, self._unacknowledged = self._unacknowledged, set()
        return self.chain.flush(unacknowledged)

    def _send_slots(self, slots: dict[SlotKey, Pane | Day]) -> list[Send]:
        return [self._send(key, slot.row, slot.shoppers()) for key, slot in slots.items()]

    def _send(self, key: SlotKey, row: Row, sketch: bytes) -> Send:
        self._unacknowledged.add(key)
        record = PartialRecord(self._edition, self.through, to_wire(row), sketch)
        return Send(
            self._partition_of[key.market],
            partial_key(key, self.sp, self.nonce),
            encode_partial(record),
        )

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
from dataclasses import replace
from typing import NamedTuple

from streams.flow.admission import IGNORED
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
from streams.index.label_rows import LabelRow
from streams.index.methodology import Methodology

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
        partials_id: str = "",
    ) -> None:
        """``partials_id``: incarnation of the partials that all rows are sent to; empty: not known."""
        self.sp = sp
        self.nonce = nonce
        self._partials_id = partials_id
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
        self._forgiven_before = 0

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
        first = self.source.through + 1
        folded = self._fold.fold(chunk, start, stop)
        if first < self._forgiven_before:
            return folded
        records = (len(chunk) if stop is None else min(stop, len(chunk))) - start
        records -= folded.outcomes[IGNORED]
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
        """Whether 1,000 of the last 10,000 events were dead letters, and more than half of them.

        Something upstream is wrong then. After a start the last events are fewer, so 1,000 dead letters
        may halt at once. Records that are ignored are no events.
        """
        dead = self._recent_dead
        return dead >= REJECTS_MIN and dead > REJECTS_SHARE_MAX * self._recent_records

    @property
    def topic_id(self) -> str:
        """Id of the topic that the state is of; empty: the broker gives none."""
        return self.chain.identity.topic_id

    def continue_at(self, next_offset: int, topic_id: str) -> None:
        """Go on behind a gap of the log, or in the log that took its place."""
        self.chain.continue_at(next_offset, topic_id)

    def grow(self, partitions: int) -> None:
        """Note that the topic has more partitions: marks say so, and ``as_of`` waits for theirs."""
        self.chain.identity = replace(self.chain.identity, partitions=partitions)

    def forgive_rejects(self, before: int = 0) -> None:
        """Start the count of rejects anew, at offset ``before`` (``dead-letters release``)."""
        self._forgiven_before = before
        self._recent.clear()
        self._recent_records = self._recent_dead = 0

    def partials(self, caught_up_at: int | None = None) -> list[Send]:
        """Return the rows touched since the last call that a mark of this ``caught_up_at`` covers.

        Panes that ``as_of`` cannot reach by that mark wait: a row is then sent once or twice, not
        with every event of its five seconds. Rows of days go with the checkpoint, with one
        exception: a mark whose watermark ends or closes a day must find the day's row sent. What
        an import still brought of a day that had ended was a revision of it.
        """
        covered_ms = NEVER_MS if caught_up_at is None else caught_up_at
        found = self._send_slots(self.source.take_touched_live(covered_ms))
        return [*found, *self.day_partials()] if self.source.ends_a_day() else found

    def day_partials(self) -> list[Send]:
        """Return the rows of the days touched since the last call."""
        return self._send_slots(self.source.take_touched_days())

    def marks(
        self, now_ms: int | None, caught_up_at: int | None, *, every: bool = True
    ) -> list[Send]:
        """Return one progress record for each partials partition, to send after what it covers.

        With ``every`` False, return a mark only where ``as_of`` could take a step that the last
        mark did not allow: the others can wait.

        ``now_ms``: what time it is by the log; None: not known yet, so no market is shown live.

        Rows of days do not go before each mark. So a mark does not claim to be caught up past the
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
            if now_ms is not None:
                self._live |= {
                    market
                    for market in own
                    if shows_live(self.source.markets[market].newest_ms, now_ms)
                }
            live = sorted(self._live & own.keys())
            sent_at = 0 if now_ms is None else now_ms
            mark = MarkRecord(
                self._edition,
                self.through,
                own,
                caught_up_at,
                sent_at,
                live,
                partitions=self.chain.identity.partitions,
                partials_id=self._partials_id,
            )
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

    def _send(self, key: SlotKey, row: LabelRow, sketch: bytes) -> Send:
        self._unacknowledged.add(key)
        record = PartialRecord(self._edition, self.through, row.packed(), sketch)
        return Send(
            self._partition_of[key.market],
            partial_key(key, self.sp, self.nonce),
            encode_partial(record),
        )

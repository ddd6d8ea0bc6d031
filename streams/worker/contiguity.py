"""Exactness rule 2: per source partition, only the record after the last folded one is accepted.

Kafka redelivers. Faust resumes partitions before it seeks them. A chunk can be skipped when a rebalance
falls between queue and agent. All of these reach the guard as an offset other than the expected one.
The fold reports to the guard how far it got; nothing else moves the expected offset.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from streams.clock import monotonic_ms
from streams.flow.incarnation import base_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from streams.flow.chunk import Chunk, SourcePartition


def offset_after(through_offset: int) -> int:
    """Return the next offset to read when everything up to ``through_offset`` is included.

    The only ``+ 1`` between a state's ``through_offset`` and a position or committed offset.
    """
    return through_offset + 1


def trim(chunk: Chunk, start: int) -> Chunk:
    """Return the part of ``chunk`` from offset ``start`` on."""
    if chunk.offsets is None:
        skipped = start - chunk.first_offset
    else:
        skipped = bisect.bisect_left(chunk.offsets, start)
    if skipped <= 0:
        return chunk
    offsets = None if chunk.offsets is None else chunk.offsets[skipped:]
    left = len(chunk) - skipped
    return replace(
        chunk,
        first_offset=chunk.offset_at(skipped) if left > 0 else start,
        keys=chunk.keys[skipped:],
        values=chunk.values[skipped:],
        timestamps_ms=chunk.timestamps_ms[skipped:],
        offsets=offsets,
        fetch_offset=start,
    )


@dataclass(slots=True)
class _Lane:
    expected: int | None
    """Next offset to accept. None: the beginning of the log, which is not known yet."""
    reseek_after_ms: int = 0
    base: int = 0
    """What to add to the log's own offsets."""


class Guard:
    """Decides which records each source partition accepts next."""

    def __init__(
        self,
        on_gap: Callable[[SourcePartition], None],
        *,
        retry_ms: int = 2000,
        clock: Callable[[], int] = monotonic_ms,
    ) -> None:
        self._on_gap = on_gap
        self._retry_ms = retry_ms
        self._clock = clock
        self._lanes: dict[SourcePartition, _Lane] = {}
        self.dropped_records = 0
        """Records in chunks that were not accepted; those not folded yet are read again."""

    def open(self, sp: SourcePartition, next_offset: int | None, base: int = 0) -> None:
        """Accept ``sp`` from ``next_offset`` on; None: from the beginning of its log, plus ``base``."""
        assert next_offset is None or next_offset >= 0, (sp, next_offset)
        self._lanes[sp] = _Lane(next_offset, base=base)

    def begin_at(self, sp: SourcePartition, earliest: int) -> None:
        """Set where the log of ``sp`` begins, if it was opened from the beginning."""
        lane = self._lanes.get(sp)
        if lane is not None and lane.expected is None:
            lane.expected = lane.base + earliest

    def base(self, sp: SourcePartition) -> int:
        """Return what to add to an offset of the log of ``sp``."""
        lane = self._lanes.get(sp)
        if lane is None:
            return 0
        return lane.base if lane.expected is None else base_of(lane.expected)

    def close(self, sp: SourcePartition) -> None:
        """Accept nothing more of ``sp``: it is not ours, or not recovered yet."""
        self._lanes.pop(sp, None)

    def is_open(self, sp: SourcePartition) -> bool:
        """Return whether ``sp`` is ours and recovered."""
        return sp in self._lanes

    def expected(self, sp: SourcePartition) -> int | None:
        """Return the next offset ``sp`` accepts; None when closed, or its beginning is unknown."""
        lane = self._lanes.get(sp)
        return None if lane is None else lane.expected

    def accept(self, chunk: Chunk) -> Chunk | None:
        """Return the part of ``chunk`` to fold now, or None. The expected offset does not move."""
        lane = self._lanes.get(chunk.sp)
        if lane is None or lane.expected is None:
            self.dropped_records += len(chunk)
            return None
        expected = lane.expected
        # Within a fetch each chunk covers the gap behind it. So only a fetch's first chunk can
        # follow a gap, and its fetch_offset shows that the gap is one of the log.
        covered_from = chunk.first_offset if chunk.fetch_offset is None else chunk.fetch_offset
        if covered_from > expected:
            self.dropped_records += len(chunk)
            now_ms = self._clock()
            # Chunks already queued behind the missing ones are ahead too; one seek fixes all.
            if now_ms >= lane.reseek_after_ms:
                lane.reseek_after_ms = now_ms + self._retry_ms
                self._on_gap(chunk.sp)
            return None
        if chunk.last_offset < expected:
            self.dropped_records += len(chunk)
            return None
        lane.reseek_after_ms = 0
        return trim(chunk, expected)

    def advance(self, sp: SourcePartition, through_offset: int) -> int:
        """Expect the offset after ``through_offset``, which the fold included; return it."""
        lane = self._lanes[sp]
        reached = offset_after(through_offset)
        assert lane.expected is not None, f"{sp}: advanced before its beginning was known"
        assert reached >= lane.expected, f"{sp}: through_offset went back to {through_offset}"
        lane.expected = reached
        return reached

"""How far the log is known for a market: progress of source partitions -> as_of of a topic.

Level 2's own clock never takes part (sequence V8): only what a mark says, which was true of the log
when it was written, moves ``as_of``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from streams.flow.chunk import SourcePartition
from streams.flow.state import NEVER_MS
from streams.flow.wire import MarkRecord
from streams.index.panes import HOUR_MS

LIVE_WITHIN_MS = HOUR_MS


def better_mark(old: MarkRecord | None, new: MarkRecord) -> MarkRecord:
    """The mark that knows more; of two with the same prefix the one caught up later."""
    if old is None or new.through > old.through:
        return new
    if new.through == old.through and (new.caught_up_at or NEVER_MS) >= (
        old.caught_up_at or NEVER_MS
    ):
        return new
    return old


def makes_live(mark: MarkRecord, market: str) -> bool:
    """Whether this mark shows the market's events arriving about now (an import's do not)."""
    watermark_ms = mark.watermarks.get(market)
    return watermark_ms is not None and watermark_ms >= mark.sent_at - LIVE_WITHIN_MS


def topic_progress(
    market: str,
    sps: Iterable[SourcePartition],
    marks: Mapping[SourcePartition, MarkRecord],
    *,
    live: bool,
) -> int | None:
    """Event time (ms) up to which the topic's log is known for the market; None: not known.

    In a live market a source partition without a mark holds everything. In one that is not live a
    partition that has not seen the market is left out once it was caught up: before that it may
    hold the market's records unread, and leaving it out would let as_of run past them (an import
    of two years whose first partition is folded before the second is begun).
    """
    lowest: int | None = None
    seen = False
    for sp in sps:
        mark = marks.get(sp)
        if mark is None:
            return None
        watermark_ms = mark.watermarks.get(market, NEVER_MS)
        seen = seen or watermark_ms != NEVER_MS
        if live:
            progress = max(watermark_ms, mark.caught_up_at or NEVER_MS)
            if progress == NEVER_MS:
                return None
        elif watermark_ms == NEVER_MS:
            if mark.caught_up_at is None:
                return None
            continue
        else:
            progress = watermark_ms
        lowest = progress if lowest is None else min(lowest, progress)
    return lowest if seen else None

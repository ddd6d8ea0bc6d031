"""How far the log is known for a market: progress of source partitions -> as_of of a topic.

Level 2's own clock never takes part (sequence V8). Only what a mark says moves ``as_of``: it was
true of the log when the mark was written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from streams.flow.chunk import SourcePartition
from streams.flow.state import NEVER_MS
from streams.flow.wire import LIVE_WITHIN_MS, MarkRecord

_ASKED_WITHIN_MS = 2_000


def asked_within_ms(out_of_order_ms: int) -> int:
    """Return how old the answer about the topics may be on which a mark is sent, ms.

    A worker asks once a second. A partition that was added since holds records that arrived later.
    """
    return max(_ASKED_WITHIN_MS, out_of_order_ms)


def better_mark(old: MarkRecord | None, new: MarkRecord) -> MarkRecord:
    """Return the mark that knows more; of two with one prefix, the one caught up later."""
    if old is None or new.through > old.through:
        return new
    if new.through == old.through and (new.caught_up_at or NEVER_MS) >= (
        old.caught_up_at or NEVER_MS
    ):
        return new
    return old


def shows_live(watermark_ms: int, now_ms: int) -> bool:
    """Whether a market's events arrive about now (an import's do not)."""
    return watermark_ms >= now_ms - LIVE_WITHIN_MS


def read_furthest_ms(market: str, marks: Iterable[MarkRecord]) -> int:
    """Return when a source partition was last read to its end; where none was, the newest arrival."""
    caught_up_ms = arrived_ms = NEVER_MS
    for mark in marks:
        caught_up_ms = max(caught_up_ms, mark.caught_up_at or NEVER_MS)
        arrived_ms = max(arrived_ms, mark.watermarks.get(market, NEVER_MS))
    return arrived_ms if caught_up_ms == NEVER_MS else caught_up_ms


class TopicProgress(NamedTuple):
    """How far a topic's log is known for a market."""

    until_ms: int | None
    """Event time, ms; None: some source partition holds it back."""
    seen: bool
    """Whether any source partition has seen the market."""


def topic_progress(
    market: str,
    sps: Iterable[SourcePartition],
    marks: Mapping[SourcePartition, MarkRecord],
    *,
    live: bool,
) -> TopicProgress:
    """Return the event time (ms) up to which the topic's log is known for the market.

    A source partition without a mark holds everything back: it may have unread records of the
    market, of any age. A partition that has not seen the market counts with the time at which it
    was caught up, in a market that is not live too. Beyond that time it may have unread records (of
    a market that began during an outage of that partition's owner). For an import of old data that
    time lies far ahead and holds nothing back (decision 0100).
    """
    lowest: int | None = None
    known, seen = True, False
    for sp in sps:
        mark = marks.get(sp)
        if mark is None:
            known = False
            continue
        progress_ms = watermark_ms = mark.watermarks.get(market, NEVER_MS)
        if live or watermark_ms == NEVER_MS:
            progress_ms = max(watermark_ms, mark.caught_up_at or NEVER_MS)
        seen = seen or watermark_ms != NEVER_MS
        known = known and progress_ms != NEVER_MS
        lowest = progress_ms if lowest is None else min(lowest, progress_ms)
    return TopicProgress(lowest if known else None, seen)

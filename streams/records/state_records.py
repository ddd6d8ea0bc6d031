"""Records that workers keep for themselves: partials, checkpoints, level 2's table.

A worker ends at one that it cannot read: it may have taken the place of a record that counted. So
whoever looks after an installation must hear which record it is.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from streams.flow.chain import CheckpointRecord, decode_checkpoint, source_of
from streams.flow.compile import (
    BUYERS_KIND,
    FENCE_KIND,
    PARTS_KIND,
    SHIFTS_KIND,
    SHOWN_KIND,
    VINTAGE_KIND,
)
from streams.flow.day_buyers import decode_day_buyers
from streams.flow.daybook import decode_shown
from streams.flow.fence_record import decode_fence_record
from streams.flow.held_labels import decode_labels_part
from streams.flow.merged import DAY_KIND, LENGTH_MS, decode_merged
from streams.flow.shifts_record import decode_shifts
from streams.flow.vintages import decode_vintage
from streams.flow.wire import MarkKey, decode_mark, decode_partial, parse_key
from streams.records.kafka_logs import Stored
from streams.records.unreadable import UnreadableRecord, unreadable

DECODERS: dict[str, Callable[[bytes], object]] = {
    **dict.fromkeys((*LENGTH_MS, DAY_KIND), decode_merged),
    FENCE_KIND: decode_fence_record,
    VINTAGE_KIND: decode_vintage,
    SHIFTS_KIND: decode_shifts,
    SHOWN_KIND: decode_shown,
    BUYERS_KIND: decode_day_buyers,
    PARTS_KIND: decode_labels_part,
}
"""Kind of a record of level 2's table, as its key names it -> its decoder."""
_SLOTS = (*LENGTH_MS, DAY_KIND, VINTAGE_KIND, SHOWN_KIND, BUYERS_KIND)
"""Kinds whose keys name a slot or a day, a number, after the market."""


def refused_partial(stored: Stored) -> UnreadableRecord | None:
    """Return why a record of ``ecindex.partials`` is no row and no mark; None when it is one."""
    try:
        parsed = parse_key(stored.key or b"")
        if stored.value is not None:
            decode = decode_mark if isinstance(parsed, MarkKey) else decode_partial
            decode(stored.value)
    except (ValueError, msgspec.DecodeError) as error:
        return unreadable(stored, "a row or a mark", str(error))
    return None


def read_checkpoint(stored: Stored) -> CheckpointRecord | UnreadableRecord:
    """Decode a checkpoint, or return why it is none. A tombstone is no record of its own."""
    try:
        source_of(stored.key or b"")
        return decode_checkpoint(stored.value or b"")
    except (ValueError, msgspec.DecodeError) as error:
        return unreadable(stored, "a checkpoint", str(error))


def refused_table_record(stored: Stored) -> UnreadableRecord | None:
    """Return why a record of the merged changelog is none of level 2's table; None when it is one.

    A tombstone is no record of its own.
    """
    try:
        kind, _, *rest = (stored.key or b"").decode().split("|")
        if kind in _SLOTS:
            int(rest[0])
        DECODERS[kind](stored.value or b"")
    except (ValueError, LookupError, msgspec.DecodeError) as error:
        return unreadable(stored, "a record of level 2's table", f"{type(error).__name__}: {error}")
    return None

"""A record of ``ecindex.history``: a seed, or what an operator declared."""

from __future__ import annotations

from streams.index.history_records import HistoryError, decode_content, parse_key
from streams.records.kafka_logs import Stored
from streams.records.unreadable import UnreadableRecord, unreadable


def refused_history(stored: Stored) -> UnreadableRecord | None:
    """Return why a record of ``ecindex.history`` breaks its contract; None when it does not.

    Workers skip such a record and log it. ``FactorHistory`` skips it too, and its caller reports it.
    """
    try:
        _, kind = parse_key(stored.key or b"")
        if stored.value is not None:
            decode_content(kind, stored.value)
    except HistoryError as error:
        return unreadable(stored, "a seed, a factor or a reset", str(error))
    return None

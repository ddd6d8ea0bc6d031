"""A record of ``ecindex.history``: seeds, and what the operator said."""

from __future__ import annotations

from streams.index.history_records import HistoryError, decode_content, parse_key
from streams.records.kafka_logs import Stored
from streams.records.unreadable import UnreadableRecord, unreadable


def refused_history(stored: Stored) -> UnreadableRecord | None:
    """Say why a record is none of that topic; None: it is one.

    Workers pass over what they refuse and log it; so does ``FactorHistory``, whose caller says so.
    """
    try:
        _, kind = parse_key(stored.key or b"")
        if stored.value is not None:
            decode_content(kind, stored.value)
    except HistoryError as error:
        return unreadable(stored, "a seed or a factor", str(error))
    return None

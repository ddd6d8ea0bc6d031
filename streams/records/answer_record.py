"""A record of ``ecindex.answers``: what an operator said of an incident."""

from __future__ import annotations

from streams.index.answer_records import AnswerError, decode_answer
from streams.records.kafka_logs import Stored
from streams.records.unreadable import UnreadableRecord, unreadable


def refused_answer(stored: Stored) -> UnreadableRecord | None:
    """Return why a record of ``ecindex.answers`` breaks its contract; None when it does not.

    Workers skip such a record and log it. ``FactorHistory`` skips it too, and its caller reports it.
    """
    if stored.value is None:
        return None
    try:
        decode_answer(stored.key or b"", stored.value, stored.timestamp_ms)
    except AnswerError as error:
        return unreadable(stored, "an answer to an incident", str(error))
    return None

"""Whose word the timestamp of an input's record is, and which producers say that they send old events.

The broker's stamp (LogAppendTime) is believed. A producer's own (CreateTime) may be an hour off, so the
arrival watermark does not follow it far (flow/admission.py). An import stamps each record with its
event's time, years ago and with gaps of days. It says so in a header of the record. So whether a stamp
is believed is a function of the log, not of a setting that two workers could have different.
"""

from __future__ import annotations

from collections.abc import Iterable

ARRIVAL_HEADER = "arrival"
BY_PRODUCER = b"producer"
IMPORTED = ((ARRIVAL_HEADER, BY_PRODUCER),)
"""Headers of a record whose producer's stamp is to be believed."""
STAMPS_MS = range(4_102_444_800_000)
"""Timestamps that a record may have: from 1970 up to 2100, in ms. Once the watermark had followed a
producer that wrote microseconds, no calendar held what was published: each worker ended, one after
the other, for ever."""
LOG_APPEND_TIME = 1
"""Kafka's timestamp type of a record that the broker stamped."""


def is_doubtful(timestamp_type: int | None, headers: Iterable[tuple[str, bytes | None]]) -> bool:
    """Whether a record's stamp is its producer's word alone."""
    return timestamp_type != LOG_APPEND_TIME and IMPORTED[0] not in headers

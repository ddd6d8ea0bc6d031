"""How far a topic's partition is translated, as the changelog beside it says."""

from __future__ import annotations

import msgspec

from streams.index.formats import check_format, msgpack_reader

PROGRESS_KEY = b"progress"
"""Of the record in the changelog. Keys of orders have 16 bytes."""
FORMAT = 1
"""Of the changelog. Raise it when a record changes in a way that the version before would misread."""


class ReadProgress(msgspec.Struct, array_like=True, frozen=True):
    """The next record to translate. ``topic_id``: of the topic that it is in; empty: not known."""

    v: int
    topic_id: str
    next_offset: int


_decode = msgpack_reader(ReadProgress)
_encode = msgspec.msgpack.Encoder().encode


def encode_progress(topic_id: str, next_offset: int) -> bytes:
    """Return the value of the record."""
    return _encode(ReadProgress(FORMAT, topic_id, next_offset))


def decode_progress(value: bytes) -> ReadProgress:
    """Read the value of the record. Raises msgspec.DecodeError, FormatError for a newer format."""
    found = _decode(value)
    check_format(found.v, "what is kept of sources", FORMAT)
    return found

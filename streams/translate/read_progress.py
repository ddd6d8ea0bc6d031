"""How far a topic's partition is translated, as the changelog beside it says."""

from __future__ import annotations

import msgspec

PROGRESS_KEY = b"progress"
"""Of the record in the changelog. Keys of orders have 16 bytes."""
_FORMAT = 1


class ReadProgress(msgspec.Struct, array_like=True, frozen=True):
    """The next record to translate. ``topic_id``: of the topic that it is in; empty: not known."""

    topic_id: str
    next_offset: int
    format: int = _FORMAT


_decode = msgspec.msgpack.Decoder(ReadProgress).decode
_encode = msgspec.msgpack.Encoder().encode


def encode_progress(topic_id: str, next_offset: int) -> bytes:
    """Return the value of the record."""
    return _encode(ReadProgress(topic_id, next_offset))


def decode_progress(value: bytes) -> ReadProgress:
    """Read the value of the record. Raises ValueError for what another version wrote."""
    found = _decode(value)
    if found.format != _FORMAT:
        raise ValueError(f"expected progress of format {_FORMAT}, found {found.format}")
    return found

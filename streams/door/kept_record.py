"""One record that the door keeps, on its way to Kafka or on disk."""

from __future__ import annotations

from typing import NamedTuple


class KeptRecord(NamedTuple):
    """A record of a topic. ``topic``: its name; ``timestamp_ms``: when the door took it."""

    topic: str
    key: bytes
    value: bytes
    timestamp_ms: int
    headers: tuple[tuple[str, bytes], ...] = ()

"""The fence record: how far a market was published. A new owner must not fall behind it.

It is stored and published with each publication.
"""

from __future__ import annotations

import msgspec

from streams.flow.level_base import LevelRecord
from streams.flow.state import NEVER_MS


class FenceRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far a market was published: one record a market and writer (exactness rule 7)."""

    edition: int
    applied: int
    live: bool
    as_of: dict[str, int]
    first: dict[str, int]
    hours_until: int
    days_until: int
    horizon: int
    journaled: int = NEVER_MS
    partials_id: str = ""
    """Incarnation of the partials topic that ``applied`` is an offset of; empty: not known."""
    level: LevelRecord | None = None
    """The base of the level index; None: the market has none, or no record named it yet."""


encode_fence_record = msgspec.msgpack.Encoder().encode
decode_fence_record = msgspec.msgpack.Decoder(FenceRecord).decode

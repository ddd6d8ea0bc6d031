"""The fence record: how far a market was published. A new owner must not fall behind it.

It is stored and published with each publication.
"""

from __future__ import annotations

import msgspec

from streams.flow.level_base import LevelRecord
from streams.flow.state import NEVER_MS
from streams.index.formats import numbered_decoder, numbered_encoder


class FenceRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far a market was published: one record a market and writer (exactness rule 7)."""

    edition: int
    applied: int
    live: bool
    as_of: dict[str, int]
    """``as_of`` of each input topic, ms."""
    first: dict[str, int]
    hours_until: int
    days_until: int
    horizon: int
    journaled: int = NEVER_MS
    partials_id: str = ""
    """Incarnation of the partials topic that ``applied`` is an offset of; empty: not known."""
    generation: int = 0
    """How often the market's ``as_of`` was set back. A record of a lower one says nothing of it."""
    definitions: int = 0
    """Version of the market's definitions."""
    definitions_id: str = ""
    """Incarnation of the topic that the version is of; empty: of none, or not known."""
    headline: int = NEVER_MS
    """The market's ``as_of``: the least of those of ``joined``. Version 0.2 wrote none, and published
    the largest (``reached_ms``)."""
    joined: list[str] = []
    """Input topics that the headline waits for."""
    level: LevelRecord | None = None
    """The base of the level index; None: the market has none, or no record named it yet."""
    v: int = 0

    @property
    def reached_ms(self) -> int:
        """``as_of`` of the market as readers saw it; a later one may not be less."""
        if self.headline != NEVER_MS:
            return self.headline
        return max(self.as_of.values(), default=NEVER_MS)


encode_fence_record = numbered_encoder()
decode_fence_record = numbered_decoder(FenceRecord, "a fence record of the merged table")

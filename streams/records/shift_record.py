"""A record of ``ecindex.shifts`` (docs/contract.md), as its readers decode it."""

from __future__ import annotations

import msgspec

from streams.index.formats import json_decoder
from streams.index.values import VERSION
from streams.records.kafka_logs import Stored
from streams.records.unreadable import UnreadableRecord, unreadable


class PublishedShift(msgspec.Struct):
    """The fields of a record of ``ecindex.shifts`` that are read here."""

    market: str
    event: str
    at: str
    edition: int = 0
    dimension: str = ""
    member: str = ""
    number: int = 0
    phase: str = ""
    start: str = ""
    clock: str = ""
    v: int = VERSION

    @property
    def series(self) -> tuple[str, str]:
        """(dimension, member)."""
        return self.dimension, self.member


_decode_shift = json_decoder(PublishedShift, "a shift", VERSION)


def read_shift(stored: Stored) -> PublishedShift | UnreadableRecord:
    """Decode a record of the topic, or return why it breaks the contract."""
    try:
        return _decode_shift(stored.value or b"")
    except msgspec.DecodeError as error:
        return unreadable(stored, "a shift", str(error))

"""The table record of a market's detectors: what is kept of them, and how it becomes bytes.

The one record of a market must fit into one record of a topic, whatever is shifted and however long its
members' names are. A large one is packed: most of it are names, which come again and again.
"""

from __future__ import annotations

import zlib

import msgspec

from streams.flow.shift_watch import WatchRecord
from streams.index.formats import numbered_decoder, numbered_encoder
from streams.index.incidents import Incident
from streams.index.page_budget import PageLog

PACKED_FROM_BYTES = 1_000_000
"""Smaller records are kept as they are. With 680 quiet series a record has 0.9 MB."""
UNPACKED_MAX_BYTES = 16 * 1024 * 1024
"""A packed record that would become larger is none of ours."""
_PACKED = b"\x78"
"""First byte of what zlib has packed. A record is a map of msgpack, which never begins with it."""
_LEVEL = 1
"""The fastest: 40 ms for the largest record, which is written once a minute."""


class KeptShift(msgspec.Struct):
    """A shift found on final minutes, kept as long as expectations are learnt from its hours.

    Instants are minutes since the epoch, in parts to the pane.
    """

    dimension: str
    member: str
    number: int
    clock: str
    start: float
    found_at: float
    """End of the last minute, or pane, that was needed to find it."""
    end: float = 0
    """Minute after its last one; 0: it goes on."""
    relevelled_at: int = 0
    """Minute at which it was last looked at to be adopted; 0: it has not lasted a week."""
    ratio: int = 0
    """Ratio of the new level to the old, in units of 1 / SCALE, once it was adopted."""
    parts: list[tuple[str, str, int]] = []
    """For an adopted shift of the total: (dimension, member, the member's ratio over the total's)."""
    incident: str = ""
    """Id of the incident that it is part of; answers name it. Empty: found before incidents had ids."""


class ShiftsRecord(msgspec.Struct):
    """Table record of a market's detectors. ``days_until``: first local day not applied.

    ``definitions``: version of the definitions that its series are of.
    """

    watch: WatchRecord
    kept: list[KeptShift]
    days_until: int
    v: int = 0
    incidents: list[Incident] = []
    pages: PageLog = msgspec.field(default_factory=PageLog)
    generation: int = 0
    """Generation of the market's ``as_of`` (decision 0121) that these detectors follow."""
    teaching_ms: int = 0
    """Horizon of the ledger when the teaching of sizes began, which is under way; 0: it is not."""
    definitions: int = 0

    @property
    def rank(self) -> tuple[int, int, int]:
        """Of several records of a market the one of the largest rank counts.

        A clock that ran ahead wrote those of earlier generations. One of earlier definitions may have
        come further: its writer had not heard of the later ones.
        """
        return self.generation, self.definitions, self.watch.done_until


_encode = numbered_encoder()
_decode = numbered_decoder(ShiftsRecord, "detectors of the merged table")


def encode_shifts(record: ShiftsRecord) -> bytes:
    """Return the bytes of a record, packed where they are many."""
    encoded = _encode(record)
    return encoded if len(encoded) < PACKED_FROM_BYTES else zlib.compress(encoded, _LEVEL)


def decode_shifts(encoded: bytes) -> ShiftsRecord:
    """Return a record. Raises FormatError, and msgspec.DecodeError for what is no such record."""
    return _decode(_unpacked(encoded) if encoded[:1] == _PACKED else encoded)


def _unpacked(packed: bytes) -> bytes:
    unpacking = zlib.decompressobj()
    try:
        unpacked = unpacking.decompress(packed, UNPACKED_MAX_BYTES)
    except zlib.error as error:
        raise msgspec.DecodeError(f"a packed record of detectors is broken: {error}") from error
    if not unpacking.eof:
        raise msgspec.DecodeError("a packed record of detectors is cut off, or too large")
    return unpacked

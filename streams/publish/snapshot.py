"""Values encoded once, and the snapshot made from them: JSON of ``index.values.Snapshot``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from streams.index.values import Fence, Value, decimal
from streams.publish.ranking import rank_members

_encode_json = msgspec.json.Encoder().encode
_LEFT_OUT_BYTES = len(b'],"left_out":1000000}')


class EncodedValue(NamedTuple):
    """A value with its encoded forms, made once for as long as it does not change."""

    value: Value
    text: str | None
    encoded: bytes

    def differs(self, other: EncodedValue) -> bool:
        """True when a reader of the HASH would notice the difference; ``as_of`` alone does not count."""
        mine, theirs = self.value, other.value
        return (
            self.text != other.text
            or mine.status != theirs.status
            or mine.revision != theirs.revision
        )

    def change(self, field: str) -> bytes:
        """Element of the JSON array in a ``:changes`` entry."""
        return b'{"field":%b,"value":%b,"status":%b,"revision":%d}' % (
            _encode_json(field),
            b"null" if self.text is None else self.text.encode(),
            _encode_json(self.value.status),
            self.value.revision,
        )


def entry_of(value: Value) -> EncodedValue:
    """Entry of a value: the value, encoded."""
    text = None if value.value is None else decimal(value.value)
    return EncodedValue(value, text, _encode_json(value))


class Header(NamedTuple):
    """What a snapshot states before its values. Times are in RFC 3339."""

    market: str
    as_of: str
    published_at: str
    fence: Fence
    phase: str
    sources: dict[str, str]
    """``as_of`` of each source."""

    @property
    def published_at_offset(self) -> int:
        """Byte at which ``published_at`` begins. A heartbeat overwrites only that text."""
        return len(self._before_published_at())

    def encode(self) -> bytes:
        """JSON up to and including the bracket that opens the values."""
        return (
            b'%b%b","edition":%d,"generation":%d,"definitions":%d,"phase":%b,"sources":%b,'
            b'"values":['
        ) % (
            self._before_published_at(),
            self.published_at.encode(),
            self.fence.edition,
            self.fence.generation,
            self.fence.definitions,
            _encode_json(self.phase),
            _encode_json(self.sources),
        )

    def _before_published_at(self) -> bytes:
        return b'{"market":%b,"as_of":%b,"published_at":"' % (
            _encode_json(self.market),
            _encode_json(self.as_of),
        )


def encode_snapshot(
    header: Header, entries: Sequence[EncodedValue], bytes_max: int
) -> tuple[bytes, int]:
    """(JSON of at most ``bytes_max`` bytes, number of values that it has no room for)."""
    head = header.encode()
    room = bytes_max - len(head) - _LEFT_OUT_BYTES
    size = sum(len(entry.encoded) + 1 for entry in entries)
    kept = entries if size <= room else _largest(entries, room)
    left_out = len(entries) - len(kept)
    end = b'],"left_out":%d}' % left_out if left_out else b"]}"
    return head + b",".join([entry.encoded for entry in kept]) + end, left_out


def _largest(entries: Sequence[EncodedValue], room: int) -> list[EncodedValue]:
    """Values of the largest members: as many whole ranks as fit, in the order given."""
    ranks = rank_members(entry.value for entry in entries)

    def rank(entry: EncodedValue) -> int:
        return ranks.get((entry.value.dimension, entry.value.member), -1)

    sizes: dict[int, int] = {}
    for entry in entries:
        sizes[rank(entry)] = sizes.get(rank(entry), 0) + len(entry.encoded) + 1
    limit = -2
    for level in sorted(sizes):
        room -= sizes[level]
        if room < 0:
            break
        limit = level
    return [entry for entry in entries if rank(entry) <= limit]

"""Records of ``ecindex.definitions``: each is the whole document of a market, and who wrote it and why.

The topic has one partition. The version of a record is its offset + 1; 0 is the methodology's. A record
names the version that it builds upon. Of two that build upon the same one, the first in the log counts.

The key is ``market|base|NONCE``: no record takes another's place. A writer cannot know its version
beforehand, and with one key for two writers compaction would keep the one that lost.
"""

from __future__ import annotations

import msgspec

from streams.index.answer_records import AUTHOR_MAX, is_author
from streams.index.definition_mistakes import definition_mistakes
from streams.index.definitions import Definitions
from streams.index.formats import json_decoder
from streams.index.instants import parse_instant
from streams.index.panes import rfc3339
from streams.index.values import VERSION

REASON_MAX = 500
"""Longest reason, in characters."""
_SHOWN = 100
_KEY_PARTS = 3


class DefinitionsRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """One document as it is stored. ``written_at``: RFC 3339, by its writer's clock."""

    market: str
    base: int
    """Version that it builds upon: the market's when it was written."""
    read_to: int
    """Where the log ended for its writer: the next offset. All before it was read."""
    by: str
    reason: str
    written_at: str
    document: Definitions
    v: int = 0


class DefinitionsError(ValueError):
    """A record breaks the contract. The text says what was expected and what was found."""


_decode = json_decoder(DefinitionsRecord, "a definitions document", VERSION)
_encode = msgspec.json.Encoder().encode


def version_of_offset(offset: int) -> int:
    """Version of the record at an offset of the topic's own log."""
    return offset + 1


def definitions_record(
    document: Definitions, *, base: int, read_to: int, by: str, reason: str, at_ms: int, nonce: str
) -> tuple[bytes, bytes]:
    """(key, value) of a document. Raises DefinitionsError for one that would be refused."""
    record = DefinitionsRecord(
        document.market, base, read_to, by, reason, rfc3339(at_ms), document, VERSION
    )
    key, value = f"{record.market}|{base}|{nonce}".encode(), _encode(record)
    decode_definitions(key, value)
    return key, value


def market_of_key(key: bytes) -> str:
    """Market that a key names; it may be any text.

    >>> market_of_key(b"PK|4|a0b1")
    'PK'
    """
    return key.partition(b"|")[0].decode(errors="replace")


def decode_definitions(key: bytes, value: bytes) -> DefinitionsRecord:
    """Decode a record. Raises DefinitionsError when it breaks the contract, its document too."""
    try:
        record = _decode(value)
    except msgspec.DecodeError as error:
        raise DefinitionsError(f"key {key[:_SHOWN]!r}: {error}") from error
    wanted = [record.market, str(record.base)]
    if record.document.market != record.market:
        raise DefinitionsError(
            f"key {key[:_SHOWN]!r}: a document of market {record.document.market[:_SHOWN]!r}"
        )
    parts = key.decode(errors="replace").split("|")
    if len(parts) != _KEY_PARTS or parts[:2] != wanted:
        raise DefinitionsError(f"key {key[:_SHOWN]!r}: expected {'|'.join(wanted)[:_SHOWN]}|NONCE")
    if not 0 <= record.base <= record.read_to:
        raise DefinitionsError(
            f"base {record.base}: expected a version before read_to {record.read_to}"
        )
    if not is_author(record.by):
        raise DefinitionsError(f"by {record.by[:_SHOWN]!r}: expected 1 to {AUTHOR_MAX} characters")
    if not is_reason(record.reason):
        raise DefinitionsError(
            f"reason {record.reason[:_SHOWN]!r}: expected one line of 1 to {REASON_MAX} characters"
        )
    if parse_instant(record.written_at) is None:
        raise DefinitionsError(
            f"written_at {record.written_at[:_SHOWN]!r}: expected an RFC 3339 instant"
        )
    for mistake in definition_mistakes(record.document):
        raise DefinitionsError(mistake)
    return record


def is_reason(text: str) -> bool:
    """Return whether a text may be a reason: one printable line."""
    return 0 < len(text) <= REASON_MAX and text.isprintable() and text == text.strip()

"""Keys and bytes of ``ecindex.partials``: cumulative rows of level 1, and its marks.

Keys end in the writer's nonce, so that compaction never lets a zombie's row replace the new owner's
(sequence V4). Level 2 keeps the larger ``through`` over all writers.
"""

from __future__ import annotations

import zlib
from typing import NamedTuple

import msgspec

from streams.flow.chunk import SourcePartition
from streams.flow.state import SlotKey

MARK = "mark"


FOREIGN, EXPIRED = SKIPPED = ("foreign", "expired")
"""Why level 2 counts a record nowhere. Foreign: it is of another edition, or of a market of another
partition. Expired: it is of an hour or day that is no longer kept."""


class PartialRecord(msgspec.Struct, array_like=True):
    """A slot's cumulative row of one source partition, as of ``through``.

    ``shoppers``: sketch of the shoppers of a pane (``shoppers.ShopperSketch.to_bytes``).
    """

    edition: int
    through: int
    row: list[int | str]
    shoppers: bytes = b""


class MarkRecord(msgspec.Struct, omit_defaults=True):
    """Progress of one source partition: every row of its prefix was sent before this record.

    ``watermarks``: arrival watermark (ms) of each market of this partials partition that the prefix
    has seen. ``caught_up_at``: clock (ms) of the last fetch that showed nothing beyond ``through``.
    ``live``: those of the markets that any mark of this writer has shown live. Once is enough, and
    compaction keeps only the last of a writer's marks.
    """

    edition: int
    through: int
    watermarks: dict[str, int]
    caught_up_at: int | None
    sent_at: int
    live: list[str] = []


class PartialKey(NamedTuple):
    """Parsed key of a row in ``ecindex.partials``."""

    slot: SlotKey
    sp: SourcePartition
    writer: str


class MarkKey(NamedTuple):
    """Parsed key of a mark."""

    sp: SourcePartition
    writer: str


encode_partial = msgspec.msgpack.Encoder().encode
decode_partial = msgspec.msgpack.Decoder(PartialRecord).decode
decode_mark = msgspec.msgpack.Decoder(MarkRecord).decode


def partition_of(market: str, partitions: int) -> int:
    """Partials partition of a market: fixed for ever for a given number of partitions."""
    return zlib.crc32(market.encode()) % partitions


def partial_key(slot: SlotKey, sp: SourcePartition, writer: str) -> bytes:
    """``market|book|slot|topic-partition|writer``."""
    return f"{slot.market}|{slot.book}|{slot.slot}|{sp}|{writer}".encode()


def mark_key(sp: SourcePartition, writer: str) -> bytes:
    """``mark|topic-partition|writer``."""
    return f"{MARK}|{sp}|{writer}".encode()


def parse_key(key: bytes) -> PartialKey | MarkKey:
    """Key of a record of ``ecindex.partials``; ValueError when it is not one of ours."""
    parts = key.decode().split("|")
    if parts[0] == MARK:
        _, sp, writer = parts
        return MarkKey(_source(sp), writer)
    market, book, slot, sp, writer = parts
    return PartialKey(SlotKey(market, book, int(slot)), _source(sp), writer)


def _source(text: str) -> SourcePartition:
    topic, _, partition = text.rpartition("-")
    return SourcePartition(topic, int(partition))

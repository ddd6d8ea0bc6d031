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
from streams.index.formats import numbered_decoder, numbered_encoder
from streams.index.label_rows import PackedRow
from streams.index.panes import HOUR_MS

MARK = "mark"
LIVE_WITHIN_MS = HOUR_MS
"""A market is live once its events arrive within this time of now."""

FOREIGN, EXPIRED = SKIPPED = ("foreign", "expired")
"""Why level 2 counts a record nowhere. Foreign: it is of another edition or of a market of another
partition, or its key is none of ours. Expired: it is of an hour or day that is no longer kept."""


class PartialRecord(msgspec.Struct, array_like=True):
    """A slot's cumulative row of one source partition, as of ``through``: by label.

    ``shoppers``: sketch of the shoppers of a pane (``shoppers.ShopperSketch.to_bytes``).
    """

    edition: int
    through: int
    row: PackedRow
    shoppers: bytes = b""
    v: int = 0


class EncodedPartial(msgspec.Struct, array_like=True):
    """A ``PartialRecord`` whose row is left as it is stored."""

    edition: int
    through: int
    row: msgspec.Raw
    shoppers: bytes = b""
    v: int = 0


class MarkRecord(msgspec.Struct, omit_defaults=True):
    """Progress of one source partition: every row of its prefix was sent before this record.

    ``watermarks``: arrival watermark (ms) of each market of this partials partition that the prefix
    has seen. ``caught_up_at``: the log's time (ms) of the last fetch that showed nothing beyond
    ``through``. ``sent_at``: the log's time when it was sent; 0: not known then. ``live``: those of the
    markets that any mark of this writer has shown live. Once is enough, and compaction keeps only the
    last of a writer's marks. ``partitions``: how many the topic has, as its writer knew; 0: the writer
    did not say. ``partials_id``: incarnation of ``ecindex.partials`` that its writer sent every row to;
    empty: not known.
    """

    edition: int
    through: int
    watermarks: dict[str, int]
    caught_up_at: int | None
    sent_at: int
    live: list[str] = []
    v: int = 0
    partitions: int = 0
    partials_id: str = ""


class PartialKey(NamedTuple):
    """Parsed key of a row in ``ecindex.partials``."""

    slot: SlotKey
    sp: SourcePartition
    writer: str


class MarkKey(NamedTuple):
    """Parsed key of a mark."""

    sp: SourcePartition
    writer: str


def believed(mark: MarkRecord, stamped_ms: int | None) -> MarkRecord:
    """Return what of a mark the broker's stamp (ms) on its record bears out.

    Its writer knew nothing later than the stamp, whatever its clock said. One whose clock was an hour
    off cannot tell that a market is live: an import of 2017 was, to a worker that lived in 2017.
    ``stamped_ms`` None: no broker stamped it, so nothing that needs a clock is borne out.
    """
    if stamped_ms is None:
        return msgspec.structs.replace(mark, caught_up_at=None, live=[])
    caught_up_at, live = mark.caught_up_at, mark.live
    if caught_up_at is not None and caught_up_at > stamped_ms:
        caught_up_at = stamped_ms
    if live and abs(stamped_ms - mark.sent_at) > LIVE_WITHIN_MS:
        live = []
    if caught_up_at is mark.caught_up_at and live is mark.live:
        return mark
    return msgspec.structs.replace(mark, caught_up_at=caught_up_at, live=live)


encode_partial = numbered_encoder()
decode_partial = numbered_decoder(PartialRecord, "a row of partials")
decode_encoded_partial = numbered_decoder(EncodedPartial, "a row of partials")
decode_mark = numbered_decoder(MarkRecord, "a mark of partials")


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


def parsed_key(key: bytes) -> PartialKey | MarkKey | None:
    """Key of a record of ``ecindex.partials``; None when it is not one of ours.

    Somebody else's record then. It has taken no row's place, since compaction goes by key, so it may be
    passed over. A worker that ended at it would leave its markets without an owner for ever.
    """
    try:
        return parse_key(key)
    except ValueError:
        return None


def _source(text: str) -> SourcePartition:
    topic, _, partition = text.rpartition("-")
    return SourcePartition(topic, int(partition))

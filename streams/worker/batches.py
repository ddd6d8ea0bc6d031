"""Fast decoding of a fetch's batches into columns, straight from the bytes of the response.

aiokafka hides those bytes, so ``install`` makes its fetcher wrap them here first (a seam, with a
contract test). aiokafka itself decodes batches in a record format older than 2, which brokers before
0.11 wrote. Its checksum in software takes as long as everything else here; the library used instead
computes it with a processor instruction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from aiokafka import codec
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException, UnsupportedCodecError
from aiokafka.record.memory_records import MemoryRecords
from crc32c import crc32c

from streams.worker.transactions import AbortedTransactions, is_abort_marker
from streams.worker.unpacking import (
    UNPACKED_BYTES_MAX,
    UnpackedTooLargeError,
    gzip_decode,
    lz4_decode,
    zstd_decode,
)

try:
    from streams.worker import record_columns
except ImportError:  # the installation had no compiler
    COMPILED = False
else:
    COMPILED = True

TOO_LARGE = b"<not read: its batch unpacks to more than %d bytes>" % UNPACKED_BYTES_MAX
"""Replaces each record of a batch too large to unpack. It is no JSON, so it becomes a dead letter."""

_FORMAT = 2
_CODEC, _APPEND_TIME, _TRANSACTIONAL, _CONTROL = 0x07, 0x08, 0x10, 0x20
_CHECKED_FROM = 21
_PRODUCER = 43
_UNPACK: Final[dict[int, Callable[[Any], Any]]] = {
    1: gzip_decode,
    2: codec.snappy_decode,
    3: lz4_decode,
    4: zstd_decode,
}


@dataclass(slots=True)
class RecordColumns:
    """Records of one fetch, as one column per field."""

    keys: list[bytes | None] = field(default_factory=list)
    values: list[bytes | None] = field(default_factory=list)
    timestamps: list[int] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    by_broker: bool = True
    """Whether the broker stamped all of them (LogAppendTime)."""
    doubtful: bytearray | None = None
    """One byte a record, as ``Chunk.doubtful``; behind its end are records that the broker stamped."""

    def doubts(self) -> bytearray:
        """Return ``doubtful``, which reaches as far as the other columns."""
        if self.doubtful is None:
            self.doubtful = bytearray()
        self.doubtful.extend(bytes(len(self.offsets) - len(self.doubtful)))
        return self.doubtful

    def set_aside(self, offsets: range, timestamp_ms: int) -> None:
        """Put ``TOO_LARGE`` in place of each record of a batch: each becomes a dead letter."""
        self.offsets += offsets
        self.keys += [None] * len(offsets)
        self.values += [TOO_LARGE] * len(offsets)
        self.timestamps += [timestamp_ms] * len(offsets)


class RawRecords:
    """aiokafka's MemoryRecords of a fetch, with the bytes from which they are read."""

    __slots__ = ("_records", "data")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._records = MemoryRecords(data)

    def has_next(self) -> bool:
        """Return whether a whole batch is left."""
        return bool(self._records.has_next())

    def next_batch(self) -> Any:
        """Return the next batch, as aiokafka reads it."""
        return self._records.next_batch()

    def size_in_bytes(self) -> int:
        """Return the size of the fetch in bytes."""
        return len(self.data)


def install() -> None:
    """Make aiokafka's fetcher keep the bytes, in this process for good; repeated calls are safe."""
    if COMPILED:
        fetcher.MemoryRecords = RawRecords


def read_batches(
    data: bytes,
    columns: RecordColumns,
    next_offset: int,
    where: object,
    *,
    check_crcs: bool,
    aborted: AbortedTransactions | None = None,
) -> int | None:
    """Fill the columns from ``next_offset`` on; return the offset after the last batch.

    ``aborted``: None when the broker listed no aborted transaction. Returns None when a batch has an
    older format; discard the columns then. Raises CorruptRecordException, whose message names
    ``where``.
    """
    at = 0
    view = memoryview(data)
    while (head := record_columns.head(data, at)) is not None:
        end, magic, crc, attributes, first_offset, behind, first_ms, max_ms, count = head
        if magic != _FORMAT:
            return None
        if check_crcs and crc32c(view[at + _CHECKED_FROM : end]) != crc:
            raise CorruptRecordException(f"Invalid CRC - {where} near offset {next_offset}")
        wanted = not attributes & _CONTROL
        if aborted is not None and attributes & _TRANSACTIONAL:
            wanted = not _is_left_out(view[at:end], attributes, behind - 1, count, aborted)
        if wanted:
            doubtful = None
            if not attributes & _APPEND_TIME:
                columns.by_broker = False
                doubtful = columns.doubts()
            payload: Any = view[at + record_columns.HEADER_BYTES : end]
            try:
                if attributes & _CODEC:
                    payload = _unpack(attributes & _CODEC, payload)
            except UnpackedTooLargeError:
                columns.set_aside(range(max(first_offset, next_offset), behind), max_ms)
            else:
                record_columns.read(
                    payload,
                    count,
                    first_offset,
                    first_ms,
                    max_ms if attributes & _APPEND_TIME else None,
                    next_offset,
                    columns.offsets,
                    columns.keys,
                    columns.values,
                    columns.timestamps,
                    doubtful,
                )
        next_offset = max(next_offset, behind)
        at = end
    return next_offset


def _is_left_out(
    batch: memoryview, attributes: int, last_offset: int, count: int, aborted: AbortedTransactions
) -> bool:
    """Whether a transactional batch is a marker, or of an aborted transaction."""
    producer_id = int.from_bytes(batch[_PRODUCER : _PRODUCER + 8], signed=True)
    if not attributes & _CONTROL:
        return aborted.includes(producer_id, last_offset)
    keys: list[bytes | None] = []
    record_columns.read(
        batch[record_columns.HEADER_BYTES :], count, 0, 0, None, 0, [], keys, [], [], None
    )
    if any(is_abort_marker(key) for key in keys):
        aborted.end(producer_id, last_offset)
    return True


def _unpack(number: int, payload: Any) -> Any:
    unpack = _UNPACK.get(number)
    if unpack is None:
        raise UnsupportedCodecError(f"compression codec {number}: 1 to 4 are known")
    return unpack(payload)

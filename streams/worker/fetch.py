"""Turns one partition's fetch response into chunks, without an object per record.

`ChunkRecords` replaces aiokafka's PartitionRecords and reads the batches directly: no ConsumerRecord
and no generator resumption per record. It also knows where the fetch began and what the batches
covered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiokafka.consumer.fetcher import FetchResult, PartitionRecords
from aiokafka.errors import CorruptRecordException

from streams.flow.chunk import Chunk, SourcePartition
from streams.index.stamps import LOG_APPEND_TIME, is_doubtful
from streams.worker.batches import COMPILED, RawRecords, RecordColumns, read_batches
from streams.worker.transactions import AbortedTransactions, is_abort_marker
from streams.worker.unpacking import UnpackedTooLargeError

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Part(RecordColumns):
    """Columns of one fetch, filled batch by batch."""

    def chunks(
        self, sp: SourcePartition, fetch_offset: int, next_offset: int, limit: int
    ) -> Iterator[Chunk]:
        """Cut the columns into chunks that cover ``fetch_offset`` up to ``next_offset``."""
        count = len(self.offsets)
        doubtful = self.doubts() if self.doubtful and 1 in self.doubtful else None
        covered_from: int | None = fetch_offset
        if count == 0:
            # A stretch without records (transaction markers, compacted batches) is progress too:
            # without a chunk for it the state would never reach the log's end.
            if next_offset > fetch_offset:
                yield Chunk(sp, fetch_offset, next_offset - 1, (), (), (), None, fetch_offset)
            return
        for start in range(0, count, limit):
            stop = min(start + limit, count)
            # A chunk also covers the gap behind it. So only a fetch's first chunk can begin with a
            # gap, and its fetch_offset shows it.
            end = self.offsets[stop] if stop < count else next_offset
            first = self.offsets[start]
            dense = self.offsets[stop - 1] - first == stop - start - 1
            whole = start == 0 and stop == count
            yield Chunk(
                sp,
                first,
                end - 1,
                self.keys if whole else self.keys[start:stop],
                self.values if whole else self.values[start:stop],
                self.timestamps if whole else self.timestamps[start:stop],
                None if dense else self.offsets[start:stop],
                covered_from,
                self.by_broker,
                doubtful if whole or doubtful is None else doubtful[start:stop],
            )
            covered_from = None


class ChunkRecords(PartitionRecords):  # type: ignore[misc]
    """A fetch result that iterates over chunks instead of records."""

    def __init__(self, records: PartitionRecords, limit: int, base: int = 0) -> None:
        """``base``: what to add to the log's own offsets (flow/incarnation.py)."""
        # super().__init__ is deliberately not called: it makes a generator over self. One that is
        # never started (a seek dropped its fetch) keeps a megabyte of buffer alive in a cycle.
        self._tp = records._tp
        self._records = records._records
        self._check_crcs = records._check_crcs
        self._aborted = records._aborted_transactions
        self._limit = limit
        self._base = base
        self._chunks: Iterator[Chunk] | None = None
        self.next_fetch_offset = records.next_fetch_offset
        records._records_iterator = None
        records._records = None

    def __next__(self) -> Chunk:
        """Return the next chunk; the first call decodes the whole fetch."""
        if self._chunks is None:
            self._chunks = self._decode()
        return next(self._chunks)

    def _decode(self) -> Iterator[Chunk]:
        fetch_offset = next_offset = self.next_fetch_offset
        part = _Part()
        batches, self._records = self._records, None
        read: int | None = None
        if COMPILED and isinstance(batches, RawRecords):
            read = read_batches(
                batches.data,
                part,
                next_offset,
                self._tp,
                check_crcs=self._check_crcs,
                aborted=self._aborted_transactions(),
            )
        if read is None:
            part = _Part()
            read = self._read_with_aiokafka(batches, part, next_offset)
        self.next_fetch_offset = read
        sp = SourcePartition(self._tp.topic, self._tp.partition)
        base = self._base
        if base:
            part.offsets = [offset + base for offset in part.offsets]
        return part.chunks(sp, fetch_offset + base, read + base, self._limit)

    def _aborted_transactions(self) -> AbortedTransactions | None:
        return AbortedTransactions(self._aborted) if self._aborted else None

    def _read_with_aiokafka(self, batches: Any, part: _Part, next_offset: int) -> int:
        """Fill the columns through aiokafka's objects; return the offset after the last batch."""
        aborted = self._aborted_transactions()
        while batches.has_next():
            batch = batches.next_batch()
            if self._check_crcs and not batch.validate_crc():
                raise CorruptRecordException(f"Invalid CRC - {self._tp} near offset {next_offset}")
            if aborted is not None and batch.is_transactional and _is_aborted(batch, aborted):
                next_offset = max(next_offset, batch.next_offset)
                continue
            if not batch.is_control_batch:
                try:
                    records = list(batch)
                except UnpackedTooLargeError:
                    offsets = range(max(batch.base_offset, next_offset), batch.next_offset)
                    part.set_aside(offsets, batch.max_timestamp)
                    records = []
                stamps = {record.timestamp_type for record in records}
                part.by_broker &= stamps == {LOG_APPEND_TIME}
                # A fetch may begin in the middle of a batch: the broker sends whole batches.
                if records and records[0].offset < next_offset:
                    records = [record for record in records if record.offset >= next_offset]
                flags = [is_doubtful(each.timestamp_type, each.headers) for each in records]
                if any(flags):
                    part.doubts().extend(flags)
                part.offsets += [record.offset for record in records]
                part.keys += [record.key for record in records]
                part.values += [record.value for record in records]
                # Under LogAppendTime aiokafka already gives a record its batch's maxTimestamp.
                part.timestamps += [record.timestamp for record in records]
            next_offset = max(next_offset, batch.next_offset)
        return next_offset


def _is_aborted(batch: Any, aborted: AbortedTransactions) -> bool:
    """Whether a transactional batch holds records of an aborted transaction."""
    last_offset = batch.next_offset - 1
    if not batch.is_control_batch:
        return aborted.includes(batch.producer_id, last_offset)
    if any(is_abort_marker(record.key) for record in batch):
        aborted.end(batch.producer_id, last_offset)
    return False


def chunk_records(result: Any, limit: int, base: int = 0) -> None:
    """Make a buffered fetch result yield chunks (the raw-fetch seam)."""
    if type(result) is FetchResult and type(result._partition_records) is PartitionRecords:
        result._partition_records = ChunkRecords(result._partition_records, limit, base)

"""Kafka record batches as bytes, without a broker."""

from __future__ import annotations

import struct

from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import TopicPartition

TP = TopicPartition("orders", 1)
original_wrap = MemoryRecords
"""Wraps the bytes of a fetch; the fixture ``each_reader`` sets it."""

ATTRIBUTES, LAST_DELTA, MAX_TIMESTAMP, CRC, LENGTH, PRODUCER = 21, 23, 35, 17, 8, 43


def record_batch(
    base_offset, records, *, timestamps=None, codec=0, deltas=None, last=None, headers=()
):
    """A v2 batch; ``deltas`` leaves offsets out (compaction), ``last`` is its last offset.

    ``headers``: those of each record; missing ones have none.
    """
    builder = DefaultRecordBatchBuilder(2, codec, 0, -1, -1, 0, 2**31 - 1)
    for number, (key, value) in enumerate(records):
        delta = number if deltas is None else deltas[number]
        at = 1000 if timestamps is None else timestamps[number]
        own = list(headers[number]) if number < len(headers) else []
        builder.append(delta, timestamp=at, key=key, value=value, headers=own)
    batch = bytearray(builder.build())
    struct.pack_into(">q", batch, 0, base_offset)
    if last is not None:
        struct.pack_into(">i", batch, LAST_DELTA, last - base_offset)
    return resealed(batch)


def log_append_time(batch, max_timestamp):
    batch = bytearray(batch)
    batch[ATTRIBUTES + 1] |= 0x08
    struct.pack_into(">q", batch, MAX_TIMESTAMP, max_timestamp)
    return resealed(batch)


def control(batch):
    batch = bytearray(batch)
    batch[ATTRIBUTES + 1] |= 0x30
    return resealed(batch)


def transactional(batch, producer_id):
    batch = bytearray(batch)
    batch[ATTRIBUTES + 1] |= 0x10
    struct.pack_into(">q", batch, PRODUCER, producer_id)
    return resealed(batch)


def marker(offset, producer_id, *, aborts):
    """The control batch that ends a producer's transaction."""
    record = (struct.pack(">hh", 0, 0 if aborts else 1), b"\0" * 6)
    return transactional(control(record_batch(offset, [record])), producer_id)


def resealed(batch):
    struct.pack_into(">I", batch, CRC, calc_crc32c(memoryview(batch)[ATTRIBUTES:]))
    return bytes(batch)


def fetched(buffer, fetch_offset=0, *, aborted=(), wrap=None, check_crcs=True):
    """A buffered fetch of ``TP``, as aiokafka's fetcher makes it when it reads committed."""
    records = (wrap or original_wrap)(buffer)
    return PartitionRecords(
        TP, records, aborted, fetch_offset, None, None, check_crcs, READ_COMMITTED
    )

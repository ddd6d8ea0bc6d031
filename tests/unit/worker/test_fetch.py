"""From batches to chunks: what they cover, in what sizes, and what they leave out."""

from __future__ import annotations

import gc
import random
import weakref

import pytest
from aiokafka.consumer.fetcher import READ_COMMITTED, READ_UNCOMMITTED
from aiokafka.errors import CorruptRecordException
from aiokafka.record.memory_records import MemoryRecords
from support.batches import control, fetched, log_append_time, record_batch

from streams.flow.chunk import SourcePartition
from streams.worker import batches
from streams.worker.fetch import ChunkRecords

pytestmark = pytest.mark.usefixtures("each_reader")

GZIP, SNAPPY, LZ4, ZSTD = 1, 2, 3, 4


def values(*numbers):
    return [(b"k%d" % n, b"v%d" % n) for n in numbers]


def parent(buffer, fetch_offset=0, isolation=READ_UNCOMMITTED):
    return fetched(buffer, fetch_offset, isolation=isolation)


def decode(buffer, fetch_offset=0, limit=100):
    records = ChunkRecords(parent(buffer, fetch_offset), limit)
    return list(records), records


def span(chunk):
    return (chunk.fetch_offset, chunk.first_offset, chunk.last_offset, len(chunk))


def test_a_fetch_becomes_columns():
    (chunk,), records = decode(record_batch(5, values(1, 2, 3), timestamps=[10, 20, 30]), 5)
    assert chunk.sp == SourcePartition("orders", 1)
    assert chunk.keys == [b"k1", b"k2", b"k3"]
    assert chunk.values == [b"v1", b"v2", b"v3"]
    assert chunk.timestamps_ms == [10, 20, 30]
    assert (chunk.offsets, *span(chunk)) == (None, 5, 5, 7, 3)
    assert records.next_fetch_offset == 8


def test_log_append_time_gives_every_record_the_batchs_maximum():
    batch = record_batch(0, values(1, 2), timestamps=[10, 20])
    (chunk,), _ = decode(log_append_time(batch, 99))
    assert chunk.timestamps_ms == [99, 99]


@pytest.mark.parametrize("codec", [GZIP, SNAPPY, LZ4, ZSTD])
def test_compressed_batches_decode(codec):
    (chunk,), _ = decode(record_batch(0, values(*range(50)), codec=codec))
    assert chunk.values[-1] == b"v49"


def test_a_fetch_that_begins_inside_a_batch_leaves_out_what_is_before_it():
    (chunk,), _ = decode(record_batch(0, values(*range(10))), fetch_offset=7)
    assert span(chunk) == (7, 7, 9, 3)


def test_many_batches_become_chunks_of_the_limit_and_only_the_first_tells_the_fetch():
    buffer = record_batch(0, values(*range(7))) + record_batch(7, values(*range(5)))
    chunks, _ = decode(buffer, limit=5)
    assert [span(c) for c in chunks] == [(0, 0, 4, 5), (None, 5, 9, 5), (None, 10, 11, 2)]


def test_gaps_inside_a_batch_keep_an_offset_a_record():
    batch = record_batch(10, values(1, 2, 3), deltas=[0, 4, 5], last=19)
    (chunk,), records = decode(batch, 10)
    assert (chunk.offsets, *span(chunk)) == ([10, 14, 15], 10, 10, 19, 3)
    assert records.next_fetch_offset == 20


def test_a_chunk_covers_the_gap_behind_it_so_that_the_next_one_is_contiguous():
    buffer = record_batch(0, values(1, 2)) + record_batch(50, values(3, 4))
    chunks, _ = decode(buffer, limit=2)
    assert [span(c) for c in chunks] == [(0, 0, 49, 2), (None, 50, 51, 2)]
    assert [c.offsets for c in chunks] == [None, None]


def test_control_batches_hold_no_records_and_are_covered():
    marker = control(record_batch(3, values(0)))
    chunks, _ = decode(record_batch(0, values(1, 2, 3)) + marker + record_batch(4, values(4)))
    assert [span(c) for c in chunks] == [(0, 0, 4, 4)]
    assert chunks[0].offsets == [0, 1, 2, 4]
    chunks, records = decode(marker, 3)
    assert [span(c) for c in chunks] == [(3, 3, 3, 0)]
    assert records.next_fetch_offset == 4


def test_the_position_moves_only_when_chunks_are_taken():
    """aiokafka compares it with the position to tell a result that a seek made stale."""
    records = ChunkRecords(parent(record_batch(0, values(1, 2))), 10)
    assert records.next_fetch_offset == 0
    next(records)
    assert records.next_fetch_offset == 2


def test_a_broken_batch_is_named_by_its_partition_and_offset():
    buffer = bytearray(record_batch(0, values(1, 2)))
    buffer[-1] ^= 0xFF
    with pytest.raises(CorruptRecordException, match="orders"):
        decode(bytes(buffer))


def test_a_result_that_is_never_read_frees_its_buffer_at_once():
    """Its parent's unstarted generator made a cycle around a megabyte: 942 MB of them."""
    gc.disable()
    try:
        records = ChunkRecords(parent(record_batch(0, values(1))), 10)
        gone = weakref.ref(records)
        del records
        assert gone() is None
    finally:
        gc.enable()


def test_read_committed_is_refused_rather_than_read_wrongly():
    with pytest.raises(NotImplementedError):
        ChunkRecords(parent(record_batch(0, values(1)), isolation=READ_COMMITTED), 10)


def outcome(buffer, wrap):
    """Columns of a fetch without checksums, or None when the reader refused it."""
    records = fetched(buffer, wrap=wrap, check_crcs=False)
    try:
        (chunk,) = ChunkRecords(records, 100)
    except (CorruptRecordException, ValueError, AssertionError):
        return None
    return chunk.offsets, chunk.keys, chunk.values, chunk.timestamps_ms


@pytest.mark.skipif(not batches.COMPILED, reason="no compiler at installation")
def test_any_damage_is_refused_or_read_alike_by_both_readers():
    """The checksum is off: what it would catch must still not be read as something else."""
    dice = random.Random(11)
    whole = record_batch(0, values(*range(20)), timestamps=list(range(20)))
    alike = 0
    for _ in range(3_000):
        buffer = bytearray(whole)
        for _ in range(dice.randint(1, 3)):
            buffer[dice.randrange(57, len(buffer))] = dice.randrange(256)
        theirs = outcome(bytes(buffer), MemoryRecords)
        ours = outcome(bytes(buffer), batches.RawRecords)
        if theirs is not None and ours is not None:
            assert ours == theirs
            alike += 1
    assert alike > 500


def test_a_cut_batch_at_the_end_is_left_for_the_next_fetch():
    whole = record_batch(0, values(1, 2)) + record_batch(2, values(3))
    (chunk,), records = decode(whole[:-1])
    assert (chunk.values, records.next_fetch_offset) == ([b"v1", b"v2"], 2)


def test_an_older_format_is_read_aiokafkas_way():
    from aiokafka.record.legacy_records import LegacyRecordBatchBuilder

    builder = LegacyRecordBatchBuilder(1, 0, 1_000)
    for number in range(3):
        builder.append(number, 77, b"k", b"v%d" % number)
    (chunk,), records = decode(bytes(builder.build()))
    assert (chunk.values, list(chunk.timestamps_ms)) == ([b"v0", b"v1", b"v2"], [77] * 3)
    assert records.next_fetch_offset == 3

"""From batches to chunks: what they cover, in what sizes, and what they leave out."""

from __future__ import annotations

import gc
import random
import weakref

import pytest
from aiokafka.errors import CorruptRecordException
from aiokafka.record.memory_records import MemoryRecords
from support.batches import (
    control,
    fetched,
    log_append_time,
    marker,
    record_batch,
    transactional,
)

from streams.flow.chunk import SourcePartition
from streams.index.stamps import IMPORTED
from streams.worker import batches
from streams.worker.fetch import ChunkRecords

pytestmark = pytest.mark.usefixtures("each_reader")

GZIP, SNAPPY, LZ4, ZSTD = 1, 2, 3, 4


def values(*numbers):
    return [(b"k%d" % n, b"v%d" % n) for n in numbers]


def decode(buffer, fetch_offset=0, limit=100, aborted=()):
    records = ChunkRecords(fetched(buffer, fetch_offset, aborted=aborted), limit)
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
    records = ChunkRecords(fetched(record_batch(0, values(1, 2))), 10)
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
        records = ChunkRecords(fetched(record_batch(0, values(1))), 10)
        gone = weakref.ref(records)
        del records
        assert gone() is None
    finally:
        gc.enable()


def test_a_chunk_says_whether_the_broker_stamped_all_of_it():
    stamped = log_append_time(record_batch(0, values(1)), 99)
    assert decode(stamped)[0][0].by_broker
    assert not decode(stamped + record_batch(1, values(2)))[0][0].by_broker


HEADERS = {
    "none": (),
    "an import": IMPORTED,
    "an import among others": (("trace", b"1"), ("", b""), ("empty", None), *IMPORTED),
    "said of the broker": (("arrival", b"broker"),),
    "said of nobody": (("arrival", None),),
    "another name": (("arrivals", b"producer"), ("arriva", b"producer")),
    "more than it": (("arrival", b"producers"),),
}


def test_a_chunk_says_whose_stamps_are_a_producers_word_alone():
    headers = list(HEADERS.values())
    (chunk,), _ = decode(record_batch(0, values(*range(len(headers))), headers=headers))
    assert dict(zip(HEADERS, chunk.doubtful, strict=True)) == {
        name: name not in ("an import", "an import among others") for name in HEADERS
    }


def test_a_tombstones_headers_are_read_too():
    records = [(b"k", None), (None, b""), (b"k", b"v")]
    (chunk,), _ = decode(record_batch(0, records, headers=[IMPORTED] * 2))
    assert list(chunk.doubtful) == [0, 0, 1]


def test_of_an_import_nothing_is_doubtful():
    (chunk,), _ = decode(record_batch(0, values(1, 2), headers=[IMPORTED] * 2))
    assert chunk.doubtful is None
    assert not chunk.is_doubtful(1)


@pytest.mark.parametrize("limit", [1, 2, 100])
def test_whose_stamp_is_doubtful_is_a_matter_of_its_batch_and_not_of_the_fetch(limit):
    """One fetch holds batches that the broker stamped and others, as a topic's config changes."""
    own, imported = record_batch(2, values(2)), record_batch(4, values(4, 5), headers=[IMPORTED])
    buffer = log_append_time(record_batch(0, values(0, 1)), 9) + own
    buffer += log_append_time(record_batch(3, values(3)), 9) + imported
    chunks, _ = decode(buffer + log_append_time(record_batch(6, values(6)), 9), limit=limit)
    flags = [chunk.is_doubtful(at) for chunk in chunks for at in range(len(chunk))]
    assert flags == [False, False, True, False, False, True, False]


def test_where_the_broker_stamps_nobody_is_asked():
    (chunk,), _ = decode(log_append_time(record_batch(0, values(1, 2)), 9))
    assert chunk.doubtful is None


def test_aborted_batches_are_left_out_and_covered():
    buffer = (
        record_batch(0, values(0))
        + transactional(record_batch(1, values(1, 2)), 7)
        + marker(3, 7, aborts=True)
        + transactional(record_batch(4, values(4)), 7)
        + marker(5, 7, aborts=False)
    )
    (chunk,), records = decode(buffer, aborted=[(7, 1)])
    assert (chunk.values, chunk.offsets, chunk.last_offset) == ([b"v0", b"v4"], [0, 4], 5)
    assert records.next_fetch_offset == 6


def test_a_fetch_of_nothing_but_an_aborted_transaction_is_progress():
    """It began before the fetch: the broker lists it with an offset that is not in the response."""
    buffer = transactional(record_batch(10, values(1, 2)), 7) + marker(12, 7, aborts=True)
    chunks, records = decode(buffer, 11, aborted=[(7, 3)])
    assert [span(c) for c in chunks] == [(11, 11, 12, 0)]
    assert records.next_fetch_offset == 13


def test_only_the_batches_of_its_producer_are_aborted():
    buffer = (
        transactional(record_batch(0, values(0)), 7)
        + transactional(record_batch(1, values(1)), 8)
        + record_batch(2, values(2))
        + marker(3, 7, aborts=True)
        + marker(4, 8, aborts=False)
    )
    (chunk,), _ = decode(buffer, aborted=[(7, 0)])
    assert chunk.values == [b"v1", b"v2"]


def transactions(dice):
    """A log of interleaved transactions: (batches with their first offsets, what counts, aborted).

    ``aborted``: (producer id, first offset, offset of the marker), as the broker's index has them.
    """
    batches, counted, aborted = [], set(), []
    begun = {}
    offset = 0
    for _ in range(dice.randint(5, 25)):
        producer_id = dice.choice((0, 0, 7, 8, 9))
        if producer_id in begun and dice.random() < 0.4:
            first, offsets = begun.pop(producer_id)
            aborts = dice.random() < 0.6
            batches.append((offset, marker(offset, producer_id, aborts=aborts)))
            if aborts:
                aborted.append((producer_id, first, offset))
            else:
                counted.update(offsets)
            offset += 1
            continue
        offsets = range(offset, offset + dice.randint(1, 4))
        batch = record_batch(offset, values(*offsets), codec=dice.choice((0, LZ4)))
        if producer_id == 0:
            counted.update(offsets)
        else:
            batch = transactional(batch, producer_id)
            first, before = begun.get(producer_id, (offset, []))
            begun[producer_id] = (first, [*before, *offsets])
        batches.append((offset, batch))
        offset = offsets[-1] + 1
    stable = min((first for first, _ in begun.values()), default=offset)
    return [b for b in batches if b[0] < stable], {o for o in counted if o < stable}, aborted


def test_any_interleaving_of_transactions_is_read_as_the_protocol_says_from_any_offset():
    dice = random.Random(16)
    for _ in range(400):
        batches, counted, aborted = transactions(dice)
        if not batches:
            continue
        end = batches[-1][0] + 1
        fetch_offset = dice.randint(0, end - 1)
        sent = [
            batch
            for (_, batch), after in zip(batches, [o for o, _ in batches[1:]] + [None], strict=True)
            if after is None or after > fetch_offset
        ]
        listed = [(who, first) for who, first, last in aborted if last >= fetch_offset]
        dice.shuffle(listed)
        chunks, _ = decode(b"".join(sent), fetch_offset, aborted=listed)
        got = [chunk.offset_at(at) for chunk in chunks for at in range(len(chunk))]
        assert got == sorted(o for o in counted if o >= fetch_offset)
        theirs = list(fetched(b"".join(sent), fetch_offset, aborted=listed, wrap=MemoryRecords))
        assert got == [record.offset for record in theirs]


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

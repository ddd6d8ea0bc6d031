"""Only the record after the last folded one: lower dropped, higher re-sought, log gaps accepted."""

from __future__ import annotations

import random

import pytest

from streams.flow.chunk import Chunk, SourcePartition
from streams.worker.contiguity import Guard, offset_after, trim

SP = SourcePartition("orders", 3)


def chunk(*offsets, last=None, fetch=None):
    """A chunk whose values are its records' offsets."""
    dense = list(offsets) == list(range(offsets[0], offsets[-1] + 1)) if offsets else True
    return Chunk(
        SP,
        offsets[0] if offsets else fetch,
        offsets[-1] if last is None else last,
        [b"k"] * len(offsets),
        [b"%d" % offset for offset in offsets],
        [1000] * len(offsets),
        None if dense else list(offsets),
        fetch,
    )


def read(part):
    return None if part is None else [int(value) for value in part.values]


class Clock:
    now = 0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def sought():
    return []


@pytest.fixture
def guard(sought, clock):
    made = Guard(sought.append, retry_ms=2000, clock=clock)
    made.open(SP, 10)
    return made


def test_the_next_offset_is_one_after_what_is_included():
    assert offset_after(9) == 10


def test_what_follows_is_accepted_and_only_the_fold_moves_on(guard):
    first = chunk(10, 11, 12)
    assert read(guard.accept(first)) == [10, 11, 12]
    assert read(guard.accept(first)) == [10, 11, 12], "not folded yet"
    guard.advance(SP, 12)
    assert guard.accept(first) is None
    assert read(guard.accept(chunk(13))) == [13]


def test_a_lower_chunk_is_dropped_and_an_overlapping_one_trimmed(guard, sought):
    assert guard.accept(chunk(7, 8, 9)) is None
    assert read(guard.accept(chunk(8, 9, 10, 11))) == [10, 11]
    assert sought == []


def test_a_higher_chunk_is_dropped_and_sought_again_once(guard, sought, clock):
    assert guard.accept(chunk(12, 13)) is None
    assert guard.accept(chunk(14, 15)) is None, "queued behind the hole"
    assert sought == [SP]
    clock.now = 2000
    assert guard.accept(chunk(16)) is None, "the seek has not helped within its time"
    assert sought == [SP, SP]
    assert read(guard.accept(chunk(10, 11))) == [10, 11]
    guard.advance(SP, 11)
    assert guard.accept(chunk(20)) is None, "a new hole is sought at once"
    assert len(sought) == 3


def test_a_gap_counts_as_the_logs_only_when_the_fetch_began_where_the_state_ends(guard, sought):
    assert guard.accept(chunk(12, 13)) is None
    assert guard.accept(chunk(12, 13, fetch=11)) is None
    assert read(guard.accept(chunk(12, 13, fetch=10))) == [12, 13]
    assert read(guard.accept(chunk(12, 13, fetch=4))) == [12, 13]
    assert sought == [SP]


def test_a_stretch_without_records_is_progress(guard):
    empty = Chunk(SP, 8, 14, (), (), (), None, 8)
    part = guard.accept(empty)
    assert (len(part), part.first_offset, part.last_offset) == (0, 10, 14)
    guard.advance(SP, part.last_offset)
    assert read(guard.accept(chunk(15))) == [15]


def test_a_closed_partition_accepts_nothing(guard, sought):
    guard.close(SP)
    assert guard.accept(chunk(10)) is None
    assert guard.expected(SP) is None
    assert sought == []


def test_from_the_beginning_waits_until_the_beginning_is_known(guard, sought):
    guard.open(SP, None)
    assert guard.accept(chunk(0, 1)) is None
    guard.begin_at(SP, 5)
    guard.begin_at(SP, 7)
    assert guard.expected(SP) == 5, "said once; later seeks go to the state"
    assert read(guard.accept(chunk(4, 5, 6))) == [5, 6]
    assert sought == []


def test_trimming_keeps_every_column_in_step():
    whole = Chunk(SP, 3, 12, [b"a", b"b", b"c"], [b"3", b"7", b"9"], [1, 2, 3], [3, 7, 9], 0)
    part = trim(whole, 5)
    assert (part.keys, part.values, part.timestamps_ms) == ([b"b", b"c"], [b"7", b"9"], [2, 3])
    assert (part.first_offset, part.last_offset, part.offsets) == (7, 12, [7, 9])
    assert [part.offset_at(i) for i in range(len(part))] == [7, 9]
    assert trim(whole, 3) is whole
    assert len(trim(whole, 10)) == 0
    dense = chunk(3, 4, 5)
    assert trim(dense, 5).offset_at(0) == 5


@pytest.mark.parametrize("seed", range(50))
def test_any_redelivery_and_reordering_folds_each_record_once_in_order(seed):
    """A log with gaps, fetched from anywhere, chunked anyhow, some chunks lost or repeated."""
    dice = random.Random(seed)
    log = [offset for offset in range(200) if dice.random() < 0.7]
    end, folded, position = 200, [], 0
    seeks = []
    clock = Clock()
    guard = Guard(seeks.append, retry_ms=0, clock=clock)
    guard.open(SP, 0)
    queue = []
    for _ in range(3000):
        if position < end:
            began, until = position, min(end, position + dice.randint(1, 30))
            queue += cut(dice, [o for o in log if began <= o < until], began, until)
            position = until
        if dice.random() < 0.1:
            position = dice.randint(0, 200)
        if queue and dice.random() < 0.1:
            queue.pop(dice.randrange(len(queue)))
        if queue and dice.random() < 0.1:
            queue.append(dice.choice(queue))
        if queue and (part := guard.accept(queue.pop(0))) is not None:
            folded += read(part)
            guard.advance(SP, part.last_offset)
        if seeks or (not queue and position >= end):
            seeks.clear()
            position = guard.expected(SP)
        if guard.expected(SP) == end:
            break
    assert folded == log


def cut(dice, offsets, began, until):
    """One fetch as chunks: each covers the gap behind it, the first the gap before it."""
    if not offsets:
        return [Chunk(SP, began, until - 1, (), (), (), None, began)]
    chunks, fetch = [], began
    while offsets:
        size = dice.randint(1, len(offsets))
        head, offsets = offsets[:size], offsets[size:]
        chunks.append(chunk(*head, last=(offsets[0] if offsets else until) - 1, fetch=fetch))
        fetch = None
    return chunks

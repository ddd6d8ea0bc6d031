"""Marks: between two full rounds only those are sent that let `as_of` take a step."""

from __future__ import annotations

import json

from streams.flow.chain import Identity
from streams.flow.chunk import Chunk, SourcePartition
from streams.flow.source import SourceLevel
from streams.flow.wire import decode_mark
from streams.index.panes import HOUR_MS
from tests.support.flow_harness import METHODOLOGY, order

SP = SourcePartition("orders", 0)
STEP, LAG = METHODOLOGY.step_ms, METHODOLOGY.out_of_order_ms
T0 = 1_790_000_000_000 // STEP * STEP


def level_with(*arrivals_ms):
    level = SourceLevel(
        SP, METHODOLOGY, Identity(1, METHODOLOGY.content_hash, "", 1), "w1", 12, payments=False
    )
    take(level, *arrivals_ms)
    return level


def take(level, *arrivals_ms):
    first = level.through + 1
    values = [json.dumps(order(f"e{first + n}", at)).encode() for n, at in enumerate(arrivals_ms)]
    last = first + len(values) - 1
    level.fold_chunk(Chunk(SP, first, last, [b"k"] * len(values), values, list(arrivals_ms)))


def test_a_full_round_marks_every_partition():
    level = level_with(T0)
    everywhere = len(level.marks(0, None))
    assert everywhere > 1
    assert level.marks(0, None, every=False) == []
    assert len(level.marks(0, None)) == everywhere


def test_arrivals_within_a_step_wait_for_the_next_round():
    level = level_with(T0 + LAG)
    level.marks(0, None)
    take(level, T0 + LAG + STEP - 1)
    assert level.marks(0, None, every=False) == []


def test_an_arrival_that_passes_a_step_is_marked_at_once_where_its_market_is():
    level = level_with(T0 + LAG)
    level.marks(0, None)
    take(level, T0 + LAG + STEP)
    assert len(level.marks(0, None, every=False)) == 1
    assert level.marks(0, None, every=False) == []


def test_being_caught_up_past_a_step_is_marked_at_once_everywhere():
    level = level_with(T0 + LAG)
    everywhere = len(level.marks(0, T0 + LAG))
    assert level.marks(0, T0 + LAG + STEP - 1, every=False) == []
    assert len(level.marks(0, T0 + LAG + STEP, every=False)) == everywhere


def live_in(sends):
    return {market for send in sends for market in decode_mark(send.value).live}


def test_the_last_mark_of_a_writer_says_what_any_of_its_marks_has_shown_live():
    # Compaction keeps the last one only, and level 2 may have been away meanwhile.
    level = level_with(T0)
    assert live_in(level.marks(T0 + HOUR_MS, None)) == {"PK"}
    assert live_in(level.marks(T0 + 1_000 * HOUR_MS, None)) == {"PK"}


def test_an_import_is_not_shown_live():
    level = level_with(T0)
    assert live_in(level.marks(T0 + HOUR_MS + 1, None)) == set()


def test_a_mark_that_was_not_sent_has_shown_nothing():
    # Level 2, and an audit of the log, could not know of it.
    level = level_with(T0 - HOUR_MS)
    level.marks(T0 + HOUR_MS, None)
    take(level, T0 - HOUR_MS + 1)
    assert level.marks(T0, None, every=False) == []
    assert live_in(level.marks(T0 + HOUR_MS, None)) == set()

"""The state of a source partition without events: what is to be sent, and what recovery puts back."""

from array import array

import pytest

from streams.flow.chunk import SourcePartition
from streams.flow.set_aside import Folded
from streams.flow.source_state import SourceState
from streams.flow.state import CHECKPOINT, DAY, FOREVER_MS, LIVE, PARTIAL, SlotKey
from streams.index.panes import DAY_MS
from tests.support.flow_harness import METHODOLOGY

T0 = 1_790_000_000_000 // DAY_MS * DAY_MS  # a midnight UTC; 05:00 in Karachi
PANE = SlotKey("PK", LIVE, T0)


@pytest.fixture
def source() -> SourceState:
    """Orders; the first pane after T0 holds one that counts."""
    source = SourceState(SourcePartition("orders", 0), METHODOLOGY, payments=False)
    counted(source, event_hash=7)
    return source


def counted(source, event_hash: int) -> None:
    """The fold's counts of one order of one unit for 100."""
    state = source.markets["PK"]
    pane = state.panes.get(T0) or source.open_pane(state, T0)
    source.remember(state, pane, event_hash)
    day = state.days.get(pane.day) or state.new_day(pane.day)
    for row in (pane.row.numbers, day.row.numbers):
        row[:3] = [each + more for each, more in zip(row[:3], (1, 1, 100), strict=True)]
    source.touch_day(state, day)
    source.count(Folded(), 1, 0, 0, 0)


def test_a_checkpoint_and_the_partials_each_take_a_slot_once_after_it_changed(source):
    day = SlotKey("PK", DAY, source.markets["PK"].local_days.day_of(T0))
    assert set(source.take_touched(CHECKPOINT)) == {PANE, day}
    assert source.take_touched(CHECKPOINT) == {}
    assert source.is_unsent(PANE)
    assert set(source.take_touched_live(FOREVER_MS)) == {PANE}, "its day is open: it can wait"
    assert not source.is_unsent(PANE)
    assert set(source.take_touched_days()) == {day}
    counted(source, event_hash=8)
    assert set(source.take_touched(CHECKPOINT)) == {PANE, day}


def test_a_day_waits_until_its_row_was_sent(source):
    state = source.markets["PK"]
    end_ms = state.local_days.end_ms(state.local_days.day_of(T0))
    assert source.pending_days_close_ms() == end_ms + METHODOLOGY.day_grace_ms
    source.take_touched(PARTIAL)
    assert source.pending_days_close_ms() == FOREVER_MS + METHODOLOGY.day_grace_ms


def test_recovery_puts_back_open_slots_and_their_ids_only(source):
    row = source.markets["PK"].panes[T0].row
    found = SourceState(source.sp, METHODOLOGY, payments=False)
    found.markets["PK"].watermark_ms = T0 + METHODOLOGY.grace_ms
    found.restore_slot(PANE, row, b"")
    gone = SlotKey("PK", LIVE, T0 - DAY_MS)
    found.restore_slot(gone, row, b"")
    assert (found.slot(PANE).row, found.slot(gone)) == (row, None)
    assert found.volume == 100
    assert found.restore_ids(PANE, array("Q", [7])) == (0, 1)
    assert found.restore_ids(gone, array("Q", [9])) is None
    assert (found.held_ids, found.pending_ids, found.open_panes) == (1, 0, 1)
    assert found.slot(PANE).seen(7)
    assert not found.is_unsent(PANE)


def test_closing_lets_go_of_the_pane_and_its_ids_but_still_sends_the_row(source):
    state = source.markets["PK"]
    state.watermark_ms = T0 + METHODOLOGY.pane_ms + METHODOLOGY.grace_ms
    source.close(state)
    assert not source.is_open(PANE)
    assert (source.held_ids, source.pending_ids, source.pending_slots) == (0, 0, 2)
    assert source.take_touched_live(FOREVER_MS)[PANE].row.numbers[:3] == [1, 1, 100]

"""What a changed log is called, where a state goes on, and offsets over several logs."""

from __future__ import annotations

import pytest

from streams.flow.chunk import SourcePartition
from streams.flow.incarnation import base_of, begin_of_next_log, in_log, records_left
from streams.flow.log_change import log_moved, lost_checkpoints, recreated
from streams.index.history_records import AcceptedChange

SP = SourcePartition("orders", 2)
LOG = 1 << 40


@pytest.mark.parametrize("offset", [0, 7, LOG - 1])
@pytest.mark.parametrize("number", [0, 1, 5])
def test_an_offset_says_of_which_log_it_is(offset, number):
    counted = number * LOG + offset
    assert in_log(counted) == offset
    assert base_of(counted) == number * LOG
    assert begin_of_next_log(counted) == (number + 1) * LOG


def test_two_owners_number_the_new_log_alike_whatever_they_had_of_the_old_one():
    changes = {recreated(SP, at, "a", "b").resume_at for at in (0, 1, 100, 105)}
    assert changes == {LOG}
    assert recreated(SP, LOG + 3, "b", "c").resume_at == 2 * LOG


def test_what_is_left_to_read_of_another_log_is_all_of_it():
    assert records_left(100, 130) == 30
    assert records_left(130, 100) == 0
    assert records_left(LOG + 5, LOG + 5) == 0
    assert records_left(100, LOG + 30) == 30


@pytest.mark.parametrize(
    ("next_offset", "begin", "end", "name", "resume_at"),
    [
        (10, 15, 20, "2:10..14", 15),
        (30, 0, 20, "2:30..end=20", LOG + 20),
        (LOG + 10, 15, 20, "2:10..14", LOG + 15),
        (LOG + 30, 0, 20, f"2:{LOG + 30}..end=20", 2 * LOG + 20),
    ],
)
def test_a_log_that_moved_is_accepted_by_its_offsets(next_offset, begin, end, name, resume_at):
    change = log_moved(SP, next_offset, begin, end, "id")
    assert (change.name, change.resume_at, change.topic_id) == (name, resume_at, "id")
    assert change.command == f"ecindex topics accept orders {name}"


@pytest.mark.parametrize(("begin", "end"), [(0, 10), (10, 10), (3, 99)])
def test_a_log_that_holds_the_next_offset_or_ends_there_has_not_moved(begin, end):
    assert log_moved(SP, 10, begin, end, "id") is None


def test_a_state_without_checkpoints_goes_on_where_the_log_begins():
    change = lost_checkpoints(SP, 90, 40, "id")
    assert (change.name, change.resume_at) == ("2:checkpoints-before=90", 40)


def accepted(*names, topic_id="id"):
    return {
        ("orders", name): AcceptedChange("orders", name, "", topic_id=topic_id) for name in names
    }


def test_an_older_command_for_a_gap_that_has_grown_since_lets_it_go_on_behind_all_of_it():
    # Each new owner named another end, and the command of the one before did nothing.
    gap = log_moved(SP, 10, 25, 40, "id")
    for names in (["2:10..24"], ["2:10..14"], ["2:10..14", "2:10..19"]):
        assert gap.as_accepted(accepted(*names)).resume_at == 25
    for other in ("2:10..25", "2:9..14", "1:10..14", "2:10..end=14"):
        assert gap.as_accepted(accepted(other)) is None
    assert gap.as_accepted(accepted("2:10..14", topic_id="older")) is None
    assert gap.as_accepted(accepted("2:10..14", topic_id="")) is gap  # accepted with 0.3 or before


def test_records_that_came_after_a_cut_log_was_accepted_are_counted_by_every_owner():
    # Each went on where it found the end: what had come before was in no state.
    cut = log_moved(SP, 30, 0, 25, "id")
    assert cut.as_accepted(accepted("2:30..end=25")).resume_at == LOG + 25
    assert cut.as_accepted(accepted("2:30..end=25", "2:30..end=20")).resume_at == LOG + 20
    assert cut.as_accepted(accepted("2:30..end=20")).resume_at == LOG + 20
    # What was accepted of another cut says nothing of this one.
    for other in ("2:31..end=20", "2:30..end=26", f"2:{LOG + 30}..end=20"):
        assert cut.as_accepted(accepted(other)) is None


def test_other_changes_are_accepted_by_their_very_name():
    anew, lost = recreated(SP, 10, "old", "new"), lost_checkpoints(SP, 90, 40, "id")
    assert anew.as_accepted(accepted("id=new", topic_id="new")) is anew
    assert anew.as_accepted(accepted("id=other", topic_id="other")) is None
    assert lost.as_accepted(accepted("2:checkpoints-before=90")) is lost
    assert lost.as_accepted(accepted("2:checkpoints-before=40")) is None

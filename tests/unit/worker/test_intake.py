"""The intake: what the flow half may ask, and when the answer is None."""

from __future__ import annotations

import pytest

from streams.flow.chunk import Chunk, SourcePartition
from streams.flow.incarnation import records_left
from streams.worker.intake import Intake

SP = SourcePartition("orders", 0)
OTHER = SourcePartition("orders", 1)


class Reader:
    def __init__(self):
        self.asked = []

    def reseek(self, sp):
        self.asked.append(("reseek", sp))

    def hold(self, sp):
        self.asked.append(("hold", sp))

    def unhold(self, sp):
        self.asked.append(("unhold", sp))


def chunk(first, last, sp=SP):
    n = last - first + 1
    return Chunk(sp, first, last, [b""] * n, [b""] * n, [0] * n)


@pytest.fixture
def reader():
    return Reader()


@pytest.fixture
def intake(reader):
    made = Intake(["orders"], monotonic=lambda: 0)
    made.bind(reader)
    made.open(SP, 0)
    return made


def test_a_partition_is_owned_from_recovery_to_revocation(intake):
    assert intake.owned == {SP}
    assert intake.accept(chunk(0, 3, OTHER)) is None
    intake.close([SP, OTHER])
    assert intake.owned == frozenset()
    assert intake.accept(chunk(0, 3)) is None
    assert (intake.position(SP), intake.log_end(SP), intake.caught_up_at(SP)) == (None, None, None)


def test_an_open_transaction_is_timed_from_the_first_response_that_shows_it():
    intake = Intake(["orders"], monotonic=lambda: 9_000)
    intake.open(SP, 0)
    assert intake.open_transaction_ms(SP) == 0
    intake.on_response(SP, 4, 4, 1_000)
    assert intake.open_transaction_ms(SP) == 0
    intake.on_response(SP, 6, 4, 2_000)
    intake.on_response(SP, 8, 4, 3_000)
    assert intake.open_transaction_ms(SP) == 7_000
    assert (intake.log_end(SP), intake.stable_end(SP)) == (8, 4)
    intake.on_response(SP, 9, 9, 4_000)
    assert intake.open_transaction_ms(SP) == 0


def test_an_open_transaction_is_as_old_as_its_first_record_whoever_owns_the_partition():
    """It began anew with each owner: its page ended at each rebalance, and came a minute later."""
    now_ms = 1_000
    intake = Intake(["orders"], monotonic=lambda: now_ms, to_log=lambda ms: ms + 700_000)
    intake.open(SP, 0)
    intake.on_response(SP, 6, 4, 1_000)
    assert intake.undated_transactions(5_000) == [], "one that ends soon is not asked for"
    now_ms = 6_000
    assert intake.undated_transactions(5_000) == [(SP, 4)]
    intake.date_transaction(SP, 3, 1)  # of another one, that has ended meanwhile
    assert intake.undated_transactions(5_000) == [(SP, 4)]
    intake.date_transaction(SP, 4, 106_000)
    assert intake.open_transaction_ms(SP) == 600_000
    assert intake.undated_transactions(5_000) == [], "asked for once"
    intake.date_transaction(SP, 4, None)  # stamped by a producer
    assert intake.open_transaction_ms(SP) == 5_000
    intake.date_transaction(SP, 4, 800_000)  # a broker whose clock stepped back since
    assert intake.open_transaction_ms(SP) == 5_000
    intake.on_response(SP, 8, 7, 6_000)
    assert (intake.open_transaction_ms(SP), intake.undated_transactions(0)) == (0, [(SP, 7)])
    intake.on_response(SP, 9, 9, 6_500)
    assert intake.undated_transactions(0) == []
    intake.date_transaction(OTHER, 0, 1)  # not ours any more


def test_caught_up_is_told_in_the_logs_time_once_that_is_known():
    offsets = [None, 500]
    known = offsets.pop(0)
    intake = Intake(["orders"], to_log=lambda ms: None if known is None else ms + known)
    intake.open(SP, 4)
    intake.on_response(SP, 4, 4, 1000)
    assert (intake.caught_up_at(SP), intake.has_caught_up(SP)) == (None, True)
    known = offsets.pop(0)
    assert intake.caught_up_at(SP) == 1500


def test_caught_up_follows_the_fold(intake):
    intake.on_response(SP, 4, 4, 1000)
    assert intake.caught_up_at(SP) is None
    part = intake.accept(chunk(0, 3))
    intake.advance(SP, part.last_offset)
    assert (intake.caught_up_at(SP), intake.position(SP), intake.log_end(SP)) == (1000, 4, 4)


def test_responses_for_partitions_that_are_not_ours_are_ignored(intake):
    intake.on_response(OTHER, 4, 4, 1000)
    assert intake.caught_up_at(OTHER) is None


def test_recovery_starts_uncaught_up_however_recent_the_last_time_was(intake):
    intake.on_response(SP, 0, 0, 1000)
    assert intake.caught_up_at(SP) == 1000
    intake.close([SP])
    intake.open(SP, 0)
    assert intake.caught_up_at(SP) is None


def test_a_paused_partition_delivers_nothing_and_is_not_caught_up(intake, reader):
    intake.on_response(SP, 0, 0, 1000)
    intake.pause(SP)
    assert intake.caught_up_at(SP) is None
    assert intake.accept(chunk(0, 3)) is None
    intake.resume(SP)
    assert intake.caught_up_at(SP) == 1000
    assert reader.asked == [("hold", SP), ("unhold", SP), ("reseek", SP)]
    intake.resume(SP)
    assert len(reader.asked) == 3, "resuming what is not paused does nothing"


def test_what_is_done_is_committed_as_the_next_offset_and_once(intake):
    assert intake.take_done() == {SP: 0}, "what was recovered"
    intake.mark_done(SP, 3)
    intake.mark_done(SP, 9)
    intake.mark_done(OTHER, 5)
    assert intake.take_done() == {SP: 10}
    assert intake.take_done() == {}


def test_a_failed_commit_is_tried_again_unless_there_is_a_newer_one(intake):
    intake.mark_done(SP, 3)
    failed = intake.take_done()
    intake.give_back(failed)
    assert intake.take_done() == {SP: 4}
    intake.mark_done(SP, 9)
    intake.give_back(failed)
    assert intake.take_done() == {SP: 10}


def test_nothing_is_committed_for_a_partition_that_was_lost(intake):
    intake.mark_done(SP, 3)
    intake.close([SP])
    assert intake.take_done() == {}


def test_a_draining_process_accepts_nothing(intake):
    intake.stop()
    assert intake.accept(chunk(0, 3)) is None


def test_a_hole_is_read_again(intake, reader):
    assert intake.accept(chunk(5, 6)) is None
    assert reader.asked == [("reseek", SP)]
    assert intake.dropped_records == 2


def test_a_partition_paused_while_its_state_was_built_stays_so(intake, reader):
    intake.close([SP])
    intake.pause(SP)
    intake.open(SP, 0)
    intake.on_ready()
    assert reader.asked == [("hold", SP), ("hold", SP)]
    assert intake.accept(chunk(0, 3)) is None


@pytest.mark.parametrize(("next_offset", "left"), [(4, 6), ((1 << 40) + 4, 6)])
def test_what_is_left_of_a_held_partition_is_counted_in_its_own_log(intake, next_offset, left):
    intake.open(SP, next_offset)
    intake.on_log_end(SP, 10)
    assert records_left(intake.position(SP), intake.log_end(SP)) == left

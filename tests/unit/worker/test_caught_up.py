"""Caught up: a response's log end that the state has reached, as of that response."""

from __future__ import annotations

from streams.worker.caught_up import CaughtUp


def test_an_empty_response_at_the_states_position_renews():
    state = CaughtUp()
    state.on_response(log_end=10, at_ms=1000, expected=10)
    assert state.at_ms == 1000
    state.on_response(log_end=10, at_ms=1500, expected=10)
    assert state.at_ms == 1500


def test_what_is_queued_counts_only_when_it_is_folded():
    state = CaughtUp()
    state.on_response(log_end=20, at_ms=1000, expected=10)
    assert state.at_ms is None
    state.on_progress(15)
    assert state.at_ms is None
    state.on_progress(20)
    assert state.at_ms == 1000, "as of the response, not of the fold"


def test_a_partition_that_never_falls_silent_is_caught_up_as_it_goes():
    state = CaughtUp()
    for second in range(1, 6):
        state.on_response(log_end=second * 10, at_ms=second * 1000, expected=(second - 1) * 10)
    assert state.at_ms == 4000
    assert state.log_end == 50


def test_before_the_beginning_is_known_nothing_is_caught_up():
    state = CaughtUp()
    state.on_response(log_end=0, at_ms=1000, expected=None)
    assert (state.at_ms, state.log_end) == (None, 0)
    state.on_progress(0)
    assert state.at_ms == 1000


def test_a_clock_that_steps_back_does_not_take_it_back():
    state = CaughtUp()
    state.on_response(log_end=10, at_ms=5000, expected=10)
    state.on_response(log_end=10, at_ms=1000, expected=10)
    assert state.at_ms == 5000


def test_far_behind_the_memory_is_bounded_and_the_newest_end_is_kept():
    state = CaughtUp()
    for number in range(10_000):
        state.on_response(log_end=1000 + number, at_ms=number, expected=0)
    assert len(state._pending) <= 64
    state.on_progress(1000 + 9_999)
    assert state.at_ms == 9_999

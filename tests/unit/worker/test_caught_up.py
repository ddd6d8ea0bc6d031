"""Caught up: a response's log end that the state has reached, as of that response."""

from __future__ import annotations

from streams.worker.caught_up import CaughtUp


def test_an_empty_response_at_the_states_position_renews():
    state = CaughtUp()
    state.on_response(log_end=10, stable_end=10, at_ms=1000, expected=10)
    assert state.at_ms == 1000
    state.on_response(log_end=10, stable_end=10, at_ms=1500, expected=10)
    assert state.at_ms == 1500


def test_what_is_queued_counts_only_when_it_is_folded():
    state = CaughtUp()
    state.on_response(log_end=20, stable_end=20, at_ms=1000, expected=10)
    assert state.at_ms is None
    state.on_progress(15)
    assert state.at_ms is None
    state.on_progress(20)
    assert state.at_ms == 1000, "as of the response, not of the fold"


def test_a_partition_that_never_falls_silent_is_caught_up_as_it_goes():
    state = CaughtUp()
    for second in range(1, 6):
        state.on_response(
            log_end=second * 10,
            stable_end=second * 10,
            at_ms=second * 1000,
            expected=(second - 1) * 10,
        )
    assert state.at_ms == 4000
    assert state.log_end == 50


def test_before_the_beginning_is_known_nothing_is_caught_up():
    state = CaughtUp()
    state.on_response(log_end=0, stable_end=0, at_ms=1000, expected=None)
    assert (state.at_ms, state.log_end) == (None, 0)
    state.on_progress(0)
    assert state.at_ms == 1000


def test_far_behind_the_memory_is_bounded_and_the_newest_end_is_kept():
    state = CaughtUp()
    for number in range(10_000):
        state.on_response(log_end=1000 + number, stable_end=1000 + number, at_ms=number, expected=0)
    assert len(state._pending) <= 64
    state.on_progress(1000 + 9_999)
    assert state.at_ms == 9_999


def test_an_open_transaction_is_not_the_logs_end():
    """What it holds was appended before the response: whatever it becomes, it was in time."""
    state = CaughtUp()
    state.on_response(log_end=12, stable_end=10, at_ms=1000, expected=10)
    assert state.at_ms is None
    state.on_response(log_end=12, stable_end=12, at_ms=2000, expected=10)
    state.on_progress(12)
    assert state.at_ms == 2000


def test_while_a_transaction_is_open_the_log_is_folded_as_far_as_the_broker_stamped_it():
    """Without this a market that is quiet behind steady transactions would stand still for ever."""
    state = CaughtUp()

    def log_ms():
        return state.log_ms(lambda steady_ms: steady_ms + 50_000)

    state.on_response(log_end=12, stable_end=10, at_ms=1000, expected=0)
    assert log_ms() is None
    state.on_progress(5, appended_ms=50_400)
    assert log_ms() == 50_400
    state.on_progress(8, appended_ms=50_300)
    assert log_ms() == 50_400, "a broker's clock that steps back takes nothing back"
    state.on_progress(9)
    assert log_ms() == 50_400, "a producer's clock says nothing"
    state.on_progress(10, appended_ms=55_000)
    assert log_ms() == 51_000, "a broker's clock that runs ahead: not later than the response"
    assert state.log_ms(lambda _: None) is None, "nor before the log's time is known"
    state.on_response(log_end=12, stable_end=12, at_ms=2000, expected=12)
    assert log_ms() == 52_000


def test_without_a_transaction_only_the_log_end_counts():
    state = CaughtUp()
    state.on_response(log_end=12, stable_end=12, at_ms=1000, expected=0)
    state.on_progress(11, appended_ms=900)
    assert state.at_ms is None


def test_a_transaction_is_open_since_it_first_held_the_log_and_each_anew():
    state = CaughtUp()
    since = []
    for at_ms, log_end, stable_end in (
        *((1, 10, 10), (2, 12, 10), (3, 13, 10)),
        *((4, 15, 13), (5, 15, 15), (6, 16, 15)),
    ):
        state.on_response(log_end, stable_end, at_ms, None)
        since.append(state.held_since_ms)
    assert since == [None, 2, 2, 4, None, 6]

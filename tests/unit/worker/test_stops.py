"""The switch trips once. Whoever checks first notices that the process was away, once and for all."""

from __future__ import annotations

import threading

import pytest
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    InconsistentGroupProtocolError,
    InvalidSessionTimeoutError,
    KafkaConnectionError,
    KafkaTimeoutError,
    KafkaUnavailableError,
    NodeNotReadyError,
    RequestTimedOutError,
)

from streams.worker.stops import ExitCode, Fatal, Presence, StopSwitch, end_for


class Clock:
    now = 0

    def __call__(self):
        return self.now


def test_the_first_reason_stays_and_every_listener_is_called_with_it():
    switch, heard = StopSwitch(), []
    switch.listen(heard.append)
    first = Fatal(ExitCode.SEND_FAILED, "first")
    switch.trip(first)
    switch.trip(Fatal(ExitCode.CRASHED, "second"))
    switch.listen(heard.append)
    assert heard == [first, first]
    assert switch.reason is first


def test_many_threads_trip_it_once():
    switch, heard = StopSwitch(), []
    switch.listen(heard.append)
    threads = [
        threading.Thread(target=switch.trip, args=(Fatal(ExitCode.CRASHED, str(n)),))
        for n in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(heard) == 1


def test_before_the_first_beat_nobody_is_away():
    clock = Clock()
    presence = Presence(3000, clock)
    clock.now = 1_000_000
    assert presence.away_ms() is None


def test_a_beat_within_the_limit_keeps_present():
    clock = Clock()
    presence = Presence(3000, clock)
    for clock.now in range(0, 30_000, 3000):
        presence.beat()
        assert presence.away_ms() is None


def test_a_beat_after_the_wake_up_does_not_wipe_out_that_we_were_away():
    clock = Clock()
    presence = Presence(3000, clock)
    presence.beat()
    clock.now = 8000
    presence.beat()
    presence.beat()
    assert presence.away_ms() == 8000


def test_a_beat_that_was_frozen_half_way_does_not_wipe_it_out_either():
    clock = iter([0, 2_000, 10_000, 10_001])
    presence = Presence(3000, lambda: next(clock))
    presence.beat()
    presence.beat()  # looks at the clock, is frozen, and goes on 8 s later
    assert presence.away_ms() == 8_000


def test_the_sender_notices_before_the_first_beat():
    clock = Clock()
    presence = Presence(3000, clock)
    presence.beat()
    clock.now = 3001
    assert presence.away_ms() == 3001


@pytest.mark.parametrize(
    "error",
    [
        RequestTimedOutError(),
        NodeNotReadyError(),
        KafkaConnectionError(),
        KafkaTimeoutError(),
        KafkaUnavailableError(),
        TimeoutError(),
    ],
)
def test_a_broker_that_does_not_answer_is_an_outage_and_no_bug(error):
    found = end_for(error, "the app crashed")
    assert found.code == ExitCode.NO_BROKER
    assert "Kafka did not answer" in found.reason


@pytest.mark.parametrize("error", [ValueError("x"), GroupAuthorizationFailedError(), None])
def test_any_other_error_is_a_bug_or_for_a_person(error):
    assert end_for(error, "the app crashed").code == ExitCode.CRASHED


def test_a_stranger_in_the_group_is_no_bug_and_is_named():
    found = end_for(InconsistentGroupProtocolError(), "membership of the group g-e3 has ended")
    assert found.code == ExitCode.GROUP_TAKEN
    assert found.reason == (
        "membership of the group g-e3 has ended: a consumer that is no worker is in the group; stop it"
    )


def test_a_session_that_the_broker_refuses_is_a_setting_not_a_bug():
    fatal = end_for(InvalidSessionTimeoutError(), "membership of the group ec-e1 has ended")
    assert fatal.code == ExitCode.USAGE
    assert "kafka.session_timeout_ms" in fatal.reason

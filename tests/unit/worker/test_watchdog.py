"""The watchdog ends what is assigned work and does not do it, and leaves the rest alone."""

from __future__ import annotations

import pytest

from streams.flow.chunk import SourcePartition
from streams.worker.intake import Intake
from streams.worker.stops import ExitCode, Presence, StopSwitch
from streams.worker.watchdog import Watchdog, WatchdogSettings

SP = SourcePartition("orders", 0)


class Clock:
    now = 0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def presence(clock):
    return Presence(3000, clock)


@pytest.fixture
def intake():
    return Intake(["orders"])


@pytest.fixture
def watchdog(intake, presence, clock):
    settings = WatchdogSettings(no_progress_ms=30_000, recovery_ms=300_000)
    return Watchdog(intake, switch=StopSwitch(), presence=presence, settings=settings, clock=clock)


def run_checks(watchdog, clock, until):
    """Check each second; return the first reason and its time in ms, or None."""
    while clock.now < until:
        clock.now += 1000
        if (reason := watchdog.check()) is not None:
            return reason.code, clock.now
    return None


def test_a_spare_without_partitions_is_left_alone(watchdog, clock):
    assert run_checks(watchdog, clock, 3_600_000) is None


def test_a_partition_read_to_its_end_may_be_quiet_for_ever(watchdog, intake, clock):
    intake.open(SP, 10)
    intake.on_response(SP, 10, 10, 0)
    assert run_checks(watchdog, clock, 3_600_000) is None


def test_a_partition_behind_without_progress_ends_the_worker_with_its_position(
    watchdog, intake, clock
):
    intake.open(SP, 10)
    intake.on_response(SP, 500, 500, 0)
    assert run_checks(watchdog, clock, 100_000) == (ExitCode.NO_PROGRESS, 32_000)
    assert "orders-0: no progress for 31000 ms at offset 10 of 500" in watchdog.check().reason


def test_one_that_never_got_an_answer_counts_as_behind(watchdog, intake, clock):
    intake.open(SP, 10)
    assert run_checks(watchdog, clock, 100_000) == (ExitCode.NO_PROGRESS, 32_000)


def test_slow_progress_is_progress(watchdog, intake, clock):
    intake.open(SP, 0)
    intake.on_response(SP, 500, 500, 0)
    for through in range(20):
        intake.advance(SP, through)
        assert run_checks(watchdog, clock, clock.now + 29_000) is None


def test_quiet_then_behind_starts_to_count_when_it_fell_behind(watchdog, intake, clock):
    intake.open(SP, 10)
    intake.on_response(SP, 10, 10, 0)
    assert run_checks(watchdog, clock, 100_000) is None
    intake.on_response(SP, 11, 11, 0)
    assert run_checks(watchdog, clock, 200_000) == (ExitCode.NO_PROGRESS, 131_000)


def test_a_partition_that_an_open_transaction_holds_is_not_behind(watchdog, intake, clock):
    intake.open(SP, 10)
    intake.on_response(SP, 500, 10, 0)
    assert run_checks(watchdog, clock, 3_600_000) is None
    intake.on_response(SP, 500, 400, 0)
    assert run_checks(watchdog, clock, 3_700_000) == (ExitCode.NO_PROGRESS, 3_631_000)


def test_a_log_that_ends_before_the_state_is_another_log(watchdog, intake, clock):
    intake.open(SP, 500)
    intake.on_response(SP, 20, 20, 0)
    assert run_checks(watchdog, clock, 100_000) == (ExitCode.LOG_CHANGED, 32_000)
    assert "continues at offset 500, the log ends at 20" in watchdog.check().reason


def test_a_halted_partition_is_no_reason_to_end_the_others(watchdog, intake, clock):
    intake.open(SP, 10)
    intake.on_response(SP, 500, 500, 0)
    intake.pause(SP)
    assert run_checks(watchdog, clock, 100_000) is None
    intake.resume(SP)
    assert run_checks(watchdog, clock, 200_000) == (ExitCode.NO_PROGRESS, 131_000)


def test_a_partition_lost_and_regained_starts_anew(watchdog, intake, clock):
    intake.open(SP, 10)
    assert run_checks(watchdog, clock, 20_000) is None
    intake.close([SP])
    assert run_checks(watchdog, clock, 21_000) is None
    intake.open(SP, 10)
    assert run_checks(watchdog, clock, 200_000) == (ExitCode.NO_PROGRESS, 53_000)


def test_recovery_has_its_own_longer_limit(watchdog, clock):
    watchdog.on_recovery_started()
    assert run_checks(watchdog, clock, 400_000) == (ExitCode.RECOVERY_STUCK, 301_000)


def test_each_rebalance_may_take_its_time(watchdog, clock):
    for _ in range(5):
        watchdog.on_recovery_started()
        assert run_checks(watchdog, clock, clock.now + 200_000) is None
        watchdog.on_ready()


def test_having_been_away_comes_before_everything_else(watchdog, intake, presence, clock):
    intake.open(SP, 10)
    presence.beat()
    clock.now = 50_000
    assert watchdog.check().code == ExitCode.AWAY

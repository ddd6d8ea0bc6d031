"""While a recovery goes on nothing is read: only the recovery's own limit may end the worker."""

from __future__ import annotations

from streams.flow.chunk import SourcePartition
from streams.worker.intake import Intake
from streams.worker.stops import ExitCode, Presence, StopSwitch
from streams.worker.watchdog import Watchdog, WatchdogSettings

SP = SourcePartition("orders", 0)


class Clock:
    now = 1_000

    def __call__(self):
        return self.now


def make(clock):
    intake = Intake({"orders"}, monotonic=clock)
    watchdog = Watchdog(
        intake,
        switch=StopSwitch(),
        presence=Presence(10**9, clock),
        settings=WatchdogSettings(no_progress_ms=30_000, recovery_ms=300_000),
        clock=clock,
    )
    return intake, watchdog


def test_a_seek_that_waits_for_an_absent_broker_is_recovery_not_lack_of_progress():
    """A worker recovered, the broker was killed under its last seek: ended as NO_PROGRESS."""
    clock = Clock()
    intake, watchdog = make(clock)
    watchdog.on_recovery_started()
    intake.open(SP, None)
    intake.on_response(SP, 7, 7, 1)
    for _ in range(100):
        clock.now += 1_000
        assert watchdog.check() is None
    clock.now += 300_000
    assert watchdog.check().code is ExitCode.RECOVERY_STUCK


def test_progress_is_counted_from_the_end_of_the_recovery():
    clock = Clock()
    intake, watchdog = make(clock)
    watchdog.on_recovery_started()
    intake.open(SP, 3)
    intake.on_response(SP, 7, 7, 1)
    assert watchdog.check() is None
    clock.now += 60_000
    watchdog.on_ready()
    assert watchdog.check() is None
    clock.now += 29_000
    assert watchdog.check() is None
    clock.now += 2_000
    assert watchdog.check().code is ExitCode.NO_PROGRESS

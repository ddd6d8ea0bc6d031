"""The log's time: by the broker's stamps and a clock that never steps, whatever this machine's says."""

from __future__ import annotations

import pytest

from streams.worker.log_clock import LogClock

HOUR = 3_600_000


class Machine:
    def __init__(self, ahead_ms=0):
        self.true_ms = 1_000_000_000
        self.ahead_ms = ahead_ms
        self.clock = LogClock(lambda: self.true_ms + self.ahead_ms, lambda: self.true_ms - 7)

    def writes(self, there_ms=20, back_ms=5):
        """Send a record, which the broker stamps when it comes."""
        sent_ms = self.clock.own()
        self.true_ms += there_ms
        stamped_ms = self.true_ms
        self.true_ms += back_ms
        self.clock.on_written(stamped_ms, sent_ms)


@pytest.mark.parametrize("ahead_ms", [0, HOUR, -HOUR])
def test_an_instant_is_never_later_than_the_brokers_whatever_the_own_clock_says(ahead_ms):
    machine = Machine(ahead_ms)
    assert machine.clock.log_ms() is None
    assert machine.clock.now_ms() == machine.true_ms + ahead_ms, "nothing better is known"
    machine.writes(back_ms=5)
    seen = machine.clock.steady()
    machine.true_ms += 1_000
    machine.ahead_ms = -machine.ahead_ms  # it steps
    assert machine.clock.at(seen) == machine.true_ms - 1_000 - 5
    assert machine.clock.now_ms() == machine.true_ms - 5


def test_only_what_sending_and_acknowledgement_cannot_explain_is_disagreement():
    machine = Machine()
    machine.writes(there_ms=60_000, back_ms=60_000)
    assert (machine.clock.ahead_ms, machine.clock.disagrees) == (0, None)
    machine.ahead_ms = 10_020
    machine.writes()
    assert (machine.clock.ahead_ms, machine.clock.disagrees) == (10_000, None)


def test_a_clock_that_steps_is_named_and_heals_with_the_next_record():
    machine = Machine()
    for ahead_ms, text in ((HOUR, "3600.0 s ahead of"), (-HOUR, "3600.0 s behind"), (0, None)):
        machine.ahead_ms = ahead_ms
        machine.writes(0, 0)
        assert (
            (machine.clock.disagrees is None) if text is None else text in machine.clock.disagrees
        )

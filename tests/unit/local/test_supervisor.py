"""Restarts of children, each after a longer delay. Time is a parameter; children are processes."""

from __future__ import annotations

import signal
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.console.errors import OperationError
from streams.local.child import ChildProcess
from streams.local.supervisor import Backoff, Supervisor, stop_all

SLEEP = (sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)")
DEAF = (
    sys.executable,
    "-c",
    (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "print('up', flush=True); time.sleep(600)"
    ),
)


def ends_with(code):
    return (sys.executable, "-c", f"print('my last words'); raise SystemExit({code})")


def until(condition):
    """Wait for what must come; how long it takes is the machine's business."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "did not happen within a minute"
        time.sleep(0.01)


class TestBackoff:
    """Half a second, doubled up to half a minute, and forgotten after a minute of health."""

    def test_it_doubles_up_to_its_limit(self):
        backoff = Backoff()
        delays = [backoff.delay_ms(ran_ms=0) for _ in range(9)]
        assert delays == [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]

    def test_a_healthy_run_makes_it_begin_anew(self):
        backoff = Backoff()
        for _ in range(5):
            backoff.delay_ms(ran_ms=59_999)
        assert backoff.delay_ms(ran_ms=60_000) == 500
        assert backoff.delay_ms(ran_ms=0) == 1_000

    @given(st.lists(st.integers(0, 200_000), min_size=1, max_size=300))
    def test_it_is_never_shorter_than_the_first_nor_longer_than_the_limit(self, runs):
        backoff = Backoff()
        assert all(500 <= backoff.delay_ms(ran_ms) <= 30_000 for ran_ms in runs)


class World:
    """A supervisor over real processes, on a clock that the test moves."""

    def __init__(self, tmp_path):
        self.now_ms = 1_000_000
        self.messages = []
        self.processes = []
        self._logs = tmp_path / "logs"

    def supervisor(self, **options):
        return Supervisor(self.messages.append, clock=lambda: self.now_ms, **options)

    def keep(self, supervisor, argv, name="worker-0"):
        process = ChildProcess(name, argv, self._logs / f"{name}.log")
        self.processes.append(process)
        process.start()
        supervisor.keep(lambda: process, process.start)
        return process


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    yield made
    for process in made.processes:
        process.kill()


def test_a_crashed_child_is_restarted_once_its_delay_has_passed(world):
    supervisor = world.supervisor()
    process = world.keep(supervisor, SLEEP)
    first = process.pid
    process.kill()

    supervisor.poll()
    assert world.messages == ["worker-0 ended (signal 9); restarted in 0.5 s"]
    world.now_ms += 499
    supervisor.poll()
    assert not process.running
    world.now_ms += 1
    supervisor.poll()
    assert process.running
    assert process.pid != first


def test_each_end_soon_after_a_start_doubles_the_delay(world):
    supervisor = world.supervisor()
    process = world.keep(supervisor, ends_with(1))
    for _ in range(3):
        process.wait(60)
        supervisor.poll()
        world.now_ms += 30_000
        supervisor.poll()
    assert [line.rpartition("in ")[2] for line in world.messages] == ["0.5 s", "1 s", "2 s"]


def test_wrong_settings_end_everything_with_the_words_of_the_child(world):
    supervisor = world.supervisor()
    world.keep(supervisor, SLEEP, "worker-0")
    world.keep(supervisor, ends_with(2), "worker-1").wait(60)
    with pytest.raises(
        OperationError, match=r"(?s)worker-1 cannot run: exit code 2.*my last words"
    ):
        supervisor.poll()


def test_a_child_that_was_asked_to_end_is_left_alone_until_none_is_left(world):
    supervisor = world.supervisor()
    world.keep(supervisor, ends_with(0), "worker-0").wait(60)
    other = world.keep(supervisor, ends_with(0), "worker-1")
    other.wait(60)
    with pytest.raises(OperationError, match="worker-0, worker-1: ended at somebody"):
        supervisor.poll()


def test_one_of_two_asked_to_end_is_no_failure(world):
    supervisor = world.supervisor()
    world.keep(supervisor, ends_with(0), "worker-0").wait(60)
    world.keep(supervisor, SLEEP, "worker-1")
    supervisor.poll()
    world.now_ms += 60_000
    supervisor.poll()
    assert world.messages == ["worker-0 ended at somebody else's request; it is not restarted"]


def test_a_child_that_never_recovers_is_given_up_where_that_is_asked_for(world):
    supervisor = world.supervisor(give_up_after=2, asked_codes=frozenset(), final_codes=frozenset())
    process = world.keep(supervisor, ends_with(0), "redis")
    process.wait(60)
    supervisor.poll()
    world.now_ms += 500
    supervisor.poll()
    process.wait(60)
    with pytest.raises(OperationError, match=r"(?s)redis ended 2 times in a row.*my last words"):
        supervisor.poll()


def test_stop_asks_all_and_kills_those_that_ignore_it(world):
    polite = world.keep(world.supervisor(), SLEEP, "worker-0")
    deaf = world.keep(world.supervisor(), DEAF, "worker-1")
    until(lambda: "up" in polite.log_tail() and "up" in deaf.log_tail())
    assert stop_all([deaf, polite], deadline_s=0.5) == [deaf]
    assert deaf.returncode == -signal.SIGKILL
    assert polite.returncode == -signal.SIGTERM


def test_stop_does_nothing_to_those_that_have_ended(world):
    process = world.keep(world.supervisor(), ends_with(3))
    process.wait(60)
    assert stop_all([process]) == []
    assert process.returncode == 3

"""A child starts, ends, freezes and gives its last log lines; only leftovers of ours are ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from streams.local import child
from streams.local.child import ChildProcess, StackError, end_leftover, start_stamp

SLEEP = (sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)")
TALK = (
    sys.executable,
    "-c",
    "import itertools, time\nfor n in itertools.count(): print(n, flush=True); time.sleep(0.01)",
)
DEAF = (
    sys.executable,
    "-c",
    (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "print('up', flush=True); time.sleep(600)"
    ),
)


@pytest.fixture
def make(tmp_path):
    made = []

    def start(argv, *, name="child", **options):
        process = ChildProcess(name, argv, tmp_path / "logs" / f"{name}.log", **options)
        made.append(process)
        process.start()
        return process

    yield start
    for process in made:
        process.kill()


def until(condition):
    """Wait for what must come; how long it takes is the machine's business."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "did not happen within a minute"
        time.sleep(0.01)


def state(pid):
    """Process state letter: R, S, T (stopped), Z."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_its_return_code_is_known_once_it_ended(make):
    process = make((sys.executable, "-c", "raise SystemExit(7)"))
    assert process.wait(60) == 7
    assert process.returncode == 7
    assert not process.running


def test_terminate_asks_first(make):
    process = make(SLEEP)
    until(lambda: "up" in process.log_tail())
    assert process.terminate() == -signal.SIGTERM
    assert process.terminate() == -signal.SIGTERM, "a second time changes nothing"


def test_terminate_kills_a_child_that_ignores_it(make):
    process = make(DEAF)
    until(lambda: "up" in process.log_tail())
    assert process.terminate(deadline_s=0.1) == -signal.SIGKILL


def test_a_frozen_child_is_thawed_so_that_it_can_end(make):
    process = make(SLEEP)
    until(lambda: "up" in process.log_tail())
    process.pause()
    until(lambda: state(process.pid) == "T")
    assert process.terminate(deadline_s=60) == -signal.SIGTERM


def test_pause_and_resume(make):
    process = make(SLEEP)
    process.pause()
    until(lambda: state(process.pid) == "T")
    process.resume()
    until(lambda: state(process.pid) != "T")
    assert process.running


def test_the_log_tail_begins_at_the_last_start(make):
    process = make((sys.executable, "-c", "import os; print('I am', os.getpid())"))
    process.wait(60)
    first = process.pid
    process.start()
    process.wait(60)
    assert process.log_tail() == f"I am {process.pid}"
    assert f"I am {first}" in process.log_path.read_text()


def test_a_missing_program_is_named(make):
    with pytest.raises(StackError, match="no-such-program"):
        make(("no-such-program",))


def test_a_second_start_while_it_runs_is_refused(make):
    process = make(SLEEP)
    with pytest.raises(StackError, match="started twice"):
        process.start()


def test_the_environment_is_the_one_given(make):
    show = (sys.executable, "-c", "import os; print(os.environ['COLOUR'])")
    process = make(show, env={"COLOUR": "teal"})
    assert process.wait(60) == 0
    assert process.log_tail() == "teal"


def test_it_outlives_the_thread_that_started_it(make):
    """The kernel's death signal is bound to the forking thread, so that must not be this one."""
    started = []

    def start():
        started.append(make(TALK))
        until(started[0].log_tail)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    (process,) = started
    printed = int(process.log_tail(1))
    until(lambda: not process.running or int(process.log_tail(1)) > printed + 20)
    assert process.running


def test_it_dies_with_a_parent_that_was_killed(tmp_path):
    script = (
        "import sys, time, pathlib\n"
        "from streams.local.child import ChildProcess\n"
        f"c = ChildProcess('c', {SLEEP!r}, pathlib.Path(sys.argv[1]))\n"
        "c.start()\n"
        "while 'up' not in c.log_tail(): time.sleep(0.01)\n"
        "print(c.pid, flush=True); time.sleep(600)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "c.log")], stdout=subprocess.PIPE, text=True
    )
    pid = int(parent.stdout.readline())
    assert start_stamp(pid) is not None
    parent.kill()
    parent.communicate()
    until(lambda: start_stamp(pid) is None)


class TestLeftovers:
    """A pid file ends only the process it was written for."""

    @pytest.fixture
    def stranger(self):
        process = subprocess.Popen(SLEEP, stdout=subprocess.DEVNULL)
        yield process
        process.kill()
        process.wait()

    def test_the_same_process_is_ended(self, tmp_path, stranger):
        pid_file = tmp_path / "x.pid"
        pid_file.write_text(json.dumps({"pid": stranger.pid, "started": start_stamp(stranger.pid)}))
        assert end_leftover(pid_file)
        assert stranger.wait(60) == -signal.SIGKILL
        assert not pid_file.exists()

    def test_another_process_with_the_same_pid_is_left_alone(self, tmp_path, stranger):
        pid_file = tmp_path / "x.pid"
        pid_file.write_text(json.dumps({"pid": stranger.pid, "started": "another boot/1"}))
        assert not end_leftover(pid_file)
        assert stranger.poll() is None

    def test_a_torn_pid_file_stops_the_start_and_is_named(self, tmp_path):
        pid_file = tmp_path / "x.pid"
        pid_file.write_text('{"pid": 1')
        with pytest.raises(StackError, match=r"x\.pid"):
            end_leftover(pid_file)

    def test_a_start_writes_it_and_an_orderly_end_removes_it(self, tmp_path, make):
        pid_file = tmp_path / "pids" / "x.pid"
        process = make(SLEEP, pid_file=pid_file)
        assert json.loads(pid_file.read_text()) == {
            "pid": process.pid,
            "started": start_stamp(process.pid),
        }
        process.terminate()
        assert not pid_file.exists()

    def test_a_start_ends_the_leftover_first(self, tmp_path, make, stranger):
        pid_file = tmp_path / "x.pid"
        child._write_pid_file(pid_file, stranger.pid)
        make(SLEEP, pid_file=pid_file)
        assert stranger.wait(60) == -signal.SIGKILL


def test_no_stamp_for_a_process_that_is_gone():
    process = subprocess.Popen([sys.executable, "-c", ""])
    until(lambda: start_stamp(process.pid) is None)  # a zombie is as good as gone
    process.wait()
    assert start_stamp(process.pid) is None
    assert start_stamp(os.getpid()) is not None

"""A child process that cannot outlive us: start, stop, kill, freeze, and read the end of its log.

Two things keep a crashed parent from leaving a Kafka behind. On Linux the kernel kills the child with
its parent (``PR_SET_PDEATHSIG``). On every system a pid file holds the process's id and start stamp. The
next start in that directory ends a leftover process, but only if it is provably the one in the file.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psutil

from streams import clock
from streams.console.errors import OperationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TAIL_LINES = 20
TAIL_BYTES_MAX = 64 * 1024
KILL_WAIT_S = 10.0
LEFTOVER_WAIT_S = 10.0
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
"""Exists on Linux only. It names the boot that the start ticks of /proc count from."""

# Runs between fork and the real program, as a fresh interpreter: a Python ``preexec_fn`` in a
# process with threads can deadlock. Exec keeps the pid and the death signal. If the parent died
# before prctl was called, no signal will come: hence the check of the parent's pid.
_LAUNCHER = """
import os, sys
if sys.platform == "linux":
    import ctypes
    if ctypes.CDLL(None).prctl(1, 9) != 0 or os.getppid() != int(sys.argv[1]):
        sys.exit(125)
os.execv(sys.argv[2], sys.argv[2:])
"""


class StackError(OperationError):
    """A local part did not do what it must. The message says what, where and who must act."""


class _Spawn(NamedTuple):
    argv: Sequence[str]
    env: Mapping[str, str] | None
    cwd: Path | None
    log_path: Path
    answer: Future[subprocess.Popen[bytes]]


class _Spawner:
    """The one thread that forks.

    The death signal fires when the forking THREAD ends, not the process. A child started from a pool
    thread would be killed when the pool closes. This thread ends only with the process.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[_Spawn] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def spawn(
        self,
        argv: Sequence[str],
        env: Mapping[str, str] | None,
        cwd: Path | None,
        log_path: Path,
    ) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._thread is None or not self._thread.is_alive():  # first use, or after a fork
                self._thread = threading.Thread(target=self._run, name="spawner", daemon=True)
                self._thread.start()
        answer: Future[subprocess.Popen[bytes]] = Future()
        self._jobs.put(_Spawn(argv, env, cwd, log_path, answer))
        return answer.result()

    def _run(self) -> None:
        while True:
            job = self._jobs.get()
            try:
                job.answer.set_result(_popen(job))
            except OSError as error:
                job.answer.set_exception(error)


def _popen(job: _Spawn) -> subprocess.Popen[bytes]:
    launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), *job.argv]
    with job.log_path.open("ab") as log:
        return subprocess.Popen(  # noqa: S603 - argv is ours, no shell
            launcher,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=job.cwd,
            env=job.env,
            # Ctrl-C goes to the terminal's whole process group; we stop our children in order.
            start_new_session=True,
        )


_spawner = _Spawner()


class ChildProcess:
    """One program as a child. Its output is appended to ``log_path``, across restarts too.

    ``env=None`` inherits the environment. With ``pid_file``, a leftover of a crashed parent is ended
    before the start.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        log_path: Path,
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        pid_file: Path | None = None,
    ) -> None:
        assert argv
        self.name = name
        self.argv = tuple(argv)
        self.log_path = log_path
        self._env = env
        self._cwd = cwd
        self._pid_file = pid_file
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0
        self._paused = False
        self._asked = False

    @property
    def pid(self) -> int:
        """Id of the running process, or of the last one. Raises StackError before the first start."""
        if self._process is None:
            raise StackError(f"{self.name}: asked for its pid, but it was never started")
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Exit code; negative: the signal that ended it. None while it runs or if it never started."""
        return None if self._process is None else self._process.poll()

    @property
    def running(self) -> bool:
        """True if it was started and has not ended. A paused process is running."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the program. Returns once it is forked, not once it is ready. Raises StackError."""
        if self.running:
            raise StackError(f"{self.name}: started twice, already runs as pid {self.pid}")
        program = shutil.which(self.argv[0])
        if program is None:
            raise StackError(
                f"{self.name}: expected an executable program, found none at {self.argv[0]!r}; "
                "install it or correct the path"
            )
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        if self._pid_file is not None:
            self._pid_file.parent.mkdir(parents=True, exist_ok=True)
            end_leftover(self._pid_file)
        self._log_start = self.log_path.stat().st_size if self.log_path.exists() else 0
        self._paused = self._asked = False
        self._process = _spawner.spawn(
            [program, *self.argv[1:]], self._env, self._cwd, self.log_path
        )
        if self._pid_file is not None:
            _write_pid_file(self._pid_file, self._process.pid)

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Wait for its end. Returns the exit code, or None if it still runs after ``timeout_s``."""
        if self._process is None:
            return None
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def ask_to_end(self) -> None:
        """Send SIGTERM once, because to some programs a second one means 'at once'. Does not wait."""
        if self.running and not self._asked:
            self._asked = True
            self._signal(signal.SIGTERM)
            self.resume()  # a frozen process takes its signal only when thawed

    def terminate(self, deadline_s: float = 10.0) -> int | None:
        """Ask it to end, and send SIGKILL after ``deadline_s``. Safe to call twice."""
        self.ask_to_end()
        if self.running and self.wait(deadline_s) is None:
            self.kill()
        self._forget()
        return self.returncode

    def kill(self) -> int | None:
        """End it at once (SIGKILL), as a crash would, and wait until it is gone."""
        self._signal(signal.SIGKILL)
        if self.wait(KILL_WAIT_S) is None and self.running:
            raise StackError(
                f"{self.name}: pid {self.pid} is still there {KILL_WAIT_S:.0f} s after SIGKILL; "
                "it hangs in the kernel (a dead disk or network mount?)"
            )
        self._forget()
        return self.returncode

    def pause(self) -> None:
        """Freeze it (SIGSTOP): it stays alive and holds its ports and locks, but does nothing."""
        self._signal(signal.SIGSTOP)
        self._paused = self.running

    def resume(self) -> None:
        """Thaw it (SIGCONT)."""
        if self._paused:
            self._signal(signal.SIGCONT)
            self._paused = False

    def log_tail(self, lines: int = TAIL_LINES) -> str:
        """Return the last lines that it wrote since its last start."""
        if not self.log_path.exists():
            return ""
        with self.log_path.open("rb") as log:
            end = log.seek(0, os.SEEK_END)
            log.seek(max(self._log_start, end - TAIL_BYTES_MAX))
            text = log.read().decode(errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def last_words(self) -> str:
        """Say how it ended and what it logged last, for an error message."""
        code = self.returncode
        state = "still running" if code is None else f"exit code {code}"
        return f"{state}; {self.log_path} ends with:\n{self.log_tail() or '(nothing)'}"

    def _signal(self, number: signal.Signals) -> None:
        # send_signal polls first. A reaped pid is never signalled: another process may have it by now.
        if self._process is not None:
            self._process.send_signal(number)

    def _forget(self) -> None:
        self._paused = False
        if self._pid_file is not None:
            self._pid_file.unlink(missing_ok=True)


def start_stamp(pid: int) -> str | None:
    """Stamp that no later process with this pid has; None if the process is gone or a zombie."""
    if not BOOT_ID.exists():
        try:
            process = psutil.Process(pid)
            gone = process.status() == psutil.STATUS_ZOMBIE
            return None if gone else f"{process.create_time():.2f}"
        except psutil.NoSuchProcess:
            return None
    try:
        # Field 2 is the name in parentheses and may hold anything. Field 3 is the state, 22 the start.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, ticks = fields[0], fields[19]
    # Unlike a wall-clock time, ticks since boot do not change when somebody sets the clock.
    return None if state in "ZX" else f"{BOOT_ID.read_text().strip()}/{ticks}"


def _write_pid_file(path: Path, pid: int) -> None:
    stamp = start_stamp(pid)
    if stamp is not None:
        draft = path.with_suffix(".tmp")
        draft.write_text(json.dumps({"pid": pid, "started": stamp}))
        draft.replace(path)


def end_leftover(pid_file: Path) -> bool:
    """Kill the process that a pid file names, if it is provably that one. True if it was there."""
    try:
        record = json.loads(pid_file.read_text())
        pid, started = int(record["pid"]), str(record["started"])
    except FileNotFoundError:
        return False
    except (ValueError, KeyError, TypeError) as error:
        raise StackError(
            f"{pid_file}: expected a JSON object with pid and started, found something else "
            f"({error}); see whether its process still runs, then delete the file"
        ) from error
    leftover = start_stamp(pid) == started
    if leftover:
        os.kill(pid, signal.SIGKILL)
        deadline_ms = clock.monotonic_ms() + int(LEFTOVER_WAIT_S * 1000)
        while start_stamp(pid) == started:
            if clock.monotonic_ms() > deadline_ms:
                raise StackError(
                    f"{pid_file}: pid {pid}, left by a crashed run, is still there "
                    f"{LEFTOVER_WAIT_S:.0f} s after SIGKILL; end it by hand"
                )
            threading.Event().wait(0.02)
    pid_file.unlink(missing_ok=True)
    return leftover

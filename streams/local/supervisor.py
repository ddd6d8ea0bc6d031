"""Keeps child processes running: restarts one that ends, later each time it ends soon again.

Nothing here waits or runs by itself: the owner calls ``poll`` a few times a second, and time is a
parameter. An exit code that says that a restart changes nothing ends everything; the error quotes the
end of the child's log.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from streams.clock import monotonic_ms
from streams.console.errors import OperationError
from streams.local.child import ChildProcess

FIRST_DELAY_MS = 500
LONGEST_DELAY_MS = 30_000
HEALTHY_MS = 60_000
"""A child that ran this long was healthy: its next end is counted as the first."""
STOP_DEADLINE_S = 15.0
USAGE = 2
"""Exit code for wrong settings or topics: a restart changes nothing."""


@dataclass(slots=True)
class Backoff:
    """Delay before a restart: doubled with each end in a row, the first delay after a healthy run."""

    first_ms: int = FIRST_DELAY_MS
    longest_ms: int = LONGEST_DELAY_MS
    healthy_ms: int = HEALTHY_MS
    failures: int = 0
    """Ends in a row without a healthy run between them."""

    def delay_ms(self, ran_ms: int) -> int:
        """Count an end after a run of ``ran_ms``. Returns the delay before the next start, in ms."""
        self.failures = 1 if ran_ms >= self.healthy_ms else self.failures + 1
        doublings = min(self.failures - 1, self.longest_ms.bit_length())
        return min(self.first_ms << doublings, self.longest_ms)


@dataclass(slots=True)
class _Kept:
    child: Callable[[], ChildProcess]
    launch: Callable[[], None]
    started_ms: int
    backoff: Backoff
    due_ms: int | None = None
    """Time of its next start; None while it runs, and after it has ended for good."""
    done: bool = False


@dataclass(slots=True)
class Supervisor:
    """Restarts children that end.

    ``final_codes``: exit codes after which a restart changes nothing, so nothing goes on.
    ``asked_codes``: exit codes of a child that was asked to end; it is not restarted. ``give_up_after``:
    a child is given up after this many ends in a row without a healthy run between them; None: never.
    ``tell`` is called with a sentence for each end.
    """

    tell: Callable[[str], None]
    final_codes: frozenset[int] = frozenset({USAGE})
    asked_codes: frozenset[int] = frozenset({0})
    give_up_after: int | None = None
    clock: Callable[[], int] = monotonic_ms
    _kept: list[_Kept] = field(default_factory=list)

    def keep(self, child: Callable[[], ChildProcess], launch: Callable[[], None]) -> None:
        """Keep a child running that was launched just now.

        ``launch`` starts it without waiting for it. ``child`` is a function because a server makes a new
        child at each launch.
        """
        self._kept.append(_Kept(child, launch, self.clock(), Backoff()))

    def poll(self) -> None:
        """Check each child once and restart those that are due.

        Raises OperationError with the end of a child's log when the child is given up, or when its exit
        code says that a restart changes nothing. Raises it too when every child has ended as asked.
        """
        for kept in self._kept:
            if not kept.done:
                self._check_child(kept)
        if self._kept and all(kept.done for kept in self._kept):
            names = ", ".join(kept.child().name for kept in self._kept)
            raise OperationError(f"{names}: ended at somebody else's request; nothing is left")

    def _check_child(self, kept: _Kept) -> None:
        now_ms, child = self.clock(), kept.child()
        if kept.due_ms is not None:
            if now_ms >= kept.due_ms:
                kept.due_ms, kept.started_ms = None, now_ms
                kept.launch()
            return
        code = child.returncode
        if code is None:
            return
        if code in self.asked_codes:
            kept.done = True
            self.tell(f"{child.name} ended at somebody else's request; it is not restarted")
            return
        if code in self.final_codes:
            raise OperationError(f"{child.name} cannot run: {child.last_words()}")
        delay_ms = kept.backoff.delay_ms(now_ms - kept.started_ms)
        if self.give_up_after is not None and kept.backoff.failures >= self.give_up_after:
            raise OperationError(
                f"{child.name} ended {kept.backoff.failures} times in a row: {child.last_words()}"
            )
        kept.due_ms = now_ms + delay_ms
        self.tell(f"{child.name} ended ({ended_how(code)}); restarted in {delay_ms / 1000:g} s")


def ended_how(code: int) -> str:
    """Say how a process ended: `exit code 1` or `signal 9`."""
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def stop_all(
    processes: Sequence[ChildProcess],
    *,
    deadline_s: float = STOP_DEADLINE_S,
    clock: Callable[[], int] = monotonic_ms,
) -> list[ChildProcess]:
    """Ask all processes to end at once, wait, and kill those that outlast the deadline.

    Returns the processes that were killed.
    """
    deadline_ms = clock() + int(deadline_s * 1000)
    for process in processes:
        process.ask_to_end()
    killed: list[ChildProcess] = []
    for process in processes:
        if process.wait(max(0.0, (deadline_ms - clock()) / 1000)) is None and process.running:
            killed.append(process)
        process.terminate(deadline_s=0.0)
    return killed

"""Keeps child processes running: one that ends comes back, later each time it ends soon again.

Nothing here waits or runs by itself: the owner calls ``poll`` a few times a second, and time is a
parameter. A child that says that a restart changes nothing ends everything, with its last words.
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
"""Who ran this long was well: its next end is not held against it."""
STOP_DEADLINE_S = 15.0
USAGE = 2
"""Exit code for wrong settings or topics: a restart changes nothing."""


@dataclass(slots=True)
class Backoff:
    """How long to wait before a restart: doubled each time, as at first after a healthy run."""

    first_ms: int = FIRST_DELAY_MS
    longest_ms: int = LONGEST_DELAY_MS
    healthy_ms: int = HEALTHY_MS
    failures: int = 0
    """Ends in a row, none of them after a healthy run."""

    def delay_ms(self, ran_ms: int) -> int:
        """Count an end after ``ran_ms``; how long to wait before the next start."""
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
    """When it is to be started again; None while it runs, and when it ended for good."""
    done: bool = False


@dataclass(slots=True)
class Supervisor:
    """Restarts what ends; see the module.

    ``final_codes`` are exit codes after which nothing goes on, ``asked_codes`` those of a child
    that was told to end: it is left alone. ``give_up_after`` that many ends in a row without a
    healthy run between them, a child is given up; None: never. ``tell`` gets a sentence for each
    end.
    """

    tell: Callable[[str], None]
    final_codes: frozenset[int] = frozenset({USAGE})
    asked_codes: frozenset[int] = frozenset({0})
    give_up_after: int | None = None
    clock: Callable[[], int] = monotonic_ms
    _kept: list[_Kept] = field(default_factory=list)

    def keep(self, child: Callable[[], ChildProcess], launch: Callable[[], None]) -> None:
        """Keep a child, launched just now, running; ``launch`` starts it without waiting for it.

        A server makes a new child at each launch, hence the function.
        """
        self._kept.append(_Kept(child, launch, self.clock(), Backoff()))

    def poll(self) -> None:
        """Look at each child once and restart those that are due.

        Raises OperationError with a child's last words when it is given up, when it says that a
        restart changes nothing, and when every one of them has ended as asked.
        """
        for kept in self._kept:
            if not kept.done:
                self._look_at(kept)
        if self._kept and all(kept.done for kept in self._kept):
            names = ", ".join(kept.child().name for kept in self._kept)
            raise OperationError(f"{names}: told to end by somebody else; nothing is left")

    def _look_at(self, kept: _Kept) -> None:
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
            self.tell(f"{child.name} was told to end by somebody else; not restarted")
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
    """`exit code 1` or `signal 9`."""
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def stop_all(
    processes: Sequence[ChildProcess],
    *,
    deadline_s: float = STOP_DEADLINE_S,
    clock: Callable[[], int] = monotonic_ms,
) -> list[ChildProcess]:
    """Ask all of them to end at once, wait, and kill who outlasts the deadline; returns those."""
    deadline_ms = clock() + int(deadline_s * 1000)
    for process in processes:
        process.ask_to_end()
    killed: list[ChildProcess] = []
    for process in processes:
        if process.wait(max(0.0, (deadline_ms - clock()) / 1000)) is None and process.running:
            killed.append(process)
        process.terminate(deadline_s=0.0)
    return killed

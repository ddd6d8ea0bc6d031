"""Progress of long work. The work calls one function; the caller decides how to show it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Protocol

from rich.console import Console

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import TaskID


class ProgressFunction(Protocol):
    """Receives what is being done. ``total_mb`` is 0 when there is nothing to count."""

    def __call__(self, text: str, done_mb: float, total_mb: float) -> None:
        """Show the progress. Several threads call it, but never concurrently."""


def no_progress(text: str, done_mb: float, total_mb: float) -> None:
    """Show nothing."""


@contextlib.contextmanager
def rich_progress(console: Console | None = None) -> Iterator[ProgressFunction]:
    """Draw bars on stderr from the first counted message on; without a terminal, print plain lines."""
    console = console or Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(console)
        return
    with contextlib.ExitStack() as stack:
        yield _Bars(console, stack)


class _Lines:
    """Prints each text once: a log file should say that a download began, not count its bytes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last = ""

    def __call__(self, text: str, done_mb: float, total_mb: float) -> None:
        del done_mb, total_mb
        if text != self._last:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)
            self._last = text


class _Bars:
    def __init__(self, console: Console, stack: contextlib.ExitStack) -> None:
        # Imported here, because most starts download nothing.
        from rich.progress import (  # noqa: PLC0415
            BarColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
        )

        self._stack = stack
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.completed:.0f} of {task.total:.0f} MB"),
            TimeElapsedColumn(),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, text: str, done_mb: float, total_mb: float) -> None:
        if not total_mb:
            self._bars.console.print(text, markup=False, highlight=False, soft_wrap=True)
            return
        if not self._tasks:
            self._stack.enter_context(self._bars)
        if text not in self._tasks:
            self._tasks[text] = self._bars.add_task(text, total=total_mb)
        self._bars.update(self._tasks[text], completed=done_mb)

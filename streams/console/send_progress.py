"""Progress of sending events, on stderr when it is a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

EVERY = 500
"""Events between two updates of the bar: drawing must not slow down the sending."""


class SendProgress(Protocol):
    """Receives how many events were sent, and how far that is."""

    def show(self, events: int, where: str) -> None:
        """Show that ``events`` events were sent so far; ``where`` is a text such as an event time."""


class _Nothing:
    def show(self, events: int, where: str) -> None:
        """Show nothing."""


NO_PROGRESS: SendProgress = _Nothing()


class _Bar:
    def __init__(self, progress: Progress, label: str, total: int | None) -> None:
        self._progress = progress
        self._task = progress.add_task(label, total=total, where="")
        self._shown = -EVERY

    def show(self, events: int, where: str) -> None:
        if events - self._shown >= EVERY:
            self._shown = events
            self._progress.update(self._task, completed=events, where=where)


@contextmanager
def send_progress(label: str, total: int | None = None) -> Iterator[SendProgress]:
    """Yield a bar on stderr. Nothing is drawn when stderr is not a terminal."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} events {task.fields[where]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield _Bar(progress, label, total)

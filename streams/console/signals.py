"""Stops a command in order at the first SIGINT or SIGTERM, and at once at the second."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from streams.console.errors import OperationError


class StoppedError(OperationError):
    """A second signal came: the work under way was given up."""


@contextmanager
def stop_signals() -> Iterator[asyncio.Event]:
    """Yield an event that SIGINT and SIGTERM set; a second signal raises StoppedError inside.

    Use it in the main thread, within a task. Without the second signal, a wait for a broker that is gone
    would end only at its own deadline.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None, "stop_signals must be called within a task"
    given_up = False

    def on_signal() -> None:
        nonlocal given_up
        if stopping.is_set():
            given_up = True
            task.cancel()
        stopping.set()

    signals = (signal.SIGINT, signal.SIGTERM)
    for number in signals:
        loop.add_signal_handler(number, on_signal)
    try:
        yield stopping
    except asyncio.CancelledError:
        if not given_up:
            raise
        task.uncancel()
        raise StoppedError(
            "stopped by a second signal; records that were not acknowledged may be missing"
        ) from None
    finally:
        for number in signals:
            loop.remove_signal_handler(number)

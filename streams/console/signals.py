"""Stopping cleanly on SIGINT and SIGTERM; at once on the second."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from streams.console.errors import OperationError


class StoppedError(OperationError):
    """A second signal: what was under way is given up."""


@contextmanager
def stop_signals() -> Iterator[asyncio.Event]:
    """Yield an event that SIGINT and SIGTERM set; a second signal raises StoppedError inside.

    Use it in the main thread, within a task. What waits for a broker that is gone would otherwise
    not end before its own deadline.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None, "called within a task"
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
            "stopped by a second signal; what was not acknowledged may be missing"
        ) from None
    finally:
        for number in signals:
            loop.remove_signal_handler(number)

"""Keeps libraries from writing to the terminal what a command says itself, in its own words.

Without configured logs Python prints the warnings of every library to stderr: aiokafka's "Unable connect
to", for each attempt, came before the one line that says what to do.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

CHATTY = ("aiohttp", "aiokafka", "faust", "mode")
"""Loggers of libraries that log what they raise as well. asyncio is none: what it logs is a bug."""
KEPT_MAX = 10


class _SilentHandler(logging.Handler):
    """Shows nothing, and keeps the last failures: aiokafka logs why it was refused, and raises less."""

    def __init__(self) -> None:
        super().__init__()
        self.failures: deque[BaseException] = deque(maxlen=KEPT_MAX)

    def emit(self, record: logging.LogRecord) -> None:
        given = record.args if isinstance(record.args, tuple) else ()
        self.failures.extend(each for each in given if isinstance(each, BaseException))


_KEPT = _SilentHandler()


def silence_libraries(*, but_show: bool) -> None:
    """Show nothing of what libraries log until ``show_libraries``, but keep the failures in it.

    ``but_show``: show it all the same.
    """
    _KEPT.failures.clear()
    for name in CHATTY:
        logger = logging.getLogger(name)
        logger.addHandler(_KEPT)
        logger.propagate = but_show


def show_libraries() -> None:
    """Leave it to the logs that are configured what is shown of the libraries'."""
    for name in CHATTY:
        logger = logging.getLogger(name)
        logger.removeHandler(_KEPT)
        logger.propagate = True


@contextmanager
def libraries_silenced(*, but_show: bool) -> Iterator[None]:
    """Silence libraries within, where the caller logs the same failure once."""
    silence_libraries(but_show=but_show)
    try:
        yield
    finally:
        show_libraries()


def kept_failures() -> tuple[BaseException, ...]:
    """Return the last failures that libraries logged since they were silenced, the oldest first."""
    return tuple(_KEPT.failures)

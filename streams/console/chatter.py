"""Keeps libraries from writing to the terminal what a command says itself, in its own words.

Without configured logs Python prints the warnings of every library to stderr: aiokafka's "Unable connect
to", for each attempt, came before the one line that says what to do.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

CHATTY = ("aiohttp", "aiokafka", "faust", "mode")
"""Loggers of libraries that log what they raise as well. asyncio is none: what it logs is a bug."""
_SILENT = logging.CRITICAL + 1


def silence_libraries() -> None:
    """Show nothing of what libraries log, until ``console.logs.configure_logs`` decides."""
    for name in CHATTY:
        logging.getLogger(name).setLevel(_SILENT)


@contextmanager
def libraries_silenced() -> Iterator[None]:
    """Show nothing of what libraries log within, where the caller logs the same failure once."""
    before = {name: logging.getLogger(name).level for name in CHATTY}
    silence_libraries()
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)

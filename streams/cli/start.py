"""Runs before a command is imported: handles interrupts and keeps compiled modules.

This module imports only what Python has loaded anyway, since its imports run before both.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

INTERRUPTED = 130
"""Exit code that a shell gives to a process that SIGINT ended."""


def hear_interrupts() -> None:
    """Make Ctrl-C end the process silently until :func:`interruptible` is called."""
    signal.signal(signal.SIGINT, _interrupted)


def interruptible() -> None:
    """Give Ctrl-C back to Python's own handler: asyncio takes it over from no other."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def keep_bytecode() -> None:
    """Keep compiled modules in our cache where Python may not write them beside their source.

    Many images set PYTHONDONTWRITEBYTECODE. Each process then compiles all that it imports, which is
    1.8 s of a worker's start. An installation that is compiled already is used as it is.
    """
    if not sys.dont_write_bytecode or sys.pycache_prefix:
        return
    from pathlib import Path

    if not Path(__spec__.cached or "").is_file():
        base = Path(os.environ.get("XDG_CACHE_HOME", ""))  # noqa: TID251 - before the settings
        base = base if base.is_absolute() else Path.home() / ".cache"
        sys.pycache_prefix = str(base / "ecindex" / "bytecode")
        sys.dont_write_bytecode = False


def _interrupted(number: int, frame: FrameType | None) -> None:
    """End at once while modules are imported, else raise KeyboardInterrupt.

    A KeyboardInterrupt within an import can be lost in a callback of the import lock, or become the
    ImportError of an extension module. There is nothing to clean up yet.
    """
    within = frame
    while within is not None:
        if within.f_code.co_filename.startswith("<frozen importlib"):
            os._exit(INTERRUPTED)
        within = within.f_back
    signal.default_int_handler(number, frame)

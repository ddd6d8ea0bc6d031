"""What happens before a command is imported: an interrupt is heard, compiled modules are kept.

What is imported here is imported before both: only what Python has loaded by then anyway.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

INTERRUPTED = 130
"""What a shell calls the end of a process by SIGINT."""


def hear_interrupts() -> None:
    """Until :func:`interruptible` Ctrl-C ends the process without a word."""
    signal.signal(signal.SIGINT, _interrupted)


def interruptible() -> None:
    """From here on Ctrl-C is Python's: asyncio takes it over only from Python's own handler."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def keep_bytecode() -> None:
    """Keep compiled modules in our cache where Python may not write them beside their source.

    PYTHONDONTWRITEBYTECODE is set in many images; each process then compiles all it imports, 1.8 s
    of a worker's start. An installation that was compiled is used as it is.
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

    Raised within an import it can be lost in a callback of the import lock, or become the
    ImportError of an extension module; there is nothing to clean up yet.
    """
    within = frame
    while within is not None:
        if within.f_code.co_filename.startswith("<frozen importlib"):
            os._exit(INTERRUPTED)
        within = within.f_back
    signal.default_int_handler(number, frame)

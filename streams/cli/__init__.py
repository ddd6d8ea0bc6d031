"""Command line: arguments only; each command calls into the room that does its work.

Exit codes: 0 ok, 1 something is wrong, 2 usage or settings, 130 interrupted (Ctrl-C).
"""

from __future__ import annotations

import gc
import sys

from streams.cli import start


def main() -> None:
    """Entry point of the ``ecindex`` script."""
    start.hear_interrupts()
    try:
        start.keep_bytecode()
        # What a command imports stays. The search for garbage among it takes 1/20 of a start.
        gc.set_threshold(50_000)
        from streams.cli.commands import app

        app()
    except KeyboardInterrupt:
        sys.exit(start.INTERRUPTED)

"""The only module that reads a clock. Everywhere else time is a parameter."""

from __future__ import annotations

import time


def now_ms() -> int:
    """Wall-clock time in UTC epoch milliseconds."""
    return time.time_ns() // 1_000_000  # noqa: TID251 - this is the clock module


def since_boot_ms() -> int | None:
    """Milliseconds since the machine started, with its sleep; None on a system without such a clock."""
    which = getattr(time, "CLOCK_BOOTTIME", None)
    return None if which is None else time.clock_gettime_ns(which) // 1_000_000


def monotonic_ms() -> int:
    """Milliseconds on a clock that never steps back. For durations and deadlines only."""
    return time.monotonic_ns() // 1_000_000

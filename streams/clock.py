"""The one place that reads the wall clock. Everywhere else time is a parameter."""

from __future__ import annotations

import time


def now_ms() -> int:
    """Wall-clock time, UTC epoch milliseconds."""
    return time.time_ns() // 1_000_000  # noqa: TID251 - this is the clock module


def since_boot_ms() -> int | None:
    """Milliseconds since the machine started, its sleep included; None where nothing counts them."""
    which = getattr(time, "CLOCK_BOOTTIME", None)
    return None if which is None else time.clock_gettime_ns(which) // 1_000_000


def monotonic_ms() -> int:
    """Milliseconds on a clock that never steps back; for durations and deadlines only."""
    return time.monotonic_ns() // 1_000_000

"""What time it is by the log: the broker's stamps on what this process writes.

A worker's own clock may be an hour off, or step. What it says would be believed for good: a market that
was caught up an hour from now takes nothing for an hour, and one that was live once stays live. So
instants are measured on a clock that never steps, and put into the log's time by the last stamp.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from streams.clock import monotonic_ms, now_ms

if TYPE_CHECKING:
    from collections.abc import Callable

DISAGREES_MS = 10_000
"""A worker whose own clock is further from the broker's than this is not ready."""


class LogClock:
    """The log's time, and how far this machine's clock is from it."""

    def __init__(
        self, own: Callable[[], int] = now_ms, steady: Callable[[], int] = monotonic_ms
    ) -> None:
        """``own``: this machine's clock. ``steady``: one that never steps."""
        self.own = own
        self.steady = steady
        self.ahead_ms = 0
        """How far this machine's clock is ahead of the broker's for sure; behind is negative."""
        self._stamped: tuple[int, int] | None = None

    def on_written(self, stamped_ms: int, sent_ms: int) -> None:
        """Note a broker's stamp on a record that was sent when the own clock said ``sent_ms``.

        Call it when the record is acknowledged.
        """
        self._stamped = stamped_ms, self.steady()
        # The stamp lies between sending and acknowledgement, however long both took.
        self.ahead_ms = max(0, sent_ms - stamped_ms) + min(0, self.own() - stamped_ms)

    def at(self, steady_ms: int) -> int | None:
        """Return the log's time at an instant of the steady clock; None before the first stamp.

        It is never later than the broker's own time then, and earlier by one acknowledgement's way.
        """
        if self._stamped is None:
            return None
        stamped_ms, seen_ms = self._stamped
        return stamped_ms + steady_ms - seen_ms

    def log_ms(self) -> int | None:
        """Return the log's time now; None before the first stamp."""
        return self.at(self.steady())

    def now_ms(self) -> int:
        """Return the log's time now; before the first stamp, the own clock's."""
        log_ms = self.log_ms()
        return self.own() if log_ms is None else log_ms

    @property
    def disagrees(self) -> str | None:
        """Say how far the own clock is off, if further than allowed."""
        if abs(self.ahead_ms) <= DISAGREES_MS:
            return None
        side = "ahead of" if self.ahead_ms > 0 else "behind"
        return (
            f"this machine's clock is {abs(self.ahead_ms) / 1000:.1f} s {side} the broker's "
            f"({DISAGREES_MS // 1000} s are allowed): set it (NTP)"
        )

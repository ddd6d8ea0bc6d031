"""When each source partition was last known to be read to its end.

A fetch response carries the log end as the leader saw it. Once the fold includes everything below
that end, the partition was caught up at that response: the state holds every record that came before
it. The rule ignores queues, since a queued record is not folded. It holds for a partition that never
falls silent, and for one that waits behind another market's traffic.
"""

from __future__ import annotations

from collections import deque

_PENDING_MAX = 64
"""Responses remembered per partition: more than a queue of chunks can keep distinct."""


class CaughtUp:
    """The log end and the last caught-up time of one source partition."""

    __slots__ = ("_pending", "at_ms", "log_end")

    def __init__(self) -> None:
        self.log_end: int | None = None
        self.at_ms: int | None = None
        self._pending: deque[tuple[int, int]] = deque()

    def on_response(self, log_end: int, at_ms: int, expected: int | None) -> None:
        """Record a fetch response: the leader showed ``log_end`` at ``at_ms``."""
        self.log_end = log_end
        pending = self._pending
        if pending and (pending[-1][0] == log_end or len(pending) >= _PENDING_MAX):
            pending.pop()
        pending.append((log_end, at_ms))
        if expected is not None:
            self.on_progress(expected)

    def on_progress(self, expected: int) -> None:
        """Record that everything below ``expected`` is folded."""
        pending = self._pending
        while pending and pending[0][0] <= expected:
            at_ms = pending.popleft()[1]
            # A clock that steps back must not undo what a later response has shown.
            if self.at_ms is None or at_ms > self.at_ms:
                self.at_ms = at_ms

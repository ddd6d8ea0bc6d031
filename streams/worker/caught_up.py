"""When each source partition was last known to be read to its end.

A fetch response carries the log end as the leader saw it. Once the fold includes everything below
that end, the partition was caught up at that response: the state holds every record that came before
it. The rule ignores queues, since a queued record is not folded. It holds for a partition that never
falls silent, and for one that waits behind another market's traffic.

An open transaction holds the partition at its last stable offset: what lies beyond, up to the log end,
was appended before the response and may still count. So the fold reaches that log end, and is caught
up, only when the transaction has ended. Until then the broker's own timestamps say how far the log is
folded: whatever is not folded was appended after the newest record that is.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_PENDING_MAX = 64
"""Responses remembered per partition: more than a queue of chunks can keep distinct."""


class CaughtUp:
    """The log end of one source partition, and when it was last caught up, on a steady clock."""

    __slots__ = (
        "_appended_ms", "_pending", "asked_when_held", "at_ms", "held_from_ms", "held_since_ms",
        "log_end", "seen_ms", "stable_end",
    )  # fmt: skip

    def __init__(self) -> None:
        self.log_end: int | None = None
        self.stable_end: int | None = None
        """The last stable offset: an open transaction begins there; else the log end."""
        self.held_since_ms: int | None = None
        """Since when an open transaction has stood at ``stable_end``, as this worker saw it."""
        self.held_from_ms: int | None = None
        """When the broker appended its first record, in the log's time; None: not known."""
        self.asked_when_held = False
        self.seen_ms = 0
        """When the last response was given."""
        self.at_ms: int | None = None
        self._pending: deque[tuple[int, int]] = deque()
        self._appended_ms: int | None = None

    def on_response(self, log_end: int, stable_end: int, at_ms: int, expected: int | None) -> None:
        """Record a fetch response: the leader showed both ends at ``at_ms``, on a steady clock."""
        if stable_end >= log_end:
            self.held_since_ms = None
        elif self.held_since_ms is None or stable_end != self.stable_end:
            self.held_since_ms = at_ms
            self.held_from_ms, self.asked_when_held = None, False
        self.log_end, self.stable_end = log_end, stable_end
        self.seen_ms = at_ms
        pending = self._pending
        if pending and (pending[-1][0] == log_end or len(pending) >= _PENDING_MAX):
            pending.pop()
        pending.append((log_end, at_ms))
        if expected is not None:
            self.on_progress(expected)

    def on_progress(self, expected: int, appended_ms: int | None = None) -> None:
        """Record that everything below ``expected`` is folded.

        ``appended_ms``: when the broker appended the newest record folded; None when a producer's
        clock stamped it, or no record was in it.
        """
        pending = self._pending
        while pending and pending[0][0] <= expected:
            self.at_ms = pending.popleft()[1]
        if appended_ms is not None:
            self._appended_ms = max(appended_ms, self._appended_ms or appended_ms)

    @property
    def appended_ms(self) -> int | None:
        """Append time of the newest record folded while a transaction is open, else None."""
        return None if self.held_since_ms is None else self._appended_ms

    def log_ms(self, to_log: Callable[[int], int | None]) -> int | None:
        """Return the instant of the log before which all that arrived is folded; None: unknown.

        ``to_log``: an instant of the steady clock -> of the log.
        """
        at_ms = None if self.at_ms is None else to_log(self.at_ms)
        seen_ms = to_log(self.seen_ms)
        if self.appended_ms is None or seen_ms is None:
            return at_ms
        # A broker whose clock ran ahead may have stamped it: not later than the response.
        appended_ms = min(self.appended_ms, seen_ms)
        return appended_ms if at_ms is None else max(appended_ms, at_ms)

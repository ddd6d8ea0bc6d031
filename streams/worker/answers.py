"""When the group's coordinator last answered a heartbeat, and whether brokers answer anything else.

It tells a silent broker from an absent one, and a worker that the group has forgotten from one whose
brokers are away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from streams.clock import monotonic_ms

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


UNHEARD_MS = 60_000
"""A coordinator that loads its groups refuses heartbeats for as long; nobody else owns anything then."""


class Answers:
    """Heartbeat answers: recorded by the thread that sends heartbeats, read by others.

    ``limit_ms``: half a session.
    """

    def __init__(self, limit_ms: int, clock: Callable[[], int] = monotonic_ms) -> None:
        self._limit_ms = limit_ms
        self._clock = clock
        self._answered_ms: int | None = None
        self._fetched_ms: int | None = None
        self._fetching_since_ms = 0

    async def heard(self, heartbeat: Callable[[], Awaitable[bool]]) -> bool:
        """Send a heartbeat; return True when the broker accepted it."""
        answered = await heartbeat()
        if answered:
            self._answered_ms = self._clock()
        return answered

    @property
    def lately(self) -> bool:
        """True when a heartbeat was answered within the limit, which exceeds their interval."""
        answered_ms = self._answered_ms
        return answered_ms is not None and self._clock() - answered_ms <= self._limit_ms

    def fetched(self, at_ms: int) -> None:
        """Note that a broker answered a fetch of what this worker owns."""
        if self._fetched_ms is None or at_ms - self._fetched_ms > self._limit_ms:
            self._fetching_since_ms = at_ms  # the brokers were away: heartbeats need a moment, too
        self._fetched_ms = at_ms

    def on_revoked(self) -> None:
        """Note that this worker owns nothing now: while it joins anew, it sends no heartbeats."""
        self._fetched_ms = None

    @property
    def unheard_ms(self) -> int | None:
        """For how long no heartbeat was answered while fetches were; None while that is no trouble.

        The group has given the partitions to others by then.
        """
        if self._fetched_ms is None:
            return None
        since_ms = max(self._fetching_since_ms, self._answered_ms or self._fetching_since_ms)
        unheard_ms = self._fetched_ms - since_ms
        return unheard_ms if unheard_ms > max(UNHEARD_MS, 6 * self._limit_ms) else None

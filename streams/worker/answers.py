"""When the group's coordinator last answered a heartbeat: tells a silent broker from an absent one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streams.clock import monotonic_ms

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class Answers:
    """Heartbeat answers: recorded by the thread that sends heartbeats, read by others."""

    def __init__(self, limit_ms: int, clock: Callable[[], int] = monotonic_ms) -> None:
        self._limit_ms = limit_ms
        self._clock = clock
        self._answered_ms: int | None = None

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

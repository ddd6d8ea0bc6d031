"""How the worker's loops wait: for an event within a limit, or until a moment that all loops share."""

from __future__ import annotations

import asyncio

from streams.clock import monotonic_ms


async def set_within(event: asyncio.Event, seconds: float) -> bool:
    """Wait until ``event`` is set, at most ``seconds``; return whether it is set."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


def until_next(every_ms: int, now_ms: int | None = None) -> int:
    """Return the ms, 1 to ``every_ms``, to the next multiple of ``every_ms`` on the steady clock.

    Loops that wait this long wake up together, whenever each began.
    """
    now_ms = monotonic_ms() if now_ms is None else now_ms
    return every_ms - now_ms % every_ms

"""Waiting for an event within a limit, and to a moment that all share."""

import asyncio

import pytest

from streams.worker.waiting import set_within, until_next


@pytest.mark.parametrize(
    ("now_ms", "wait_ms"), [(0, 200), (1, 199), (199, 1), (200, 200), (350, 50)]
)
def test_the_next_multiple_is_awaited_and_never_none(now_ms: int, wait_ms: int) -> None:
    assert until_next(200, now_ms) == wait_ms


async def test_says_whether_the_event_came() -> None:
    event = asyncio.Event()
    assert not await set_within(event, 0.001)
    asyncio.get_running_loop().call_later(0.001, event.set)
    assert await set_within(event, 30)


async def test_a_cancelled_wait_is_cancelled() -> None:
    waiting = asyncio.ensure_future(set_within(asyncio.Event(), 30))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

"""A board over a real Redis, and a client of its stream."""

from __future__ import annotations

import asyncio
import contextlib
import json

from support.methodologies import DEMO

from streams.board.board_process import serve
from streams.settings import load_settings

DEADLINE_S = 60
"""Seconds after which a test gives up; no promise about the time of anything."""


@contextlib.asynccontextmanager
async def running_board(redis_url, prefix="ecindex", **settings):
    """Run a board in the current event loop; yield its address."""
    async with board_of({"redis.url": redis_url, "redis.prefix": prefix} | settings) as url:
        yield url


@contextlib.asynccontextmanager
async def board_of(overrides, sending=lambda _: None):
    """The same by all settings; ``sending``: makes of them what sends answers, if they are taken."""
    settings = load_settings(None, {"methodology": DEMO} | overrides)
    listening = asyncio.get_running_loop().create_future()
    stopped = asyncio.Event()
    task = asyncio.ensure_future(serve(settings, stopped, listening.set_result, sending(settings)))
    await asyncio.wait((task, listening), return_when=asyncio.FIRST_COMPLETED)
    try:
        yield await listening if listening.done() else await task
    finally:
        stopped.set()
        await task


class Stream:
    """Reads a board's events as a browser does. ``last_id`` is the id it would reconnect with."""

    def __init__(self, response):
        self.response = response
        self.last_id = None
        self.seen = []

    async def event(self):
        """Return the next (kind, data), or None at the end of the stream."""
        kind, data = None, None
        while True:
            line = (await self.response.content.readline()).decode()
            if line == "":
                return None
            name, _, rest = line.rstrip("\n").partition(": ")
            if name == "event":
                kind = rest
            elif name == "id":
                self.last_id = rest
            elif name == "data":
                data = json.loads(rest)
            elif kind is not None:
                self.seen.append(kind)
                return kind, data

    async def until(self, kind, holds=lambda _data: True):
        """Return the next event of a kind for which a condition holds."""
        async with asyncio.timeout(DEADLINE_S):
            while (event := await self.event()) is not None:
                if event[0] == kind and holds(event[1]):
                    return event[1]
        raise AssertionError(f"the stream ended before such a {kind}")


@contextlib.asynccontextmanager
async def listening(session, url, market="PK", last_id=None):
    """A Stream of one market."""
    headers = {} if last_id is None else {"Last-Event-ID": last_id}
    async with session.get(f"{url}events?market={market}", headers=headers) as response:
        assert response.status == 200
        yield Stream(response)


def own(beat, market="PK"):
    """The entry of one market in a beat."""
    (found,) = (each for each in beat["markets"] if each["market"] == market)
    return found

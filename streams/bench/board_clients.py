"""Child of ``bench board``: many readers of the live page in one process, as cheap as can be.

Each reader holds one stream and remembers the id of its market's last state; it decodes nothing. The
child prints a line of JSON once all readers are connected. The parent then sends a line of JSON on
stdin: market -> id of its last state. Readers without that state get ``GIVEN_UP_AFTER_S`` to receive it.
A second line of JSON says how many have it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import resource
import sys
from collections.abc import Callable, Mapping, Sequence

from streams.operate.board_stream import board_events

GIVEN_UP_AFTER_S = 15.0
CONNECTED_WITHIN_S = 60.0


class Readers:
    """``clients`` streams, spread over ``markets``."""

    def __init__(self, url: str, markets: Sequence[str], clients: int) -> None:
        self._url = url
        self._watched = [markets[number % len(markets)] for number in range(clients)]
        self._last = [""] * clients
        self._heard = [False] * clients
        self._news = asyncio.Event()
        self.states = self.bytes = 0

    async def read(self, number: int) -> None:
        """Follow one stream until it ends."""
        async for event in board_events(self._url, self._watched[number]):
            self._heard[number] = True
            self.bytes += len(event.data)
            if event.kind == "market":
                self._last[number] = event.id
                self.states += 1
            self._news.set()

    @property
    def connected(self) -> bool:
        """True once every stream has sent something. A beat comes each second."""
        return all(self._heard)

    async def until(self, holds: Callable[[], bool], within_s: float) -> None:
        """Return when ``holds`` is true, or after ``within_s``."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while not holds():
                    self._news.clear()
                    await self._news.wait()

    def saw(self, last: Mapping[str, str]) -> int:
        """How many readers have the last state of their market.

        Where a market has no state in ``last``, a reader without a state counts.
        """
        return sum(
            own == last.get(market, "")
            for market, own in zip(self._watched, self._last, strict=True)
        )


async def main() -> None:
    """Run the child. Only ``bench board`` gives these arguments."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--board", required=True)
    parser.add_argument("--markets", required=True)
    parser.add_argument("--clients", type=int, required=True)
    args = parser.parse_args()
    readers = Readers(args.board, args.markets.split(","), args.clients)
    streams = [asyncio.ensure_future(readers.read(number)) for number in range(args.clients)]
    await readers.until(lambda: readers.connected, CONNECTED_WITHIN_S)
    _say({"connected": readers.connected})
    last = json.loads(await asyncio.to_thread(sys.stdin.readline))
    await readers.until(lambda: readers.saw(last) == args.clients, GIVEN_UP_AFTER_S)
    used = resource.getrusage(resource.RUSAGE_SELF)
    _say(
        {
            "saw_last": readers.saw(last),
            "ended": sum(stream.done() for stream in streams),
            "states": readers.states,
            "mb": round(readers.bytes / 1e6, 1),
            "cpu_seconds": round(used.ru_utime + used.ru_stime, 2),
        }
    )
    for stream in streams:
        stream.cancel()
    await asyncio.gather(*streams, return_exceptions=True)


def _say(found: Mapping[str, object]) -> None:
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main())

"""One state for many browsers: each has a mailbox of a few slots in which the latest wins.

Events are states, never differences. So a slow client that skips some has missed nothing, a
mailbox cannot grow, and one who comes back is well served by the newest state alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

CLIENTS_MAX = 1_000


class Frame(NamedTuple):
    """An event, encoded once for all. ``id`` is empty where nothing is to be resumed from."""

    kind: str
    id: str
    data: bytes

    def encode(self) -> bytes:
        """As text/event-stream has it; ``data`` must hold no line break."""
        identity = f"id: {self.id}\n" if self.id else ""
        return b"event: %b\n%bdata: %b\n\n" % (
            self.kind.encode(),
            identity.encode(),
            self.data,
        )


class Mailbox:
    """What a client has not been sent yet: one frame a kind, the newest."""

    def __init__(self, market: str) -> None:
        self.market = market
        self._frames: dict[str, bytes] = {}
        self._filled = asyncio.Event()
        self._closed = False

    def put(self, kind: str, encoded: bytes) -> None:
        """Replace what waits of this kind. What waited longest is still sent first."""
        self._frames[kind] = encoded
        self._filled.set()

    def close(self) -> None:
        """Let ``take`` return None from now on."""
        self._closed = True
        self._filled.set()

    async def take(self) -> bytes | None:
        """Everything that waits, in one piece; None: the board stops."""
        await self._filled.wait()
        if self._closed:
            return None
        self._filled.clear()
        waiting, self._frames = self._frames, {}
        return b"".join(waiting.values())


class FullError(RuntimeError):
    """As many clients as the board takes; the next must wait."""


class Hub:
    """The newest frame of each market and kind, and who wants it."""

    def __init__(self, clients_max: int = CLIENTS_MAX) -> None:
        self._clients_max = clients_max
        self._mailboxes: set[Mailbox] = set()
        self._newest: dict[tuple[str, str], tuple[str, bytes]] = {}
        self._closed = False

    @property
    def clients(self) -> int:
        """How many are listening."""
        return len(self._mailboxes)

    def publish(self, market: str, frame: Frame) -> None:
        """Give a frame to all who watch ``market``; to everyone when it is ''."""
        encoded = frame.encode()
        self._newest[market, frame.kind] = frame.id, encoded
        for mailbox in self._mailboxes:
            if market in ("", mailbox.market):
                mailbox.put(frame.kind, encoded)

    @contextmanager
    def subscribed(self, market: str, last_id: str | None = None) -> Iterator[Mailbox]:
        """A mailbox that holds what the client does not have yet. Raises FullError.

        ``last_id``: of the newest frame that it has; a frame of that id is not repeated.
        """
        if len(self._mailboxes) >= self._clients_max:
            raise FullError(f"{self._clients_max} clients are connected; try again later")
        mailbox = Mailbox(market)
        for (whose, kind), (frame_id, encoded) in self._newest.items():
            if whose in ("", market) and not (frame_id and frame_id == last_id):
                mailbox.put(kind, encoded)
        if self._closed:
            mailbox.close()
        self._mailboxes.add(mailbox)
        try:
            yield mailbox
        finally:
            self._mailboxes.discard(mailbox)

    def close(self) -> None:
        """End every stream, also those that come later."""
        self._closed = True
        for mailbox in self._mailboxes:
            mailbox.close()

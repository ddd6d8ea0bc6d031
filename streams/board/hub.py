"""One state for many browsers. Each has a mailbox with one slot for each kind; the newest frame wins.

Events are states, never differences. So a slow client that skips some has missed nothing, a mailbox
cannot grow, and a client that reconnects needs only the newest state.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

CLIENTS_MAX = 1_000


class Frame(NamedTuple):
    """An event, encoded once for all clients. ``id`` is empty if no stream resumes from it."""

    kind: str
    id: str
    data: bytes

    def encode(self) -> bytes:
        """The frame as text/event-stream. ``data`` must hold no line break."""
        identity = f"id: {self.id}\n" if self.id else ""
        return b"event: %b\n%bdata: %b\n\n" % (
            self.kind.encode(),
            identity.encode(),
            self.data,
        )


class Mailbox:
    """What a client has not been sent yet: the newest frame of each kind."""

    def __init__(self, market: str) -> None:
        self.market = market
        self._frames: dict[str, bytes] = {}
        self._filled = asyncio.Event()
        self._closed = False

    def put(self, kind: str, encoded: bytes) -> None:
        """Replace the waiting frame of this kind. The kind that waited longest is still sent first."""
        self._frames[kind] = encoded
        self._filled.set()

    def close(self) -> None:
        """Let ``take_frames`` return None from now on."""
        self._closed = True
        self._filled.set()

    async def take_frames(self) -> bytes | None:
        """Wait for frames and return all of them, joined. None: the board stops."""
        await self._filled.wait()
        if self._closed:
            return None
        self._filled.clear()
        waiting, self._frames = self._frames, {}
        return b"".join(waiting.values())


class FullError(RuntimeError):
    """The board has as many clients as it takes; the next client must wait."""


class Hub:
    """The newest frame of each market and kind, and the mailboxes of the clients."""

    def __init__(self, clients_max: int = CLIENTS_MAX) -> None:
        self._clients_max = clients_max
        self._mailboxes: set[Mailbox] = set()
        self._newest: dict[tuple[str, str], tuple[str, bytes]] = {}
        self._closed = False

    @property
    def clients(self) -> int:
        """Number of connected clients."""
        return len(self._mailboxes)

    def publish(self, market: str, frame: Frame) -> None:
        """Give a frame to all clients that watch ``market``, or to every client if ``market`` is ''."""
        encoded = frame.encode()
        self._newest[market, frame.kind] = frame.id, encoded
        for mailbox in self._mailboxes:
            if market in ("", mailbox.market):
                mailbox.put(frame.kind, encoded)

    @contextmanager
    def subscribed(self, market: str, last_id: str | None = None) -> Iterator[Mailbox]:
        """A mailbox that holds what the client does not have yet. Raises FullError.

        ``last_id``: id of the newest frame that the client has; a frame of that id is not repeated.
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
        """End every stream, including streams that begin later."""
        self._closed = True
        for mailbox in self._mailboxes:
            mailbox.close()

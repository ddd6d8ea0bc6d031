"""Sends a message again while its receiver does not take it, as long as there is time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import NamedTuple

from streams.notify.message_receiver import Kept, MessageReceiver, NotTakenError
from streams.notify.notice import Notice

DELIVERY_S = 12.0
"""How long a message is tried within one notification: Alertmanager hangs up after its
``group_interval`` of 15 s, and comes again."""
BACKOFF_S = 0.5
BACKOFF_MAX_S = 8.0


class Pace(NamedTuple):
    """How long a message is tried, and the first pause between two tries."""

    delivery_s: float = DELIVERY_S
    backoff_s: float = BACKOFF_S


class _Asked(NamedTuple):
    """When a receiver may be asked again, and for how long it asked to wait."""

    until_ms: int
    wait_ms: int


class PatientSender:
    """Remembers of each receiver until when it asked to be left alone."""

    def __init__(self, pace: Pace, now_ms: Callable[[], int]) -> None:
        self._pace = pace
        self._now_ms = now_ms
        self._asked: dict[str, _Asked] = {}

    async def send(
        self,
        receiver: MessageReceiver,
        notice: Notice,
        picture: bytes | None,
        kept: Mapping[str, str],
    ) -> Kept:
        """Send; try again after growing pauses, or when the receiver says. Raises NotTakenError."""
        left_ms = int(self._pace.delivery_s * 1000)
        pause_s = self._pace.backoff_s
        while True:
            started_ms = self._now_ms()
            wait_ms = self._left_alone_ms(receiver.name, started_ms)
            if wait_ms > left_ms:
                raise NotTakenError(f"it asked to wait for another {wait_ms / 1000:.0f} s")
            await asyncio.sleep(wait_ms / 1000)
            try:
                return await receiver.send(notice, picture, kept)
            except NotTakenError as error:
                ended_ms = self._now_ms()
                self._note(receiver.name, error)
                pause_ms = max(int(1000 * error.retry_after_s), int(1000 * pause_s))
                left_ms -= max(ended_ms - started_ms, 0) + pause_ms
                if not error.again or left_ms <= 0:
                    raise
            await asyncio.sleep(pause_ms / 1000)
            pause_s = min(2 * pause_s, BACKOFF_MAX_S)

    async def send_once(
        self, receiver: MessageReceiver, notice: Notice, kept: Mapping[str, str]
    ) -> Kept:
        """Send without a second try, unless the receiver asked to wait. Raises NotTakenError."""
        wait_ms = self._left_alone_ms(receiver.name, self._now_ms())
        if wait_ms:
            raise NotTakenError(f"it asked to wait for another {wait_ms / 1000:.0f} s")
        try:
            return await receiver.send(notice, None, kept)
        except NotTakenError as error:
            self._note(receiver.name, error)
            raise

    def _note(self, name: str, error: NotTakenError) -> None:
        """Note for how long a receiver asks to wait; what it asked for another message counts on."""
        now_ms, asked_ms = self._now_ms(), int(1000 * error.retry_after_s)
        if asked_ms >= self._left_alone_ms(name, now_ms):
            self._asked[name] = _Asked(now_ms + asked_ms, asked_ms)

    def _left_alone_ms(self, name: str, now_ms: int) -> int:
        """How long a receiver wants to be left alone; never longer than it asked for.

        A clock that was set back must not silence it for hours.
        """
        asked = self._asked.get(name, _Asked(0, 0))
        return min(max(asked.until_ms - now_ms, 0), asked.wait_ms)

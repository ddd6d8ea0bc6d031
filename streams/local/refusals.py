"""Tells whoever runs a local index what does not count of the events that are sent to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from streams.console.errors import OperationError
from streams.records.redis_reader import RedisReader
from streams.settings import Settings

POLL_S = 2.0
ROUNDS_PER_LINE = 30
"""A topic is shown again after a minute at the earliest."""


async def tell_refusals(settings: Settings, tell: Callable[[str], None]) -> None:
    """Ask Redis until cancelled, and tell each topic's refusals at once, then once a minute."""
    reader = RedisReader(settings)
    shown: dict[str, tuple[int, str]] = {}
    number = 0
    try:
        while True:
            number += 1
            try:
                found = await reader.input_notes()
            except OperationError:
                found = []  # the supervisor tells that Redis is away
            for note in found:
                at, text = shown.get(note.topic, (-ROUNDS_PER_LINE, ""))
                if note.text != text and number - at >= ROUNDS_PER_LINE:
                    shown[note.topic] = number, note.text
                    tell(note.text)
            await asyncio.sleep(POLL_S)
    finally:
        await reader.close()

"""A client of the live page's event stream. It speaks HTTP/1.0, so the stream has no chunks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from streams.index.formats import json_reader

RETRY_S = 0.2
FRAME_BYTES_MAX = 16 * 1024 * 1024
"""Longest line that is read. A market of 4,000 values takes less than 1 MiB."""


class BoardEvent(NamedTuple):
    """One event, which holds a whole state. ``kind``: `market`, `history` or `beat`. ``data``: JSON."""

    kind: str
    id: str
    data: bytes


class _MarketBeat(msgspec.Struct):
    market: str
    state: str
    orders: str | None = None


class _Beat(msgspec.Struct):
    markets: list[_MarketBeat]


async def board_events(url: str, market: str = "") -> AsyncGenerator[BoardEvent, None]:
    """Yield the events of the board at ``url`` until it ends the stream. Without a market: beats only.

    Raises OSError when the board does not listen, is full or does not answer with a stream.
    """
    where = urlsplit(url)
    reader, writer = await asyncio.open_connection(
        where.hostname, where.port, limit=FRAME_BYTES_MAX
    )
    try:
        writer.write(
            f"GET /events?market={market} HTTP/1.0\r\nHost: {where.netloc}\r\n\r\n".encode()
        )
        status = await reader.readline()
        if b" 200 " not in status:
            raise ConnectionError(f"the board at {url} answered {status.decode().strip()!r}")
        while (await reader.readline()).strip():
            pass  # headers
        fields: dict[bytes, bytes] = {}
        while line := await reader.readline():
            name, _, rest = line.rstrip(b"\n").partition(b": ")
            if name:
                fields[name] = rest
                continue
            if b"event" in fields:
                kind, own = fields[b"event"].decode(), fields.get(b"id", b"").decode()
                yield BoardEvent(kind, own, fields[b"data"])
            fields = {}
    finally:
        writer.close()


async def markets_shown(url: str, wanted: int) -> list[str]:
    """Wait until the board shows ``wanted`` markets with live values. Returns their codes."""
    decode = json_reader(_Beat)
    while True:
        try:
            async with aclosing(board_events(url)) as events:
                async for event in events:
                    if event.kind != "beat":
                        continue
                    shown = [
                        each.market
                        for each in decode(event.data).markets
                        if each.state == "live" and each.orders is not None
                    ]
                    if len(shown) >= wanted:
                        return shown
        except OSError:
            pass  # it does not listen yet, or was restarted
        await asyncio.sleep(RETRY_S)

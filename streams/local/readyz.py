"""Asks a worker on this machine whether it is ready."""

from __future__ import annotations

import asyncio

from streams.local import ports

READYZ_TIMEOUT_S = 5.0


async def why_not_ready(port: int) -> str | None:
    """Reason that a worker's /readyz gives; None when it is ready. ``port``: its metrics port."""
    try:
        reader, writer = await asyncio.open_connection(ports.LOOPBACK, port)
    except OSError:
        return "it does not listen yet"
    try:
        writer.write(b"GET /readyz HTTP/1.0\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(4096), READYZ_TIMEOUT_S)
    except (OSError, TimeoutError):
        return "/readyz does not answer"
    finally:
        writer.close()
    head, _, body = answer.decode(errors="replace").partition("\r\n\r\n")
    return None if " 200 " in head.partition("\r\n")[0] else body.strip() or "no answer"

"""A board from start to end: the source, the server, and the settings that they need."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from streams.board.hub import Hub
from streams.board.redis_poller import RedisPoller
from streams.board.server import BoardServer
from streams.settings import Settings, load_methodology

_log = structlog.get_logger(__name__)


async def serve(
    settings: Settings, stopped: asyncio.Event, on_listening: Callable[[str], None]
) -> None:
    """Serve until ``stopped`` is set. ``on_listening`` gets the page's address.

    While Redis is away the board waits, and the page says so. Raises OSError when the address cannot be
    bound, SettingsError when the methodology is wrong.
    """
    markets = load_methodology(settings).markets
    hub = Hub()
    source = RedisPoller(
        settings.redis.url,
        hub,
        markets,
        prefix=settings.redis.keys_prefix,
        timeout_s=settings.redis.timeout_s,
        auth=settings.redis.auth_options(),
    )
    server = BoardServer(
        hub,
        lambda: source.away,
        host=settings.board.host,
        port=settings.board.port,
        names=settings.board.hosts,
        grafana=settings.links.grafana,
        runbook=settings.links.runbook,
    )
    port = await server.start()
    host = f"[{settings.board.host}]" if ":" in settings.board.host else settings.board.host
    url = f"http://{host}:{port}/"
    _log.info("listening", board=url)
    on_listening(url)
    try:
        await source.run(stopped)  # a bug in the source ends the process
    finally:
        await server.stop()
        await source.close()

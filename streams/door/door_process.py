"""`ecindex door` from start to end: its spool, its producer, its two ports."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import NamedTuple

import structlog
from aiohttp import hdrs, web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from streams import clock
from streams.console.errors import OperationError
from streams.door.door_metrics import DoorMetrics
from streams.door.door_server import EVENTS, HEALTH, SOURCES, DoorParts, DoorServer
from streams.door.event_checks import EventChecks
from streams.door.kafka_link import KafkaLink
from streams.door.keeping import EventKeeper
from streams.door.openapi import document
from streams.door.request_limits import RequestLimits
from streams.door.source_door import DeadLetterPlace, SourceDoor
from streams.door.source_secrets import load_secrets
from streams.door.spool import Spool
from streams.index.methodology import Market
from streams.publish.http_server import application, is_loopback, listen
from streams.settings import (
    DeclaredSource,
    DoorSettings,
    DoorToken,
    Problem,
    Settings,
    SettingsError,
    load_methodology,
    load_sources,
)

SPOOL = "door/spool"
OPEN_TO_ALL = "open"
"""Name of the token that everybody has where none is asked for."""
SPOOL_AFTER_MAX_MS = 4_000
"""Longest ``door.spool_after_ms`` where sources deliver: a vendor waits for 5 s, and then counts a
failure."""
CONNECT_S = 5.0
"""How long the first events wait for a Kafka that answers, before they go to disk."""

_log = structlog.get_logger(__name__)


class Serving(NamedTuple):
    """Where the door listens."""

    events: str
    sources: list[str]
    metrics: str


@contextlib.asynccontextmanager
async def serving(settings: Settings, *, without_tokens: bool) -> AsyncIterator[_Running]:
    """Listen while within. Raises OSError when an address cannot be bound, SettingsError."""
    methodology = load_methodology(settings)
    door = settings.door
    sources = [each for each in load_sources(settings) if each.file.webhook is not None]
    open_to_all = _check(door, methodology.markets, sources, without_tokens=without_tokens)
    secrets = load_secrets(door, sources)
    async with contextlib.AsyncExitStack() as stack:
        spool = Spool(settings.data_dir / SPOOL, door.spool_bytes_max)
        link = KafkaLink(settings)
        keeper = EventKeeper(link, spool, door.spool_after_ms)
        stack.push_async_callback(keeper.close)
        tasks = [asyncio.create_task(link.run()), asyncio.create_task(keeper.run())]
        stack.push_async_callback(_end, tasks)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CONNECT_S):
                await link.wait_connected()
        metrics = DoorMetrics(
            [OPEN_TO_ALL] if open_to_all else [token.name for token in door.tokens],
            {each.name: each.file.webhook.silent_after_s for each in sources if each.file.webhook},
            spool_bytes=lambda: spool.waiting_bytes,
            spool_age_s=lambda: _age_s(spool.oldest_ms),
        )
        topics, limits = settings.topics, RequestLimits(door)
        dead_letters = DeadLetterPlace(topics.dead_letters, settings.sources.hash_key())
        source_door = SourceDoor(sources, secrets, dead_letters, keeper, metrics, limits)
        server = DoorServer(
            door,
            DoorParts(
                EventChecks(methodology.markets, methodology.ahead_ms),
                keeper,
                spool,
                metrics,
                limits,
                source_door,
                {"orders": topics.orders, "payments": topics.payments},
            ),
            openapi=document(door, sources),
            open_to_all=open_to_all,
        )
        watch = await listen(
            _watched(metrics.registry, server),
            settings.metrics.host,
            settings.metrics.port,
            setting="metrics.hosts",
            names=settings.metrics.hosts,
        )
        stack.push_async_callback(watch.close)
        port = await server.start()
        stack.push_async_callback(server.stop)
        address = f"{server.scheme}://{_host(door.host)}:{port}"

        def take_over(again: Settings) -> None:
            _check(again.door, methodology.markets, sources, without_tokens=without_tokens)
            source_door.take_secrets(load_secrets(again.door, sources))
            server.take_tokens(again.door.tokens)

        yield _Running(
            Serving(
                address + EVENTS,
                [address + SOURCES + each.name for each in sources],
                f"http://{_host(settings.metrics.host)}:{watch.port}/metrics",
            ),
            tasks,
            take_over,
        )


class _Running(NamedTuple):
    addresses: Serving
    tasks: list[asyncio.Task[None]]
    """What runs until it is cancelled; its end is a bug, and ends the process."""
    take_over: Callable[[Settings], None]
    """Lets in who settings say now: tokens, and secrets of sources. Raises SettingsError."""


async def door(
    settings: Settings,
    stopped: asyncio.Event,
    on_listening: Callable[[Serving], None],
    load_again: Callable[[], Settings],
    *,
    without_tokens: bool = False,
) -> None:
    """Take events until ``stopped`` is set; then answer what is under way, and end.

    What waits on disk stays there for the next door. On SIGHUP tokens and secrets are read again.
    """
    async with serving(settings, without_tokens=without_tokens) as running:

        def take_over() -> None:
            try:
                running.take_over(load_again())
            except SettingsError as error:
                _log.error(
                    "not_read_again", detail=str(error), action="mend it; nothing was changed"
                )
            else:
                _log.info("read_again", detail="tokens, and secrets of sources")

        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, take_over)
        _log.info("listening", **running.addresses._asdict())
        on_listening(running.addresses)
        waiting = asyncio.create_task(stopped.wait())
        done, _ = await asyncio.wait({waiting, *running.tasks}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        try:
            for task in done:
                task.result()
        except OSError as error:
            raise OperationError(
                f"cannot read or remove what waits in data_dir: {error}"
            ) from error


def _check(
    door: DoorSettings,
    markets: Mapping[str, Market],
    sources: Sequence[DeclaredSource],
    *,
    without_tokens: bool,
) -> DoorToken | None:
    """Refuse settings under which anybody could send, or read a token.

    Return the token that everybody has, if none is asked for.
    """
    loopback = is_loopback(door.host)
    problems = [
        Problem(
            "door.tokens", None, f"token {token.name}", f"markets of methodology.toml, not {each}"
        )
        for token in door.tokens
        for each in token.markets
        if each not in markets
    ]
    if not loopback and door.tls_certificate_file is None and not door.trusted_proxies:
        problems.append(
            Problem(
                "door.host",
                repr(door.host),
                "the door would take tokens in the clear",
                "127.0.0.1, or else door.tls_certificate_file, or door.trusted_proxies",
            )
        )
    if without_tokens and not loopback:
        problems.append(Problem("door.host", repr(door.host), "--without-tokens", "127.0.0.1"))
    if sources and door.spool_after_ms > SPOOL_AFTER_MAX_MS:
        expected = f"at most {SPOOL_AFTER_MAX_MS}, since sources deliver: vendors wait for 5 s"
        problems.append(
            Problem("door.spool_after_ms", str(door.spool_after_ms), "sources.files", expected)
        )
    if not without_tokens and not door.tokens and not sources:
        problems.append(
            Problem(
                "door.tokens",
                None,
                "none is set",
                "a token, which `ecindex door token NAME` makes; or a source with [webhook]; or, on "
                "this machine alone, --without-tokens",
            )
        )
    if problems:
        raise SettingsError(problems)
    if not without_tokens:
        return None
    return DoorToken(name=OPEN_TO_ALL, sha256="0" * 64, markets=tuple(markets))


def _watched(registry: CollectorRegistry, server: DoorServer) -> web.Application:
    """What is asked by those who look after the door, on a port that senders need not reach."""

    async def metrics(request: web.Request) -> web.Response:
        try:
            encode, content_type = choose_encoder(",".join(request.headers.getall(hdrs.ACCEPT, [])))
        except (ValueError, TypeError):  # a version that is no number
            encode, content_type = choose_encoder("")
        return web.Response(body=encode(registry), headers={hdrs.CONTENT_TYPE: content_type})

    app = application()
    app.router.add_get("/metrics", metrics)
    app.router.add_get(HEALTH, server.health)
    return app


def _age_s(oldest_ms: int | None) -> float:
    return 0.0 if oldest_ms is None else max(0.0, (clock.now_ms() - oldest_ms) / 1_000)


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else host


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)

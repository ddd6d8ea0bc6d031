"""HTTP endpoints of a worker on one address and port: /metrics, /livez, /readyz and /partitions.

Only ``POST /partitions/{topic}/{partition}/release`` changes anything. Anybody on this machine may call
it, since they may end the process too. So it is answered only to loopback peers, and only with a header
that a web page of another origin cannot send.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from enum import StrEnum
from http import HTTPStatus
from typing import Protocol

import msgspec
from aiohttp import hdrs, web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

RELEASE_HEADER = "X-Ecindex-Release"
"""A header of our own: a browser asks for permission before it sends one, and nothing here grants it."""


class Released(StrEnum):
    """Outcome of a request to release a source partition."""

    RELEASED = "released"
    NOT_HALTED = "not_halted"
    NOT_OWNED = "not_owned"
    """Another worker owns the partition, or none does."""


class PartitionState(msgspec.Struct, frozen=True):
    """One source partition of this worker. ``halted``: why it takes no more records, else None.

    ``through``: the last offset included in its state. ``log_end``: the next offset of the log, if
    known.
    """

    topic: str
    partition: int
    through: int
    log_end: int | None
    halted: str | None


class Partitions(Protocol):
    """The source partitions that a worker owns."""

    def states(self) -> list[PartitionState]:
        """State of each owned partition."""
        ...

    def release(self, topic: str, partition: int) -> Released:
        """Release a halted partition, so that it takes records again."""
        ...


_RELEASE_STATUS = {
    Released.RELEASED: HTTPStatus.OK,
    Released.NOT_HALTED: HTTPStatus.CONFLICT,
    Released.NOT_OWNED: HTTPStatus.NOT_FOUND,
}


async def listen(
    app: web.Application, host: str, port: int, *, shutdown_s: float = 60.0
) -> tuple[web.AppRunner, int]:
    """Serve an application. Returns the runner, which ends it, and the bound port.

    With port 0 the system chooses the port. ``shutdown_s``: how long open responses may take once the
    runner is cleaned up. Raises OSError when the address cannot be bound.
    """
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=shutdown_s)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError:
        await runner.cleanup()
        raise
    return runner, runner.addresses[0][1]


class MetricsServer:
    """Serves one registry. ``ready`` returns None when the worker is ready, else the reason why not.

    ``before_scrape`` is called before each answer of /metrics, so that a process that no longer owns
    what it shows can remove it first.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        ready: Callable[[], str | None],
        *,
        before_scrape: Callable[[], None] = lambda: None,
        partitions: Partitions | None = None,
        host: str,
        port: int,
    ) -> None:
        self._registry = registry
        self._before_scrape = before_scrape
        self._ready = ready
        self._partitions = partitions
        self._host = host
        self._port = port
        self._runner: web.AppRunner | None = None

    async def start(self) -> int:
        """Listen, and return the bound port. With port 0 the system chooses it.

        Raises OSError when the address cannot be bound.
        """
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/readyz", self._readyz)
        if self._partitions is not None:
            app.router.add_get("/partitions", self._states)
            app.router.add_post("/partitions/{topic}/{partition}/release", self._release)
        self._runner, port = await listen(app, self._host, self._port)
        return port

    async def stop(self) -> None:
        """Stop listening. Safe to call twice."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _metrics(self, request: web.Request) -> web.Response:
        # Prometheus asks for OpenMetrics; curl and older scrapers get the plain text format.
        self._before_scrape()
        encode, content_type = choose_encoder(",".join(request.headers.getall(hdrs.ACCEPT, [])))
        return web.Response(body=encode(self._registry), headers={hdrs.CONTENT_TYPE: content_type})

    async def _livez(self, _request: web.Request) -> web.Response:
        """Alive as long as the event loop answers."""
        return web.Response(text="ok\n")

    async def _readyz(self, _request: web.Request) -> web.Response:
        reason = self._ready()
        if reason is None:
            return web.Response(text="ok\n")
        return web.Response(status=503, text=f"{reason}\n")

    async def _states(self, _request: web.Request) -> web.Response:
        assert self._partitions is not None
        body = msgspec.json.encode(self._partitions.states())
        return web.Response(body=body, content_type="application/json")

    async def _release(self, request: web.Request) -> web.Response:
        assert self._partitions is not None
        if not _is_loopback(request.remote) or RELEASE_HEADER not in request.headers:
            text = f"allowed only from this machine, with the header {RELEASE_HEADER}\n"
            return web.Response(status=HTTPStatus.FORBIDDEN, text=text)
        topic, partition = request.match_info["topic"], request.match_info["partition"]
        if not (partition.isascii() and partition.isdecimal()):
            return web.Response(status=HTTPStatus.NOT_FOUND, text="no such partition\n")
        outcome = self._partitions.release(topic, int(partition))
        return web.Response(status=_RELEASE_STATUS[outcome], text=f"{outcome}\n")


def _is_loopback(peer: str | None) -> bool:
    try:
        return peer is not None and ipaddress.ip_address(peer).is_loopback
    except ValueError:
        return False

"""HTTP endpoints of a worker on one address and port: /metrics, /livez, /readyz and /partitions.

Only ``POST /partitions/{topic}/{partition}/release`` changes anything. Anybody on this machine may call
it, since they may end the process too. So it is answered only to loopback peers that ask a loopback
name, only with a header that a web page of another origin cannot send, and to no page at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from enum import StrEnum
from http import HTTPStatus
from typing import Protocol

import msgspec
from aiohttp import hdrs, web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from streams.publish.http_server import (
    HttpServer,
    application,
    host_of,
    is_loopback,
    is_of_a_page,
    listen,
    own_url,
)

RELEASE_HEADER = "X-Ecindex-Release"
"""A header of our own: a browser asks for permission before it sends one, and nothing here grants it."""


_PARTITION = re.compile(r"[0-9]{1,10}")


class Released(StrEnum):
    """Outcome of a request to release a source partition."""

    RELEASED = "released"
    NOT_HALTED = "not_halted"
    NOT_ACCEPTED = "not_accepted"
    """Its log has changed, or its topic is gone: a release would not mend it."""
    NOT_OWNED = "not_owned"
    """Another worker owns the partition, or none does."""


class PartitionState(msgspec.Struct, frozen=True):
    """One source partition of this worker. ``halted``: why it takes no more records, else None.

    ``through``: the last offset included in its state. ``log_end``: the next offset of the log, if
    known. ``open_transaction_ms``: for how long one open transaction has held it; 0 when none does.
    ``releasable``: whether a release mends what has halted it.
    """

    topic: str
    partition: int
    through: int
    log_end: int | None
    halted: str | None
    open_transaction_ms: int = 0
    releasable: bool = True


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
    Released.NOT_ACCEPTED: HTTPStatus.LOCKED,
    Released.NOT_OWNED: HTTPStatus.NOT_FOUND,
}


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
        names: Sequence[str],
    ) -> None:
        self._registry = registry
        self._before_scrape = before_scrape
        self._ready = ready
        self._partitions = partitions
        self._host = host
        self._port = port
        self._names = names
        self._server: HttpServer | None = None

    async def start(self) -> int:
        """Listen, and return the bound port. With port 0 the system chooses it.

        Raises OSError when the address cannot be bound.
        """
        app = application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/readyz", self._readyz)
        if self._partitions is not None:
            app.router.add_get("/partitions", self._states)
            app.router.add_post("/partitions/{topic}/{partition}/release", self._release)
        self._server = await listen(
            app, self._host, self._port, setting="metrics.hosts", names=self._names
        )
        return self._server.port

    @property
    def release_url(self) -> str | None:
        """Address at which a release is taken; None before the start, or where none is.

        A server that listens only to an address of a network takes none.
        """
        return None if self._server is None else own_url(self._host, self._server.port)

    async def stop(self) -> None:
        """Stop listening. Safe to call twice."""
        if self._server is not None:
            await self._server.close()
            self._server = None

    async def _metrics(self, request: web.Request) -> web.Response:
        # Prometheus asks for OpenMetrics; curl and older scrapers get the plain text format.
        self._before_scrape()
        accept = ",".join(request.headers.getall(hdrs.ACCEPT, []))
        try:
            encode, content_type = choose_encoder(accept)
        except (ValueError, TypeError):  # a version that is no number
            encode, content_type = choose_encoder("")
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
        if (
            not is_loopback(request.remote)
            or not is_loopback(host_of(request))
            or is_of_a_page(request)
            or RELEASE_HEADER not in request.headers
        ):
            text = (
                f"allowed only from this machine, at its loopback address, with the header "
                f"{RELEASE_HEADER}, and to no web page\n"
            )
            return web.Response(status=HTTPStatus.FORBIDDEN, text=text)
        topic, partition = request.match_info["topic"], request.match_info["partition"]
        if not _PARTITION.fullmatch(partition):
            return web.Response(status=HTTPStatus.NOT_FOUND, text="no such partition\n")
        outcome = self._partitions.release(topic, int(partition))
        return web.Response(status=_RELEASE_STATUS[outcome], text=f"{outcome}\n")

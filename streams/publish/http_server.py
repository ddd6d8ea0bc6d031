"""The HTTP server of workers and the board: one place for what an open port must refuse.

A page of any origin can make a browser on this machine send requests here. By binding its own name to
our address after it was loaded (DNS rebinding) it could read the answers too. A browser then sends that
name as Host, so a name that is not ours is refused. Connections are bounded in number and in time: a
request must be there within `REQUEST_S`, and one that waits makes room when too many are open.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

REQUEST_S = 10.0
"""How soon a connection must have sent its first request whole, or its next one."""
UNREAD_BODY_S = 2.0
"""How long a body that nobody asked for is read before the connection is closed."""
BODY_BYTES_MAX = 1024
CONNECTIONS_MAX = 256


class HttpServer:
    """An application that listens. ``port`` is the bound one."""

    def __init__(self, runner: web.AppRunner, server: asyncio.Server) -> None:
        self.port: int = server.sockets[0].getsockname()[1]
        self._runner = runner
        self._server = server

    async def close(self) -> None:
        """Listen no more, and end open connections. Safe to call twice."""
        self._server.close()
        await self._runner.cleanup()


async def listen(
    app: web.Application,
    host: str,
    port: int,
    *,
    setting: str,
    names: Sequence[str] = (),
    connections_max: int = CONNECTIONS_MAX,
    request_s: float = REQUEST_S,
    shutdown_s: float = 60.0,
) -> HttpServer:
    """Serve an application. With port 0 the system chooses the port.

    ``names``: names in the Host header that are answered beside addresses and localhost, ``*.domain``
    for all below a domain; ``setting`` is where the operator adds one. ``shutdown_s``: how long open
    responses may take once the server is closed. Raises OSError when the address cannot be bound.
    """
    connections = _Connections(connections_max)
    app.middlewares.insert(0, _only_our_names(host, names, setting))
    app.middlewares.insert(0, connections.middleware)
    app.on_response_prepare.append(_with_nosniff)
    runner = web.AppRunner(
        app,
        access_log=None,
        shutdown_timeout=shutdown_s,
        # aiohttp counts it from the start of a connection on, whatever dribbles in meanwhile.
        keepalive_timeout=request_s,
        lingering_time=UNREAD_BODY_S,
    )
    await runner.setup()
    connections.server = runner.server
    loop = asyncio.get_running_loop()
    try:
        return HttpServer(runner, await loop.create_server(connections.accept, host, port))
    except OSError:
        await runner.cleanup()
        raise


def is_loopback(host: str | None) -> bool:
    """True for an address of this machine alone, and for the name that stands for it."""
    try:
        return host is not None and ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def host_of(request: web.Request) -> str | None:
    """Name in the Host header, lower case and without its port; None unless there is exactly one."""
    found = request.headers.getall(hdrs.HOST, [])
    if len(found) != 1:
        return None
    host = found[0].strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].rstrip(".")


def is_of_a_page(request: web.Request) -> bool:
    """True when a browser sends the request for a page, of whatever origin; our commands never do."""
    site = request.headers.get("Sec-Fetch-Site", "none")
    return hdrs.ORIGIN in request.headers or site not in ("none", "same-origin")


class _Connections:
    """Bounds the open connections: the oldest that waits for a request makes room for a new one."""

    def __init__(self, most: int) -> None:
        self.server: web.Server | None = None
        self._most = most
        self._busy: set[web.RequestHandler] = set()

    def accept(self) -> asyncio.Protocol:
        """Protocol of a new connection."""
        assert self.server is not None
        open_ones = [each for each in self.server.connections if each.transport is not None]
        if len(open_ones) >= self._most:
            waiting = next((each for each in open_ones if each not in self._busy), None)
            if waiting is None:
                return _Refused()
            waiting.force_close()
        return self.server()

    @property
    def middleware(self) -> Middleware:
        """Middleware that knows which connections have a request under way."""

        @web.middleware
        async def tracked(request: web.Request, handler: Handler) -> web.StreamResponse:
            self._busy.add(request.protocol)
            try:
                return await handler(request)
            finally:
                self._busy.discard(request.protocol)

        return tracked


class _Refused(asyncio.Protocol):
    """A connection that is closed at once: every other one has a request under way."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


def _only_our_names(bound: str, names: Sequence[str], setting: str) -> Middleware:
    exact = {name.lower() for name in names if not name.startswith("*.")}
    domains = tuple(name[1:].lower() for name in names if name.startswith("*."))
    in_a_network = not is_loopback(bound)

    def is_ours(host: str) -> bool:
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return (
                host == "localhost"
                or host in exact
                or host.endswith((".localhost", *domains))
                # A name without a dot, as of a container, is no name of the internet.
                or (in_a_network and host.isascii() and "." not in host and host != "")
            )
        return True

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        host = host_of(request)
        if hdrs.HOST not in request.headers and request.method in (hdrs.METH_GET, hdrs.METH_HEAD):
            return await handler(request)  # a health check of HTTP/1.0; a browser always sends it
        if host is None:
            return web.Response(status=HTTPStatus.BAD_REQUEST, text="expected one Host header\n")
        if not is_ours(host):
            text = (
                f"this server does not answer to that name; its operator may add it to {setting}\n"
            )
            return web.Response(status=HTTPStatus.MISDIRECTED_REQUEST, text=text)
        return await handler(request)

    return guarded


async def _with_nosniff(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers["X-Content-Type-Options"] = "nosniff"


def application(**options: Any) -> web.Application:
    """An application that reads no body to speak of."""
    return web.Application(client_max_size=BODY_BYTES_MAX, **options)

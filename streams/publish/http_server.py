"""The HTTP server of workers and the board: one place for what an open port must refuse.

A page of any origin can make a browser on this machine send requests here. By binding its own name to
our address after it was loaded (DNS rebinding) it could read the answers too. A browser then sends that
name as Host, so a name that is not ours is refused. Connections are bounded in number and in time: a
request must be there within `REQUEST_S`, an answer must be taken, and one that waits makes room when
too many are open.
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, cast

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

REQUEST_S = 10.0
"""How soon a connection must have sent its first request whole, or its next one."""
BODY_S = 10.0
"""How soon the body must be there whole. A sender that dribbles would hold its place for ever."""
UNREAD_BODY_S = 2.0
"""How long a body that nobody asked for is read before the connection is closed."""
UNTAKEN_S = 15.0
"""How often it is asked whether a client takes its answer. One that takes nothing from one time to the
next is cut off: a closed connection stays open until the rest of its answer is taken, for ever."""
BODY_BYTES_MAX = 1024
CONNECTIONS_MAX = 256


class HttpServer:
    """An application that listens. ``port`` is the bound one."""

    def __init__(
        self, runner: web.AppRunner, server: asyncio.Server, connections: _Connections
    ) -> None:
        self.port: int = server.sockets[0].getsockname()[1]
        self._runner = runner
        self._server = server
        self._connections = connections

    async def close(self) -> None:
        """Listen no more, and end open connections. Safe to call twice."""
        self._server.close()
        await self._runner.cleanup()
        self._connections.cut_off_all()


async def listen(
    app: web.Application,
    host: str,
    port: int,
    *,
    setting: str,
    names: Sequence[str] = (),
    connections_max: int = CONNECTIONS_MAX,
    request_s: float = REQUEST_S,
    untaken_s: float = UNTAKEN_S,
    shutdown_s: float = 60.0,
    tls: ssl.SSLContext | None = None,
) -> HttpServer:
    """Serve an application. With port 0 the system chooses the port.

    ``names``: names in the Host header that are answered beside addresses and localhost, ``*.domain``
    for all below a domain; ``setting`` is where the operator adds one. ``shutdown_s``: how long open
    responses may take once the server is closed. ``tls``: how it speaks TLS; None: it does not. Raises
    OSError when the address cannot be bound.
    """
    connections = _Connections(connections_max, untaken_s)
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
        server = await loop.create_server(
            connections.accept,
            host,
            port,
            ssl=tls,
            ssl_handshake_timeout=None if tls is None else request_s,
        )
        return HttpServer(runner, server, connections)
    except OSError:
        await runner.cleanup()
        raise


def is_loopback(host: str | None) -> bool:
    """True for an address of this machine alone, and for the name that stands for it."""
    try:
        return host is not None and ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def own_url(host: str, port: int) -> str | None:
    """Address at which a server is asked from its own machine, at loopback.

    None where it listens only to another address.
    """
    if host in ("", "0.0.0.0"):  # noqa: S104 - compared, not bound
        host = "127.0.0.1"
    elif host == "::":
        host = "::1"
    if not is_loopback(host):
        return None
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


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


async def read_body(request: web.Request, bytes_max: int) -> bytes:
    """Return a body that is there within ``BODY_S``.

    Raises HTTPRequestTimeout, or HTTPRequestEntityTooLarge for one of more than ``bytes_max``.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > bytes_max:
                    text = f"a body of more than {bytes_max} bytes\n"
                    raise web.HTTPRequestEntityTooLarge(bytes_max, len(body), text=text)
    except TimeoutError as error:
        text = f"expected the whole body within {BODY_S:g} s\n"
        raise web.HTTPRequestTimeout(text=text) from error
    return bytes(body)


class _Connections:
    """Bounds the open connections: one that takes no answer, or waits for a request, makes room.

    The oldest goes first.
    """

    def __init__(self, most: int, untaken_s: float) -> None:
        self.server: web.Server | None = None
        self._most = most
        self._untaken_s = untaken_s
        self._open: dict[_Connection, None] = {}
        self._busy: set[web.RequestHandler] = set()

    def accept(self) -> asyncio.Protocol:
        """Protocol of a new connection."""
        assert self.server is not None
        if len(self._open) >= self._most:
            spare = next((each for each in self._open if each.stalled), None) or next(
                (each for each in self._open if each.handler not in self._busy), None
            )
            if spare is None:
                return _Refused()
            spare.cut_off()
        connection = _Connection(self.server(), self._untaken_s, self._open)
        self._open[connection] = None
        return connection

    def cut_off_all(self) -> None:
        """End what the server's own shutdown has left: connections whose answers nobody takes."""
        for connection in list(self._open):
            connection.cut_off()

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


class _Connection(asyncio.Protocol):
    """One connection from its first byte until its socket is closed, which aiohttp does not know.

    It passes everything on to aiohttp's handler. aiohttp closes a connection and forgets it, but a
    transport that is closed waits for its client to take what is left of an answer.
    """

    def __init__(
        self, handler: web.RequestHandler, untaken_s: float, others: dict[_Connection, None]
    ) -> None:
        self.handler = handler
        self._untaken_s = untaken_s
        self._others = others
        self._transport: asyncio.Transport | None = None
        self._paused = False
        self._left_bytes: int | None = None
        """What was left to send when it was last found stalled."""
        self._timer: asyncio.TimerHandle | None = None

    @property
    def stalled(self) -> bool:
        """Whether something is left to send that the client does not take."""
        return self._paused or (self._transport is not None and self._transport.is_closing())

    def cut_off(self) -> None:
        """Close the socket now, whatever is left to send."""
        self._others.pop(self, None)
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class
        self.handler.connection_made(transport)
        if self not in self._others:
            # It had to make room before it had a transport: many came in one turn of the loop.
            self._transport.abort()
            return
        self._check_later()

    def data_received(self, data: bytes) -> None:
        self.handler.data_received(data)

    def eof_received(self) -> None:
        self.handler.eof_received()

    def pause_writing(self) -> None:
        self._paused = True
        self.handler.pause_writing()

    def resume_writing(self) -> None:
        self._paused = False
        self._left_bytes = None
        self.handler.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        self._others.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()
        self.handler.connection_lost(error)

    def _check(self) -> None:
        assert self._transport is not None
        # A stalled client may still be taking a large answer, over a slow line.
        before, left = self._left_bytes, self._transport.get_write_buffer_size()
        if self.stalled and before is not None and left >= before:
            self.cut_off()
            return
        self._left_bytes = left if self.stalled else None
        self._check_later()

    def _check_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._untaken_s, self._check)


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

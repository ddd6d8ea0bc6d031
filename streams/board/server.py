"""The page, its files and its stream of events, on one address and port.

This server sends everything that the page needs. The headers let the page load nothing else: no inline
script or style, no other origin, nothing that turns text into markup.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from http import HTTPStatus
from importlib import resources
from typing import NamedTuple

import structlog
from aiohttp import hdrs, web

from streams.board.answer_api import AnswerApi
from streams.board.hub import CLIENTS_MAX, FullError, Hub
from streams.board.page_links import with_links
from streams.publish.http_server import HttpServer, application, listen

WRITE_TIMEOUT_S = 30.0
"""A client that accepts no data for this long counts as gone."""
SHUTDOWN_S = 2.0
RETRY_MS = 1_000
"""How soon a browser reconnects after its stream ended."""
BUFFER_BYTES_MAX = 64 * 1024
MARKET_BYTES_MAX = 64

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_TYPES = {
    "html": "text/html",
    "css": "text/css",
    "js": "text/javascript",
    "svg": "image/svg+xml",
}
REQUESTS_MAX = 256
"""Connections beside the streams of the hub."""

_log = structlog.get_logger(__name__)


class _StaticFile(NamedTuple):
    body: bytes
    content_type: str
    etag: str


class BoardServer:
    """Serves a hub. ``ready`` returns None while Redis can be read, else the reason why not."""

    def __init__(
        self,
        hub: Hub,
        ready: Callable[[], str | None],
        *,
        host: str,
        port: int,
        names: Sequence[str],
        grafana: str | None = None,
        runbook: str | None = None,
        answers: AnswerApi | None = None,
    ) -> None:
        """Make a server that does not listen yet. ``grafana``, ``runbook``: what the page links to.

        ``answers``: how incidents are answered; None: they are not.
        """
        self._hub = hub
        self._ready = ready
        self._host = host
        self._port = port
        self._names = names
        self._files = _files(grafana, runbook)
        self._answers = answers
        self._server: HttpServer | None = None

    async def start(self) -> int:
        """Listen, and return the bound port. With port 0 the system chooses it.

        Raises OSError when the address cannot be bound.
        """
        app = application()
        app.on_response_prepare.append(_with_headers)
        app.router.add_get("/", self._page)
        app.router.add_get("/static/{name}", self._static)
        app.router.add_get("/events", self._events)
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/readyz", self._readyz)
        if self._answers is not None:
            self._answers.add_routes(app.router)
        self._server = await listen(
            app,
            self._host,
            self._port,
            setting="board.hosts",
            names=self._names,
            connections_max=CLIENTS_MAX + REQUESTS_MAX,
            shutdown_s=SHUTDOWN_S,
        )
        return self._server.port

    async def stop(self) -> None:
        """End every stream and stop listening. Safe to call twice."""
        self._hub.close()
        if self._server is not None:
            await self._server.close()
            self._server = None

    async def _page(self, request: web.Request) -> web.StreamResponse:
        return _answer(request, self._files["index.html"])

    async def _static(self, request: web.Request) -> web.StreamResponse:
        file = self._files.get(request.match_info["name"])
        if file is None:
            raise web.HTTPNotFound
        return _answer(request, file)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """States as server-sent events: ``?market=PK``, and ``Last-Event-ID`` as browsers send it."""
        market = request.query.get("market", "")
        if len(market.encode()) > MARKET_BYTES_MAX:
            raise web.HTTPBadRequest(text="market: expected a code, such as PK\n")
        last_id = request.headers.get("Last-Event-ID")
        try:
            with self._hub.subscribed(market, last_id) as mailbox:
                response = web.StreamResponse()
                response.content_type = "text/event-stream"
                response.headers[hdrs.CACHE_CONTROL] = "no-store"
                response.headers["X-Accel-Buffering"] = "no"
                await response.prepare(request)
                if request.transport is not None:
                    # Frames for a slow client wait in its mailbox, where the newest one wins.
                    request.transport.set_write_buffer_limits(high=BUFFER_BYTES_MAX)
                await response.write(b"retry: %d\n\n" % RETRY_MS)
                while (frames := await mailbox.take_frames()) is not None:
                    async with asyncio.timeout(WRITE_TIMEOUT_S):
                        await response.write(frames)
                return response
        except FullError as error:
            raise web.HTTPServiceUnavailable(text=f"{error}\n") from error
        except (ConnectionError, TimeoutError):
            return response  # the browser left; it reconnects by itself if it wants to

    async def _livez(self, _request: web.Request) -> web.StreamResponse:
        """Alive as long as the event loop answers."""
        return web.Response(text="ok\n")

    async def _readyz(self, _request: web.Request) -> web.StreamResponse:
        reason = self._ready()
        if reason is None:
            return web.Response(text="ok\n")
        return web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE, text=f"{reason}\n")


async def _with_headers(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)


def _answer(request: web.Request, file: _StaticFile) -> web.Response:
    headers = {hdrs.CACHE_CONTROL: "no-cache", hdrs.ETAG: file.etag}
    if request.headers.get(hdrs.IF_NONE_MATCH) == file.etag:
        return web.Response(status=HTTPStatus.NOT_MODIFIED, headers=headers)
    return web.Response(
        body=file.body, content_type=file.content_type, charset="utf-8", headers=headers
    )


def _files(grafana: str | None, runbook: str | None) -> dict[str, _StaticFile]:
    """The page's files by name. They are read once; they are a few dozen KB."""
    found = {}
    for entry in resources.files(__package__).joinpath("static").iterdir():
        content_type = _TYPES.get(entry.name.rpartition(".")[2])
        if content_type is not None:
            body = with_links(entry.read_bytes(), grafana=grafana, runbook=runbook)
            etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
            found[entry.name] = _StaticFile(body, content_type, etag)
    return found

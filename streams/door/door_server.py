"""The door's port: /v1/events, /v1/sources, /openapi.json and /healthz. Nothing else is answered there.

A request is accepted whole or not at all. Whatever is refused says in its answer what was expected.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import NamedTuple

import structlog
from aiohttp import hdrs, web

from streams import clock
from streams.door.door_answers import (
    Accepted,
    EventProblem,
    Health,
    RequestProblem,
)
from streams.door.door_metrics import UNKNOWN, DoorMetrics
from streams.door.door_responses import (
    SHOWN_MAX,
    RefusedError,
    as_json,
    as_problem,
    left_out,
    no_room,
    problem_at,
    problem_of,
    with_problems,
)
from streams.door.door_tokens import DoorTokens, Rate
from streams.door.event_checks import Checked, EventChecks
from streams.door.keeping import EventKeeper
from streams.door.kept_record import KeptRecord
from streams.door.request_events import BodyError, RequestEvents, events_of, media_type
from streams.door.request_limits import RequestLimits
from streams.door.source_door import SourceDoor
from streams.door.spool import Spool, SpoolFullError
from streams.index.event_types import Rejected
from streams.index.shown_text import one_line
from streams.publish.http_server import HttpServer, listen
from streams.settings import DoorSettings, DoorToken
from streams.sources.outgoing import Input

EVENTS, SOURCES = "/v1/events", "/v1/sources/"
OPENAPI, HEALTH = "/openapi.json", "/healthz"
SHUTDOWN_S = 20.0
_UNAVAILABLE = HTTPStatus.SERVICE_UNAVAILABLE
_FORBIDDEN = "not_allowed"

_log = structlog.get_logger(__name__)


class DoorParts(NamedTuple):
    """What the server stands on."""

    checks: EventChecks
    keeper: EventKeeper
    spool: Spool
    metrics: DoorMetrics
    limits: RequestLimits
    sources: SourceDoor
    topics: Mapping[Input, str]
    """Names of the topics of the inputs."""


class DoorServer:
    """Takes events. ``openapi``: the document, encoded. ``open_to_all``: a token that nobody shows."""

    def __init__(
        self,
        settings: DoorSettings,
        parts: DoorParts,
        *,
        openapi: bytes,
        open_to_all: DoorToken | None = None,
        now_ms: Callable[[], int] = clock.now_ms,
    ) -> None:
        self._settings = settings
        self._parts = parts
        self._openapi = openapi
        self._open_to_all = open_to_all
        self._now_ms = now_ms
        self.take_tokens(settings.tokens)
        self._tls = settings.tls_context()
        self._server: HttpServer | None = None

    def take_tokens(self, tokens: Sequence[DoorToken]) -> None:
        """Let these in from now on, and no others."""
        self._tokens = DoorTokens(tokens)
        self._rates = {
            token.name: Rate(token.events_per_s, self._settings.events_max)
            for token in (*tokens, *([] if self._open_to_all is None else [self._open_to_all]))
        }

    async def start(self) -> int:
        """Listen, and return the bound port. Raises OSError when the address cannot be bound."""
        app = web.Application(
            middlewares=[with_problems], client_max_size=self._settings.body_bytes_max
        )
        app.router.add_post(EVENTS, self._events)
        app.router.add_post(SOURCES + "{name}", self._parts.sources.deliver)
        app.router.add_get(OPENAPI, self._document)
        app.router.add_get(HEALTH, self.health)
        self._server = await listen(
            app,
            self._settings.host,
            self._settings.port,
            setting="door.hosts",
            names=self._settings.hosts,
            connections_max=self._settings.connections_max,
            shutdown_s=SHUTDOWN_S,
            tls=self._tls,
        )
        return self._server.port

    async def stop(self) -> None:
        """Listen no more; requests under way are answered. Safe to call twice."""
        if self._server is not None:
            await self._server.close()
            self._server = None

    @property
    def scheme(self) -> str:
        """How senders begin the address."""
        return "http" if self._tls is None else "https"

    async def health(self, _request: web.Request) -> web.Response:
        """Answer whether events are taken: 503 while the spool is full."""
        waiting = self._parts.spool.waiting_bytes
        most = self._settings.spool_bytes_max
        is_full = most - waiting < min(self._settings.body_bytes_max, most // 10)
        kept = self._parts.keeper.kept
        health = Health("full" if is_full and kept == "spool" else "ok", kept, waiting)
        status = HTTPStatus.OK if health.status == "ok" else _UNAVAILABLE
        return as_json(status, health)

    async def _document(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._openapi, content_type="application/json")

    # -- a request -----------------------------------------------------------------------------------

    async def _events(self, request: web.Request) -> web.Response:
        name, metrics = "", self._parts.metrics
        try:
            self._parts.limits.check_way(request)
            token = self._token_of(request)
            name = token.name
            accepted = await self._accepted(request, token)
        except RefusedError as refused:
            status = HTTPStatus(refused.problem.status)
            outcome = refused.outcome if name else UNKNOWN
            metrics.count(name, outcome)
            _log.warning(
                "request_refused",
                token=name,
                status=int(status),
                events=refused.problem.refused,
                detail=_logged(refused.problem),
            )
            return as_problem(refused.problem, refused.retry_after_s)
        except web.HTTPException as error:  # a body that is too large, or does not come
            metrics.count(name, "refused")
            return problem_of(error)
        metrics.count(name, accepted.kept)
        metrics.count_events(name, accepted.accepted, self._now_ms())
        return as_json(HTTPStatus.ACCEPTED, accepted)

    def _token_of(self, request: web.Request) -> DoorToken:
        token = self._open_to_all or self._tokens.named_by(request.headers.get(hdrs.AUTHORIZATION))
        if token is None:
            raise RefusedError(
                HTTPStatus.UNAUTHORIZED, "expected a token of door.tokens as bearer token"
            )
        return token

    async def _accepted(self, request: web.Request, token: DoorToken) -> Accepted:
        with self._parts.limits.holding(request):
            events = await self._read(request, token)
            checked = self._checked(events, token)
            try:
                kept = await self._parts.keeper.keep([self._kept(each) for each in checked])
            except SpoolFullError as error:
                raise no_room() from error
        return Accepted(len(checked), kept, left_out(checked, events.root))

    async def _read(self, request: web.Request, token: DoorToken) -> RequestEvents:
        body = await self._parts.limits.read(request)
        try:
            events = events_of(
                body, media_type(request.headers.get(hdrs.CONTENT_TYPE)), request.headers
            )
        except BodyError as error:
            self._spend(token, 1)
            raise RefusedError(error.status, str(error)) from error
        count = len(events.values)
        if count > self._settings.events_max:
            raise RefusedError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"expected at most {self._settings.events_max} events in a request, found {count}",
            )
        self._spend(token, count)
        return events

    def _spend(self, token: DoorToken, events: int) -> None:
        wait_s = self._rates[token.name].wait_s(events, clock.monotonic_ms())
        if wait_s:
            raise RefusedError(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"this token may send {token.events_per_s} events a second",
                retry_after_s=wait_s,
            )

    def _kept(self, checked: Checked) -> KeptRecord:
        record = checked.record
        topic = self._parts.topics[record.topic]
        return KeptRecord(topic, record.key, record.value, record.timestamp_ms)

    def _checked(self, events: RequestEvents, token: DoorToken) -> list[Checked]:
        found = self._parts.checks.check(events.values, self._now_ms())
        good = [each for each in found if isinstance(each, Checked)]
        if len(good) < len(found):
            raise RefusedError(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "events that break the contract; none of the request was kept",
                events=[
                    problem_at(at, each, events.root)
                    for at, each in enumerate(found)
                    if isinstance(each, Rejected)
                ],
            )
        foreign = [
            (at, ".market" if each.market not in token.markets else ".type")
            for at, each in enumerate(good)
            if each.market not in token.markets or each.record.topic not in token.kinds
        ]
        if foreign:
            may = f"{' and '.join(token.kinds)} of {', '.join(token.markets)}"
            raise RefusedError(
                HTTPStatus.FORBIDDEN,
                "events that the token may not send; none of the request was kept",
                events=[
                    EventProblem(at, events.root + path, _FORBIDDEN, f"the token may send {may}")
                    for at, path in foreign
                ],
            )
        return good


def _logged(problem: RequestProblem) -> str:
    """What a line of the log says of a problem: never what a sender wrote, only where."""
    first = next(iter(problem.events), None)
    return (
        problem.detail if first is None else f"{first.reason} at {one_line(first.path, SHOWN_MAX)}"
    )

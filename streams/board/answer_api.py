"""Answers to incidents over HTTP: ``POST /answers`` of the page or a script, and PagerDuty's webhooks.

Only a POST changes anything: chat programs and mail scanners follow links. A token in the header
Authorization says who answers. No page of another origin can send that header, or JSON, without
asking, and nobody here allows it; there are no cookies.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

import msgspec
import structlog
from aiohttp import hdrs, web

from streams.board.acknowledgements import (
    PAGERDUTY,
    SIGNATURE_HEADER,
    acknowledgement,
    is_signed,
)
from streams.board.answer_tokens import RateLimit, Tokens
from streams.console.errors import OperationError
from streams.index.answer_records import AnswerError, market_of
from streams.index.formats import json_reader
from streams.index.methodology import Market
from streams.index.operator_answers import Answer
from streams.index.page_budget import PageCount
from streams.publish.answer_requests import AnswerRequest, answer_of
from streams.publish.http_server import read_body
from streams.publish.incident_records import PublishedIncident, taken_answer

ANSWER_BYTES_MAX = 16 * 1024
"""A text of 1,000 characters, each of which JSON may write in twelve bytes."""
DELIVERY_BYTES_MAX = 64 * 1024
MINUTE_MS = 60_000
ANSWERS_A_MINUTE = 60
"""Of one author: a script that runs wild must not fill the topic, which is kept for good."""

_decode = json_reader(AnswerRequest)
_encode = msgspec.json.Encoder().encode
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Answering:
    """What answers need: who may give them, what there is to answer, and where they go.

    ``incidents``: those of a market, by id. ``pages``: how often it paged. They raise OperationError, as
    ``send`` does, which returns the answer with the broker's instant.
    """

    tokens: Tokens
    pagerduty_secret: str | None
    markets: Mapping[str, Market]
    incidents: Callable[[str], Awaitable[Mapping[str, PublishedIncident]]]
    pages: Callable[[str], Awaitable[Sequence[PageCount]]]
    send: Callable[[Answer], Awaitable[Answer]]
    now_ms: Callable[[], int]
    steady_ms: Callable[[], int]

    @property
    def authors(self) -> set[str]:
        """Everybody who may answer."""
        return {*self.tokens.authors, PAGERDUTY}


class _NotTakenError(Exception):
    """A request that is refused, with what was expected."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        self.status = status
        super().__init__(text)


class AnswerApi:
    """The routes of a board by which incidents are answered."""

    def __init__(self, answering: Answering) -> None:
        self._given = answering
        self._rates = {name: RateLimit(ANSWERS_A_MINUTE, MINUTE_MS) for name in answering.authors}

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add them to an application."""
        router.add_get("/answers", self._how)
        router.add_post("/answers", self._on_request)
        router.add_post("/pagerduty", self._on_delivery)

    async def _how(self, request: web.Request) -> web.StreamResponse:
        """Say whether incidents can be answered here, so that the page can; and the market's pages."""
        market = self._given.markets.get(request.query.get("market", ""))
        try:
            pages = [] if market is None else await self._given.pages(market.code)
        except OperationError:
            pages = []  # the page says that Redis is away
        how = {
            "answerable": bool(self._given.tokens),
            "pagerduty": self._given.pagerduty_secret is not None,
            "pages": pages,
        }
        headers = {hdrs.CACHE_CONTROL: "no-store"}
        return web.Response(body=_encode(how), content_type="application/json", headers=headers)

    async def _on_request(self, request: web.Request) -> web.StreamResponse:
        return await self._answered(self._requested(request))

    async def _on_delivery(self, request: web.Request) -> web.StreamResponse:
        return await self._answered(self._delivered(request))

    async def _answered(self, reading: Awaitable[Answer | None]) -> web.StreamResponse:
        """Send the answer that a request is; a refusal says what was expected."""
        try:
            answer = await reading
            if answer is None:
                return web.Response(status=HTTPStatus.ACCEPTED, text="ignored\n")
            answer = await self._given.send(answer)
        except _NotTakenError as error:
            return web.Response(status=error.status, text=f"{error}\n")
        except (msgspec.DecodeError, AnswerError) as error:
            return web.Response(status=HTTPStatus.BAD_REQUEST, text=f"{error}\n")
        except OperationError as error:
            _log.warning("answer_not_sent", error=str(error))
            return web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE, text=f"{error}\n")
        _log.info(
            "incident_answered",
            incident=answer.incident,
            kind=answer.kind,
            taken_back=answer.taken_back,
            by=answer.by,
        )
        return web.Response(body=_encode(taken_answer(answer)), content_type="application/json")

    async def _requested(self, request: web.Request) -> Answer:
        given = self._given
        author = self._author(request)
        asked = _decode(await read_body(request, ANSWER_BYTES_MAX))
        market = given.markets.get(market_of(asked.incident))
        known = {} if market is None else await given.incidents(market.code)
        if market is None or asked.incident not in known:
            raise _NotTakenError(HTTPStatus.NOT_FOUND, f"{asked.incident}: no such incident")
        return answer_of(asked, known, market, author, given.now_ms())

    def _author(self, request: web.Request) -> str:
        """Return who answers. Raises _NotTakenError."""
        if not self._given.tokens:
            text = "nobody may answer here: set answers.tokens_file (docs/security.md)"
            raise _NotTakenError(HTTPStatus.FORBIDDEN, text)
        if _is_of_another_site(request):
            raise _NotTakenError(HTTPStatus.FORBIDDEN, "no page of another origin may answer")
        if request.content_type != "application/json":
            raise _NotTakenError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "expected application/json")
        author = self._given.tokens.author(_bearer(request))
        if author is None:
            text = "expected Authorization: Bearer TOKEN, a token of answers.tokens_file"
            raise _NotTakenError(HTTPStatus.UNAUTHORIZED, text)
        self._count(author)
        return author

    async def _delivered(self, request: web.Request) -> Answer | None:
        """Return what PagerDuty delivers; None: no acknowledgement of ours, which is fine."""
        secret = self._given.pagerduty_secret
        if secret is None:
            text = "deliveries are not taken: set answers.pagerduty_secret (docs/security.md)"
            raise _NotTakenError(HTTPStatus.FORBIDDEN, text)
        body = await read_body(request, DELIVERY_BYTES_MAX)
        if not is_signed(body, request.headers.get(SIGNATURE_HEADER, ""), secret):
            text = f"{SIGNATURE_HEADER}: expected the signature by answers.pagerduty_secret"
            raise _NotTakenError(HTTPStatus.UNAUTHORIZED, text)
        answer = acknowledgement(body)
        if answer is None or market_of(answer.incident) not in self._given.markets:
            return None
        if answer.taken_back and not await self._is_of_pagerduty(answer.incident):
            return None
        self._count(PAGERDUTY)
        return answer

    async def _is_of_pagerduty(self, incident: str) -> bool:
        """Whether the acknowledgement in force was given there.

        PagerDuty takes back by itself, after a while, what we have acknowledged there for somebody here.
        """
        known = await self._given.incidents(market_of(incident))
        found = known[incident].acknowledged if incident in known else None
        return found is not None and found.by.endswith(PAGERDUTY)

    def _count(self, author: str) -> None:
        rate, now_ms = self._rates[author], self._given.steady_ms()
        if rate.full(now_ms):
            text = f"{author}: more than {ANSWERS_A_MINUTE} answers a minute; wait"
            raise _NotTakenError(HTTPStatus.TOO_MANY_REQUESTS, text)
        rate.count(now_ms)


def _bearer(request: web.Request) -> str:
    scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _is_of_another_site(request: web.Request) -> bool:
    """Whether a browser sends the request for a page that is not ours."""
    origin = request.headers.get(hdrs.ORIGIN)
    site = request.headers.get("Sec-Fetch-Site", "none")
    return not _is_ours(origin, request.host) or site not in ("none", "same-origin")


def _is_ours(origin: str | None, host: str) -> bool:
    try:
        return origin is None or urlsplit(origin).netloc.lower() == host.lower()
    except ValueError:  # `http://[`
        return False

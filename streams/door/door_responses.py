"""How the door answers: JSON of the types in ``door_answers``, and problems of RFC 9457."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from math import ceil

import msgspec
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from streams.door.door_answers import LISTED_MAX, EventProblem, RequestProblem
from streams.door.event_checks import Checked, place_of
from streams.index.event_types import Rejected
from streams.index.shown_text import one_line

SHOWN_MAX = 200
FULL_RETRY_AFTER_S = 30
"""When a sender that got 503 may come again: a full spool takes longer than that to be emptied."""
_UNAVAILABLE = HTTPStatus.SERVICE_UNAVAILABLE
_OUTCOMES = {
    HTTPStatus.UNAUTHORIZED: "unsigned",
    HTTPStatus.TOO_MANY_REQUESTS: "limited",
    _UNAVAILABLE: "unavailable",
}

_encode = msgspec.json.Encoder().encode


class RefusedError(Exception):
    """Ends a request with a problem. Nothing of it was kept."""

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        *,
        retry_after_s: float | None = None,
        events: Sequence[EventProblem] = (),
    ) -> None:
        self.problem = RequestProblem(
            status.phrase, int(status), detail, len(events), list(events[:LISTED_MAX])
        )
        self.retry_after_s = retry_after_s
        super().__init__(detail)

    @property
    def outcome(self) -> str:
        """How metrics call it."""
        return _OUTCOMES.get(HTTPStatus(self.problem.status), "refused")


def no_room() -> RefusedError:
    """The problem of a full spool, while Kafka is away."""
    return RefusedError(
        _UNAVAILABLE,
        "Kafka does not take events, and the door has no room for more; send them again later",
        retry_after_s=FULL_RETRY_AFTER_S,
    )


def problem_at(at: int, rejected: Rejected, root: str) -> EventProblem:
    """What is wrong with the event at a place. ``root``: where in its element it stands."""
    path, detail = place_of(rejected, root)
    return EventProblem(at, path, rejected.reason, detail)


def left_out(checked: Sequence[Checked], root: str) -> list[EventProblem]:
    """The first of the parts that cannot be counted."""
    found = [
        problem_at(at, Rejected(reason, part.detail), root)
        for at, each in enumerate(checked)
        for reason, part in each.parts.items()
    ]
    return found[:LISTED_MAX]


def as_json(status: HTTPStatus, content: msgspec.Struct) -> web.Response:
    """An answer in JSON."""
    return web.Response(status=status, body=_encode(content), content_type="application/json")


def as_problem(problem: RequestProblem, retry_after_s: float | None = None) -> web.Response:
    """The answer to a request of which nothing was kept."""
    headers = {}
    if retry_after_s is not None:
        headers[hdrs.RETRY_AFTER] = str(max(1, ceil(retry_after_s)))
    if problem.status == HTTPStatus.UNAUTHORIZED:
        headers[hdrs.WWW_AUTHENTICATE] = "Bearer"
    return web.Response(
        status=problem.status,
        body=_encode(problem),
        content_type="application/problem+json",
        headers=headers,
    )


def problem_of(error: web.HTTPException) -> web.Response:
    """The answer to what aiohttp has refused."""
    detail = one_line(error.text or error.reason, SHOWN_MAX)
    answer = as_problem(RequestProblem(error.reason, error.status, detail))
    if hdrs.ALLOW in error.headers:
        answer.headers[hdrs.ALLOW] = error.headers[hdrs.ALLOW]
    return answer


@web.middleware
async def with_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer what aiohttp itself refuses (no such path, another method) as all else is refused."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        return problem_of(error)

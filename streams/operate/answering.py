"""``answer``: say of an incident that it is acknowledged, expected or a false alarm, or note a thing."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Literal, NamedTuple

from streams.clock import now_ms
from streams.console.errors import OperationError, unknown_market
from streams.index.answer_records import AnswerError, answer_record, market_of
from streams.index.methodology import Market
from streams.index.operator_answers import Answer
from streams.operate.market_views import connect
from streams.operate.seeding import send_to
from streams.publish.answer_requests import AnswerRequest, answer_of
from streams.publish.answer_words import say_effect
from streams.publish.hash_texts import hash_texts
from streams.publish.incident_records import PublishedIncident, read_incidents
from streams.publish.keys import market_keys
from streams.publish.redis_clients import REDIS_ERRORS, in_words
from streams.settings import Settings, load_methodology

Send = Callable[[Answer], Coroutine[Any, Any, None]]


class Answered(NamedTuple):
    """An answer that the brokers have, and lines that say what it does."""

    answer: Answer
    effect: list[str]


async def answer_command(settings: Settings, request: AnswerRequest, by: str) -> Answered:
    """Answer an incident that Redis holds. Raises OperationError, SettingsError."""
    markets = load_methodology(settings).markets
    try:
        code = market_of(request.incident)
        market = _market(code, markets)
        known = read_known(settings, code)
        answer = answer_of(request, known, market, by, now_ms())
    except AnswerError as error:
        raise OperationError(str(error)) from error
    await sending(settings)(answer)
    return Answered(answer, say_effect(answer, known[answer.incident], market.time_zone))


def sending(settings: Settings) -> Send:
    """Return what sends an answer to its topic; it returns when the brokers have it.

    It raises OperationError.
    """

    async def send(answer: Answer) -> None:
        await send_to(settings, settings.topics.answers, [answer_record(answer)])

    return send


def read_known(settings: Settings, code: str) -> dict[str, PublishedIncident]:
    """Return the incidents of a market in Redis, by id. Raises OperationError."""
    keys = market_keys(code, settings.redis.keys_prefix)
    try:
        with connect(settings.redis) as client:
            found: dict[bytes, bytes] = client.hgetall(keys.incidents)
    except REDIS_ERRORS as error:
        raise OperationError(f"{settings.redis.url} (redis.url): {in_words(error)}") from error
    return {each.id: each for each in read_incidents(hash_texts(found))}


def _market(code: str, markets: dict[str, Market]) -> Market:
    if code not in markets:
        raise unknown_market(code, markets)
    return markets[code]


def factor_of(text: str | None) -> float | Literal["unknown"] | None:
    """Read the factor of a command: a number, `unknown`, or None. Raises OperationError."""
    if text is None:
        return None
    if text == "unknown":
        return "unknown"
    try:
        return float(text)
    except ValueError as error:
        raise OperationError(f"--factor {text!r}: expected a number or `unknown`") from error

"""``answer``: say of an incident that it is acknowledged, expected or a false alarm, or note a thing."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Literal, NamedTuple

from streams.clock import now_ms
from streams.console.errors import OperationError, unknown_market
from streams.index.answer_records import AnswerError, answer_record, decode_answer, market_of
from streams.index.methodology import Market
from streams.index.operator_answers import Answer
from streams.index.panes import rfc3339
from streams.index.shown_sizes import duration
from streams.operate.market_views import connect
from streams.operate.seeding import send_to
from streams.publish.answer_requests import AnswerRequest, answer_of
from streams.publish.answer_words import say_effect
from streams.publish.hash_texts import hash_texts
from streams.publish.incident_records import PublishedIncident, read_incidents
from streams.publish.incident_words import naming_of
from streams.publish.keys import market_keys
from streams.publish.redis_clients import REDIS_ERRORS, in_words
from streams.records.kafka_topics import alter_command
from streams.settings import Settings, load_methodology

CLOCK_OFF_MAX_MS = 10_000
"""A clock that is further from the broker's than this is said to be off, as a worker's is."""
Send = Callable[[Answer], Coroutine[Any, Any, Answer]]


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
    stored = await sending(settings)(answer)
    effect = say_effect(stored, known[answer.incident], naming_of(code, market))
    if abs(stored.at_ms - answer.at_ms) > CLOCK_OFF_MAX_MS:
        effect.append(_clock(answer.at_ms, stored.at_ms))
    return Answered(stored, effect)


def sending(settings: Settings) -> Send:
    """Return what sends an answer to its topic; it returns the answer as workers read it.

    Its instant is the broker's. Raises OperationError, also where it is stored and does nothing.
    """

    async def send(answer: Answer) -> Answer:
        record, topic = answer_record(answer), settings.topics.answers
        (stamp_ms,) = await send_to(settings, topic, [record])
        if stamp_ms is None:
            fix = alter_command(topic, "message.timestamp.type=LogAppendTime")
            raise OperationError(
                f"{answer.incident}: {topic} has the time of this machine, which may be off, and an "
                f"answer counts from its time on: run `{fix}`, then answer again"
            )
        try:
            _, stored = decode_answer(*record, stamp_ms)
        except AnswerError as error:
            raise _of_no_effect(answer, stamp_ms, str(error)) from error
        if stored.until_ms <= stored.at_ms and answer.until_ms > answer.at_ms:
            over = f"the event is over since {rfc3339(stored.until_ms)}"
            raise _of_no_effect(answer, stored.at_ms, over)
        return stored

    return send


def _of_no_effect(answer: Answer, stamp_ms: int, why: str) -> OperationError:
    off = _clock(answer.at_ms, stamp_ms)
    return OperationError(
        f"{answer.incident}: nothing is answered: {why}. {off}, then answer again"
    )


def _clock(own_ms: int, stamp_ms: int) -> str:
    side = "ahead of" if own_ms > stamp_ms else "behind"
    return (
        f"this machine's clock is {duration(abs(own_ms - stamp_ms))} {side} the broker's "
        f"({rfc3339(stamp_ms)}), which counts: set it right"
    )


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

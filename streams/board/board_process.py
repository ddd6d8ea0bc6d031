"""A board from start to end: the source, the server, and the settings that they need."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import structlog

from streams.board.answer_api import AnswerApi, Answering
from streams.board.answer_tokens import Tokens, TokensError, read_tokens
from streams.board.hub import Hub
from streams.board.redis_poller import RedisPoller
from streams.board.server import BoardServer
from streams.clock import monotonic_ms, now_ms
from streams.console.errors import OperationError
from streams.index.operator_answers import Answer
from streams.index.page_budget import PageCount
from streams.publish.hash_texts import hash_texts
from streams.publish.incident_records import PublishedIncident, read_incidents
from streams.publish.keys import market_keys
from streams.publish.page_records import PAGES_FIELD, read_pages
from streams.publish.redis_clients import REDIS_ERRORS, async_client, close_client, in_words
from streams.settings import Settings, load_methodology

Send = Callable[[Answer], Awaitable[Answer]]

_log = structlog.get_logger(__name__)


async def serve(
    settings: Settings,
    stopped: asyncio.Event,
    on_listening: Callable[[str], None],
    send: Send | None = None,
) -> None:
    """Serve until ``stopped`` is set. ``on_listening`` gets the page's address.

    ``send``: sends an answer to its topic; None: the page is read-only. While Redis is away the board
    waits, and the page says so. Raises OSError when the address cannot be bound, SettingsError when the
    methodology is wrong, OperationError when the tokens are.
    """
    markets = load_methodology(settings).markets
    hub = Hub()
    redis = settings.redis
    source = RedisPoller(
        redis.url,
        hub,
        markets,
        prefix=redis.keys_prefix,
        timeout_s=redis.timeout_s,
        auth=redis.auth_options(),
    )
    tokens = _tokens(settings) if send is not None else Tokens({})
    client = async_client(redis.url, redis.auth_options(), timeout_s=redis.timeout_s)
    answering = Answering(
        tokens,
        settings.answers.revealed_secret() if send is not None else None,
        markets,
        lambda code: _incidents(client, settings, code),
        lambda code: _pages(client, settings, code),
        send or _nowhere,
        now_ms,
        monotonic_ms,
    )
    server = BoardServer(
        hub,
        lambda: source.away,
        host=settings.board.host,
        port=settings.board.port,
        names=settings.board.hosts,
        grafana=settings.links.grafana,
        runbook=settings.links.runbook,
        answers=AnswerApi(answering),
    )
    port = await server.start()
    host = f"[{settings.board.host}]" if ":" in settings.board.host else settings.board.host
    url = f"http://{host}:{port}/"
    _log.info("listening", board=url, answerable=bool(tokens))
    on_listening(url)
    try:
        await source.run(stopped)  # a bug in the source ends the process
    finally:
        await server.stop()
        await source.close()
        await close_client(client)


def _tokens(settings: Settings) -> Tokens:
    path = settings.answers.tokens_file
    if path is None:
        return Tokens({})
    try:
        return read_tokens(path)
    except TokensError as error:
        raise OperationError(f"answers.tokens_file: {error}") from error


async def _incidents(client: Any, settings: Settings, code: str) -> Mapping[str, PublishedIncident]:
    """Return the incidents of a market in Redis, by id. Raises OperationError."""
    keys = market_keys(code, settings.redis.keys_prefix)
    try:
        found = await client.hgetall(keys.incidents)
    except REDIS_ERRORS as error:
        raise OperationError(f"{settings.redis.url} (redis.url): {in_words(error)}") from error
    return {each.id: each for each in read_incidents(hash_texts(found))}


async def _pages(client: Any, settings: Settings, code: str) -> Sequence[PageCount]:
    """Return how often a market paged. Raises OperationError."""
    keys = market_keys(code, settings.redis.keys_prefix)
    try:
        return read_pages(await client.hget(keys.values, PAGES_FIELD))
    except REDIS_ERRORS as error:
        raise OperationError(f"{settings.redis.url} (redis.url): {in_words(error)}") from error


async def _nowhere(_answer: Answer) -> Answer:
    raise OperationError("answers are sent nowhere")

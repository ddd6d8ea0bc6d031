"""Read the index from Redis: value, status and age at once, and never a value that is too old.

It is for services that want a typed answer. Others read the keys themselves (docs/readers.md).

    with Reader("redis://127.0.0.1:6379/0") as reader:
        orders = reader.get("PK", "orders:market:all:1m")

``Reader`` and ``AsyncReader`` have the same three methods. Each method raises an exception instead of
returning a value that a dead or cut-off publisher left behind, a value that is old because the flow has
fallen behind, or a value older than one that this reader has already seen for the market. (An emptied
Redis may accept an older value from a paused publisher for up to a second.) A reader waits for a Redis
that restarts, and reads it again when it is back.

    ReaderError
     +- AbsentError        nobody publishes it: unknown, never zero
     +- TooOldError        Redis holds it, but it must not be used any more
     +- UnreachableError   Redis does not answer, or its answer breaks the contract
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

import msgspec
import redis.exceptions
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from streams import clock
from streams.index.instants import parse_instant
from streams.index.panes import rfc3339
from streams.index.values import Snapshot
from streams.publish.keys import market_keys

DEFAULT_PREFIX = "ecindex:v1"
"""A service has no settings: what redis.prefix is by default, and the contract's version."""
SILENT_AFTER_MS = 5_000
"""A publisher renews ``published_at`` each second. After this long without it, it counts as gone."""
BEHIND_AFTER_MS = 30_000
"""A live ``as_of`` is at most some 8 s old. Beyond this age the flow is behind."""
TIMEOUT_S = 2.0
"""Time-out of one attempt to connect, or to get an answer."""
RETRIES, RETRY_EVERY_S = 8, 0.25
"""Retries of a call: it waits about two seconds for a Redis that restarts."""
WATCH_EVERY_S = 0.25
_HIGH_WATER_MS = 60_000
"""How long a seen version refuses older ones: the expiry of the keys. A later restart is accepted."""
_HEADER = ("@as_of", "@published_at", "@edition", "@phase")
_AWAY = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError)


class ReaderError(Exception):
    """There is no answer that may be used. The text says why."""


class AbsentError(ReaderError):
    """Nobody publishes the value now, or it is not a field of the index. Unknown, never zero."""


class TooOldError(ReaderError):
    """Redis holds a value that must not be used: too old, or older than one seen before."""


class UnreachableError(ReaderError):
    """Redis did not answer in time, or what it holds breaks the contract."""


class Reading(NamedTuple):
    """One value as Redis held it at one moment. Times are in UTC epoch ms."""

    market: str
    field: str
    value: int | float | None
    """None when ``status`` is ``filling`` or ``no_data``. Integers are exact at any width."""
    status: str
    as_of_ms: int
    """End of the newest window."""
    published_at_ms: int
    """When the publisher last confirmed the value."""
    edition: int
    phase: str


class Limits(NamedTuple):
    """How old a value may be. None accepts any age, as for imported history."""

    age_ms_max: int | None = BEHIND_AFTER_MS
    """Largest age of ``as_of``, in ms."""
    silence_ms_max: int | None = SILENT_AFTER_MS
    """Longest time since ``published_at``, in ms."""


DEFAULT_LIMITS = Limits()


class _Judge:
    """Checks what Redis answered, for both readers. No IO."""

    def __init__(self, prefix: str, limits: Limits, now_ms: Callable[[], int]) -> None:
        self._prefix = prefix
        self._limits = limits
        self._now_ms = now_ms
        # One entry for each market read with success: 50 at most by the methodology.
        self._seen: dict[str, tuple[tuple[int, int], int]] = {}

    def keys(self, market: str) -> tuple[str, str, str]:
        """Names of the market's (values, snapshot, fence)."""
        keys = market_keys(market, self._prefix)
        return keys.values, keys.snapshot, keys.fence

    def reading(self, market: str, field: str, answer: Sequence[bytes | None]) -> Reading:
        """Reading from the HMGET of ``field``, its status and the header. Raises ReaderError."""
        value, status, as_of, published_at, edition, phase = answer
        if as_of is None or published_at is None or edition is None or phase is None:
            raise AbsentError(f"{market}: nobody publishes this market now")
        if value is None and status is None:
            raise AbsentError(f"{market}: {field!r} is not among its values; see docs/contract.md")
        try:
            reading = Reading(
                market=market,
                field=field,
                value=None if value is None else number(value.decode()),
                status="ok" if status is None else status.decode(),
                as_of_ms=instant(as_of.decode()),
                published_at_ms=instant(published_at.decode()),
                edition=int(edition),
                phase=phase.decode(),
            )
        except ValueError as error:
            raise UnreachableError(f"{market}: not what docs/contract.md says: {error}") from error
        self._admit(market, reading.edition, reading.as_of_ms, reading.published_at_ms)
        return reading

    def snapshot(self, market: str, encoded: bytes | None) -> Snapshot:
        """Snapshot from the string ``:snapshot``. Raises ReaderError."""
        if encoded is None:
            raise AbsentError(f"{market}: nobody publishes this market now")
        try:
            snapshot = msgspec.json.decode(encoded, type=Snapshot)
            as_of_ms, published_at_ms = instant(snapshot.as_of), instant(snapshot.published_at)
        except (msgspec.DecodeError, ValueError) as error:
            raise UnreachableError(f"{market}: not what docs/contract.md says: {error}") from error
        self._admit(market, snapshot.edition, as_of_ms, published_at_ms)
        return snapshot

    def check_believable(
        self, market: str, published_at: bytes | None, as_of: bytes | None
    ) -> None:
        """Raise ReaderError when what was read before must not be used any more."""
        if published_at is None or as_of is None:
            raise AbsentError(f"{market}: nobody publishes this market now")
        try:
            ages = instant(as_of.decode()), instant(published_at.decode())
        except ValueError as error:
            raise UnreachableError(f"{market}: not what docs/contract.md says: {error}") from error
        self._check_age(market, *ages, self._now_ms())

    def _admit(self, market: str, edition: int, as_of_ms: int, published_at_ms: int) -> None:
        now_ms = self._now_ms()
        self._check_age(market, as_of_ms, published_at_ms, now_ms)
        version = (edition, as_of_ms)
        seen, at_ms = self._seen.get(market, (version, now_ms))
        if version < seen and now_ms - at_ms < _HIGH_WATER_MS:
            raise TooOldError(
                f"{market}: found edition {edition} as of {rfc3339(as_of_ms)}, but this reader has seen "
                f"edition {seen[0]} as of {rfc3339(seen[1])}; read again in a second"
            )
        self._seen[market] = (version, now_ms)

    def _check_age(self, market: str, as_of_ms: int, published_at_ms: int, now_ms: int) -> None:
        limits = self._limits
        silence_ms, age_ms = now_ms - published_at_ms, now_ms - as_of_ms
        if limits.silence_ms_max is not None and silence_ms > limits.silence_ms_max:
            raise TooOldError(
                f"{market}: its publisher was last heard {silence_ms / 1000:.1f} s ago, expected "
                f"within {limits.silence_ms_max / 1000:g} s; is its worker running?"
            )
        if limits.age_ms_max is not None and age_ms > limits.age_ms_max:
            raise TooOldError(
                f"{market}: as of {rfc3339(as_of_ms)}, {age_ms / 1000:.1f} s ago, expected at most "
                f"{limits.age_ms_max / 1000:g} s; the flow is behind"
            )


class Reader:
    """Reads one Redis. Threads may share it, since its client allows that.

    ``limits``: how old a value may be. ``redis_options`` go to ``redis.Redis.from_url`` (``username``,
    ``password``, ``ssl_ca_certs``, ..).
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = DEFAULT_PREFIX,
        limits: Limits = DEFAULT_LIMITS,
        now_ms: Callable[[], int] = clock.now_ms,
        **redis_options: Any,
    ) -> None:
        retry = Retry(ConstantBackoff(RETRY_EVERY_S), RETRIES, supported_errors=_AWAY)
        self._redis: Any = Redis.from_url(url, **(_options(retry) | redis_options))
        self._judge = _Judge(prefix, limits, now_ms)

    def get(self, market: str, field: str) -> Reading:
        """One value: ``field`` is ``index:dimension:member:window``. Raises ReaderError."""
        values, _, _ = self._judge.keys(market)
        with _reachable():
            answer = self._redis.hmget(values, (field, f"{field}@status", *_HEADER))
        return self._judge.reading(market, field, answer)

    def snapshot(self, market: str) -> Snapshot:
        """Every value of a market, all of one version. Raises ReaderError."""
        _, snapshot, _ = self._judge.keys(market)
        with _reachable():
            encoded = self._redis.get(snapshot)
        return self._judge.snapshot(market, encoded)

    def watch(self, market: str, interval_s: float = WATCH_EVERY_S) -> Iterator[Snapshot | None]:
        """Each new version of a market, without end.

        Yields None once when the last version must not be used any more: its publisher is gone, the flow
        is behind or Redis is away. After that it yields the next version.
        """
        watched = _Watched(market)
        while True:
            try:
                new = self._new(watched)
            except ReaderError:
                if watched.lost():
                    yield None
            else:
                if new is not None:
                    yield new
            time.sleep(interval_s)

    def _new(self, watched: _Watched) -> Snapshot | None:
        values, _, fence = self._judge.keys(watched.market)
        with _reachable():
            pipeline = self._redis.pipeline(transaction=True)
            version, header = _ask(pipeline, fence, values).execute()
        if not watched.is_new(version):
            self._judge.check_believable(watched.market, *header)
            return None
        return watched.took(version, self.snapshot(watched.market))

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.close()


class AsyncReader:
    """A ``Reader`` for an event loop: its methods are coroutines and ``watch`` is an async iterator."""

    def __init__(
        self,
        url: str,
        *,
        prefix: str = DEFAULT_PREFIX,
        limits: Limits = DEFAULT_LIMITS,
        now_ms: Callable[[], int] = clock.now_ms,
        **redis_options: Any,
    ) -> None:
        retry = AsyncRetry(ConstantBackoff(RETRY_EVERY_S), RETRIES, supported_errors=_AWAY)
        self._redis: Any = AsyncRedis.from_url(url, **(_options(retry) | redis_options))
        self._judge = _Judge(prefix, limits, now_ms)

    async def get(self, market: str, field: str) -> Reading:
        """One value: ``field`` is ``index:dimension:member:window``. Raises ReaderError."""
        values, _, _ = self._judge.keys(market)
        with _reachable():
            answer = await self._redis.hmget(values, (field, f"{field}@status", *_HEADER))
        return self._judge.reading(market, field, answer)

    async def snapshot(self, market: str) -> Snapshot:
        """Every value of a market, all of one version. Raises ReaderError."""
        _, snapshot, _ = self._judge.keys(market)
        with _reachable():
            encoded = await self._redis.get(snapshot)
        return self._judge.snapshot(market, encoded)

    async def watch(
        self, market: str, interval_s: float = WATCH_EVERY_S
    ) -> AsyncIterator[Snapshot | None]:
        """Each new version of a market, without end; None once when lost, as in ``Reader.watch``."""
        watched = _Watched(market)
        while True:
            try:
                new = await self._new(watched)
            except ReaderError:
                if watched.lost():
                    yield None
            else:
                if new is not None:
                    yield new
            await asyncio.sleep(interval_s)

    async def _new(self, watched: _Watched) -> Snapshot | None:
        values, _, fence = self._judge.keys(watched.market)
        with _reachable():
            pipeline = self._redis.pipeline(transaction=True)
            version, header = await _ask(pipeline, fence, values).execute()
        if not watched.is_new(version):
            self._judge.check_believable(watched.market, *header)
            return None
        return watched.took(version, await self.snapshot(watched.market))

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        await self.close()


class _Watched:
    """How far one watch has read."""

    def __init__(self, market: str) -> None:
        self.market = market
        self._version: list[bytes | None] | None = None
        self._lost_reported = False

    def is_new(self, version: list[bytes | None]) -> bool:
        return version != self._version

    def took(self, version: list[bytes | None], snapshot: Snapshot) -> Snapshot:
        self._version, self._lost_reported = version, False
        return snapshot

    def lost(self) -> bool:
        """Forget the version, so that the next read counts as new. True if the loss is news."""
        news, self._lost_reported, self._version = not self._lost_reported, True, None
        return news


class _reachable:  # noqa: N801 - reads as what it is, a context
    """Turns what redis-py raises into an UnreachableError."""

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        _type: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, (redis.exceptions.RedisError, OSError)):
            raise UnreachableError(f"Redis does not answer: {error}") from error


def number(text: str) -> int | float:
    """Plain decimal text of the contract as a number: an exact integer, else the nearest double."""
    return float(text) if "." in text else int(text)


def instant(text: str) -> int:
    """RFC 3339 text -> UTC epoch ms. Raises ValueError."""
    at_ms = parse_instant(text)
    if at_ms is None:
        raise ValueError(f"{text!r}, expected an instant such as 2026-11-24T10:00:05.000Z")
    return at_ms


def _ask(pipeline: Any, fence: str, values: str) -> Any:
    pipeline.hmget(fence, ("edition", "as_of_ms", "applied"))
    pipeline.hmget(values, ("@published_at", "@as_of"))
    return pipeline


def _options(retry: Retry | AsyncRetry) -> dict[str, Any]:
    return {"socket_timeout": TIMEOUT_S, "socket_connect_timeout": TIMEOUT_S, "retry": retry}

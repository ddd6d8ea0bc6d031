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
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

import msgspec

from streams import clock
from streams.index.formats import json_reader
from streams.index.indices import SOURCES, source_of
from streams.index.instants import parse_instant
from streams.index.panes import rfc3339
from streams.index.values import Snapshot
from streams.publish.keys import AS_OF_AGE_MAX_MS, AS_OF_FIELDS, FENCE_FIELDS, market_keys
from streams.publish.redis_clients import (
    REDIS_ERRORS,
    Retries,
    async_client,
    close_client,
    drop_connections,
    drop_connections_of,
    in_words,
    lacks_a_slot,
    sync_client,
)

DEFAULT_PREFIX = "ecindex:v1"
"""A service has no settings: what redis.prefix is by default, and the contract's version."""
SILENT_AFTER_MS = 5_000
"""A publisher renews ``published_at`` each second. After this long without it, it counts as gone."""
BEHIND_AFTER_MS = AS_OF_AGE_MAX_MS
"""A live ``as_of`` is at most some 8 s old. Beyond this age the flow is behind."""
TIMEOUT_S = 3.0
"""Time-out of one attempt to connect, or to get an answer. It must be longer than a round trip."""
RETRIES = Retries(8, every_s=0.25)
"""Retries of a call: it waits about two seconds for a Redis that restarts."""
DOUBT_EVERY_MS = 1_000
WATCH_EVERY_S = 0.25
_HIGH_WATER_MS = 60_000
"""How long a seen version refuses older ones: the expiry of the keys. A later restart is accepted."""
_decode_snapshot = json_reader(Snapshot)
_HEADER = ("@published_at", "@edition", "@phase", "@generation", "@definitions", *AS_OF_FIELDS)


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
    """``as_of`` of the source that the value is counted from. A window ends at it or, where it moves
    by the minute, up to a minute before."""
    published_at_ms: int
    """When the publisher last confirmed the value."""
    edition: int
    phase: str
    generation: int = 0
    """How often an operator has set the market's ``as_of`` back."""
    definitions: int = 0
    """Version of the market's definitions."""


class _Version(NamedTuple):
    """What a reader has seen of a market."""

    edition: int
    generation: int
    definitions: int
    as_of_ms: dict[str, int]
    """By source; the headline under an empty name."""

    def older_than(self, seen: _Version) -> bool:
        mine, theirs = (self.edition, self.generation), (seen.edition, seen.generation)
        if mine != theirs:
            return mine < theirs
        return self.definitions < seen.definitions or any(
            at_ms < seen.as_of_ms.get(source, at_ms) for source, at_ms in self.as_of_ms.items()
        )


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
        self._seen: dict[str, tuple[_Version, int]] = {}
        self._doubted_at_ms: int | None = None

    def doubts(self) -> bool:
        """Return whether to connect anew, since what was read may be of a master that was cut off.

        After a failover an old connection still leads there, while new ones reach the new master.
        """
        now_ms = self._now_ms()
        if self._doubted_at_ms is not None and 0 <= now_ms - self._doubted_at_ms < DOUBT_EVERY_MS:
            return False
        self._doubted_at_ms = now_ms
        return True

    def keys(self, market: str) -> tuple[str, str, str]:
        """Names of the market's (values, snapshot, fence)."""
        keys = market_keys(market, self._prefix)
        return keys.values, keys.snapshot, keys.fence

    def reading(self, market: str, field: str, answer: Sequence[bytes | None]) -> Reading:
        """Reading from the HMGET of ``field``, its status and the header. Raises ReaderError."""
        value, status, published_at, edition, phase, generation, *rest = answer
        definitions, as_of, *sources = rest
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
                as_of_ms=instant((_own_as_of(field, sources) or as_of).decode()),
                published_at_ms=instant(published_at.decode()),
                edition=int(edition),
                phase=phase.decode(),
                generation=int(generation or 0),
                definitions=int(definitions or 0),
            )
            seen = {"": instant(as_of.decode()), **_instants(sources)}
        except ValueError as error:
            raise UnreachableError(f"{market}: not what docs/contract.md says: {error}") from error
        version = _Version(reading.edition, reading.generation, reading.definitions, seen)
        self._admit(market, version, reading.as_of_ms, reading.published_at_ms)
        return reading

    def snapshot(self, market: str, encoded: bytes | None) -> Snapshot:
        """Snapshot from the string ``:snapshot``. Raises ReaderError."""
        if encoded is None:
            raise AbsentError(f"{market}: nobody publishes this market now")
        try:
            snapshot = _decode_snapshot(encoded)
            as_of_ms, published_at_ms = instant(snapshot.as_of), instant(snapshot.published_at)
            seen = {source: instant(text) for source, text in snapshot.sources.items()}
        except (msgspec.DecodeError, ValueError) as error:
            raise UnreachableError(f"{market}: not what docs/contract.md says: {error}") from error
        version = _Version(
            snapshot.edition, snapshot.generation, snapshot.definitions, {"": as_of_ms, **seen}
        )
        # It holds values of every source: also of one that has not joined, behind the headline.
        self._admit(market, version, min([as_of_ms, *seen.values()]), published_at_ms)
        return snapshot

    def check_believable(
        self, market: str, published_at: bytes | None, *as_of: bytes | None
    ) -> None:
        """Raise ReaderError when the snapshot read before must not be used any more.

        ``as_of``: the headline, then that of each source.
        """
        if published_at is None or as_of[0] is None:
            raise AbsentError(f"{market}: nobody publishes this market now")
        try:
            oldest_ms = min(instant(text.decode()) for text in as_of if text is not None)
            ages = oldest_ms, instant(published_at.decode())
        except ValueError as error:
            raise UnreachableError(f"{market}: not what docs/contract.md says: {error}") from error
        self._check_age(market, *ages, self._now_ms())

    def _admit(self, market: str, version: _Version, as_of_ms: int, published_at_ms: int) -> None:
        now_ms = self._now_ms()
        self._check_age(market, as_of_ms, published_at_ms, now_ms)
        seen, at_ms = self._seen.get(market, (version, now_ms))
        if version.older_than(seen) and now_ms - at_ms < _HIGH_WATER_MS:
            raise TooOldError(
                f"{market}: found {_version_text(version)}, but this reader has seen "
                f"{_version_text(seen)}; read again in a second"
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
    """Reads one Redis, Sentinels' master or Cluster. Threads may share it: its client allows that.

    ``url``: as in ``redis.url`` (docs/security.md). ``limits``: how old a value may be. ``timeout_s``:
    the longest wait for one answer. ``redis_options`` go to the client of redis-py (``username``,
    ``password``, ``ssl_ca_certs``, .., for Sentinels ``sentinel_username``, ``sentinel_password``).
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = DEFAULT_PREFIX,
        limits: Limits = DEFAULT_LIMITS,
        timeout_s: float = TIMEOUT_S,
        now_ms: Callable[[], int] = clock.now_ms,
        **redis_options: Any,
    ) -> None:
        self._redis = sync_client(url, redis_options, timeout_s=timeout_s, retries=RETRIES)
        self._judge = _Judge(prefix, limits, now_ms)

    def get(self, market: str, field: str) -> Reading:
        """One value: ``field`` is ``index:dimension:member:window``. Raises ReaderError."""
        values, _, _ = self._judge.keys(market)
        with self._heeded():
            answer = self._redis.hmget(values, (field, f"{field}@status", *_HEADER))
            return self._judge.reading(market, field, answer)

    def snapshot(self, market: str) -> Snapshot:
        """Every value of a market, all of one version. Raises ReaderError."""
        _, snapshot, _ = self._judge.keys(market)
        with self._heeded():
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
        with self._heeded():
            # No transaction: a reader needs no right to MULTI, and a newer header does no harm.
            pipeline = self._redis.pipeline(transaction=False)
            version, header = _ask(pipeline, fence, values).execute()
            if not watched.is_new(version):
                self._judge.check_believable(watched.market, *header)
                return None
        return watched.took(version, self.snapshot(watched.market))

    @contextlib.contextmanager
    def _heeded(self) -> Iterator[None]:
        """Turn what redis-py raises into an UnreachableError; connect anew after what is too old."""
        try:
            yield
        except REDIS_ERRORS as error:
            if lacks_a_slot(error) and self._judge.doubts():
                drop_connections_of(self._redis)
            raise UnreachableError(f"Redis does not answer: {in_words(error)}") from error
        except (AbsentError, TooOldError):
            if self._judge.doubts():
                drop_connections_of(self._redis)
            raise

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
        timeout_s: float = TIMEOUT_S,
        now_ms: Callable[[], int] = clock.now_ms,
        **redis_options: Any,
    ) -> None:
        self._redis = async_client(url, redis_options, timeout_s=timeout_s, retries=RETRIES)
        self._judge = _Judge(prefix, limits, now_ms)

    async def get(self, market: str, field: str) -> Reading:
        """One value: ``field`` is ``index:dimension:member:window``. Raises ReaderError."""
        values, _, _ = self._judge.keys(market)
        async with self._heeded():
            answer = await self._redis.hmget(values, (field, f"{field}@status", *_HEADER))
            return self._judge.reading(market, field, answer)

    async def snapshot(self, market: str) -> Snapshot:
        """Every value of a market, all of one version. Raises ReaderError."""
        _, snapshot, _ = self._judge.keys(market)
        async with self._heeded():
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
        async with self._heeded():
            pipeline = self._redis.pipeline(transaction=False)
            version, header = await _ask(pipeline, fence, values).execute()
            if not watched.is_new(version):
                self._judge.check_believable(watched.market, *header)
                return None
        return watched.took(version, await self.snapshot(watched.market))

    @contextlib.asynccontextmanager
    async def _heeded(self) -> AsyncIterator[None]:
        try:
            yield
        except REDIS_ERRORS as error:
            if lacks_a_slot(error) and self._judge.doubts():
                await drop_connections(self._redis)
            raise UnreachableError(f"Redis does not answer: {in_words(error)}") from error
        except (AbsentError, TooOldError):
            if self._judge.doubts():
                await drop_connections(self._redis)
            raise

    async def close(self) -> None:
        """Close the connections."""
        await close_client(self._redis)

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


def number(text: str) -> int | float:
    """Plain decimal text of the contract as a number: an exact integer, else the nearest double."""
    return float(text) if "." in text else int(text)


def instant(text: str) -> int:
    """RFC 3339 text -> UTC epoch ms. Raises ValueError."""
    at_ms = parse_instant(text)
    if at_ms is None:
        raise ValueError(f"{text!r}, expected an instant such as 2026-11-24T10:00:05.000Z")
    return at_ms


def _own_as_of(field: str, sources: Sequence[bytes | None]) -> bytes | None:
    """``@as_of:SOURCE`` of the source that the field is counted from; None where it is not said."""
    index = field.partition(":")[0]
    return sources[SOURCES.index(source_of(index))]


def _instants(sources: Sequence[bytes | None]) -> dict[str, int]:
    return {
        source: instant(text.decode())
        for source, text in zip(SOURCES, sources, strict=True)
        if text is not None
    }


def _version_text(version: _Version) -> str:
    as_of = ", ".join(
        f"{source or 'as of'} {rfc3339(at_ms)}" for source, at_ms in version.as_of_ms.items()
    )
    return (
        f"edition {version.edition} generation {version.generation} definitions "
        f"{version.definitions} {as_of}"
    )


def _ask(pipeline: Any, fence: str, values: str) -> Any:
    pipeline.hmget(fence, FENCE_FIELDS)
    pipeline.hmget(values, ("@published_at", *AS_OF_FIELDS))
    return pipeline

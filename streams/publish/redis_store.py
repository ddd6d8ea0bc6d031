"""Current values in Redis: fenced, expiring, and rewritten when Redis lost them.

Redis is a cache that is rebuilt, never the truth. So a failing Redis raises nothing into the caller: an
outcome is returned, a metric counts, one line a minute is logged, and the newest state is sent as soon
as Redis answers again.

Each market is written by one Lua call (``fenced_write.lua``), which refuses a version lower than the
stored one. The fence expires with the data that it guards. Once both are gone (they expired, or Redis
was emptied), an older publisher that wakes up may be accepted for up to a second. This is the known
limit of exactness rule 7; readers keep a high water mark of their own.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from importlib import resources
from typing import Any

import redis.exceptions

from streams import clock
from streams.flow.publication import Publication
from streams.index.panes import rfc3339
from streams.publish.keys import inputs_key, market_keys, markets_key
from streams.publish.metrics import Metrics
from streams.publish.redis_clients import (
    ANSWERS_MAX,
    REDIS_ERRORS,
    async_client,
    close_client,
    drop_connections,
    is_refusal,
    renew,
)
from streams.publish.redis_health import RedisHealth
from streams.publish.redis_state import Call, OwnedMarket, RedisLimits
from streams.publish.redis_urls import Deployment, parse_redis_url

_HERE = resources.files(__package__)
SCRIPT = _HERE.joinpath("fenced_write.lua").read_text(encoding="utf-8")
MAY_WRITE = _HERE.joinpath("may_write.lua").read_text(encoding="utf-8")
ADD_ENTRIES = _HERE.joinpath("add_entries.lua").read_text(encoding="utf-8")

REWRITE_EVERY_MS = 30_000
RETRY_AFTER_MS = 500
CONNECTIONS_KEPT_MS = 30_000
MARKETS_KEPT_MS = 86_400_000
_PROBE = ".probe"
"""Stands for a market in the keys of the probe."""
_LIST = ".markets"
_INPUTS = ".inputs"
_SINK = "redis"


class Outcome(StrEnum):
    """Outcome of a publication or a heartbeat."""

    WRITTEN = "written"
    """Redis holds the publication."""
    REFUSED = "refused"
    """Redis holds a newer version: this publisher is no longer, or not yet, the owner."""
    FAILED = "failed"
    """Redis did not answer in time, or answered with an error. Everything is sent once it answers."""
    DROPPED = "dropped"
    """The market was dropped while the call waited its turn. Nothing was sent."""


class RedisStore:
    """Writes the markets that this worker owns.

    ``timeout_s``: the longest wait for one answer. ``rewrite_every_ms``: how often everything is sent
    although nothing seems missing. For ``retry_after_ms`` after a failure calls fail at once, so that a
    hanging Redis costs the caller one time-out, not one a market. In a Cluster only those of the same
    market fail: other nodes may answer.
    """

    def __init__(
        self,
        url: str,
        metrics: Metrics,
        *,
        prefix: str,
        limits: RedisLimits,
        timeout_s: float,
        rewrite_every_ms: int = REWRITE_EVERY_MS,
        retry_after_ms: int = RETRY_AFTER_MS,
        auth: Mapping[str, str | None] | None = None,
        script: str = SCRIPT,
        monotonic_ms: Callable[[], int] = clock.monotonic_ms,
    ) -> None:
        """``script`` is replaced only by the test that proves the fence by taking it out."""
        self._redis = async_client(url, auth or {}, timeout_s=timeout_s)
        self._clustered = parse_redis_url(url).deployment is Deployment.CLUSTER
        self._metrics = metrics
        self._prefix = prefix
        self._limits = limits
        self._rewrite_every_ms = rewrite_every_ms
        self._call_timeout_s = ANSWERS_MAX * timeout_s
        self._retry_after_ms = retry_after_ms
        self._script = script
        self._sha = hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
        self._monotonic_ms = monotonic_ms
        self._owned: dict[str, _Owned] = {}
        self._not_before_ms: dict[str, int] = {}
        self._renewed_at_ms = monotonic_ms()
        self.health = RedisHealth(monotonic_ms)

    async def publish(self, publication: Publication, now_ms: int) -> Outcome:
        """Write one market's newest state; take the market over first if it was not held.

        ``now_ms`` becomes ``published_at``. A failing Redis never raises here; see ``Outcome``.
        """
        owned = self._owned.get(publication.market)
        if owned is None:
            owned = self._owned[publication.market] = _Owned(
                OwnedMarket(publication.market, self._limits)
            )
        async with owned.lock:
            if not self._holds(owned):
                return Outcome.DROPPED
            if not owned.state.take_publication(publication):
                # Readers in this very process have seen a newer version: refuse even if Redis forgot it.
                return self._refused(owned, None)
            return await self._attempt(owned, now_ms, beat=False)

    async def heartbeat(self, now_ms: int) -> dict[str, Outcome]:
        """Renew every market held whose last call has ended. Call it once a second.

        A market is sent whole if Redis lost its values or a rewrite is due. Calls of this method may
        overlap: a market that waits for its answer keeps none of the others from being renewed.
        """
        owned = [
            each
            for each in self._owned.values()
            if each.state.fence is not None and not each.lock.locked()
        ]
        await self._renew_in_time()
        outcomes = await asyncio.gather(*(self._beat(each, now_ms) for each in owned))
        return {each.state.market: what for each, what in zip(owned, outcomes, strict=True)}

    @property
    def holds_markets(self) -> bool:
        """True when there is something to publish, whose calls show whether Redis takes it."""
        return any(each.state.fence is not None for each in self._owned.values())

    async def probe(self) -> bool:
        """Find out whether this worker may publish; ``health`` has the outcome too.

        It writes to keys of no market, which are gone at once.
        """
        keys = market_keys(_PROBE, self._prefix)
        used = (keys.values, keys.snapshot, keys.changes, keys.history, keys.shifts)
        try:
            async with asyncio.timeout(self._call_timeout_s):
                await self._redis.execute_command("EVAL", MAY_WRITE, len(used), *used)
                await self._redis.pexpire(markets_key(self._prefix), MARKETS_KEPT_MS)
        except REDIS_ERRORS as error:
            await self._failed(_PROBE, error)
            return False
        self.health.worked(_PROBE)
        self.health.forget(_LIST)
        return True

    async def note_inputs(self, fields: Mapping[str, bytes]) -> bool:
        """Write what became of the last records of some source partitions. True when Redis has it."""
        if self._monotonic_ms() < self._not_before_ms.get(self._path(_INPUTS), 0):
            return False
        pairs = [part for pair in fields.items() for part in pair]
        try:
            async with asyncio.timeout(self._call_timeout_s):
                await self._add(inputs_key(self._prefix), "hash", "HSET", *pairs)
        except REDIS_ERRORS as error:
            await self._failed(_INPUTS, error)
            return False
        self.health.worked(_INPUTS)
        return True

    def drop(self, market: str) -> None:
        """Stop writing a revoked ``market``. Its keys pass to the new owner or expire."""
        self._owned.pop(market, None)
        self._not_before_ms.pop(market, None)
        self.health.forget(market)

    async def close(self) -> None:
        """Close the connections. The keys expire by themselves."""
        self._owned.clear()
        await close_client(self._redis)

    def _holds(self, owned: _Owned) -> bool:
        return self._owned.get(owned.state.market) is owned

    async def _beat(self, owned: _Owned, now_ms: int) -> Outcome:
        async with owned.lock:
            if not self._holds(owned):
                return Outcome.DROPPED
            return await self._attempt(owned, now_ms, beat=True)

    async def _attempt(self, owned: _Owned, now_ms: int, *, beat: bool) -> Outcome:
        market = owned.state.market
        if self._monotonic_ms() < self._not_before_ms.get(self._path(market), 0):
            owned.state.forget_acknowledged()
            return self._count(Outcome.FAILED)
        try:
            async with asyncio.timeout(self._call_timeout_s):
                outcome = await self._send(owned, rfc3339(now_ms), beat=beat)
        except REDIS_ERRORS as error:
            # Redis may have done the write before it stopped answering, so build on nothing.
            owned.state.forget_acknowledged()
            if not self._holds(owned):
                return Outcome.DROPPED
            await self._failed(market, error)
            return self._count(Outcome.FAILED)
        if self._holds(owned):
            self.health.worked(market)
            self.health.forget(_PROBE)
        return outcome

    async def _failed(self, what: str, error: Exception) -> None:
        if not is_refusal(error):
            self._not_before_ms[self._path(what)] = self._monotonic_ms() + self._retry_after_ms
        self.health.failed(what, error)
        await renew(self._redis, error)

    def _path(self, market: str) -> str:
        """Name of what a call of this market shares with others: the server, or nothing."""
        return market if self._clustered else ""

    async def _renew_in_time(self) -> None:
        # A master that was cut off, not demoted, takes writes that no reader sees any more.
        if (
            self._monotonic_ms() - self._renewed_at_ms >= CONNECTIONS_KEPT_MS
            and not self._clustered
        ):
            self._renewed_at_ms = self._monotonic_ms()
            await drop_connections(self._redis)

    async def _list(self, market: str) -> None:
        """Put the market into the SET first: readers then see that its values should be there."""
        if self._monotonic_ms() < self._not_before_ms.get(self._path(_LIST), 0):
            return
        # This key belongs to no market, so it has no hash tag and is not among the script's keys. In a
        # Cluster another node may hold it: while that hangs, it must not hold up market after market.
        try:
            await self._add(markets_key(self._prefix), "set", "SADD", market)
        except REDIS_ERRORS as error:
            if not self._clustered and not is_refusal(error):
                raise  # the market's call would fail alike
            await self._failed(_LIST, error)
            self._not_before_ms[_LIST] = self._monotonic_ms() + self._rewrite_every_ms
        else:
            self.health.worked(_LIST)

    async def _add(self, key: str, kind: str, *command: str | bytes) -> None:
        execute: Callable[..., Awaitable[Any]] = self._redis.execute_command
        await execute("EVAL", ADD_ENTRIES, 1, key, kind, MARKETS_KEPT_MS, *command)

    async def _send(self, owned: _Owned, published_at: str, *, beat: bool) -> Outcome:
        state = owned.state
        due = self._monotonic_ms() - owned.rewritten_at_ms >= self._rewrite_every_ms
        whole = due or state.acknowledged is None
        if not whole:
            call = state.beat(published_at) if beat else state.delta(published_at)
            word, found = await self._call(state.market, call)
            if word == b"refused":
                return self._refused(owned, found)
            if word == b"written":
                if not beat:
                    self._written(owned, call)
                return self._count(Outcome.WRITTEN)
            state.forget_acknowledged()  # `rewrite`: emptied, restarted, or another's version
            if not self._holds(owned):
                return Outcome.DROPPED
        await self._list(state.market)
        call = state.full(published_at)
        word, found = await self._call(state.market, call)
        if word == b"rewrite":  # somebody else wrote into a key, so what stood there was cleared
            state.forget_acknowledged()
            if not self._holds(owned):
                return Outcome.DROPPED
            call = state.full(published_at)
            word, found = await self._call(state.market, call)
        if word == b"refused":
            return self._refused(owned, found)
        self._written(owned, call)
        owned.rewritten_at_ms = self._monotonic_ms()
        return self._count(Outcome.WRITTEN)

    async def _call(self, market: str, call: Call) -> tuple[bytes, tuple[str, ...]]:
        keys = market_keys(market, self._prefix)
        arguments = (len(keys), *keys, call.packed, call.snapshot, call.changes)
        execute: Callable[..., Awaitable[Any]] = self._redis.execute_command
        try:
            answer = await execute("EVALSHA", self._sha, *arguments)
        except redis.exceptions.NoScriptError:
            answer = await execute("EVAL", self._script, *arguments)
        word, *found = answer
        return word, tuple(text.decode() for text in found)

    def _written(self, owned: _Owned, call: Call) -> None:
        owned.state.acknowledge(call)
        if self._holds(owned):
            gauge = self._metrics.snapshot_left_out.labels(owned.state.market)
            gauge.set(owned.state.left_out)

    def _refused(self, owned: _Owned, found: tuple[str, ...] | None) -> Outcome:
        owned.state.forget_acknowledged()
        self.health.refused_older(owned.state.market, found)
        self._metrics.publish_refusals.labels(_SINK).inc()
        return Outcome.REFUSED

    def _count(self, outcome: Outcome) -> Outcome:
        if outcome is Outcome.FAILED:
            self._metrics.publish_failures.labels(_SINK).inc()
        return outcome


class _Owned:
    """A market that is held, and the lock that keeps its calls in order."""

    __slots__ = ("lock", "rewritten_at_ms", "state")

    def __init__(self, state: OwnedMarket) -> None:
        self.state = state
        self.lock = asyncio.Lock()
        self.rewritten_at_ms = 0

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
from typing import Any, cast

import redis.exceptions
import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig

from streams import clock
from streams.flow.publication import Publication
from streams.index.panes import rfc3339
from streams.publish.keys import market_keys, markets_key
from streams.publish.metrics import Metrics
from streams.publish.redis_state import Call, OwnedMarket, RedisLimits

SCRIPT = resources.files(__package__).joinpath("fenced_write.lua").read_text(encoding="utf-8")

REWRITE_EVERY_MS = 30_000
CALL_TIMEOUT_S = 1.0
RETRY_AFTER_MS = 500
LOG_EVERY_MS = 60_000
MARKETS_KEPT_MS = 86_400_000
_CONNECTIONS_MAX = 8
_SINK = "redis"

_log = structlog.get_logger(__name__)


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

    ``rewrite_every_ms``: how often everything is sent although nothing seems missing. No call takes
    longer than ``call_timeout_s``. For ``retry_after_ms`` after a failure calls fail at once, so that a
    hanging Redis costs the caller one time-out, not one a market.
    """

    def __init__(
        self,
        url: str,
        metrics: Metrics,
        *,
        prefix: str,
        limits: RedisLimits,
        rewrite_every_ms: int = REWRITE_EVERY_MS,
        call_timeout_s: float = CALL_TIMEOUT_S,
        retry_after_ms: int = RETRY_AFTER_MS,
        auth: Mapping[str, str | None] | None = None,
        script: str = SCRIPT,
        monotonic_ms: Callable[[], int] = clock.monotonic_ms,
    ) -> None:
        """``script`` is replaced only by the test that proves the fence by taking it out."""
        self._redis = _client(url, auth or {}, call_timeout_s)
        self._metrics = metrics
        self._prefix = prefix
        self._limits = limits
        self._rewrite_every_ms = rewrite_every_ms
        self._call_timeout_s = call_timeout_s
        self._retry_after_ms = retry_after_ms
        self._script = script
        self._sha = hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
        self._monotonic_ms = monotonic_ms
        self._owned: dict[str, _Owned] = {}
        self._not_before_ms = 0
        self._complaint = _Complaint(monotonic_ms)

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
        """Renew every market held. Call it once a second.

        A market is sent whole if Redis lost its values or a rewrite is due.
        """
        owned = [each for each in self._owned.values() if each.state.fence is not None]
        outcomes = await asyncio.gather(*(self._beat(each, now_ms) for each in owned))
        return {each.state.market: what for each, what in zip(owned, outcomes, strict=True)}

    def drop(self, market: str) -> None:
        """Stop writing a revoked ``market``. Its keys pass to the new owner or expire."""
        self._owned.pop(market, None)

    async def close(self) -> None:
        """Close the connections. The keys expire by themselves."""
        self._owned.clear()
        await self._redis.aclose()

    def _holds(self, owned: _Owned) -> bool:
        return self._owned.get(owned.state.market) is owned

    async def _beat(self, owned: _Owned, now_ms: int) -> Outcome:
        async with owned.lock:
            if not self._holds(owned):
                return Outcome.DROPPED
            return await self._attempt(owned, now_ms, beat=True)

    async def _attempt(self, owned: _Owned, now_ms: int, *, beat: bool) -> Outcome:
        if self._monotonic_ms() < self._not_before_ms:
            owned.state.forget_acknowledged()
            return self._count(Outcome.FAILED)
        try:
            async with asyncio.timeout(self._call_timeout_s):
                return await self._send(owned, rfc3339(now_ms), beat=beat)
        except (redis.exceptions.RedisError, OSError, TimeoutError) as error:
            # Redis may have done the write before it stopped answering, so build on nothing.
            owned.state.forget_acknowledged()
            self._not_before_ms = self._monotonic_ms() + self._retry_after_ms
            self._complaint.failed(owned.state.market, error)
            return self._count(Outcome.FAILED)

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
        call = state.full(published_at)
        word, found = await self._call(state.market, call)
        if word == b"refused":
            return self._refused(owned, found)
        self._written(owned, call)
        owned.rewritten_at_ms = self._monotonic_ms()
        # This key belongs to no market, so it has no hash tag and is not among the script's keys.
        key = markets_key(self._prefix)
        await cast("Any", self._redis.sadd(key, state.market))
        await self._redis.pexpire(key, MARKETS_KEPT_MS)
        return self._count(Outcome.WRITTEN)

    async def _call(self, market: str, call: Call) -> tuple[bytes, tuple[str, ...]]:
        keys = market_keys(market, self._prefix)
        arguments = (len(keys), *keys, call.packed, call.snapshot, call.changes)
        execute: Callable[..., Awaitable[Any]] = self._redis.execute_command
        try:
            answer = await execute("EVALSHA", self._sha, *arguments)
        except redis.exceptions.NoScriptError:
            answer = await execute("EVAL", self._script, *arguments)
        self._complaint.answered()
        word, *found = answer
        return word, tuple(text.decode() for text in found)

    def _written(self, owned: _Owned, call: Call) -> None:
        owned.state.acknowledge(call)
        if self._holds(owned):
            gauge = self._metrics.snapshot_left_out.labels(owned.state.market)
            gauge.set(owned.state.left_out)

    def _refused(self, owned: _Owned, found: tuple[str, ...] | None) -> Outcome:
        owned.state.forget_acknowledged()
        self._complaint.refused(owned.state.market, found)
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


class _Complaint:
    """Logs one line a minute while Redis fails or refuses, and one line when it answers again."""

    def __init__(self, monotonic_ms: Callable[[], int]) -> None:
        self._monotonic_ms = monotonic_ms
        self._logged_at_ms: dict[str, int] = {}
        self._failures = 0
        self._down_logged = False

    def failed(self, market: str, error: Exception) -> None:
        self._failures += 1
        if self._may_log("failed"):
            self._down_logged = True
            _log.warning(
                "redis_failed",
                market=market,
                error=type(error).__name__,
                detail=str(error),
                failures=self._failures,
                action="folding continues; everything is rewritten when Redis answers",
            )

    def refused(self, market: str, found: tuple[str, ...] | None) -> None:
        if self._may_log("refused"):
            _log.warning("redis_refused_older_version", market=market, found=found)

    def answered(self) -> None:
        if self._down_logged:
            _log.info("redis_answers_again", failures=self._failures)
        self._down_logged = False
        self._failures = 0

    def _may_log(self, what: str) -> bool:
        now_ms = self._monotonic_ms()
        logged_at_ms = self._logged_at_ms.get(what)
        if logged_at_ms is not None and now_ms - logged_at_ms < LOG_EVERY_MS:
            return False
        self._logged_at_ms[what] = now_ms
        return True


def _client(url: str, auth: Mapping[str, str | None], timeout_s: float) -> Redis:
    # One immediate retry for a connection that a restarted server closed. The caller's time-out bounds
    # the whole call either way.
    retry = Retry(NoBackoff(), 1, supported_errors=(redis.exceptions.ConnectionError,))
    pool = BlockingConnectionPool.from_url(
        url,
        **auth,
        max_connections=_CONNECTIONS_MAX,
        timeout=timeout_s,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=retry,
        # These are maintenance notices of a hosted service; other servers answer with an error.
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
    )
    return Redis.from_pool(pool)

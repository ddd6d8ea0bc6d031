"""Reads one market's keys of Redis in one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from streams.console.errors import OperationError
from streams.index.instants import parse_instant
from streams.index.values import Snapshot
from streams.publish.keys import market_keys
from streams.records.unreadable import UnreadableRecord
from streams.settings import Settings

_decode_snapshot = msgspec.json.Decoder(Snapshot).decode


@dataclass(slots=True)
class MarketRedis:
    """One market's keys, read in one transaction."""

    market: str
    keys: Any
    edition: int
    as_of_ms: int
    applied: int
    values: dict[str, str]
    days: dict[str, str]
    snapshot: Snapshot | None
    as_of: dict[str, int]
    """By input topic, in epoch ms."""


class RedisReader:
    """Reads what is published; writes nothing."""

    def __init__(self, settings: Settings) -> None:
        redis = settings.redis
        self._redis = Redis.from_url(
            redis.url,
            username=redis.username,
            password=None if redis.password is None else redis.password.get_secret_value(),
            socket_timeout=10.0,
            socket_connect_timeout=5.0,
        )
        self._prefix = redis.keys_prefix
        self._topics = (settings.topics.orders, settings.topics.payments)
        self._url = redis.url
        self.unreadable: dict[str, list[UnreadableRecord]] = {}
        """By market: what its last read could not decode."""

    async def ping(self) -> None:
        """Raise OperationError when Redis does not answer."""
        try:
            await self._redis.ping()
        except (RedisError, OSError) as error:
            raise OperationError(f"Redis at {self._url} (redis.url): {error}") from error

    async def read(self, market: str) -> MarketRedis | None:
        """Read one market; None when nothing of it can be read. Raises OperationError.

        Content that breaks the contract is then in ``unreadable``.
        """
        keys = market_keys(market, self._prefix)
        self.unreadable.pop(market, None)
        try:
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.hgetall(keys.fence)
                pipe.hgetall(keys.values)
                pipe.hgetall(keys.days)
                pipe.get(keys.snapshot)
                fence, values, days, snapshot = await pipe.execute()
        except (RedisError, OSError) as error:
            raise OperationError(f"Redis at {self._url} (redis.url): {error}") from error
        if not (fence or values or days or snapshot):
            return None
        return self._parse(market, keys, _texts(fence), _texts(values), _texts(days), snapshot)

    def _parse(
        self,
        market: str,
        keys: Any,
        fence: dict[str, str],
        values: dict[str, str],
        days: dict[str, str],
        encoded: bytes | None,
    ) -> MarketRedis | None:
        refused = self.unreadable[market] = []
        try:
            edition, as_of_ms, applied = (
                int(fence[name]) for name in ("edition", "as_of_ms", "applied")
            )
        except (KeyError, ValueError):
            refused.append(
                UnreadableRecord(
                    market, "a fence: edition, as_of_ms, applied", str(fence), keys.fence
                )
            )
            return None
        snapshot: Snapshot | None = None
        try:
            snapshot = _decode_snapshot(encoded or b"")
        except msgspec.DecodeError as error:
            refused.append(UnreadableRecord(market, "a snapshot, JSON", str(error), keys.snapshot))
        as_of = {} if snapshot is None else self._as_of(snapshot)
        return MarketRedis(market, keys, edition, as_of_ms, applied, values, days, snapshot, as_of)

    def _as_of(self, snapshot: Snapshot) -> dict[str, int]:
        found: dict[str, int] = {}
        for topic, index in zip(self._topics, ("orders", "payments"), strict=True):
            for value in snapshot.values:
                if (value.index, value.dimension, value.window) == (index, "market", "1m"):
                    as_of_ms = parse_instant(value.as_of)
                    if as_of_ms is not None:
                        found[topic] = as_of_ms
        return found

    async def close(self) -> None:
        """Close the connection."""
        await self._redis.aclose()


def _texts(fields: dict[bytes, bytes]) -> dict[str, str]:
    return {
        name.decode(errors="replace"): text.decode(errors="replace")
        for name, text in fields.items()
    }

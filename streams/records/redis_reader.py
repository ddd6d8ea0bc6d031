"""Reads one market's keys of Redis, all of one version."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from streams.console.errors import OperationError
from streams.index.formats import json_reader
from streams.index.indices import SOURCES
from streams.index.input_reports import InputNote, notes, read_reports
from streams.index.instants import parse_instant
from streams.index.values import Fence, Snapshot
from streams.publish.hash_texts import hash_texts
from streams.publish.keys import MarketKeys, inputs_key, market_keys, markets_key
from streams.publish.other_records import PublishedOthers, read_others
from streams.publish.redis_clients import (
    REDIS_ERRORS,
    advice,
    async_client,
    close_client,
    in_words,
    is_cluster,
    is_of_another_type,
    is_replica,
)
from streams.records.redis_records import refused
from streams.records.unreadable import UnreadableRecord
from streams.settings import Settings

CHANGES_READ = 120
"""Newest entries of a market's stream of changes that are checked: as many as are kept."""
READS_MAX = 20
"""A market is written a few times a second, and read in milliseconds."""
_decode_snapshot = json_reader(Snapshot)


@dataclass(slots=True)
class MarketRedis:
    """One market's keys, all of one version."""

    market: str
    keys: Any
    version: Fence
    values: dict[str, str]
    days: dict[str, str]
    snapshot: Snapshot | None
    as_of: dict[str, int]
    """By input topic, in epoch ms; those that ``@as_of:SOURCE`` names."""
    others: list[PublishedOthers] = field(default_factory=list)
    """What `other` is made of, the newest local day first."""


class RedisReader:
    """Reads what is published; writes nothing."""

    def __init__(self, settings: Settings) -> None:
        redis = settings.redis
        self._redis = async_client(redis.url, redis.auth_options(), timeout_s=redis.timeout_s)
        self._prefix = redis.keys_prefix
        self._topics = (settings.topics.orders, settings.topics.payments)
        self._url = redis.url
        self.unreadable: dict[str, list[UnreadableRecord]] = {}
        """By market: what its last read could not decode."""

    @property
    def has_nodes(self) -> bool:
        """Whether it is a Cluster: what one of its nodes has may be read while another one is away."""
        return is_cluster(self._redis)

    async def ping(self) -> None:
        """Raise OperationError when Redis does not answer."""
        try:
            # PING would ask one node of a Cluster; a reader may have no right to it either.
            await self._redis.exists(markets_key(self._prefix))
        except REDIS_ERRORS as error:
            raise self._failed(error) from error

    async def is_replica(self) -> bool:
        """Whether this Redis is a replica, which takes no writes. Raises OperationError."""
        try:
            return await is_replica(self._redis)
        except REDIS_ERRORS as error:
            raise self._failed(error) from error

    async def input_notes(self) -> list[InputNote]:
        """What does not count of the inputs. Raises OperationError."""
        try:
            return notes(read_reports(await self._redis.hgetall(inputs_key(self._prefix))))
        except REDIS_ERRORS as error:
            if is_of_another_type(error):
                return []  # `refused_of_all` says so
            raise self._failed(error) from error

    async def refused(self, market: str) -> list[UnreadableRecord]:
        """Return what the market's keys hold against the contract. Raises OperationError."""
        keys = market_keys(market, self._prefix)
        pipe = self._redis.pipeline(transaction=False)
        pipe.hgetall(keys.fence)
        pipe.hgetall(keys.values)
        pipe.get(keys.snapshot)
        pipe.xrevrange(keys.changes, count=CHANGES_READ)
        pipe.zrange(keys.history, 0, -1)
        pipe.hgetall(keys.days)
        pipe.hgetall(keys.shifts)
        pipe.hgetall(keys.suspicions)
        pipe.hgetall(keys.incidents)
        pipe.hgetall(keys.others)
        try:
            contents = await pipe.execute(raise_on_error=False)
        except REDIS_ERRORS as error:
            raise self._failed(error) from error
        for content in contents:
            if isinstance(content, Exception) and not is_of_another_type(content):
                raise self._failed(content) from content
        pairs = zip(keys, contents, strict=True)
        return [each for key, content in pairs for each in refused(key, content)]

    async def refused_of_all(self) -> list[UnreadableRecord]:
        """Return what the keys of no market hold against the contract. Raises OperationError."""
        keys = inputs_key(self._prefix), markets_key(self._prefix)
        found = []
        for key, read in zip(keys, (self._redis.hgetall, self._redis.smembers), strict=True):
            try:
                content = await read(key)
            except REDIS_ERRORS as error:
                if not is_of_another_type(error):
                    raise self._failed(error) from error
                content = error
            found += refused(key, content)
        return found

    async def read(self, market: str) -> MarketRedis | None:
        """Read one market; None when nothing of it can be read. Raises OperationError.

        Content that breaks the contract is then in ``unreadable``.
        """
        keys = market_keys(market, self._prefix)
        self.unreadable.pop(market, None)
        try:
            fence, values, days, snapshot, others = await self._read_of_one_version(keys)
        except REDIS_ERRORS as error:
            if is_of_another_type(error):
                self.unreadable[market] = refused(keys.fence, error)
                return None
            raise self._failed(error) from error
        if not (fence or values or days or snapshot):
            return None
        found = self._parse(
            market, keys, hash_texts(fence), hash_texts(values), hash_texts(days), snapshot
        )
        if found is not None:
            found.others = read_others(hash_texts(others))
        return found

    async def _read_of_one_version(self, keys: MarketKeys) -> tuple[Any, Any, Any, Any, Any]:
        """Read until the fence is the same before and after: a reader may have no right to MULTI."""
        for _ in range(READS_MAX):
            pipe = self._redis.pipeline(transaction=False)
            pipe.hgetall(keys.fence)
            pipe.hgetall(keys.values)
            pipe.hgetall(keys.days)
            pipe.get(keys.snapshot)
            pipe.hgetall(keys.others)
            pipe.hgetall(keys.fence)
            before, values, days, snapshot, others, fence = await pipe.execute()
            if before == fence:
                break
        return fence, values, days, snapshot, others

    def _failed(self, error: Exception) -> OperationError:
        hint = advice(error)
        text = f"Redis at {self._url} (redis.url): {in_words(error)}{'; ' if hint else ''}{hint}"
        return OperationError(text)

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
            version = Fence(
                int(fence["edition"]),
                int(fence.get("generation", "0")),
                int(fence.get("definitions", "0")),
                int(fence["as_of_ms"]),
                int(fence["applied"]),
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
        return MarketRedis(market, keys, version, values, days, snapshot, self._as_of(values))

    def _as_of(self, values: dict[str, str]) -> dict[str, int]:
        found: dict[str, int] = {}
        for topic, source in zip(self._topics, SOURCES, strict=True):
            as_of_ms = parse_instant(values.get(f"@as_of:{source}", ""))
            if as_of_ms is not None:
                found[topic] = as_of_ms
        return found

    async def close(self) -> None:
        """Close the connection."""
        await close_client(self._redis)

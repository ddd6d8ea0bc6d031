"""How a market is at this moment, as Redis holds it: its shifts, its orders, and how old they are.

An alert says how it was when it began to fire. A reader at night asks whether it is still so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from streams import clock
from streams.index.formats import json_reader
from streams.index.instants import parse_instant
from streams.index.values import Snapshot
from streams.publish.hash_texts import hash_texts
from streams.publish.incident_records import PublishedIncident, read_incidents
from streams.publish.keys import market_keys
from streams.publish.redis_clients import REDIS_ERRORS, async_client, close_client, in_words, renew
from streams.publish.suspicion_records import PublishedSuspicion, read_suspicions
from streams.settings import RedisSettings

READ_S = 2.0
"""A message does not wait longer for what it can do without."""
COUNTED = ("orders", "payments")
"""Indexes that say how much there is of a series, the first one that is there."""
WINDOWS = ("1m", "5m")

Series = tuple[str, str]
"""(dimension, member) within a market."""


class ShiftNow(msgspec.Struct, frozen=True):
    """An active shift: a field of the HASH ``:shifts`` (docs/contract.md#a-shift)."""

    direction: str
    start: str
    ratio: float
    lower: float | None = None
    upper: float | None = None
    observed: float | None = None
    expected: float | None = None
    evidence: float | None = None


class CountNow(NamedTuple):
    """What a series has in a window. ``expected`` is None where no expectation is known."""

    counted: str
    """The index: orders, payments."""
    value: float
    expected: float | None


class MarketNow(msgspec.Struct, frozen=True):
    """One market as it was read. ``unknown``: why nothing is known; '' where something is."""

    as_of_ms: int = 0
    shifts: dict[Series, ShiftNow] = {}
    counts: dict[tuple[Series, str], CountNow] = {}
    """By series and window."""
    incidents: list[PublishedIncident] = []
    """Open ones first."""
    suspicions: list[PublishedSuspicion] = []
    unknown: str = ""


_decode_shift = json_reader(ShiftNow)
_decode_snapshot = json_reader(Snapshot)


class MarketNowReader:
    """Reads markets from Redis with the rights of a reader."""

    def __init__(self, settings: RedisSettings, now_ms: Callable[[], int] = clock.now_ms) -> None:
        self._redis = async_client(settings.url, settings.auth_options(), timeout_s=READ_S)
        self._prefix = settings.keys_prefix
        self._now_ms = now_ms

    async def read(self, market: str) -> MarketNow:
        """Read a market within READ_S. Never raises for Redis: the answer says what is not known."""
        keys = market_keys(market, self._prefix)
        try:
            async with asyncio.timeout(READ_S):
                snapshot = await self._redis.get(keys.snapshot)
                shifts = await self._redis.hgetall(keys.shifts)
                incidents = await self._redis.hgetall(keys.incidents)
                suspicions = await self._redis.hgetall(keys.suspicions)
        except REDIS_ERRORS as error:
            await renew(self._redis, error)
            return MarketNow(unknown=f"Redis does not answer ({in_words(error)})")
        except TimeoutError:
            return MarketNow(unknown=f"Redis has not answered within {READ_S:.0f} s")
        if snapshot is None:
            return MarketNow(unknown="nothing is published of the market")
        try:
            return market_now(snapshot, shifts, incidents, suspicions)
        except msgspec.DecodeError as error:
            return MarketNow(unknown=f"what Redis holds is not what is published ({error})")

    async def close(self) -> None:
        """Close the connections."""
        await close_client(self._redis)


def market_now(
    snapshot: bytes,
    shifts: dict[bytes, bytes],
    incidents: dict[bytes, bytes],
    suspicions: dict[bytes, bytes],
) -> MarketNow:
    """Put together what Redis holds of a market. Raises msgspec.DecodeError.

    A shift or an incident of a shape that is not known is left out: the others count.
    """
    decoded = _decode_snapshot(snapshot)
    counts: dict[tuple[Series, str], CountNow] = {}
    for value in decoded.values:
        if value.index in COUNTED and value.window in WINDOWS and value.value is not None:
            key = ((value.dimension, value.member), value.window)
            known = counts.get(key)
            if known is None or COUNTED.index(value.index) < COUNTED.index(known.counted):
                counts[key] = CountNow(value.index, float(value.value), value.expected)
    found: dict[Series, ShiftNow] = {}
    for field, text in hash_texts(shifts).items():
        dimension, _, member = field.partition(":")
        try:
            found[dimension, member] = _decode_shift(text)
        except msgspec.DecodeError:
            continue
    published = read_incidents(hash_texts(incidents))
    suspected = read_suspicions(hash_texts(suspicions))
    return MarketNow(parse_instant(decoded.as_of) or 0, found, counts, published, suspected)

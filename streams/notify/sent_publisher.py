"""Writes into Redis when people were told of which incident, for the page and the commands.

Redis is a cache: everything is written again each ``WRITTEN_EVERY_S``, so what was emptied is filled. A
Redis that takes nothing keeps nobody from being told.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Iterable
from typing import Any

import structlog

from streams.index.answer_records import AnswerError, market_of
from streams.notify.sent_store import OpenIncident, SentStore
from streams.publish.keys import sent_key
from streams.publish.redis_clients import (
    REDIS_ERRORS,
    advice,
    async_client,
    close_client,
    in_words,
    renew,
)
from streams.publish.sent_records import SENT_KEPT_MS, SENT_MAX, sent_text
from streams.settings import RedisSettings

WRITTEN_EVERY_S = 20.0
WRITE_S = 5.0
"""A Redis that hangs is given up after this time, until the next one."""

_log = structlog.get_logger(__name__)


class SentPublisher:
    """Writes what a store has sent. ``markets``: those of the methodology; other names are no keys."""

    def __init__(self, settings: RedisSettings, store: SentStore, markets: Collection[str]) -> None:
        self._redis = async_client(
            settings.url, settings.auth_options(), timeout_s=settings.timeout_s
        )
        self._prefix = settings.keys_prefix
        self._store = store
        self._markets = markets
        self._failed = ""

    async def run(self, stopped: asyncio.Event) -> None:
        """Write when something was sent, and again and again, until ``stopped`` is set."""
        while not stopped.is_set():
            self._store.changed.clear()
            writing = asyncio.create_task(self.write())
            await asyncio.wait({writing})
            if (error := writing.exception()) is not None:
                _log.error(
                    "sent_not_published", exc_info=error
                )  # it must not end what tells people
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._store.changed.wait(), WRITTEN_EVERY_S)

    async def write(self) -> None:
        """Write everything once. A failure of Redis is logged when it begins."""
        try:
            async with asyncio.timeout(WRITE_S):
                for market, fields in self._fields(self._store.incidents()).items():
                    await self._write(market, fields)
        except REDIS_ERRORS as error:
            await renew(self._redis, error)
            self._say("; ".join(filter(None, (in_words(error), advice(error)))))
        except TimeoutError:
            self._say(f"Redis has not answered within {WRITE_S:.0f} s")
        else:
            self._failed = ""

    async def close(self) -> None:
        """Close the connections."""
        await close_client(self._redis)

    def _fields(self, incidents: Iterable[OpenIncident]) -> dict[str, dict[str, str]]:
        """Fields by market. What is no incident of a market (the service, a threshold) has none."""
        found: dict[str, dict[str, str]] = {}
        for incident in incidents:
            first_ms = incident.first_sent()
            with contextlib.suppress(AnswerError):
                market = market_of(incident.name)
                if first_ms and market in self._markets:
                    found.setdefault(market, {})[incident.name] = sent_text(first_ms, incident.led)
        return found

    async def _write(self, market: str, fields: dict[str, str]) -> None:
        key = sent_key(market, self._prefix)
        # By name, the incidents of a market are in the order in which they were found.
        newest = dict(sorted(fields.items())[-SENT_MAX:])
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.hset(key, mapping=newest)
        pipeline.pexpire(key, SENT_KEPT_MS)
        pipeline.hkeys(key)
        answers: list[Any] = await pipeline.execute()
        if old := sorted(answers[-1])[:-SENT_MAX]:
            await self._redis.hdel(key, *old)

    def _say(self, why: str) -> None:
        if why != self._failed:
            _log.warning("sent_not_published", detail=why)
        self._failed = why

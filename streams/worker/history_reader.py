"""Reads ``ecindex.history`` from its beginning and follows it: seeds, and what an operator declares.

Every worker reads the whole topic with a consumer of its own, in no group: the topic is small, every
owner of a market needs its part, and a rebalance changes nothing about it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

if TYPE_CHECKING:
    from streams.flow.history_book import HistoryBook
    from streams.settings import Settings

_POLL_MS = 500
_RETRY_S = 1.0

_log = structlog.get_logger(__name__)


class HistoryReader:
    """Keeps one process' book of the topic's records."""

    def __init__(self, settings: Settings, book: HistoryBook) -> None:
        self.book = book
        self.ready = False
        """True once everything is applied that the topic held when this process began to read."""
        self._settings = settings

    async def run(self) -> None:
        """Read until cancelled. After an error read from the beginning again: repeats are harmless."""
        while True:
            try:
                await self._read()
            except KafkaError as error:
                topic = self._settings.topics.history
                _log.warning("history_unread", topic=topic, error=repr(error), retry_s=_RETRY_S)
                await asyncio.sleep(_RETRY_S)

    async def _read(self) -> None:
        topic = self._settings.topics.history
        consumer = AIOKafkaConsumer(
            topic,
            **self._settings.kafka.client_options(),
            enable_auto_commit=False,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
        )
        try:
            await consumer.start()
            ends = await consumer.end_offsets(sorted(consumer.assignment()))
            while True:
                found = await consumer.getmany(timeout_ms=_POLL_MS)
                for record in (each for records in found.values() for each in records):
                    self.book.apply_record(record.key, record.value)
                for reason in self.book.take_refused():
                    _log.warning("history_record_refused", topic=topic, reason=reason)
                if not self.ready:
                    positions = [await consumer.position(tp) >= end for tp, end in ends.items()]
                    self.ready = all(positions)
        finally:
            await consumer.stop()

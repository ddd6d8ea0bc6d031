"""Reads ``ecindex.history`` from its beginning and follows it: seeds, and what an operator declares.

Every worker reads the whole topic with a consumer of its own, in no group: the topic is small, every
owner of a market needs its part, and a rebalance changes nothing about it.

A topic that was deleted and created again is read from its beginning. A consumer goes by the name: it
waited at the old log's end, and what was declared in the new one was never heard. What the old log held
stays in force until the worker ends.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from streams.worker.broken_connections import reopen_broken
from streams.worker.topic_ids import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from streams.flow.history_book import HistoryBook
    from streams.settings import Settings

_POLL_MS = 500
_RETRY_S = 1.0
_KEY_CHARACTERS = 200

_log = structlog.get_logger(__name__)


class HistoryReader:
    """Keeps one process' book of the topic's records."""

    def __init__(
        self,
        settings: Settings,
        book: HistoryBook,
        topic_id: Callable[[], str],
        ask_id: Callable[[], Awaitable[str]],
    ) -> None:
        """``topic_id``: its id as it was last seen, UNKNOWN before. ``ask_id`` asks the broker."""
        self.book = book
        self.ready = False
        """True once everything is applied that the topic held when this process began to read."""
        self._settings = settings
        self._topic_id = topic_id
        self._ask_id = ask_id

    async def run(self) -> None:
        """Read until cancelled. After an error read from the beginning again: repeats are harmless."""
        while True:
            try:
                await self._read()
            except KafkaError as error:
                topic = self._settings.topics.history
                _log.warning("history_unread", topic=topic, error=repr(error), retry_s=_RETRY_S)
                await asyncio.sleep(_RETRY_S)

    def apply_record(self, record: Any) -> None:
        """Apply a record; log one that is refused, with its place. It is passed over."""
        self.book.apply_record(record.key, record.value)
        for reason in self.book.take_refused():
            _log.warning(
                "history_record_refused",
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
                key=(record.key or b"").decode(errors="replace")[:_KEY_CHARACTERS],
                reason=reason,
                action="run `ecindex doctor`, which says what to do about it",
            )

    async def _read(self) -> None:
        topic = self._settings.topics.history
        # Asked before the log is opened: what is opened is of this id, or of a newer one. A worker that
        # opened it before it knew the id read it twice.
        read_id = self._topic_id() or await self._ask_id()
        consumer = AIOKafkaConsumer(
            topic,
            **self._settings.kafka.client_options(),
            enable_auto_commit=False,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
        )
        reopen_broken(consumer._client)
        try:
            await consumer.start()
            ends = await consumer.end_offsets(sorted(consumer.assignment()))
            while self._topic_id() in (read_id, UNKNOWN):
                found = await consumer.getmany(timeout_ms=_POLL_MS)
                for record in (each for records in found.values() for each in records):
                    self.apply_record(record)
                if not self.ready:
                    positions = [await consumer.position(tp) >= end for tp, end in ends.items()]
                    self.ready = all(positions)
            if read_id != UNKNOWN:
                _log.warning("history_read_anew", topic=topic, topic_id=self._topic_id())
        finally:
            await consumer.stop()

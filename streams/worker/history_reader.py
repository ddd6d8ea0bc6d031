"""Reads ``ecindex.history``, ``ecindex.answers`` and ``ecindex.definitions`` and follows them.

They hold seeds, what an operator declares, what operators said of incidents, and documents of
definitions. Every worker reads all of them from their beginnings with one consumer of its own, in no
group: the topics are small, every owner of a market needs its part, and a rebalance changes nothing
about them.

After an error of the broker they are read anew, beside the book that is in use, and take its place when
they were read to their ends.

A topic that was deleted and created again is read from its beginning. A consumer goes by the name: it
waited at the old log's end, and what was declared in the new one was never heard. What the old log held
stays in force until the worker ends. Definitions of the new log do not count: their versions begin anew.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from streams.flow.history_book import HistoryBook
from streams.worker.broken_connections import reopen_broken
from streams.worker.topic_ids import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from streams.flow.answer_book import AnswerBook
    from streams.flow.definitions_book import DefinitionsBook
    from streams.settings import Settings

_POLL_MS = 500
_RETRY_S = 1.0
_KEY_CHARACTERS = 200

_log = structlog.get_logger(__name__)


class HistoryReader:
    """Keeps one process' book of the topics' records."""

    def __init__(
        self,
        settings: Settings,
        book: HistoryBook,
        topic_id: Callable[[str], str],
        ask_id: Callable[[str], Awaitable[str]],
    ) -> None:
        """``topic_id``: a topic's id as it was last seen, UNKNOWN before. ``ask_id`` asks the broker."""
        self.book = book
        self.ready = False
        """True once everything is applied that the topics held when this process began to read."""
        self._was_read = asyncio.Event()
        self._settings = settings
        self._topic_id = topic_id
        self._ask_id = ask_id
        self._ids: dict[str, str] | None = None
        """Ids of the topics that were read first."""

    @property
    def _topics(self) -> tuple[str, str, str]:
        topics = self._settings.topics
        return topics.history, topics.answers, topics.definitions

    async def read_within(self, seconds: float) -> None:
        """Return once the topics were read, or that time is over."""
        try:
            async with asyncio.timeout(seconds):
                await self._was_read.wait()
        except TimeoutError:
            _log.warning("history_unread", topics=self._topics, waited_s=seconds)

    async def run(self) -> None:
        """Read until cancelled; after an error, from the beginning again."""
        while True:
            try:
                await self._read()
            except KafkaError as error:
                _log.warning(
                    "history_unread", topics=self._topics, error=repr(error), retry_s=_RETRY_S
                )
                await asyncio.sleep(_RETRY_S)

    def apply_record(self, record: Any, book: HistoryBook | None = None) -> None:
        """Apply a record to a book, by default to the one in use.

        One that is refused is logged with its place, and passed over.
        """
        book = self.book if book is None else book
        refusing: HistoryBook | AnswerBook | DefinitionsBook = book
        if record.topic == self._settings.topics.answers:
            refusing = book.answers
            book.answers.apply_record(record.key, record.value, record.timestamp)
        elif record.topic == self._settings.topics.definitions:
            refusing = book.definitions
            if record.partition == 0:  # nobody writes to others
                book.definitions.apply_record(
                    record.key, record.value, record.offset, record.timestamp
                )
        else:
            book.apply_record(record.key, record.value)
        for reason in refusing.take_refused():
            _log.warning(
                "history_record_refused",
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
                key=(record.key or b"").decode(errors="replace")[:_KEY_CHARACTERS],
                reason=reason,
                action="run `ecindex doctor`, which says what to do about it",
            )

    def _book_for(self, topic_ids: dict[str, str]) -> HistoryBook:
        """Return the book to read into: a fresh one when the same topics are read again.

        What a topic held that is gone stays in force, so those read since are applied on top of it.
        """
        first, self._ids = self._ids, self._ids or topic_ids
        again = self.ready and topic_ids == first and UNKNOWN not in topic_ids.values()
        if not again:
            return self.book
        book = HistoryBook(self.book.markets)
        book.definitions.bind(self.book.definitions.topic_id)
        return book

    def _use(self, book: HistoryBook) -> HistoryBook:
        """Use what was read to the end; return the book that goes on."""
        if book is not self.book:
            self.book.replace_by(book)
        self.ready = True
        self._was_read.set()
        return self.book

    async def _read(self) -> None:
        # Asked before the log is opened: what is opened is of this id, or of a newer one. A worker that
        # opened it before it knew the id read it twice.
        read = {topic: self._topic_id(topic) or await self._ask_id(topic) for topic in self._topics}
        book = self._book_for(read)
        book.definitions.bind(read[self._settings.topics.definitions])
        consumer = AIOKafkaConsumer(
            *self._topics,
            **self._settings.kafka.client_options(),
            enable_auto_commit=False,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
        )
        reopen_broken(consumer._client)
        try:
            await consumer.start()
            ends = await consumer.end_offsets(sorted(consumer.assignment()))
            while all(self._topic_id(topic) in (read[topic], UNKNOWN) for topic in read):
                found = await consumer.getmany(timeout_ms=_POLL_MS)
                for record in (each for records in found.values() for each in records):
                    self.apply_record(record, book)
                if not self.ready or book is not self.book:
                    positions = [await consumer.position(tp) >= end for tp, end in ends.items()]
                    if all(positions):
                        book = self._use(book)
            for topic, read_id in read.items():
                if UNKNOWN != read_id != (topic_id := self._topic_id(topic)) != UNKNOWN:
                    _log.warning("history_read_anew", topic=topic, topic_id=topic_id)
        finally:
            await consumer.stop()

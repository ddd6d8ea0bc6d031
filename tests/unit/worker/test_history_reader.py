"""Which book the reader of the history reads into: the one in use, or one aside."""

from __future__ import annotations

import asyncio

from streams.flow.history_book import HistoryBook
from streams.settings import Settings
from streams.worker.history_reader import HistoryReader
from streams.worker.topic_ids import UNKNOWN


def reader() -> HistoryReader:
    return HistoryReader(Settings(), HistoryBook(["PK"]), lambda _: UNKNOWN, None)


def test_topics_that_are_read_again_are_read_aside():
    reading, ids = reader(), {"history": "a", "answers": "b"}
    assert reading._book_for(ids) is reading.book
    assert reading._book_for(ids) is reading.book, "nothing of it is in use yet"
    reading.ready = True
    assert reading._book_for(ids) is not reading.book


def test_what_a_topic_held_that_is_gone_stays_in_force():
    reading = reader()
    reading._book_for({"history": "a", "answers": "b"})
    reading.ready = True
    again = {"history": "new", "answers": "b"}
    assert reading._book_for(again) is reading.book
    assert reading._book_for(again) is reading.book


def test_topics_without_an_id_may_be_others():
    reading, ids = reader(), {"history": UNKNOWN, "answers": "b"}
    reading._book_for(ids)
    reading.ready = True
    assert reading._book_for(ids) is reading.book


async def test_who_waits_for_the_topics_waits_until_they_were_read_or_the_time_is_over():
    reading = reader()
    await reading.read_within(0.01)
    assert not reading.ready
    waiting = asyncio.create_task(reading.read_within(60))
    await asyncio.sleep(0)
    reading._use(reading.book)
    await asyncio.wait_for(waiting, 5)
    assert reading.ready

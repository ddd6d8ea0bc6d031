"""Answers to incidents on a real Kafka: kept in their topic, heard by who runs, read by who starts."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import aiohttp
import pytest
from aiokafka.errors import KafkaConnectionError
from redis.asyncio import Redis
from support.boards import board_of
from support.installation import Installation
from support.kafka import read_all
from support.publications import incident, incident_shift

from streams.clock import now_ms
from streams.console.errors import OperationError
from streams.flow.history_book import HistoryBook
from streams.flow.market_answers import AnsweredShifts, GivenAnswers
from streams.index.answer_records import answer_record, decode_answer
from streams.index.incidents import note_worse
from streams.index.instants import in_zone
from streams.index.operator_answers import ACKNOWLEDGED, EXPECTED, FALSE_ALARM, NOTE, Answer
from streams.index.page_budget import PageCount
from streams.index.panes import HOUR_MS, MINUTE_MS, rfc3339
from streams.operate.answering import answer_command, sending
from streams.operate.shift_list import lines, list_shifts
from streams.publish.answer_requests import EXPECTED_FOR_MS, AnswerRequest
from streams.publish.incident_records import incident_fields, published_incident
from streams.publish.keys import market_keys
from streams.publish.page_records import PAGES_FIELD, pages_text
from streams.records.altering_topics import alter_topic
from streams.records.kafka_topics import connected
from streams.worker.history_reader import HistoryReader
from streams.worker.topic_ids import UNKNOWN, id_of

pytestmark = pytest.mark.stack

TOKEN = "a-token-of-twenty-characters"
MAY = {"Authorization": f"Bearer {TOKEN}"}
JUMP = "PK-20261124T0512-up"


@pytest.fixture
async def made(stack, unique, tmp_path):
    found = Installation(stack, unique("answers"), tmp_path, inputs=1, arrival="broker", partials=1)
    await found.create_topics()
    return found


async def read(made, admin, until):
    """Read both topics as a worker does until the book is as wanted; return it."""
    reader = HistoryReader(
        made.settings,
        HistoryBook(["PK"]),
        lambda _: UNKNOWN,
        lambda topic: id_of(admin._send_request, topic),
    )
    reading = asyncio.create_task(reader.run())
    await made.until(lambda: asyncio.sleep(0, reader.ready and until(reader.book.markets["PK"])))
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    return reader.book.markets["PK"]


async def test_who_starts_later_knows_what_was_answered_and_taken_back(made):
    async with connected(made.settings.kafka) as admin, made.producer() as producer:

        async def send(answer):
            key, value = answer_record(answer)
            stored = await producer.send_and_wait(made.settings.topics.answers, value, key=key)
            return answer._replace(at_ms=stored.timestamp)

        said = Answer(JUMP, FALSE_ALARM, "aisha", now_ms())
        said = await send(said)
        heard = await read(made, admin, lambda market: market.answers.version == 1)
        assert heard.answers.verdict(JUMP) == said
        await send(said._replace(at_ms=said.at_ms + 1, taken_back=True))
        heard = await read(made, admin, lambda market: market.answers.version == 2)
        assert heard.answers.verdict(JUMP) is None


async def test_an_acknowledgement_is_of_what_was_known_when_the_broker_has_stored_it(made):
    async with connected(made.settings.kafka) as admin, made.producer() as producer:
        at_ms = now_ms()
        books = incident_shift("category", "books", at_ms=at_ms - HOUR_MS)
        total = incident_shift("market", "all", at_ms=at_ms + HOUR_MS)
        known = incident(books)
        key, value = answer_record(Answer(known.id, ACKNOWLEDGED, "aisha", at_ms - HOUR_MS))
        stored = await producer.send_and_wait(made.settings.topics.answers, value, key=key)
        heard = await read(made, admin, lambda market: market.answers.version == 1)
    incidents = SimpleNamespace(kept=[known], shown=lambda: [known])
    detected = SimpleNamespace(kept=[], incidents=incidents, statuses=list)
    shifts = AnsweredShifts(heard.answers, detected)
    given = shifts.given(at_ms)[known.id]
    assert (given.acknowledged.at_ms, given.acknowledged_before) == (stored.timestamp, None)
    known.shifts.append(total)
    assert note_worse(known, [], frozenset())
    shown = published_incident(known, shifts.given(at_ms)[known.id])
    assert (shown.acknowledged, shown.acknowledged_before.by) == (None, "aisha")
    assert shown.worsened == rfc3339(total.found_ms)


class Failing(HistoryReader):
    """Loses its broker at a record when it is told to; notes the verdict in use after each record."""

    fails = False

    def __init__(self, *parts):
        super().__init__(*parts)
        self.seen = []

    def apply_record(self, record, book=None):
        super().apply_record(record, book)
        self.seen.append(self.book.markets["PK"].answers.verdict(JUMP))
        if self.fails:
            self.fails = False
            raise KafkaConnectionError


async def test_what_was_taken_back_is_not_in_force_again_while_a_worker_reads_anew(made):
    async with connected(made.settings.kafka) as admin, made.producer() as producer:

        async def send(answer):
            key, value = answer_record(answer)
            stored = await producer.send_and_wait(made.settings.topics.answers, value, key=key)
            return answer._replace(at_ms=stored.timestamp)

        reader = Failing(
            made.settings,
            HistoryBook(["PK"]),
            lambda _: UNKNOWN,
            lambda topic: id_of(admin._send_request, topic),
        )
        said = Answer(JUMP, FALSE_ALARM, "aisha", now_ms())
        undo, noted = said._replace(taken_back=True), said._replace(kind=NOTE, text="call them")
        given = await send(said)
        for number, answer in enumerate((undo, noted), 1):
            await send(answer._replace(at_ms=said.at_ms + number))
        reading = asyncio.create_task(reader.run())
        await made.until(lambda: asyncio.sleep(0, reader.ready))
        assert reader.seen == [given, None, None]
        reader.fails = True
        await send(noted._replace(at_ms=said.at_ms + 3, text="they know"))
        await made.until(lambda: asyncio.sleep(0, len(reader.seen) == 3 + 1 + 4))
        given = await send(said._replace(at_ms=said.at_ms + 4))
        await made.until(lambda: asyncio.sleep(0, reader.seen[-1] is not None))
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    answers = reader.book.markets["PK"].answers
    assert reader.seen[3:-1] == [None] * 5
    assert [note.text for note in answers.incidents[JUMP].notes] == ["call them", "they know"]
    assert answers.verdict(JUMP) == given


async def test_a_command_answers_an_incident_that_redis_holds(made):
    settings, stop = made.settings, incident()
    keys = market_keys("PK", settings.redis.keys_prefix)
    noted = Answer(stop.id, "note", "aisha", stop.found_ms, text="call\x1b[2J them")
    given = {stop.id: GivenAnswers(None, None, (noted,), None)}
    month = PageCount(30, 30.0, 4, 1, 2, 1, 0.42, 0.24, 8.77)
    async with Redis.from_url(made.stack.redis_url) as redis:
        await redis.hset(keys.incidents, mapping=incident_fields([stop], given))
        await redis.hset(keys.values, PAGES_FIELD, pages_text([month]))
    assert lines(list_shifts(settings, ["PK", "BD"])) == [
        "PK: 30 days: 4 pages: 1 confirmed, 2 false, 1 open; false allowed 0.4, likely 0.2 to 8.8",
        (
            "  PK-20231114T2207-down  open drop of all, 2023-11-14T22:03Z to now, "
            "0.4 % of usual (0.3 to 0.6)"
        ),
        "    note (aisha, 2023-11-14T22:07Z): call\ufffd[2J them",
        "BD: not watched",
    ]
    with pytest.raises(OperationError, match="it has BD"):
        list_shifts(settings, ["XX"])
    given, effect = await answer_command(settings, AnswerRequest(stop.id, "expected"), "aisha")
    until = in_zone(rfc3339(given.until_ms), "Asia/Karachi", "minutes")
    assert effect[0] == f"until {until}, factor 0.004 of all"
    assert given.until_ms - given.at_ms == pytest.approx(EXPECTED_FOR_MS, abs=MINUTE_MS)
    (record,) = await read_all(made.stack.bootstrap, settings.topics.answers)
    assert decode_answer(record.key, record.value, record.timestamp) == ("PK", given)
    with pytest.raises(OperationError, match=f"the last ones: {stop.id}"):
        await answer_command(settings, AnswerRequest(JUMP, "note", text="hm"), "aisha")
    with pytest.raises(OperationError, match="MARKET-YYYYMMDDTHHMM"):
        await answer_command(settings, AnswerRequest("PK", "note"), "aisha")


async def test_no_clock_of_who_answers_decides_and_what_does_nothing_is_no_success(
    made, monkeypatch
):
    """Ten minutes fast it was stored and refused by all workers, and said to be done."""
    settings, stop = made.settings, incident()
    keys = market_keys("PK", settings.redis.keys_prefix)
    async with Redis.from_url(made.stack.redis_url) as redis:
        await redis.hset(keys.incidents, mapping=incident_fields([stop], {}))

    async def answered_by(off_ms, kind, until_ms=None):
        monkeypatch.setattr("streams.operate.answering.now_ms", lambda: now_ms() + off_ms)
        until = "" if until_ms is None else rfc3339(now_ms() + until_ms)
        return await answer_command(settings, AnswerRequest(stop.id, kind, until=until), "aisha")

    for off_ms, side in ((10 * MINUTE_MS, "ahead of"), (-10 * MINUTE_MS, "behind")):
        before_ms = now_ms()
        given, effect = await answered_by(off_ms, FALSE_ALARM)
        assert before_ms - 1_000 <= given.at_ms <= now_ms() + 1_000
        assert f"{side} the broker's" in effect[-1]
        assert "set it right" in effect[-1]
    assert "clock" not in (await answered_by(0, FALSE_ALARM)).effect[-1]
    fortnight_ms = 14 * 24 * HOUR_MS
    with pytest.raises(OperationError, match=r"nothing is answered: .*at most 14 days.* ahead of"):
        await answered_by(10 * MINUTE_MS, EXPECTED, fortnight_ms + MINUTE_MS)
    with pytest.raises(OperationError, match=r"nothing is answered: the event is over.* behind"):
        await answered_by(-10 * MINUTE_MS, EXPECTED, -MINUTE_MS)
    await alter_topic(
        settings.kafka, settings.topics.answers, "message.timestamp.type", "CreateTime"
    )
    with pytest.raises(OperationError, match=r"topics alter .*LogAppendTime`, then answer again"):
        await answered_by(0, FALSE_ALARM)


async def test_one_click_on_the_page_is_in_the_topic(made, tmp_path):
    stop = incident()
    keys = market_keys("PK", made.settings.redis.keys_prefix)
    async with Redis.from_url(made.stack.redis_url) as redis:
        await redis.hset(keys.incidents, mapping=incident_fields([stop], {}))
    tokens = tmp_path / "tokens"
    tokens.write_text(f"aisha:{TOKEN}\n")
    asked = {"incident": stop.id, "kind": FALSE_ALARM}
    async with (
        board_of(made.overrides | {"answers.tokens_file": tokens}, sending) as url,
        aiohttp.ClientSession(url) as session,
    ):
        async with session.get("/answers") as response:
            how = {"answerable": True, "pagerduty": False, "pages": []}
            assert await response.json() == how
        async with session.post("/answers", json=asked, headers=MAY) as response:
            assert (response.status, (await response.json())["by"]) == (200, "aisha")
    (record,) = await read_all(made.stack.bootstrap, made.settings.topics.answers)
    market, answer = decode_answer(record.key, record.value)
    assert (market, answer.incident, answer.kind, answer.by) == (
        "PK", stop.id, FALSE_ALARM, "aisha"
    )  # fmt: skip

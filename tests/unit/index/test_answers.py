"""Answers to incidents: what is in force after each, and which records are refused."""

from __future__ import annotations

import json

import pytest

from streams.flow.answer_book import ANSWERED_MAX, AnswerBook, MarketAnswers
from streams.flow.merged import HOURS_KEPT_MS
from streams.index.answer_records import AnswerError, answer_record, decode_answer
from streams.index.learning import WHOLE
from streams.index.operator_answers import (
    ACKNOWLEDGED,
    EXPECTED,
    EXPECTED_MAX_MS,
    FALSE_ALARM,
    NOTE,
    NOTES_MAX,
    Answer,
    AnsweredIncident,
    teaches,
)
from streams.index.panes import HOUR_MS
from streams.records.answer_record import refused_answer
from streams.records.factors import FactorHistory
from streams.records.kafka_logs import Stored
from tests.support.flow_harness import METHODOLOGY

JUMP = "PK-20261124T0512-up"
AT = 1_795_497_120_000
BOOKS = ("category", "books")


def said(kind, at_ms=AT, incident=JUMP, **more):
    if kind == EXPECTED and not more.get("taken_back"):
        more = {"start_ms": AT - HOUR_MS, "until_ms": AT + 6 * HOUR_MS, "factor": 3_000_000} | more
    return Answer(incident, kind, "aisha", at_ms, **more)


def folded(*answers):
    answered = AnsweredIncident()
    for answer in answers:
        answered.apply_answer(answer)
    return answered


def test_the_last_verdict_counts_and_an_undo_brings_the_one_before_back():
    expected, false = said(EXPECTED), said(FALSE_ALARM, AT + 1)
    assert folded().verdict is None
    assert folded(expected).verdict == expected
    assert folded(expected, false).verdict == false
    assert folded(expected, false, said(FALSE_ALARM, AT + 2, taken_back=True)).verdict == expected
    assert folded(expected, said(EXPECTED, AT + 1, taken_back=True)).verdict is None
    longer = said(EXPECTED, AT + 1, until_ms=AT + 9 * HOUR_MS)
    assert folded(false, expected, longer).verdict == longer


def test_acknowledging_and_notes_are_no_verdict():
    first, second = said(NOTE, text="call the bank"), said(NOTE, AT + 1, text="they know")
    answered = folded(said(ACKNOWLEDGED), first, second)
    assert answered.verdict is None
    assert answered.acknowledged == said(ACKNOWLEDGED)
    assert answered.notes == [first, second]
    answered.apply_answer(said(ACKNOWLEDGED, AT + 2, taken_back=True))
    assert answered.acknowledged is None
    assert answered.latest == said(ACKNOWLEDGED, AT + 2, taken_back=True)
    many = folded(*(said(NOTE, AT + n, text=str(n)) for n in range(NOTES_MAX + 1)))
    assert [each.text for each in many.notes] == [str(n) for n in range(1, NOTES_MAX + 1)]


@pytest.mark.parametrize(
    ("answer", "scope", "expected"),
    [
        (said(FALSE_ALARM), BOOKS, True),
        (said(EXPECTED), WHOLE, True),
        (said(EXPECTED), BOOKS, False),
        (said(EXPECTED, scope=BOOKS), BOOKS, True),
        (said(EXPECTED, factor=None), WHOLE, False),
        (said(EXPECTED, factor=0), WHOLE, False),
    ],
)
def test_hours_teach_where_their_factor_is_known(answer, scope, expected):
    assert teaches(answer, scope) is expected


@pytest.mark.parametrize(
    "answer",
    [
        said(ACKNOWLEDGED),
        said(EXPECTED, scope=BOOKS, text="11.11"),
        said(EXPECTED, factor=None),
        said(EXPECTED, taken_back=True),
        said(FALSE_ALARM),
        said(NOTE, text="a note with\na second line"),
    ],
)
def test_a_record_is_read_as_it_was_written(answer):
    key, value = answer_record(answer)
    assert decode_answer(key, value) == ("PK", answer)
    assert json.loads(value)["v"] == 1


def test_no_answer_has_the_key_of_another():
    answers = [said(ACKNOWLEDGED), said(ACKNOWLEDGED, AT + 1), said(NOTE), said(FALSE_ALARM)]
    assert len({answer_record(each)[0] for each in answers}) == len(answers)
    assert answer_record(said(NOTE))[0] == b"PK|PK-20261124T0512-up|note|2026-11-24T05:12:00.000Z"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (said("shrugged"), "expected one of acknowledged, expected, false_alarm, note"),
        (said(NOTE, incident="PK|all|1"), "expected MARKET-YYYYMMDDTHHMM-up or -down"),
        (said(NOTE, text="x" * 1_001), "1001 characters: expected at most 1000"),
        (said(EXPECTED, until_ms=AT - 2 * HOUR_MS), "expected an instant after"),
        (said(EXPECTED, until_ms=AT + EXPECTED_MAX_MS + 1), "at most 14 days"),
        (said(EXPECTED, factor=1), "factor 1e-06: expected 0, or a number from 0.001 to 1000"),
        (said(NOTE)._replace(by=""), "a name of 1 to 64 characters"),
        (said(NOTE)._replace(by="a\u202eb"), "a name of 1 to 64 characters"),
        (said(NOTE)._replace(by="a|b"), "a name of 1 to 64 characters"),
        (said(EXPECTED, scope=("category", "m" * 97)), "member 'm{97}': expected at most 96 bytes"),
    ],
)
def test_an_answer_that_breaks_the_contract_is_refused(answer, reason):
    with pytest.raises(AnswerError, match=reason):
        answer_record(answer)


@pytest.mark.parametrize("at", ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"])
def test_an_instant_that_could_not_be_written_again_is_refused(at):
    key, value = answer_record(said(NOTE))
    with pytest.raises(AnswerError, match="of 1970 to 2099"):
        decode_answer(key, json.dumps(json.loads(value) | {"at": at}).encode())


@pytest.mark.parametrize("off_ms", [-600_000, -2_000, 600_000, 73 * 365 * 86_400_000])
def test_an_answer_is_given_when_the_broker_stamps_it_whatever_the_clock_of_its_sender(off_ms):
    """Seconds of slowness kept a false alarm from silencing what had just been found."""
    key, value = answer_record(said(FALSE_ALARM, AT + off_ms))
    assert decode_answer(key, value, AT)[1] == said(FALSE_ALARM)
    book = AnswerBook(["PK"])
    book.apply_record(key, value, AT)
    assert book.markets["PK"].verdict(JUMP) == said(FALSE_ALARM)
    history = FactorHistory(METHODOLOGY.markets["PK"])
    history.add_answer(key, value, AT)
    assert history.answers_until(AT).verdict(JUMP) == said(FALSE_ALARM), "the audit reads the same"
    no_stamp = 10**17  # microseconds: of no calendar
    assert decode_answer(key, value, no_stamp)[1].at_ms == AT + off_ms


def test_an_acknowledgement_that_is_delivered_twice_is_one():
    """Told as a second one, it sent another message to everybody."""
    answered = AnsweredIncident()
    for answer in (said(ACKNOWLEDGED), said(ACKNOWLEDGED, AT + 9_000)):
        answered.apply_answer(answer)
    assert answered.acknowledged == said(ACKNOWLEDGED)
    bob = said(ACKNOWLEDGED, AT + 9_001)._replace(by="bob")
    answered.apply_answer(bob)
    assert answered.acknowledged == bob
    answered.apply_answer(said(ACKNOWLEDGED, AT + 9_002, taken_back=True))
    assert answered.acknowledged is None


def test_an_event_of_the_future_is_refused():
    """Given in 2099 it was expected until then, and counted more than every later answer."""
    key, value = answer_record(said(EXPECTED, AT + 1, until_ms=AT + 1 + EXPECTED_MAX_MS))
    assert decode_answer(key, value, AT + 1)[1].at_ms == AT + 1
    with pytest.raises(AnswerError, match=r"at most 14 days after the answer \(2026-"):
        decode_answer(key, value, AT)
    book = AnswerBook(["PK"])
    book.apply_record(key, value, AT)
    assert book.markets["PK"].version == 0
    assert len(book.take_refused()) == 1
    history = FactorHistory(METHODOLOGY.markets["PK"])
    history.add_answer(key, value, AT)
    assert history.answers_until(AT).version == 0, "the audit skips what workers skip"
    stored = [Stored("answers", 0, 0, key, value, (), at_ms, 1) for at_ms in (AT, AT + 1)]
    refused, taken = map(refused_answer, stored)
    assert "at most 14 days" in refused.expected + refused.found
    assert taken is None


def test_a_long_text_is_not_said_whole():
    key, value = answer_record(said(NOTE))
    with pytest.raises(AnswerError) as found:
        decode_answer(key, json.dumps(json.loads(value) | {"by": "b" * 100_000}).encode())
    assert len(str(found.value)) < 250


def test_the_book_passes_over_what_it_cannot_read_and_says_why():
    book = AnswerBook(["PK"])
    key, value = answer_record(said(FALSE_ALARM))
    book.apply_record(key, value)
    book.apply_record(key, None)
    book.apply_record(b"PK|x", b"{")
    book.apply_record(key.replace(b"PK", b"BD", 1), value)
    book.apply_record(*answer_record(said(NOTE, incident="BD-20261124T0512-up")))
    newer = value.replace(b'"v":1', b'"v":2')
    book.apply_record(key, newer)
    assert book.markets["PK"].verdict(JUMP) == said(FALSE_ALARM)
    assert book.markets["PK"].version == 1
    refused = book.take_refused()
    assert [len(refused), book.take_refused()] == [4, []]
    assert "market 'BD' is not in methodology.toml" in refused[2]
    assert "a newer version of ecindex wrote it" in refused[3]


def test_expected_events_are_told_in_the_order_in_which_they_were_said():
    market = MarketAnswers()
    first, second = said(EXPECTED, AT + 1), said(EXPECTED, AT, incident="PK-20261124T0600-up")
    market.apply_answer(first)
    market.apply_answer(second)
    market.apply_answer(said(NOTE, AT + 9))
    assert market.expected() == [second, first]
    assert [each.factor for each in market.factors()] == [3_000_000, 3_000_000]
    market.apply_answer(said(EXPECTED, AT + 10, taken_back=True))
    assert market.expected() == [second]


def test_an_event_that_was_over_before_every_lesson_is_no_factor_and_is_still_known():
    market = MarketAnswers()
    market.apply_answer(said(EXPECTED))
    over_ms = AT + 6 * HOUR_MS
    for since_ms, factors in ((HOURS_KEPT_MS - 1, 1), (HOURS_KEPT_MS, 0)):
        market.apply_answer(said(NOTE, over_ms + since_ms, incident="PK-20270301T0512-up"))
        assert len(market.factors()) == factors
    assert market.expected() == [said(EXPECTED)]


def test_what_was_read_anew_takes_the_place_of_what_was_known():
    known, read = AnswerBook(["PK"]), AnswerBook(["PK"])
    market = known.markets["PK"]
    market.apply_answer(said(EXPECTED))
    assert market.expected() == [said(EXPECTED)]
    read.apply_record(*answer_record(said(EXPECTED, incident="PK-20261124T0600-up")))
    market.replace_by(read.markets["PK"])
    assert (market.verdict(JUMP), market.version) == (None, 2)
    assert [each.incident for each in market.expected()] == ["PK-20261124T0600-up"]


def test_what_is_kept_of_a_market_is_bounded():
    market = MarketAnswers()
    for number in range(ANSWERED_MAX + 1):
        market.apply_answer(said(NOTE, incident=f"PK-{number:08}T0000-up"))
    assert len(market.incidents) == ANSWERED_MAX
    assert "PK-00000000T0000-up" not in market.incidents

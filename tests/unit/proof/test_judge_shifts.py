"""The audit of vintages under a shift: learnt again without its hours, and what is kept of shifts."""

from __future__ import annotations

import copy
import dataclasses

import msgspec
import pytest
from support.explained import (
    DEFINED,
    MIDNIGHT,
    Market,
    hours_of_the_log,
    journal,
    stored,
    values_log,
)
from support.flow_harness import METHODOLOGY

from streams.flow.answer_book import MarketAnswers
from streams.flow.shifts_record import ShiftsRecord, decode_shifts
from streams.flow.state import NEVER_MS
from streams.flow.wire import partition_of
from streams.index.answer_records import answer_record
from streams.index.operator_answers import FALSE_ALARM, Answer
from streams.index.panes import HOUR_MS, MINUTE_MS, rfc3339
from streams.proof.audit.judge_expected import ExpectedJudge
from streams.proof.audit.judge_merged import MergedLog
from streams.proof.audit.judge_shifts import Shifts
from streams.proof.audit.report import EXPECTED, Report
from streams.publish.journal import version_of
from streams.publish.shift_records import shift_records
from streams.records.journal_record import decode_journal
from streams.records.kafka_logs import Stored

OPENED = MIDNIGHT - 44 * HOUR_MS


@pytest.fixture(scope="module")
def market():
    return sold()


def sold(then=lambda _: None):
    """Sells from two days ago on; for two hours of the first six times as much, then calls ``then``."""
    found = Market(rate=40.0, seeded_until=OPENED)
    found.open(OPENED, 6 * 60)
    found.open(OPENED + 6 * HOUR_MS, 120, times=6.0)
    then(found)
    found.open(OPENED + 8 * HOUR_MS, 16 * 60)
    found.open(OPENED + 24 * HOUR_MS, 20 * 60 + 40)
    return found


@pytest.fixture(scope="module")
def kept_shifts(market):
    return kept_by(market)


def kept_by(market):
    """(records of the shifts' topic, what the table keeps, sums of the log's hours)."""
    topic = [
        Stored("shifts", 0, number, each.key, each.value, (), 0, 0)
        for number, each in enumerate(
            each for made in market.flow.history for each in shift_records(made, "shifts")
        )
    ]
    (kept,) = [
        value
        for key, value in market.flow.tables[partition_of("PK", 3)].items()
        if key.startswith(b"w|PK|")
    ]
    return topic, kept, hours_of_the_log(market.flow)


def judged(market, kept_shifts, *, change=None, topic=None, without=False, answers=(), markets=()):
    """Report; ``change`` is given the kept record."""
    records, (shifts, kept, hours) = stored(market.flow), kept_shifts
    report = Report()
    judge = ExpectedJudge(METHODOLOGY, values_log(records).markets, report, DEFINED)
    for key, value in market.history:
        judge.take_history(Stored("history", 0, 0, key, value, (), 0, 0))
    for key, value in answers:
        judge.take_answer(Stored("answers", 0, 0, key, value, (), MIDNIGHT, 1))
    for each in journal(records):
        record = decode_journal(each.value)
        if record.kind == "vintage":
            judge.take_journal(record, version_of(each.headers), each)
    for each in shifts if topic is None else topic:
        judge.shifts.add_shift(each)
    record = decode_shifts(kept)
    if change is not None:
        change(record)
    judge.shifts.kept = {} if without else {"PK": record}
    judge.shifts.judge(METHODOLOGY.edition, report, dict(markets))
    judge.judge_vintages(lambda *_: hours, ("orders", "payments"), NEVER_MS)
    return report


def scope(record: ShiftsRecord):
    return {(each.dimension, each.member) for each in record.kept}


@pytest.mark.deep
def test_a_vintage_is_learnt_again_without_the_hours_of_a_shift(market, kept_shifts):
    record = decode_shifts(kept_shifts[1])
    assert ("market", "all") in scope(record)
    report = judged(market, kept_shifts)
    assert report.equal, "\n".join(report.lines())
    assert report.judged[EXPECTED] > 80
    assert report.not_judged == []


@pytest.mark.deep
def test_a_shift_that_was_published_under_a_former_id_is_kept_under_the_present_one(
    market, kept_shifts
):
    members = METHODOLOGY.markets["PK"].categories
    kept = scope(decode_shifts(kept_shifts[1]))
    former = next(each for dimension, each in kept if dimension == "category")
    now = dataclasses.replace(
        METHODOLOGY.markets["PK"],
        categories=tuple("letters" if each == former else each for each in members),
        renamed={("category", former): "letters"},
    )

    def rename(record):
        for each in record.kept:
            each.member = "letters" if each.member == former else each.member

    def of_shifts(**markets):
        report = judged(market, kept_shifts, change=rename, markets=markets)
        return {each.field for each in report.differences if " shift " in each.key}

    assert of_shifts(PK=now) == set()
    assert of_shifts() == {"record", "kept"}


@pytest.mark.deep
def test_a_shift_that_was_kept_but_not_published_changes_a_vintage(market, kept_shifts):
    def forget(record):
        record.kept = []

    report = judged(market, kept_shifts, change=forget)
    fields = {each.field for each in report.differences}
    assert "kept" in fields
    assert any(each.field.startswith("market all orders") for each in report.differences)


@pytest.mark.parametrize(
    ("field", "by", "name"),
    [("start", 1, "start"), ("found_at", -1, "found_at"), ("end", 60, "end")],
)
@pytest.mark.deep
def test_a_kept_shift_that_differs_from_the_published_one_is_found(
    market, kept_shifts, field, by, name
):
    def move(record):
        (own,) = [each for each in record.kept if each.dimension == "market"]
        setattr(own, field, getattr(own, field) + by)

    report = judged(market, kept_shifts, change=move)
    assert ("PK shift market all 1", name) in {
        (each.key, each.field) for each in report.differences
    }


@pytest.mark.deep
def test_without_the_table_a_vintage_under_a_shift_is_passed_over(market, kept_shifts):
    report = judged(market, kept_shifts, without=True)
    assert report.equal
    assert report.judged[EXPECTED] == 0
    assert {each.reason.startswith("a shift in the six weeks") for each in report.not_judged} == {
        True
    }


@pytest.mark.deep
def test_hours_that_the_table_does_not_reach_or_has_forgotten_cannot_be_judged(kept_shifts):
    topic, kept, _ = kept_shifts
    shifts = Shifts()
    for each in topic:
        shifts.add_shift(each)
    record = decode_shifts(kept)
    shifts.kept = {"PK": record}
    done_ms = record.watch.done_until * MINUTE_MS
    start_ms = MIDNIGHT - 45 * 24 * HOUR_MS
    assert shifts.lessons("PK", start_ms, done_ms, MarketAnswers()) is not None
    assert shifts.lessons("PK", start_ms, done_ms + 1, MarketAnswers()) is None
    assert shifts.lessons("PK", done_ms - 61 * 24 * HOUR_MS, done_ms, MarketAnswers()) is None
    assert shifts.lessons("BD", start_ms, done_ms, MarketAnswers()) == ([], [])
    shifts.add_shift(Stored("shifts", 0, 9, b"x", b"nonsense", (), 0, 0))
    assert shifts.lessons("PK", start_ms, done_ms, MarketAnswers()) is None


@pytest.mark.deep
def test_the_furthest_of_several_detector_records_counts(kept_shifts):
    older = copy.deepcopy(decode_shifts(kept_shifts[1]))
    older.watch.done_until -= 1
    log = MergedLog(METHODOLOGY, Report(), DEFINED)
    for number, value in enumerate((kept_shifts[1], msgspec.msgpack.encode(older))):
        log.apply_record(Stored("t", 0, number, b"w|PK|n.%d" % number, value, (), 0, 0))
    log.finish()
    assert log.shifts["PK"].watch.done_until == older.watch.done_until + 1
    assert rfc3339(log.shifts["PK"].kept[0].start * MINUTE_MS) > rfc3339(OPENED)


@pytest.mark.deep  # the arithmetic is held in a plain run by tests/unit/flow/test_answered_shifts.py
def test_a_vintage_after_a_false_alarm_is_learnt_again_with_the_answer_alone():
    given = []

    def answer(market):
        kept = market.flow.compiles[partition_of("PK", 3)].markets["PK"].shifts.kept
        for name in {each.incident for each in kept}:
            given.append(answer_record(Answer(name, FALSE_ALARM, "aisha", MIDNIGHT)))
            market.flow.book.answers.apply_record(*given[-1])

    market = sold(answer)
    kept = kept_by(market)
    report = judged(market, kept, answers=given)
    assert report.equal, "\n".join(report.lines())
    assert report.judged[EXPECTED] > 80
    assert not judged(market, kept).equal, "without the answer its hours would teach nothing"

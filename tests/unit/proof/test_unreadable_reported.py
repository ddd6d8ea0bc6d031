"""Table, explanation and audit report a record that cannot be read."""

from __future__ import annotations

import io

import msgspec
import pytest
from rich.console import Console
from support.explained import DEFINED, HOURS, MIDNIGHT, Market, journal, stored, values_log
from support.flow_harness import METHODOLOGY

from streams.index.values import Value
from streams.operate.dead_letters import Listing
from streams.proof.audit.judge_expected import ExpectedJudge
from streams.proof.audit.judge_journal import FinalSums, JournalLog
from streams.proof.audit.judge_merged import MergedLog
from streams.proof.audit.report import DIFFERENCES_KEPT, EXPECTED, JOURNAL, VALUES, Report
from streams.proof.explain.explanation import explain_value
from streams.proof.explain.explanation_types import Journal, Known, PublishedValue
from streams.proof.explain.print_explanation import show
from streams.proof.export.read_table import CausesLog, Exported, ExportSelection, left_out
from streams.proof.export.table_rows import cite, revision_key
from streams.proof.recompute.slots import Blind, SlotCalendar
from streams.records.kafka_logs import Stored
from streams.records.unreadable import UnreadableRecord, UnreadableRecords

MARKETS = METHODOLOGY.markets


def bad(key, **fields):
    return UnreadableRecord(key, "a value", "rubbish", "ecindex.values-0@7", **fields)


@pytest.mark.parametrize(
    ("selection", "key", "missed"),
    [
        (ExportSelection("days"), "PK|orders|market|all|day|2026-11-23", True),
        (ExportSelection("days"), "PK|orders|market|all|1h", False),
        (ExportSelection("values"), "PK|orders|market|all|1h", True),
        (ExportSelection("values"), "PK|orders|market|all|day|2026-11-23", False),
        (ExportSelection("days", ("BD",)), "PK|orders|market|all|day|2026-11-23", False),
        (ExportSelection("days", ("BD",)), "rubbish", True),
        (ExportSelection("days", first="2026-11-24"), "PK|orders|market|all|day|2026-11-23", False),
        (ExportSelection("days", last="2026-11-22"), "PK|orders|market|all|day|2026-11-23", False),
        (ExportSelection("days", last="2026-11-22"), "PK|orders|market|all|week|2026-11-23", True),
        (ExportSelection("values"), "PK|fence|w", True),
        (ExportSelection("values"), "PK", True),
    ],
)
def test_a_table_says_what_of_its_own_it_left_out(selection, key, missed):
    assert selection.may_miss(bad(key), MARKETS) == missed
    found = left_out(selection, MARKETS, UnreadableRecords([bad(key)]))
    assert found.total == missed
    citation = cite("day values", [], methodology="x", exported_at="now", source="topic v")
    exported = Exported([], citation, found)
    assert exported.complete == (not missed)
    summary = msgspec.json.decode(msgspec.json.encode(exported.summary([])))
    assert summary["complete"] == (not missed)
    assert [each["key"] for each in summary["unreadable"]["records"]] == [key] * missed


def test_a_table_is_complete_once_a_bad_record_was_replaced():
    found = left_out(
        ExportSelection("values"), MARKETS, UnreadableRecords([bad("PK|x", replaced=True)])
    )
    citation = cite("values", [], methodology="x", exported_at="now", source="topic v")
    assert Exported([], citation, found).complete
    assert "could not be read" in next(found.lines()), "it is reported all the same"


def test_the_line_to_cite_says_that_a_table_is_incomplete():
    citation = cite("days", [], methodology="x", exported_at="now", source="topic v", left_out=2)
    assert citation.line.endswith("from topic v; incomplete, 2 records could not be read.")


def revised_record(records):
    """A record of the journal turned into a revision, and the value that it revises."""
    record = journal(records)[0]
    content = msgspec.json.decode(record.value)
    value = content["values"][0] | {"revision": 1}
    content["revisions"] = [{"cause": "late", "value": value, "previous": 1}]
    given = msgspec.convert(value, Value)
    return record._replace(value=msgspec.json.encode(content)), given


@pytest.fixture(scope="module")
def records():
    market = Market(rate=240.0)
    market.open(MIDNIGHT, 10)
    return stored(market.flow)


def test_a_bad_record_of_the_journal_is_reported_and_does_not_end_a_table(records):
    record, value = revised_record(records)
    causes = CausesLog([value])
    causes.apply_record(record._replace(value=b"{"))
    causes.apply_record(record)
    assert causes.found == {revision_key(value): "late"}
    assert [each.expected for each in causes.unreadable.records] == ["a journal record"]
    assert left_out(ExportSelection("days", ("PK",)), MARKETS, causes.unreadable).total == 1
    assert left_out(ExportSelection("days", ("BD",)), MARKETS, causes.unreadable).total == 0


def test_an_explanation_prints_what_it_was_made_without(records):
    held = values_log(records).markets["PK"].values["PK|orders|market|all|1h"]
    published = PublishedValue(held.value, held.version, held.where, held.written_ms)
    known = Known({held.value.key: published}, Journal(), [])
    plain = explain_value(published, known, MARKETS["PK"], edition=1, hours=HOURS)
    assert plain.unreadable.total == 0
    found = UnreadableRecords([bad("PK|orders|market|all|1m")]).summary()
    stream = io.StringIO()
    show(msgspec.structs.replace(plain, unreadable=found), Console(file=stream, width=80))
    assert "warning: 1 record could not be read" in stream.getvalue()
    assert "ecindex.values-0@7, key 'PK|orders|market|all|1m'" in stream.getvalue()


def test_the_audit_makes_a_difference_of_each(records):
    report = Report()
    found = UnreadableRecords(bad(str(number)) for number in range(DIFFERENCES_KEPT + 5))
    report.unreadable_of(VALUES, found)
    assert report.differences_total == DIFFERENCES_KEPT + 5
    assert report.differences[0][:4] == (VALUES, "0", "record", "a value")

    report = Report()
    values = values_log(records).markets
    calendar = SlotCalendar(METHODOLOGY)
    expected = ExpectedJudge(METHODOLOGY, values, report, DEFINED)
    log = JournalLog(
        METHODOLOGY,
        values,
        FinalSums(METHODOLOGY, DEFINED, {}),
        calendar,
        Blind(calendar),
        report,
        expected,
        MergedLog(METHODOLOGY, report, DEFINED),
    )
    log.apply_record(journal(records)[0]._replace(value=b"{"))
    expected.take_history(Stored("history", 0, 3, b"rubbish", b"{", (), MIDNIGHT, 0))
    expected.shifts.add_shift(Stored("shifts", 0, 4, b"PK|x", b"{", (), MIDNIGHT, 0))
    expected.shifts.judge(METHODOLOGY.edition, report)
    assert [(each.stage, each.where) for each in report.differences] == [
        (JOURNAL, journal(records)[0].where),
        (EXPECTED, "history-0@3"),
        (EXPECTED, "shifts-0@4"),
    ]


def test_a_list_of_dead_letters_names_what_could_not_be_read():
    listing = Listing(unreadable=UnreadableRecords([bad("k")]))
    assert listing.lines()[0] == "0 in all, 0 shown"
    assert listing.lines()[1] == "warning: 1 record could not be read"
    listed = msgspec.json.decode(msgspec.json.encode(listing.as_json()))
    assert listed["unreadable"]["records"][0]["key"] == "k"

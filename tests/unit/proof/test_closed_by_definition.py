"""Readers of the journal: a closing by definition complements the closings before it."""

import msgspec
import pytest

from streams.flow.publication import Closing
from streams.index.panes import DAY_MS, HOUR_MS
from streams.proof.audit.judge_expected import ExpectedJudge
from streams.proof.audit.report import Report
from streams.proof.explain.gather import JournalSearch
from streams.proof.explain.journal_query import JournalQuery
from streams.proof.export.read_table import CausesLog
from streams.proof.export.table_rows import revision_key
from streams.publish.journal import PART_BYTES_MAX, journal_records
from streams.records.journal_record import decode_journal, read_journaled
from streams.records.kafka_logs import Stored
from tests.support import publications
from tests.support.explained import DEFINED
from tests.support.flow_harness import METHODOLOGY

START_MS = 1_790_000_000_000 // DAY_MS * DAY_MS
BOOKS, GNOMES, OTHER = (("orders", "category", each) for each in ("books", "gnomes", "other"))


def values(**orders):
    at = {"window": "1h", "as_of_ms": START_MS + HOUR_MS, "phase": "final"}
    return [
        publications.value("orders", "category", name, number=n, **at) for name, n in orders.items()
    ]


def closing(*, cause=None, gone=(), **orders):
    return Closing("hour", START_MS, START_MS + HOUR_MS, values(**orders), cause, gone)


def journaled(*closings):
    made = [publications.publication([], closings=[each]) for each in closings]
    records = [record for each in made for record in journal_records(each, "j")]
    stored = [
        Stored("j", 0, at, each.key, each.value, each.headers, 0, 0)
        for at, each in enumerate(records)
    ]
    return [read_journaled(each) for each in stored]


WHOLE = closing(books=7, other=4)
TOUCHED = closing(cause="definition", gone=("orders:category:other",), gnomes=4)


@pytest.mark.parametrize(
    ("name", "closings", "observed"),
    [
        (BOOKS, (WHOLE, TOUCHED), 7),
        (GNOMES, (WHOLE, TOUCHED), 4),
        (OTHER, (WHOLE,), 4),
        (OTHER, (WHOLE, TOUCHED), 0),
        (BOOKS, (TOUCHED,), None),
        (GNOMES, (TOUCHED,), 4),
        (GNOMES, (WHOLE, TOUCHED, WHOLE), 0),
    ],
)
def test_an_hour_has_what_was_said_of_it_last(name, closings, observed):
    """None: the journal no longer has the closing that said it."""
    query = JournalQuery("key", frozenset(), frozenset(), name, (), frozenset({START_MS}))
    search = JournalSearch(query, edition=1)
    judge = ExpectedJudge(METHODOLOGY, {}, Report(), DEFINED)
    judge._wanted_hours["PK"].add(START_MS)
    for each in journaled(*closings):
        search.apply_record(each.where, each.record, each.version)
        judge._closing(each.record, each.version, each.where)
    asked = publications.value("change_day", *name[1:], window="1h")
    for found in (search.found.closings, judge._journal("PK", asked).closings):
        closed = found.get(("hour", START_MS))
        assert (None if closed is None else closed.observed) == observed


def test_a_day_of_long_ago_is_exported_with_the_cause_that_its_closing_says():
    at = {"window": "day", "day": "2026-09-21", "phase": "final", "revision": 1}
    value = publications.value(number=4, **at)
    causes = CausesLog([value])
    for each in (None, "definition"):
        made = Closing("day", START_MS, START_MS + DAY_MS, [value], each)
        records = journal_records(publications.publication([], closings=[made]), "j")
        for number, record in enumerate(records):
            causes.apply_record(
                Stored("j", 0, number, record.key, record.value, record.headers, 0, 0)
            )
        assert causes.found == ({} if each is None else {revision_key(value): "definition"})


def test_names_that_are_gone_are_split_over_parts_as_values_are():
    gone = tuple(f"orders:category:member {number:05}" for number in range(40_000))
    (many,) = values(gnomes=4)
    made = Closing("hour", START_MS, START_MS + HOUR_MS, [many] * 2_000, "definition", gone)
    records = journal_records(publications.publication([], closings=[made]), "j")
    assert max(len(each.value) for each in records) <= PART_BYTES_MAX
    found = [decode_journal(each.value) for each in records]
    assert [each.part for each in found] == list(range(1, len(found) + 1))
    assert len(found) > 2
    assert sum(len(each.values) for each in found) == 2_000
    assert [name for each in found for name in each.gone] == list(gone)
    assert {each.cause for each in found} == {"definition"}
    whole = journal_records(publications.publication([], closings=[WHOLE]), "j")
    assert msgspec.json.decode(whole[0].value).keys().isdisjoint({"cause", "gone"})

"""Which records of the dead letters' topic are one, and which are of an earlier log."""

from __future__ import annotations

import pytest

from streams.operate.dead_letter import DeadLetter, DeadLettersOnce
from streams.operate.dead_letters import DeadLetterSelection, Listing
from streams.records.kafka_logs import Stored
from streams.records.set_aside_record import read_set_aside

NOW = {"orders": "new", "payments": "p"}


def record(offset, topic_id="new", at_ms=0, topic="orders", copy=None, copy_id="new"):
    """``topic_id`` None: of a version that did not say. ``copy``: it is a marker, for that offset."""
    headers = {
        "source_topic": topic,
        "source_partition": "0",
        "source_offset": str(offset),
        "source_timestamp_ms": str(at_ms),
        "reason": "schema",
    }
    if topic_id is not None:
        headers["source_topic_id"] = topic_id
    if copy is not None:
        headers |= {"replayed_as": f"{topic}-0@{copy}", "replayed_as_topic_id": copy_id}
    pairs = tuple((name, value.encode()) for name, value in headers.items())
    stored = Stored("dead", 0, 0, b"k", b"v", pairs, at_ms, 1)
    return DeadLetter.of(stored, read_set_aside(stored))


def told(*records, topic_ids=NOW):
    once = DeadLettersOnce(topic_ids)
    return [each for each in records if once.take_record(each)]


def brief(found):
    return [(each.source.offset, each.source.topic_id, each.earlier) for each in found]


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        # A topic that was created again: at the old one's offset lies another record.
        ([record(0, "old"), record(0, "new")], [(0, "old", True), (0, "new", False)]),
        ([record(0, "new"), record(0, "new")], [(0, "new", False)]),  # a repeated fold
        # A zombie that sets aside of the old log once more.
        (
            [record(0, "old"), record(0, "new"), record(0, "old")],
            [(0, "old", True), (0, "new", False)],
        ),
        # The log was cut, and another record came to its place.
        ([record(0), record(0, at_ms=9)], [(0, "new", True), (0, "new", False)]),
        # Of an older version: one record where the time is the same, another where it is not.
        ([record(0, None), record(0)], [(0, "", False)]),
        ([record(0, None), record(0, at_ms=9)], [(0, "", True), (0, "new", False)]),
        ([record(0, None)], [(0, "", False)]),
        # Of what is no input now.
        ([record(0, "x", topic="orders2")], [(0, "x", True)]),
    ],
)
def test_records_of_other_logs_at_one_offset_are_told_apart(records, expected):
    assert brief(told(*records)) == expected


def test_where_the_broker_tells_no_ids_all_are_of_the_log_that_is_there():
    assert brief(told(record(0, ""), topic_ids={"orders": ""})) == [(0, "", False)]


def test_a_marker_and_a_copy_are_those_of_their_own_log():
    old, new = record(0, "old"), record(0)
    marker, again = record(0, copy=7), record(7)
    of_another = record(7, "third", at_ms=5)
    assert told(old, new, marker, again, of_another) == [old, new, of_another]
    assert (old.replayed_as, old.again) == (None, None)
    assert (str(new.replayed_as), new.again) == ("orders-0@7", "schema")


def test_a_marker_of_an_older_version_is_that_of_its_letter():
    letter = record(0, None)
    assert told(letter, record(0, None, copy=7, at_ms=3)) == [letter]
    assert str(letter.replayed_as) == "orders-0@7"


@pytest.mark.parametrize(("with_earlier", "total"), [(False, 1), (True, 3)])
def test_a_list_counts_what_is_there_and_says_how_many_are_of_an_earlier_log(with_earlier, total):
    once = DeadLettersOnce(NOW)
    listing, selection = Listing(with_earlier=with_earlier), DeadLetterSelection(reason="schema")
    for each in (record(0, "old"), record(1, None), record(1, at_ms=9)):
        assert once.take_record(each)
        assert selection.takes(each)
        listing.count(each)
    for each in once.outdated:
        listing.count_as_earlier(each)
    assert (listing.as_json()["total"], listing.as_json()["earlier"]) == (total, 2)
    assert "2 of an earlier log" in "\n".join(listing.lines())


def test_a_list_of_what_there_is_not_says_what_there_is():
    listing = Listing()
    for each in (record(0, None), record(1, None)):
        listing.pass_over(each)
    assert listing.lines() == [
        "0 in all, 0 shown",
        "none is as selected; there are 2 schema of orders",
    ]
    listing.count(record(2, None))
    assert listing.lines()[1:] == [], "some were selected"


def test_a_line_says_that_its_record_is_of_an_earlier_log():
    (letter,) = told(record(0, "old"))
    assert "[of an earlier log]" in letter.line()
    assert (letter.as_json()["earlier"], letter.as_json()["source_topic_id"]) == (True, "old")

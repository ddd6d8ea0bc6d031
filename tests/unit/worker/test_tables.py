"""A table recovers into bytes per partition, from chunks or records, and knows of a hole."""

from __future__ import annotations

from types import SimpleNamespace

import faust
import pytest

from streams.flow.chunk import Chunk, SourcePartition
from streams.worker.names import changelog_topic
from streams.worker.tables import PartitionTable

APP = faust.App("ec-e1", broker="kafka://127.0.0.1:1", autodiscover=False)
NAME = "ec-e1-checkpoints-changelog"


@pytest.fixture
def table():
    made = PartitionTable(APP, name="checkpoints", source="orders", partitions=4)
    made.begin(0, 0)
    return made


def record(partition, key, value, topic=NAME, offset=0):
    message = SimpleNamespace(topic=topic, partition=partition, key=key, value=value, offset=offset)
    return SimpleNamespace(message=message)


def chunk(partition, first, pairs, *, last=None, fetch=None):
    content = Chunk(
        SourcePartition(NAME, partition),
        first,
        first + len(pairs) - 1 if last is None else last,
        [key for key, _ in pairs],
        [value for _, value in pairs],
        [0] * len(pairs),
        fetch_offset=fetch,
    )
    return record(partition, None, content)


def test_the_topics_name_is_known_without_an_app(table):
    assert table.changelog_topic_name == changelog_topic("ec-e1", "checkpoints") == NAME


def test_records_stay_with_their_partition_and_tombstones_delete(table):
    table.apply_changelog_batch([record(0, b"a", b"1"), record(1, b"a", b"2")])
    table.apply_changelog_batch([record(0, b"b", b"3"), record(0, b"a", None)])
    assert dict(table.recovered(0)) == {b"b": b"3"}
    assert dict(table.recovered(1)) == {b"a": b"2"}
    assert dict(table.recovered(2)) == {}


def test_chunks_are_the_same_in_bulk(table):
    table.begin(0, 5)
    table.apply_changelog_batch(
        [
            chunk(0, 5, [(b"a", b"1"), (b"b", b"2")], fetch=5),
            chunk(0, 7, [(b"a", None), (b"b", b"3")]),
        ]
    )
    assert dict(table.recovered(0)) == {b"b": b"3"}
    assert table.hole is None


def test_another_topics_event_is_not_taken(table):
    """Faust hands an event of an unknown partition to whatever table came last."""
    table.apply_changelog_batch([record(0, b"a", b"1", topic="other")])
    assert dict(table.recovered(0)) == {}


def test_a_stretch_that_was_not_read_is_a_hole(table):
    table.apply_changelog_batch([chunk(0, 0, [(b"a", b"1")], fetch=0)])
    table.apply_changelog_batch([chunk(0, 1, [(b"b", b"2")], last=9)])
    assert table.hole is None, "the chunk covers a compacted stretch"
    table.apply_changelog_batch([chunk(0, 11, [(b"c", b"3")])])
    assert table.hole == f"{NAME}-0: offsets 9 to 11 were not read"
    table.forget()
    assert table.hole is None


def test_a_gap_of_the_log_is_no_hole_when_the_fetch_began_before_it(table):
    table.apply_changelog_batch(
        [
            chunk(0, 0, [(b"a", b"1")], fetch=0),
            chunk(0, 50, [(b"b", b"2")], fetch=1),
            chunk(0, 40, [(b"b", b"2")] * 20, fetch=30),
        ]
    )
    assert table.hole is None


def test_a_first_chunk_from_the_middle_of_a_fetch_is_a_hole(table):
    table.apply_changelog_batch([chunk(0, 4000, [(b"a", b"1")])])
    assert table.hole is not None


def test_a_first_chunk_that_begins_behind_the_logs_beginning_is_a_hole(table):
    """The end of a changelog alone was taken for the whole; its chain was refused by luck."""
    table.apply_changelog_batch([chunk(0, 30, [(b"a", b"1")], fetch=30)])
    assert table.hole == f"{NAME}-0: offsets None to 30 were not read"


def test_what_came_before_reading_began_does_not_count(table):
    table.apply_changelog_batch([chunk(0, 30, [(b"old", b"1")], fetch=30)])
    table.begin(0, 20)
    table.apply_changelog_batch([chunk(0, 20, [(b"a", b"1")], fetch=20)])
    assert dict(table.recovered(0)) == {b"a": b"1"}
    assert table.hole is None


def test_a_changelog_that_was_not_read_to_its_end_is_reported(table):
    assert table.lacks(0, -1) is None, "an empty log"
    assert table.lacks(0, 3) == f"{NAME}-0: read to -1, not to 3"
    table.apply_changelog_batch([chunk(0, 0, [(b"a", b"1")], last=3, fetch=0)])
    assert table.lacks(0, 3) is None
    assert table.lacks(0, 4) == f"{NAME}-0: read to 3, not to 4"


def test_what_is_forgotten_does_not_come_back(table):
    table.apply_changelog_batch([record(0, b"a", b"1")])
    table.forget()
    assert dict(table.recovered(0)) == {}

"""The read side of ecindex.values: newest value a key, floor a market."""

from __future__ import annotations

import itertools

import pytest
from support.publications import AS_OF_MS, publication, value

from streams.index.values import Fence
from streams.publish.journal import fence_record, retired_fence, value_records
from streams.publish.values_reader import Applied, TooManyKeysError, ValuesReader

KEY = "PK|orders|category|books|1m"


@pytest.fixture
def reader():
    return ValuesReader()


def apply(reader, record):
    return reader.apply(record.key, record.value, record.headers)


def record_of(number, **version):
    (record,) = value_records(publication([value(number=number)], **version))
    return record


def test_an_older_value_does_not_replace_a_newer_one(reader):
    assert apply(reader, record_of(2, applied=11)) is Applied.VALUE
    assert apply(reader, record_of(1, applied=10)) is Applied.OLDER
    assert reader.values[KEY].value == 2


def test_any_order_of_records_ends_with_the_newest():
    records = [
        record_of(1, edition=1, as_of_ms=AS_OF_MS, applied=9),
        record_of(2, edition=1, as_of_ms=AS_OF_MS, applied=10),
        record_of(3, edition=1, as_of_ms=AS_OF_MS + 5_000, applied=1),
        record_of(4, edition=2, as_of_ms=AS_OF_MS, applied=0),
    ]
    for order in itertools.permutations(records):
        reader = ValuesReader()
        for record in order:
            apply(reader, record)
        assert reader.values[KEY].value == 4


def test_a_removed_value_does_not_come_back_older(reader):
    newest = record_of(1, applied=11)
    apply(reader, newest)
    assert reader.apply(newest.key, None, newest.headers) is Applied.REMOVED
    assert apply(reader, record_of(1, applied=10)) is Applied.OLDER
    assert reader.values == {}


def test_the_floor_is_the_highest_of_all_writers(reader):
    assert reader.floor("PK") is None
    apply(reader, fence_record(publication(applied=98), "zombie"))
    apply(reader, fence_record(publication(applied=18), "heir"))
    apply(reader, fence_record(publication(market="BD", applied=500), "other"))
    assert reader.floor("PK") == Fence(1, AS_OF_MS, 98)
    assert {writer: fence.version.applied for writer, fence in reader.fences("PK").items()} == {
        "zombie": 98,
        "heir": 18,
    }


def test_a_new_edition_must_not_go_below_the_as_of_of_the_old(reader):
    apply(reader, fence_record(publication(edition=1, as_of_ms=AS_OF_MS + 5_000), "a"))
    apply(reader, fence_record(publication(edition=2, as_of_ms=AS_OF_MS, applied=0), "b"))
    assert reader.floor("PK") == Fence(2, AS_OF_MS, 0)
    assert reader.as_of_floor_ms("PK") == AS_OF_MS + 5_000
    assert reader.as_of_floor_ms("BD") is None


def test_the_floor_outlives_a_retired_writer(reader):
    apply(reader, fence_record(publication(applied=98), "gone"))
    assert apply(reader, retired_fence("PK", "gone", Fence(1, AS_OF_MS, 99))) is Applied.REMOVED
    assert reader.fences("PK") == {}
    assert reader.floor("PK") == Fence(1, AS_OF_MS, 99)


def test_a_zombies_late_fence_record_lowers_nothing(reader):
    apply(reader, fence_record(publication(applied=98), "w"))
    assert apply(reader, fence_record(publication(applied=97), "w")) is Applied.OLDER
    assert reader.floor("PK").applied == 98


def test_a_takeover_reads_fences_only():
    reader = ValuesReader(fences_only=True)
    assert apply(reader, record_of(1)) is Applied.IGNORED
    assert apply(reader, fence_record(publication(applied=98), "w")) is Applied.FENCE
    assert reader.values == {}
    assert b'"applied":98' in reader.fences("PK")["w"].content


def test_what_is_not_ours_is_told_not_raised(reader):
    record = record_of(1)
    assert reader.apply(None, record.value, record.headers) is Applied.UNREADABLE
    assert reader.apply(b"\xff", record.value, record.headers) is Applied.UNREADABLE
    assert reader.apply(record.key, record.value, []) is Applied.UNREADABLE
    assert reader.apply(record.key, b"{", record.headers) is Applied.UNREADABLE
    assert reader.apply(record.key, b"[]", record.headers) is Applied.UNREADABLE
    assert reader.values == {}


def test_a_reader_is_bounded():
    reader = ValuesReader(keys_max=1)
    apply(reader, record_of(1))
    apply(reader, record_of(2))
    (another,) = value_records(publication([value(member="toys")]))
    with pytest.raises(TooManyKeysError):
        apply(reader, another)

"""Publication -> Kafka records: what is sent, in which order, exact at any width."""

from __future__ import annotations

import json

import pytest
from support.publications import AS_OF_MS, market_values, publication, value
from support.records import JOURNAL_TOPIC, VALUES_TOPIC, publication_records

from streams.flow.publication import Closing, Revision
from streams.index.panes import DAY_MS, HOUR_MS
from streams.index.values import Fence
from streams.publish import journal
from streams.publish.journal import (
    decode_value,
    encode_value,
    fence_record,
    journal_records,
    retired_fence,
    value_records,
    version_of,
)

HEADERS = (
    ("edition", b"1"),
    ("generation", b"0"),
    ("definitions", b"0"),
    ("as_of", str(AS_OF_MS).encode()),
    ("applied", b"10"),
)


def test_a_changed_value_becomes_a_record_of_its_own_key():
    changed = value(number=3)
    (record,) = value_records(
        publication([value(member="toys"), changed], changed=[changed]), VALUES_TOPIC
    )
    assert record.topic == "ecindex.values"
    assert record.key == b"PK|orders|category|books|1m"
    assert record.headers == HEADERS
    assert record.market == "PK"
    assert json.loads(record.value) == {
        "v": 1,
        "market": "PK",
        "index": "orders",
        "dimension": "category",
        "member": "books",
        "window": "1m",
        "as_of": "2023-11-14T22:13:00.000Z",
        "value": 3,
        "unit": "count",
        "observed": 3,
        "expected": None,
        "lower": None,
        "upper": None,
        "covered": 1.0,
        "n": 3,
        "status": "ok",
        "phase": "live",
        "revision": 0,
        "edition": 1,
        "vintage": None,
        "day": None,
    }


def test_a_day_value_has_its_date_in_the_key():
    day = value("orders", "market", "all", "day", 9, day="2023-11-14")
    (record,) = value_records(publication(changed=[], days=[day]), VALUES_TOPIC)
    assert record.key == b"PK|orders|market|all|day|2023-11-14"


@pytest.mark.parametrize("number", [2**53 + 1, 2**63, 2**64, 10**40 + 1, -(2**64) - 1])
def test_integers_of_any_width_survive_the_round_trip(number):
    wide = value("sales", number=number, n=1, unit="minor")
    assert str(number).encode() in encode_value(wide)
    assert decode_value(encode_value(wide)) == wide


def test_a_ratio_keeps_every_digit():
    ratio = value("digital_share", "market", "all", number=1 / 3, unit="ratio")
    assert decode_value(encode_value(ratio)).value == 1 / 3


def test_the_fence_record_holds_the_version_and_what_level_2_keeps_there():
    record = fence_record(publication(), "w1", VALUES_TOPIC)
    assert record.key == b"PK|fence|w1"
    assert record.headers == HEADERS
    assert json.loads(record.value) == {
        "live": True,
        "as_of": {"orders": AS_OF_MS},
        "first": {"orders": AS_OF_MS - DAY_MS},
        "hours_until": AS_OF_MS - HOUR_MS,
        "days_until": 19_600,
        "horizon": AS_OF_MS - HOUR_MS,
        "headline": AS_OF_MS,
        "joined": ["orders"],
        "generation": 0,
        "definitions": 0,
        "v": 1,
        "market": "PK",
        "writer": "w1",
        "edition": 1,
        "as_of_ms": AS_OF_MS,
        "applied": 10,
    }


def test_the_fence_record_is_sent_last():
    """Once it is acknowledged, so is everything before it in the market's partition."""
    records = publication_records(publication(journal_changed=[value()]), "w1")
    assert [(record.topic, record.key) for record in records] == [
        (JOURNAL_TOPIC, b"PK"),
        (VALUES_TOPIC, b"PK|orders|category|books|1m"),
        (VALUES_TOPIC, b"PK|fence|w1"),
    ]


def test_a_retired_fence_is_a_tombstone():
    record = retired_fence("PK", "w0", Fence(1, 0, 0, 2, 3), VALUES_TOPIC)
    assert record.key == b"PK|fence|w0"
    assert record.value is None
    assert version_of(record.headers) == Fence(1, 0, 0, 2, 3)


def test_nothing_due_is_no_journal_record():
    assert journal_records(publication(), JOURNAL_TOPIC) == []


def test_a_minute_without_changes_is_a_record_all_the_same():
    (record,) = journal_records(publication(journal_changed=[]), JOURNAL_TOPIC)
    assert json.loads(record.value) == {
        "v": 1,
        "kind": "minute",
        "market": "PK",
        "as_of": "2023-11-14T22:13:00.000Z",
        "edition": 1,
        "part": 1,
        "parts": 1,
        "values": [],
    }
    assert record.headers == HEADERS


def test_closings_and_revisions_are_journaled():
    hour = Closing("hour", AS_OF_MS - 3_600_000, AS_OF_MS, [value(phase="final")])
    revision = Revision(value(number=4, revision=1), 3, "late")
    closing, revised = journal_records(
        publication(closings=[hour], revisions=[revision]), JOURNAL_TOPIC
    )
    decoded = json.loads(closing.value)
    assert decoded["kind"] == "hour"
    assert (decoded["start"], decoded["end"]) == (
        "2023-11-14T21:13:00.000Z",
        "2023-11-14T22:13:00.000Z",
    )
    assert decoded["values"][0]["phase"] == "final"
    decoded = json.loads(revised.value)
    assert decoded["kind"] == "revision"
    assert decoded["revisions"][0]["cause"] == "late"
    assert decoded["revisions"][0]["previous"] == 3
    assert decoded["revisions"][0]["value"]["value"] == 4


def test_what_does_not_fit_one_record_is_split_in_numbered_parts():
    values = market_values("PK", [f"c{position}" for position in range(500)])
    parts = journal_records(publication([], journal_changed=values), JOURNAL_TOPIC)
    assert len(parts) > 1
    decoded = [json.loads(part.value) for part in parts]
    assert [each["part"] for each in decoded] == list(range(1, len(parts) + 1))
    assert {each["parts"] for each in decoded} == {len(parts)}
    assert [item for each in decoded for item in each["values"]] == [
        json.loads(encode_value(each)) for each in values
    ]
    assert max(len(part.value) for part in parts) <= journal.PART_BYTES_MAX
    assert min(len(part.value) for part in parts[:-1]) > journal.PART_BYTES_MAX - 1_000


@pytest.mark.parametrize(
    "headers",
    [[], HEADERS[:2], [("edition", b"x"), *HEADERS[1:]]],
    ids=["none", "one missing", "no number"],
)
def test_headers_that_are_not_ours_have_no_version(headers):
    assert version_of(headers) is None

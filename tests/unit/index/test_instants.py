"""RFC 3339 -> epoch ms: equal to datetime whatever was parsed before."""

from datetime import UTC, datetime, timedelta

import pytest

from streams.index.instants import MINUTES, RESTS, in_zone, parse_instant, typed_instant
from streams.index.panes import rfc3339

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def by_datetime(text: str) -> int:
    return (datetime.fromisoformat(text) - EPOCH) // timedelta(milliseconds=1)


@pytest.mark.parametrize(
    ("typed", "whole"),
    [
        ("2026-11-30T18:00Z", "2026-11-30T18:00:00Z"),
        ("2026-11-30T20:00+06:00", "2026-11-30T14:00:00Z"),
        (" 2026-11-30 20:00-11:30 ", "2026-12-01T07:30:00Z"),
        ("2026-11-30T18:00:05.25Z", "2026-11-30T18:00:05.25Z"),
    ],
)
def test_a_person_may_type_an_instant_to_the_minute_and_an_event_may_not(typed, whole):
    assert typed_instant(typed) == parse_instant(whole)
    assert typed_instant(in_zone(whole, "Asia/Karachi", "minutes")) in (
        parse_instant(whole),
        parse_instant(whole[:17] + "00Z"),
    )
    if typed != whole:
        assert parse_instant(typed) is None


@pytest.mark.parametrize(
    "typed", ["18:00", "2026-11-30", "2026-11-30T18:00", "2026-11-30T25:00Z", "2026-11-31T18:00Z"]
)
def test_what_names_no_instant_is_none_that_was_typed(typed):
    assert typed_instant(typed) is None


@pytest.fixture(autouse=True)
def empty_caches():
    MINUTES.clear()
    RESTS.clear()


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-24T09:54:05Z",
        "2026-11-24t09:54:05z",
        "2026-11-24 09:54:05.123456Z",
        "2026-11-24T09:54:05+05:45",
        "2026-11-24T00:00:00.999-11:30",
        "0001-01-01T00:00:00+05:00",
        "9999-12-31T23:59:59.999999-05:00",
        "1969-12-31T23:59:59.999Z",
    ],
)
def test_an_instant_is_what_datetime_says(text):
    assert parse_instant(text) == by_datetime(text.upper())
    assert parse_instant(text) == by_datetime(text.upper()), "from the caches too"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-24T09:54:05",
        "2026-11-24T09:54Z",
        "2026-11-24T09:54+05:00",
        "2026-11-24T09:54:60Z",
        "2026-11-24T23:59:60+05:00",
        "2026-11-24T23:58:60Z",
        "2026-11-24T23:59:61Z",
        "2026-11-24T23:59:60",
        "9999-12-31T23:59:60-25:00",
        "2026-13-24T09:54:05Z",
        "2026-11-24T24:00:00Z",
        "2026-11-24T09:54:05+25:00",
        "1795514070000",
        "\u0662026-11-24T09:54:05Z",
    ],
)
def test_what_is_not_an_instant_with_offset_is_none(text):
    assert parse_instant(text) is None


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z"),
        ("2016-12-31T23:59:60.25Z", "2017-01-01T00:00:00.25Z"),
        ("2017-01-01t05:29:60+05:30", "2017-01-01T00:00:00Z"),
        ("2016-12-31T15:59:60.999999-08:00", "2017-01-01T00:00:00.999Z"),
        ("2016-12-31T23:59:60.9999999Z", "2017-01-01T00:00:01Z"),
    ],
)
def test_a_leap_second_is_the_first_second_of_the_next_day(text, instant):
    assert parse_instant(text) == by_datetime(instant)
    assert parse_instant(f"{text[:11]}12:34:05Z") is not None  # its minute is known now
    assert parse_instant(f"{text[:11]}12:34{text[16:]}") is None, "halves do not combine"


def test_a_second_that_rounds_up_into_the_next_minute_does_not_move_that_minute():
    # The decoder rounds seven digits to microseconds: 59.9999999 is the next minute's 00.
    assert parse_instant("2026-11-24T08:00:30Z") == by_datetime("2026-11-24T08:00:30Z")
    rounded = parse_instant("2026-11-24T09:54:59.9999999Z")
    assert rounded == by_datetime("2026-11-24T09:55:00Z")
    assert parse_instant("2026-11-24T09:54:30Z") == by_datetime("2026-11-24T09:54:30Z")
    assert parse_instant("2026-11-24T09:54:59.9999999Z") == rounded
    assert parse_instant("2026-11-24T08:00:59.9999999Z") == by_datetime("2026-11-24T08:01:00Z")


def test_the_caches_are_bounded(monkeypatch):
    monkeypatch.setattr("streams.index.instants._CACHE_MAX", 3)
    for second in range(10):
        assert parse_instant(f"2026-11-24T09:{second:02d}:{second:02d}Z") is not None
    assert len(MINUTES) <= 3
    assert len(RESTS) <= 3


@pytest.mark.parametrize(
    "text",
    [
        "0001-01-01T00:00:00.000Z",
        "0026-11-29T00:00:00.001Z",
        "1969-12-31T23:59:59.999Z",
        "9999-12-31T23:59:59.999Z",
    ],
)
def test_what_is_written_of_an_instant_is_read_again(text):
    """Years below 1000 were written without their zeros, and no worker could read the record."""
    instant_ms = parse_instant(text)
    assert instant_ms is not None
    assert rfc3339(instant_ms) == text


@pytest.mark.parametrize(
    ("instant", "time_zone", "shown"),
    [
        ("2026-11-24T18:15:00.000Z", "Asia/Kathmandu", "2026-11-25T00:00+05:45"),
        ("2026-10-25T00:30:00.000Z", "Europe/London", "2026-10-25T01:30+01:00"),
        ("2026-10-25T01:30:00.000Z", "Europe/London", "2026-10-25T01:30+00:00"),
    ],
)
def test_an_instant_in_the_zone_of_a_market_is_the_same_instant(instant, time_zone, shown):
    assert in_zone(instant, time_zone, "minutes") == shown
    assert parse_instant(in_zone(instant, time_zone)) == parse_instant(instant)

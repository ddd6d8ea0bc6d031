"""Local days tile time in every zone: no gap, no overlap, whatever daylight saving does."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streams.index.panes import DAY_MS, LocalDays, day_name, day_number, rfc3339

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
QUARTER_MS = 900_000
# Africa/Monrovia was the last zone with an odd offset, until January 1972.
SINCE_MS, UNTIL_MS = 3 * 365 * DAY_MS, 68 * 365 * DAY_MS
ZONES = sorted(
    zone
    for zone in available_timezones()
    if "/" in zone and not zone.startswith(("posix", "right", "Etc"))
)
HARD_ZONES = [
    "America/Sao_Paulo",  # midnight falls into the gap in spring, 24:00 is 23:00 in autumn
    "America/St_Johns",  # clocks changed at 00:01 until 2011
    "America/Havana",
    "Asia/Kathmandu",
    "Asia/Tehran",
    "Asia/Beirut",
    "Africa/Cairo",
    "Pacific/Apia",  # 2011-12-30 never was
    "Pacific/Kwajalein",  # 1993-08-21 never was
    "Australia/Lord_Howe",  # half an hour
    "Antarctica/Troll",  # two hours
    "Europe/London",
]


def local_date(zone: str, instant_ms: int) -> int:
    moment = (EPOCH + timedelta(milliseconds=instant_ms)).astimezone(ZoneInfo(zone))
    return moment.date().toordinal() - date(1970, 1, 1).toordinal()


zones = st.one_of(st.sampled_from(HARD_ZONES), st.sampled_from(ZONES))


@given(zones, st.integers(SINCE_MS, UNTIL_MS))
@example("America/St_Johns", 1_005_000_000_000)
def test_an_instant_lies_in_exactly_the_day_that_holds_it(zone, instant_ms):
    days = LocalDays(zone)
    day = days.day_of(instant_ms)
    assert days.start_ms(day) <= instant_ms < days.end_ms(day)
    assert days.end_ms(day) == days.start_ms(day + 1)


@pytest.mark.parametrize("zone", HARD_ZONES)
def test_every_quarter_of_forty_years_of_a_hard_zone(zone):
    days = LocalDays(zone)
    previous = None
    # Around each change of the offset, quarter by quarter; elsewhere a day is a plain day.
    for at_ms in range(10 * 365 * DAY_MS, 50 * 365 * DAY_MS, DAY_MS):
        if _offset(zone, at_ms) == _offset(zone, at_ms + DAY_MS):
            continue
        for quarter in range(at_ms - DAY_MS, at_ms + 2 * DAY_MS, QUARTER_MS):
            day = days.day_of(quarter)
            assert days.start_ms(day) <= quarter < days.end_ms(day), rfc3339(quarter)
            if previous is not None and quarter - previous[0] == QUARTER_MS:
                assert day >= previous[1], rfc3339(quarter)
            previous = (quarter, day)


def _offset(zone: str, at_ms: int) -> timedelta | None:
    return (EPOCH + timedelta(milliseconds=at_ms)).astimezone(ZoneInfo(zone)).utcoffset()


@given(zones, st.integers(SINCE_MS // DAY_MS, UNTIL_MS // DAY_MS))
def test_a_day_starts_at_the_first_quarter_that_shows_its_date(zone, day):
    days = LocalDays(zone)
    start_ms = days.start_ms(day)
    assert start_ms % QUARTER_MS == 0
    assert local_date(zone, start_ms) >= day
    assert all(local_date(zone, start_ms - back * QUARTER_MS) < day for back in range(1, 12))


@given(zones, st.integers(SINCE_MS, UNTIL_MS))
def test_a_day_is_the_local_date_except_in_an_hour_that_is_repeated(zone, instant_ms):
    day = LocalDays(zone).day_of(instant_ms)
    shown = local_date(zone, instant_ms)
    assert shown in (day, day - 1)
    if shown != day:
        assert _offset(zone, instant_ms - 3 * 3_600_000) != _offset(zone, instant_ms)


@pytest.mark.parametrize(
    ("zone", "day", "start"),
    [
        ("America/Sao_Paulo", "2018-11-04", "2018-11-04T03:00:00.000Z"),  # 01:00, after the gap
        ("America/Sao_Paulo", "2018-02-18", "2018-02-18T03:00:00.000Z"),
        ("Asia/Kathmandu", "2026-11-24", "2026-11-23T18:15:00.000Z"),
        ("Europe/London", "2026-06-01", "2026-05-31T23:00:00.000Z"),
        ("Pacific/Apia", "2011-12-31", "2011-12-30T10:00:00.000Z"),
        ("America/St_Johns", "2001-10-28", "2001-10-28T02:30:00.000Z"),
    ],
)
def test_known_starts_of_days(zone, day, start):
    assert rfc3339(LocalDays(zone).start_ms(day_number(day))) == start


@given(st.integers(-700_000, 2_900_000))
def test_day_names_read_back(day):
    assert day_number(day_name(day)) == day


def test_beyond_the_calendar_a_day_is_a_plain_day():
    days = LocalDays("Asia/Karachi")
    assert days.day_of(2**60) == 2**60 // DAY_MS
    assert days.start_ms(5_000_000) == 5_000_000 * DAY_MS


def test_the_memory_of_quarters_is_bounded(monkeypatch):
    monkeypatch.setattr("streams.index.panes._CACHED_QUARTERS_MAX", 4)
    days = LocalDays("Asia/Karachi")
    assert [days.day_of(quarter * QUARTER_MS) for quarter in range(20)] == [0] * 20
    assert len(days._cache) <= 4

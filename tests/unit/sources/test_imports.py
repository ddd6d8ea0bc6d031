"""Exact money and naive local times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streams.index.currencies import exponent
from streams.index.event_types import EVENT_SUM_MAX
from streams.sources.imports import LocalTimes, minor_units

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def ms(text):
    return (datetime.fromisoformat(text) - EPOCH) // timedelta(milliseconds=1)


@given(
    whole=st.integers(-(10**17), 10**17),
    fraction=st.text("0123456789", max_size=8),
    currency=st.sampled_from(["PKR", "JPY", "KWD"]),
)
@example(whole=0, fraction="29", currency="PKR")  # as floats 0.29 * 100 is 28.999999999999996
@example(whole=10**16, fraction="01", currency="PKR")  # more digits than a float holds
def test_an_amount_is_exact_or_refused(whole, fraction, currency):
    text = f"{whole}.{fraction}" if fraction else str(whole)
    scaled = Fraction(text) * 10 ** exponent(currency)
    expected = int(scaled) if scaled.denominator == 1 and abs(scaled) <= EVENT_SUM_MAX else None
    assert minor_units(text, currency) == expected


@given(st.floats(0.01, 1e9).map(lambda value: round(value, 2)))
def test_a_float_price_reads_as_it_was_written(price):
    assert minor_units(repr(price), "GBP") == int(Fraction(repr(price)) * 100)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "NaN",
        "Infinity",
        "1,5",
        "0.001",
        "1e400",
        "1e999999999",
        "1e-999999999",
        f"1.{'0' * 40}1",
        str(EVENT_SUM_MAX),
        f"{EVENT_SUM_MAX // 100}.01",
    ],
)
def test_what_is_no_amount_is_refused_quickly(text):
    assert minor_units(text, "BRL") is None


@pytest.mark.parametrize(("text", "minor"), [("0", 0), ("0e9", 0), ("1e2", 10_000), ("-1.5", -150)])
def test_other_spellings_of_numbers(text, minor):
    assert minor_units(text, "BRL") == minor


def test_a_time_that_occurs_twice_is_the_first_of_the_two():
    # Sao Paulo left summer time on 2018-02-18: 00:00 -02 became 23:00 -03 of the 17th.
    times = LocalTimes("America/Sao_Paulo")
    assert times.instant_ms("2018-02-17 23:30:00") == ms("2018-02-17T23:30:00-02:00")
    assert times.instant_ms("2018-02-18 00:00:00") == ms("2018-02-18T00:00:00-03:00")


def test_a_time_that_does_not_exist_is_moved_forward_by_the_gap():
    # Sao Paulo entered summer time on 2017-10-15: 00:00 -03 became 01:00 -02.
    times = LocalTimes("America/Sao_Paulo")
    assert times.instant_ms("2017-10-15 00:30:00") == ms("2017-10-15T01:30:00-02:00")
    assert times.instant_ms("2017-10-14 23:59:59") == ms("2017-10-14T23:59:59-03:00")
    assert times.instant_ms("2017-10-15 01:00:00") == ms("2017-10-15T01:00:00-02:00")


@pytest.mark.parametrize("text", ["", "yesterday", "2018-02-30 10:00:00", "2018-02-03T10:00:00Z"])
def test_what_is_no_naive_time_is_refused(text):
    assert LocalTimes("Europe/London").instant_ms(text) is None


@given(
    zone=st.sampled_from(["America/Sao_Paulo", "Europe/London", "Asia/Karachi"]),
    local=st.datetimes(datetime(2010, 1, 1), datetime(2019, 12, 31)).map(  # noqa: DTZ001 - naive
        lambda moment: moment.replace(microsecond=0)
    ),
)
def test_a_local_time_reads_back_as_itself_or_later_by_a_gap(zone, local):
    instant = LocalTimes(zone).instant_ms(str(local))
    moment = EPOCH + timedelta(milliseconds=instant)
    shown = moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    assert shown - local in (timedelta(0), timedelta(hours=1))
    earlier = (moment - timedelta(hours=1)).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    assert earlier != local, "the first of two"

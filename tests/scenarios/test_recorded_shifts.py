"""Recorded series, watched by the workers' own classes: NAB's, and Olist's Black Friday of 2017."""

import csv
import gzip
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from streams.bench.shift_recorded import judge, judge_nab, read_nab
from streams.index.panes import MINUTE_MS, rfc3339
from streams.index.shift_budget import ShiftRules
from streams.rehearsal.recorded_counts import RecordedCounts, watch

SHARED = Path(__file__).parents[2].parent / "shared/data"
BRAZIL = ZoneInfo("America/Sao_Paulo")


def needs(name):
    directory = SHARED / name
    return pytest.mark.skipif(not directory.exists(), reason=f"no {directory}")


def olist_orders():
    """Minutes of Olist's purchases."""
    with gzip.open(SHARED / "olist/orders.csv.gz", "rt", newline="") as lines:
        return [
            int(
                datetime.fromisoformat(row["order_purchase_timestamp"])
                .replace(tzinfo=BRAZIL)
                .timestamp()
            )
            // 60
            for row in csv.DictReader(lines)
        ]


@needs("nab")
@pytest.mark.deep
def test_a_record_of_two_weeks_is_judged_nowhere():
    for name in ("jumpsup", "jumpsdown", "small_noise"):
        found = judge(read_nab(SHARED / f"nab/art_daily_{name}.csv"), "UTC", [])
        assert (found["days"], found["days_judged"], found["pages"]) == (14.0, 0, [])


@needs("nab")
@pytest.mark.deep
def test_bursts_of_every_second_day_page_once_outside_the_labelled_window():
    """It was 18 times; the one is an hour of x106 to midnight, as large as the window's own largest."""
    directory = SHARED / "nab"
    (found,) = (one for one in judge_nab(directory) if one["file"] == "Twitter_volume_AAPL.csv")
    assert (found["windows"], found["windows_found"]) == (1, 1)
    outside = [page for page in found["pages"] if page["outside"]]
    assert [(page["at"][:16], page["restless"]) for page in outside] == [("2015-04-15T00:00", True)]


@needs("olist")
@pytest.mark.deep
def test_black_friday_2017_is_found_in_its_first_hours():
    first = int(datetime(2017, 10, 1, tzinfo=BRAZIL).timestamp()) // 60
    counts = [0] * (56 * 1440)
    for minute in olist_orders():
        if 0 <= minute - first < len(counts):
            counts[minute - first] += 1
    pages = [
        one.shift
        for one in watch(RecordedCounts(first, 1, counts), "America/Sao_Paulo", ShiftRules())
        if one.shift.event == "page" and one.shift.direction > 0
    ]
    days = [rfc3339(page.at * MINUTE_MS)[:10] for page in pages]
    friday = pages[days.index("2017-11-24")]
    assert rfc3339(friday.at * MINUTE_MS) < "2017-11-24T09:00"  # 07:00 in Sao Paulo
    assert friday.interval.lower > 2

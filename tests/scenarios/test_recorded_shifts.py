"""The detector on recorded series: those of NAB, and Black Friday 2017 in Olist's orders."""

import csv
import gzip
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from streams.bench.shift_recorded import RecordedCounts, judge_nab, watch
from streams.index.panes import MINUTE_MS, rfc3339
from streams.index.shift_detector import DetectorRules

SHARED = Path(__file__).parents[2].parent / "shared/data"
BRAZIL = ZoneInfo("America/Sao_Paulo")


def needs(name):
    directory = SHARED / name
    return pytest.mark.skipif(not directory.exists(), reason=f"no {directory}")


@needs("nab")
@pytest.mark.deep
def test_nabs_jumps_are_found_and_nothing_where_there_is_none():
    found = {one["file"]: one for one in judge_nab(SHARED / "nab")}
    for name, ratio in (("art_daily_jumpsup.csv", 1.8), ("art_daily_jumpsdown.csv", 0.5)):
        one = found[name]
        assert (one["windows"], one["hits"], one["false_alarms"]) == (1, 1, 0)
        assert one["pages"][0]["ratio"] == pytest.approx(ratio, abs=0.1)
    assert found["art_daily_small_noise.csv"]["pages"] == []
    assert found["Twitter_volume_AAPL.csv"]["hits"] == 3  # the first lies in the week learnt from


@needs("olist")
@pytest.mark.deep
def test_black_friday_2017_is_found_in_its_first_hours():
    with gzip.open(SHARED / "olist/orders.csv.gz", "rt", newline="") as lines:
        bought = [
            int(
                datetime.fromisoformat(row["order_purchase_timestamp"])
                .replace(tzinfo=BRAZIL)
                .timestamp()
            )
            // 60
            for row in csv.DictReader(lines)
        ]
    first = int(datetime(2017, 8, 1, tzinfo=BRAZIL).timestamp()) // 60
    counts = [0] * (120 * 1440)
    for minute in bought:
        if 0 <= minute - first < len(counts):
            counts[minute - first] += 1
    pages = [
        event
        for event in watch(
            RecordedCounts(first, 1, counts), "America/Sao_Paulo", DetectorRules(page_days=150.0)
        )
        if event.kind == "page" and event.direction > 0
    ]
    days = [rfc3339(page.at * MINUTE_MS)[:10] for page in pages]
    assert "2017-11-24" in days
    friday = pages[days.index("2017-11-24")]
    assert rfc3339(friday.at * MINUTE_MS) < "2017-11-24T09:00"  # 07:00 in Sao Paulo
    assert friday.interval.lower > 2

"""What a rehearsal counts, judges and prints, and how the command answers to what it cannot use."""

from __future__ import annotations

import csv
import io
import json
import math
import random

import pytest
from rich.console import Console
from typer.testing import CliRunner

from streams.cli.commands import app
from streams.console.errors import OperationError
from streams.flow.chunk import SourcePartition
from streams.flow.shift_watch import FINAL, FoundShift
from streams.index.panes import DAY_MS, HOUR_MS, MINUTE_MS, rfc3339
from streams.index.partials import ORDERS, Layout
from streams.index.shift_budget import ShiftRules
from streams.index.shift_ratio import RatioInterval
from streams.rehearsal.command import Rehearsal, as_json, settings_of_rules
from streams.rehearsal.counted_minutes import CountedMarket, CountedMinutes, chunks
from streams.rehearsal.history import source_of
from streams.rehearsal.print_rehearsal import print_rehearsal
from streams.rehearsal.rehearse import Hour, RehearsedMarket, RehearsedPage, alarms, span_of
from tests.support.flow_harness import METHODOLOGY, order

FIRST_MS = 1_767_225_600_000  # 2026-01-01 00:00 UTC
SP = SourcePartition("orders", 0)
LINE = ("quantity", "unit_price_minor")
SHOP = """
edition = 1
[methods.card]
digital = true
[channels.web]
[category_sets]
all = ["books"]
[markets.GB]
name = "a shop"
currency = "GBP"
time_zone = "Europe/London"
categories = "all"
"""


def page(at_ms, *, member="books", direction=1, evidence=2.0, over_ms=None):
    dimension = "market" if member == "all" else "category"
    at = at_ms // MINUTE_MS
    shift = FoundShift(
        dimension, member, "page", 1, FINAL, direction, "fast", at - 5, at, evidence,
        RatioInterval(30.0, 10.0, 3.0, 2.0, 4.2),
    )  # fmt: skip
    return RehearsedPage(shift, at_ms - 5 * MINUTE_MS, at_ms, over_ms, 0.1)


def test_events_are_counted_as_the_workers_count_them():
    counted = CountedMinutes(METHODOLOGY)
    counter = counted.source(SP, payments=False)
    minute = FIRST_MS + 10 * MINUTE_MS
    events = [
        order("a", minute),
        order("a", minute),  # the same event once more
        order("b", minute + 30_000),
        order("c", minute + 5 * MINUTE_MS),
        order("d", minute - 30 * MINUTE_MS),  # later than the grace
        b"no event",
    ]
    stamps = [minute, minute, minute + 30_000, *[minute + 5 * MINUTE_MS] * 3]
    values = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in events]
    records = [(b"k", value, stamp) for value, stamp in zip(values, stamps, strict=True)]
    for chunk in chunks(SP, records):
        counter.count(chunk)
    market = counted.markets["PK"]
    assert sorted(market.minutes) == [minute]
    counter.finish()
    assert sorted(market.minutes) == [minute, minute + 5 * MINUTE_MS]
    row = market.row(minute)
    assert row[ORDERS] == 2
    assert market.row(minute + MINUTE_MS) is None
    assert market.sources == [True, False]
    assert (counted.outcomes["duplicate"], counted.outcomes["invalid_json"]) == (1, 1)


def test_a_market_is_judged_after_four_weeks_of_its_own_past():
    def history(days):
        market = CountedMarket(Layout(METHODOLOGY.markets["PK"]))
        market.minutes = {FIRST_MS: {}, FIRST_MS + days * DAY_MS: {}}
        return span_of(market, weeks=2)

    assert history(27) is None
    assert history(30).judged_ms == FIRST_MS + 28 * DAY_MS
    assert history(30).known_ms == FIRST_MS
    long = history(100)
    assert long.until_ms == FIRST_MS + 100 * DAY_MS
    assert long.judged_ms == long.until_ms - 14 * DAY_MS
    assert long.watched_ms == long.judged_ms - 7 * DAY_MS
    assert long.known_ms > FIRST_MS


def test_pages_of_one_direction_within_an_hour_are_one_call_led_by_the_total():
    books, games = page(FIRST_MS), page(FIRST_MS + 10 * MINUTE_MS, member="games", evidence=9.0)
    total = page(FIRST_MS + 20 * MINUTE_MS, member="all", evidence=1.0)
    down = page(FIRST_MS + 30 * MINUTE_MS, direction=-1)
    late = page(FIRST_MS + 2 * HOUR_MS)
    found = list(alarms([late, books, total, down, games]))
    assert [(alarm.first, alarm.others) for alarm in found] == [
        (total, (books, games)),
        (down, ()),
        (late, ()),
    ]


def test_other_rules_stand_beside_the_present_ones_once_and_must_be_possible():
    present = ShiftRules()
    found = settings_of_rules(present, [15.0, 30.0], [(0.5, 0.5)])
    assert [(one.budget_days, one.all, one.members) for one in found] == [
        (30.0, 0.2, 0.7),
        (15.0, 0.2, 0.7),
        (30.0, 0.5, 0.5),
    ]
    with pytest.raises(OperationError, match=r"must add up to at most 1"):
        settings_of_rules(present, [], [(0.9, 0.2)])


def test_what_is_printed_says_when_what_and_why_for_each_set_of_rules():
    rules = [ShiftRules(), ShiftRules(budget_days=60.0)]
    until_ms = FIRST_MS + 14 * DAY_MS
    own = page(FIRST_MS + 9 * HOUR_MS, member="all", over_ms=FIRST_MS + 12 * HOUR_MS)
    results = [
        RehearsedMarket("PK", rules[0], FIRST_MS, until_ms, [own], [Hour(FIRST_MS, 3, None)]),
        RehearsedMarket("PK", rules[1], FIRST_MS, until_ms, [], []),
    ]
    rehearsal = Rehearsal(rules, {"PK": results}, ["LK"])
    console = Console(record=True, width=120, file=io.StringIO())
    print_rehearsal(console, rehearsal, METHODOLOGY)
    text = console.export_text()
    sides = [line.split()[-4:] for line in text.splitlines() if "days, total" in line]
    assert sides == [["0.7", "1", "1", "14.0"], ["0", "0", "over", "14"]]
    line = next(line for line in text.splitlines() if line.startswith("2026-01-01 14:00"))
    assert " ".join(line.split()) == (
        "2026-01-01 14:00 all up 3.0 times (2.0 to 4.2) 30 of 10 5 min 3 h 5 min fast"
    )
    assert "LK: the history is too short" in text
    (first, second) = as_json(rehearsal)["markets"]
    assert (first["pages"], second["pages"]) == (1, 0)
    assert first["alarms"][0]["paged"] == "2026-01-01T09:00:00.000Z"


def test_the_kind_of_files_is_seen_from_the_directory_or_one_of_its_files(tmp_path):
    orders = tmp_path / "orders.csv"
    orders.write_text("")
    assert source_of(orders) == ("csv", tmp_path)
    (tmp_path / "order_items.csv.gz").write_text("")
    assert source_of(tmp_path) == ("olist", tmp_path)
    (tmp_path / "online_retail.parquet").write_text("")
    assert source_of(tmp_path)[0] == "online-retail"
    with pytest.raises(OperationError, match="no such file"):
        source_of(tmp_path / "missing")


def sales(path, days, times):
    """Write orders.csv: some orders an hour for days, ``times(hour)`` of what is usual."""
    dice = random.Random(3)
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("event_id", "type", "occurred_at", "market", "currency", *LINE))
        for hour in range(days * 24):
            mean = 60 * (1 + 0.5 * math.sin(hour / 12 * math.pi)) * times(hour)
            for number in range(round(mean)):
                at = FIRST_MS + hour * HOUR_MS + dice.randrange(HOUR_MS)
                rows.writerow(
                    (f"{hour}-{number}", "order.placed", rfc3339(at), "GB", "GBP", 1, 500)
                )


def run_command(tmp_path, *arguments):
    methodology = tmp_path / "methodology.toml"
    methodology.write_text(SHOP)
    config = tmp_path / "ecindex.toml"
    config.write_text(f'methodology = "{methodology}"\n')
    return CliRunner().invoke(app, ["rehearse", *arguments, "--config", str(config)])


def test_too_short_a_history_and_an_unknown_market_are_said(tmp_path):
    sales(tmp_path / "orders.csv", 1, lambda _: 1.0)
    found = run_command(tmp_path, str(tmp_path))
    assert (found.exit_code, "GB: expected more than 28 days" in found.stderr) == (1, True)
    found = run_command(tmp_path, str(tmp_path), "--market", "XX")
    assert "market 'XX' is not in methodology.toml; it has GB" in found.stderr
    found = run_command(tmp_path, str(tmp_path), "--picture", str(tmp_path / "a.gif"))
    assert "expected a name that ends in .svg or .png" in found.stderr
    assert run_command(tmp_path).exit_code == 2


def test_events_of_another_market_or_currency_are_named(tmp_path):
    sales(tmp_path / "orders.csv", 1, lambda _: 1.0)
    text = (tmp_path / "orders.csv").read_text()
    (tmp_path / "orders.csv").write_text(text.replace(",GBP,", ",EUR,"))
    found = run_command(tmp_path, str(tmp_path))
    assert "expected events of GB (methodology.toml), found" in found.stderr
    (tmp_path / "orders.csv").write_text(text.replace(",GB,", ",DE,"))
    found = run_command(tmp_path, str(tmp_path))
    assert found.exit_code == 2
    assert f"expected a file with the markets of {tmp_path}: 'DE'\n" in found.stderr


@pytest.mark.deep
def test_a_jump_and_a_stop_of_the_last_week_are_told_with_a_picture(tmp_path):
    jump, stop = 29 * 24 + 10, 30 * 24 + 12

    def times(hour):
        if jump <= hour < jump + 3:
            return 6.0
        return 0.0 if stop <= hour < stop + 3 else 1.0

    sales(tmp_path / "orders.csv", 31, times)
    picture = tmp_path / "seen.svg"
    found = run_command(
        tmp_path, str(tmp_path), "--weeks", "1", "--picture", str(picture), "--json"
    )
    assert found.exit_code == 0, found.output
    (market,) = json.loads(found.stdout.splitlines()[-1])["markets"]
    told = [
        (one["direction"], one["dimension"], one["paged"][:13], one["over"][:13])
        for one in market["alarms"]
    ]
    assert told == [
        ("up", "market", "2026-01-30T10", "2026-01-30T13"),
        ("down", "market", "2026-01-31T12", "2026-01-31T15"),
    ]
    assert market["alarms"][0]["ratio"] == pytest.approx(6.0, rel=0.35)
    assert picture.read_text().startswith("<?xml")

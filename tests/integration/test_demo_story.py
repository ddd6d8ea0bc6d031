"""The whole demo: demand is near 100 before a planted shift, which is found, explained and ends."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections import defaultdict
from typing import NamedTuple

import pytest
from redis.exceptions import RedisError
from support.command import ENVIRONMENT

from streams.clock import now_ms
from streams.demo.demo_plan import make_plan
from streams.index.instants import parse_instant
from streams.operate.market_views import connect, read_markets, read_shifts
from streams.reader import DEFAULT_PREFIX
from streams.settings import load_settings
from streams.shops.simulate_profile import load_profile

MARKETS = ("BD", "LK", "MM", "NP", "PK")
FOUND_WITHIN_MS = 360_000
START_OFF_MS = 120_000
USUAL = [
    "demand_index_orders:market:all:1m",
    "demand_index_orders:market:all:5m",
    "demand_index_units:market:all:5m",
    "demand_index_sales:market:all:5m",
]
LOOK_EVERY_S = 1.0

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.long]


class Sample(NamedTuple):
    """Values and shifts in Redis at one moment."""

    at_ms: int
    values: dict
    shifts: dict


class Seen:
    """Every sample of a demo, and the stderr of the demo."""

    def __init__(self, samples, stderr):
        self.samples, self.stderr = samples, stderr
        self.live_ms = next(
            sample.at_ms for sample in samples if len(sample.values) == len(MARKETS)
        )

    def planted_ms(self, what):
        """Instant that was announced."""
        (line,) = (line for line in self.stderr.splitlines() if f"planted: {what}" in line)
        clock = re.search(r" at (\d\d:\d\d:\d\d) UTC", line)[1]
        found = parse_instant(f"{self.day(self.live_ms)}T{clock}Z")
        return found if found >= self.live_ms - 60_000 else found + 86_400_000

    @staticmethod
    def day(at_ms):
        return time.strftime("%Y-%m-%d", time.gmtime(at_ms / 1000))

    def shifts(self):
        """(market, dimension, member) -> [(sample, shift)] in which it was active."""
        found = defaultdict(list)
        for sample in self.samples:
            for market, shifts in sample.shifts.items():
                for shift in shifts:
                    found[market, shift.dimension, shift.member].append((sample.at_ms, shift))
        return found


def sample_of(settings):
    with connect(settings.redis) as client:
        views = read_markets(client, now_ms(), None, DEFAULT_PREFIX)
        values = {
            view.market: {
                value.field: value for value in view.snapshot.values if value.field in USUAL
            }
            for view in views
            if view.snapshot is not None
        }
        return Sample(now_ms(), values, read_shifts(client, MARKETS, DEFAULT_PREFIX))


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    directory = tmp_path_factory.mktemp("story")
    argv = [sys.executable, "-P", "-m", "streams.cli", "demo", "--keep", str(directory / "kept")]
    plan = make_plan(load_profile(), (), now_ms() + 20_000, None)  # an hour may have to pass
    argv += ["--for", f"{plan.story_ms // 1000 + 30}s", "--json"]
    stderr = directory / "stderr.txt"
    samples = []
    with stderr.open("w") as err, (directory / "out.txt").open("w") as out:
        process = subprocess.Popen(argv, stdout=out, stderr=err, env=ENVIRONMENT)
        try:
            while process.poll() is None:
                if (
                    "live values in Redis" in stderr.read_text()
                    and "stopping" not in stderr.read_text()
                ):
                    try:
                        samples.append(
                            sample_of(load_settings(directory / "kept" / "ecindex.toml", {}))
                        )
                    except RedisError:  # it has just been stopped
                        break
                time.sleep(LOOK_EVERY_S)
            assert process.wait(120) == 0, stderr.read_text()
        finally:
            if process.poll() is None:
                process.kill()
    return Seen(samples, stderr.read_text())


def test_demand_is_near_100_for_five_minutes_and_no_value_is_warming(seen):
    until_ms = min(seen.live_ms + 300_000, seen.planted_ms("demand"))
    early = [sample for sample in seen.samples if sample.at_ms < until_ms]
    assert until_ms - early[0].at_ms > 290_000
    outside, extremes = [], defaultdict(list)
    for sample in early:
        for market in MARKETS:
            for field in USUAL:
                value = sample.values[market][field]
                assert value.status == "ok", (market, field, value.status)
                assert value.lower <= value.expected <= value.upper
                extremes[market, field].append(value.value)
                if not 80 <= value.value <= 120:
                    outside.append((market, field, value.value))
    for (market, field), values in extremes.items():
        print(f"{market} {field}: {min(values):.1f} to {max(values):.1f}")  # noqa: T201 - figures
    assert outside == []


def test_no_shift_before_the_planted_one_and_none_where_nothing_was_planted(seen):
    first_ms = seen.planted_ms("demand")
    shifts = seen.shifts()
    assert [key for key, times in shifts.items() if times[0][0] < first_ms] == []
    assert {market for market, _, _ in shifts} == {"PK", "BD"}


@pytest.mark.parametrize(
    ("what", "key", "direction"),
    [
        ("demand", ("PK", "category", "womens_fashion"), 1),
        ("outage", ("BD", "market", "all"), -1),
    ],
)
def test_what_was_planted_is_found_in_time_rightly_and_ends(seen, what, key, direction):
    times = seen.shifts()[key]
    planted_ms = seen.planted_ms(what)
    found_ms, shift = times[0]
    print(  # noqa: T201 - figures
        f"{what}: found after {(found_ms - planted_ms) / 1000:.0f} s, start off by "
        f"{(parse_instant(shift.start) - planted_ms) / 1000:.0f} s, over "
        f"{(times[-1][0] - planted_ms) / 1000:.0f} s after it was planted, ratio {shift.ratio}"
    )
    assert 0 <= found_ms - planted_ms <= FOUND_WITHIN_MS
    assert shift.direction == direction
    assert abs(parse_instant(shift.start) - planted_ms) <= START_OFF_MS
    assert shift.evidence >= 1
    assert bool(shift.contributors) == (key[1] == "market")
    if direction > 0:
        assert 3 < times[-1][1].ratio < 8
    else:
        assert times[-1][1].ratio < 0.5
    assert times[-1][0] < seen.samples[-1].at_ms, "it goes on at the end"


def test_the_demo_reports_both_when_they_are_found_and_when_they_are_over(seen):
    for name in (r"Womens fashion \(category, PK\)", " BD"):
        found = f"^FOUND .*{name}: orders .* found after "
        assert len(re.findall(found, seen.stderr, re.MULTILINE)) == 1
        over = f"^OVER .*{name}: orders .*Over by "
        assert len(re.findall(over, seen.stderr, re.MULTILINE)) == 1

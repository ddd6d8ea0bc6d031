"""The whole demo: demand is near 100 before a planted shift, which is found, explained and ends."""

from __future__ import annotations

import contextlib
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
from streams.operate.market_views import connect, read_markets
from streams.reader import DEFAULT_PREFIX
from streams.settings import load_settings
from streams.shops.simulate_profile import load_profile

MARKETS = ("BD", "LK", "MM", "NP", "PK")
JUMP, OUTAGE = ("PK", "category", "womens_fashion"), ("BD", "market", "all")
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
    """Values and incidents in Redis at one moment."""

    at_ms: int
    values: dict
    incidents: dict


class Seen:
    """A demo that runs, what it has said, and a sample of each second that somebody waited."""

    def __init__(self, directory, process):
        self.directory, self.process = directory, process
        self.samples = []

    @property
    def stderr(self):
        return (self.directory / "stderr.txt").read_text()

    @property
    def live_ms(self):
        return next(sample.at_ms for sample in self.samples if len(sample.values) == len(MARKETS))

    def until(self, condition):
        """Look once a second until it holds. The demo's own end is the deadline."""
        while True:
            ended = self.process.poll() is not None
            if condition():
                return
            assert not ended, self.stderr
            if "live values in Redis" in self.stderr:
                with contextlib.suppress(RedisError):  # it is being stopped
                    self.samples.append(self._sample())
            time.sleep(LOOK_EVERY_S)

    def _sample(self):
        settings = load_settings(self.directory / "kept" / "ecindex.toml", {})
        with connect(settings.redis) as client:
            views = read_markets(client, now_ms(), None, DEFAULT_PREFIX)
        values = {
            view.market: {
                value.field: value for value in view.snapshot.values if value.field in USUAL
            }
            for view in views
            if view.snapshot is not None
        }
        return Sample(now_ms(), values, {view.market: view.incidents for view in views})

    def planted(self, what):
        """Start and end that were announced, in ms."""
        (line,) = (line for line in self.stderr.splitlines() if f"planted: {what}" in line)
        clock, lasts_s = re.search(r" at (\d\d:\d\d:\d\d) UTC, .*for (\d+) s", line).groups()
        day = time.strftime("%Y-%m-%d", time.gmtime(self.live_ms / 1000))
        start_ms = parse_instant(f"{day}T{clock}Z")
        if start_ms < self.live_ms - 60_000:
            start_ms += 86_400_000
        return start_ms, start_ms + int(lasts_s) * 1_000

    def open_incidents(self):
        """(market, dimension, member) that leads -> [(when, incident)] while it was open."""
        found = defaultdict(list)
        for sample in self.samples:
            for market, incidents in sample.incidents.items():
                for incident in incidents:
                    if incident.over is None:
                        key = (market, incident.dimension, incident.member)
                        found[key].append((sample.at_ms, incident))
        return found


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    directory = tmp_path_factory.mktemp("story")
    argv = [sys.executable, "-P", "-m", "streams.cli", "demo", "--keep", str(directory / "kept")]
    plan = make_plan(load_profile(), (), now_ms() + 20_000, None)  # an hour may have to pass
    argv += ["--for", f"{plan.story_ms // 1000 + 30}s", "--json"]
    with (directory / "stderr.txt").open("w") as err, (directory / "out.txt").open("w") as out:
        process = subprocess.Popen(argv, stdout=out, stderr=err, env=ENVIRONMENT)
        found = Seen(directory, process)
        try:
            found.until(lambda: found.samples and len(found.samples[-1].values) == len(MARKETS))
            yield found
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


def test_demand_is_near_100_for_five_minutes_and_no_value_is_warming(seen):
    until_ms = min(seen.live_ms + 300_000, seen.planted("demand")[0])
    seen.until(lambda: now_ms() >= until_ms)
    early = [sample for sample in seen.samples if seen.live_ms <= sample.at_ms < until_ms]
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


@pytest.mark.parametrize(
    ("what", "key", "direction"), [("demand", JUMP, "up"), ("outage", OUTAGE, "down")]
)
def test_what_was_planted_is_found_in_time_and_rightly(seen, what, key, direction):
    planted_ms, end_ms = seen.planted(what)
    seen.until(lambda: now_ms() > end_ms)
    times = seen.open_incidents()[key]
    found_ms, incident = times[0]
    print(  # noqa: T201 - figures
        f"{what}: found after {(found_ms - planted_ms) / 1000:.0f} s, start off by "
        f"{(parse_instant(incident.began) - planted_ms) / 1000:.0f} s"
    )
    assert 0 <= found_ms - planted_ms <= FOUND_WITHIN_MS
    assert incident.direction == direction
    assert abs(parse_instant(incident.began) - planted_ms) <= START_OFF_MS
    assert incident.evidence >= 1
    last = [each for at_ms, each in times if at_ms <= end_ms][-1]
    if direction == "up":
        assert 3 < last.size.ratio < 8
    else:
        assert last.size.ratio < 0.5
        assert last.affected


def test_nothing_is_found_before_it_was_planted_nor_where_nothing_was(seen):
    incidents = seen.open_incidents()
    first_ms, _ = seen.planted("demand")
    assert [key for key, times in incidents.items() if times[0][0] < first_ms] == []
    assert {market for market, *_ in incidents} == {"PK", "BD"}


def test_both_end_and_the_demo_reports_when_they_are_found_and_when_they_are_over(seen):
    process = seen.process
    seen.until(lambda: process.poll() is not None)
    assert process.wait() == 0, seen.stderr
    for (market, *_), times in seen.open_incidents().items():
        assert market in {"PK", "BD"}
        assert times[-1][0] < seen.samples[-1].at_ms, "it goes on at the end"
    for name in (r"Womens fashion \(category, Pakistan\)", " Bangladesh"):
        found = f"^FOUND .*{name}: orders .* found after "
        assert len(re.findall(found, seen.stderr, re.MULTILINE)) == 1
        over = f"^OVER .*{name}: orders .*Over by "
        assert len(re.findall(over, seen.stderr, re.MULTILINE)) == 1

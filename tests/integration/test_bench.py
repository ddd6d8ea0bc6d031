"""Benches that start real servers, small: that they measure what they say, not how fast anything is."""

from __future__ import annotations

import json

import pytest
from support.command import Command

pytestmark = [pytest.mark.stack, pytest.mark.deep, pytest.mark.slow]

EVENTS = 60_000


def bench(*arguments):
    with Command("bench", *arguments, "--json") as command:
        code, out, err = command.finish()
    assert code == 0, err
    return json.loads(out.splitlines()[-1])


def test_fold_reports_the_rate_of_every_run():
    found = bench("fold", "--events", EVENTS, "--runs", 2)
    assert (found["bench"], found["events"]) == ("fold", EVENTS)
    assert len(found["runs"]) == len(found["cpu_seconds"]) == 2
    assert min(found["runs"]) <= found["median"] <= max(found["runs"])
    assert min(found["cpu_seconds"]) > 0


def test_board_compares_runs_with_and_without_readers_who_all_see_the_last_state():
    found = bench("board", "--events", EVENTS, "--runs", 2, "--clients", 15)
    assert (found["bench"], found["clients"], found["events"]) == ("board", 15, EVENTS)
    assert found["saw_last"] == [15, 15]
    assert found["missed"] == 0
    for sort in ("with", "without"):
        for rates in found[sort].values():
            assert len(rates) == 2
            assert min(rates) > 0
    for number in range(2):
        own, other = (found[sort]["events_per_s"][number] for sort in ("with", "without"))
        assert found["runs_wall"][number] == pytest.approx(100 * (1 - own / other), abs=0.02)
    assert min(found["states_sent"]) >= 15 * 3 // 5, "at least three of five markets are published"
    assert 0 < found["rss_mb"] < found["rss_allowed_mb"]

"""A demo's reports of shifts in Redis: found, explained and over, each once."""

from __future__ import annotations

import json

import pytest

from streams.board.shown_shifts import active
from streams.demo.demo_plan import STORY_MS, make_plan
from streams.demo.demo_story import Story
from streams.index.instants import parse_instant
from streams.shops.simulate_profile import load_profile

START_MS = parse_instant("2026-11-24T14:00:00Z")
PLAN = make_plan(load_profile(), ("PK", "BD"), START_MS, STORY_MS)
JUMPED = PLAN.shift.category


def record(direction, ratio):
    return json.dumps(
        {
            "v": 1,
            "number": 1,
            "direction": direction,
            "start": "2026-11-24T14:05:00.000Z",
            "found_at": "2026-11-24T14:06:00.000Z",
            "clock": "fast",
            "evidence": 123.4,
            "observed": 600,
            "expected": 100.0,
            "ratio": ratio,
            "lower": ratio * 0.9,
            "upper": ratio * 1.1,
            "contributors": {
                "category": [{"member": JUMPED, "observed": 600, "expected": 100.2, "excess": 500}],
                "region": [{"member": "punjab", "observed": 300, "expected": 50.4, "excess": 250}],
            },
        }
    )


@pytest.fixture
def story():
    return Story(PLAN)


def news(story, after_s, **fields):
    found = {market: active(records) for market, records in fields.items()}
    return story.news(found, START_MS + after_s * 1_000)


def test_a_jump_is_reported_once_with_size_start_evidence_and_contributors(story):
    jump = {f"category:{JUMPED}": record("up", 6.0)}
    (line,) = news(story, 380, PK=jump, BD={})
    assert line.startswith(f"FOUND  14:06:20 UTC: category {JUMPED} in PK is up, 6.00x usual")
    for part in ("(5.40 to 6.60)", "since 14:05 UTC", "evidence 123", "Punjab 300 instead of 50"):
        assert part in line
    assert "(planted at 14:05:15 UTC, found after 65 s)" in line
    assert news(story, 381, PK=jump, BD={}) == []


def test_series_that_move_along_are_only_counted(story):
    along = {f"region:r{n}": record("up", 1.5) for n in range(3)}
    jump = {f"category:{JUMPED}": record("up", 6.0)}
    first, second = news(story, 380, PK=jump | along)
    assert JUMPED in first
    assert second.strip() == "3 other series of PK shifted with it"


def test_an_outage_is_reported_of_the_market_not_of_each_category(story):
    members = {f"category:c{n}": record("down", 0.0) for n in range(15)}
    first, second = news(story, 500, BD={"market:all": record("down", 0.0)} | members)
    assert "demand in BD as a whole is down, 0.00x usual" in first
    assert "15 other series of BD shifted with it" in second
    over, others = news(story, 700, BD={})
    assert over.startswith("OVER   14:11:40 UTC: demand in BD as a whole is back to usual")
    assert "15 other series of BD are back to usual" in others


def test_no_shift_is_over_while_redis_is_away(story):
    jump = {f"category:{JUMPED}": record("up", 6.0)}
    news(story, 380, PK=jump)
    assert story.news({}, START_MS + 400_000) == []
    assert len(news(story, 500, PK={})) == 1

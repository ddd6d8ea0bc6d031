"""A demo's reports of incidents in Redis: found, answered and over, each once."""

from __future__ import annotations

import json

import pytest
from support.notifications import incident

from streams.demo.demo_plan import STORY_MS, make_plan
from streams.demo.demo_story import KNOWN_MAX, Story
from streams.index.instants import parse_instant
from streams.index.panes import rfc3339
from streams.publish.incident_records import read_incidents
from streams.publish.incident_words import MarketNaming
from streams.shops.simulate_profile import load_profile

START_MS = parse_instant("2026-11-24T14:00:00Z")
PLAN = make_plan(load_profile(), ("PK", "BD"), START_MS, STORY_MS)
JUMPED = PLAN.shift.category
OUTAGE, JUMP = "BD-20261124T1411-down", "PK-20261124T1406-up"
BEGAN = "2026-11-24T14:05:00.000Z"
NAMINGS = {"PK": MarketNaming("Pakistan"), "BD": MarketNaming("Bangladesh", None, "Asia/Dhaka")}
FALSE_ALARM = {"kind": "false_alarm", "by": "alice", "at": rfc3339(START_MS + 700_000)}


def stopped(name=OUTAGE, *, series=1, ratio=0.004, **changes):
    found = incident(name, market="BD", began=rfc3339(PLAN.outage.start_ms), evidence=1_620.0)
    found["size"] |= {"ratio": ratio, "lower": 0.0, "upper": 0.004}
    shifts = [found["shifts"][0] | {"number": number} for number in range(series)]
    return found | {"shifts": shifts} | changes


def jumped(**changes):
    found = incident(JUMP, market="PK", direction="up", kind="jump", member=JUMPED, began=BEGAN)
    size = {"since": BEGAN, "until": rfc3339(START_MS + 380_000), "observed": 600.0}
    size |= {"expected": 100.0, "ratio": 6.0, "lower": 5.4, "upper": 6.6}
    return found | {"size": size, "now": size} | changes


@pytest.fixture
def story():
    return Story(PLAN, NAMINGS)


def news(story, at_ms, *incidents):
    found = {"PK": [], "BD": []}
    for each in read_incidents({each["id"]: json.dumps(each) for each in incidents}):
        found[each.market].append(each)
    return story.news(found, at_ms)


def test_a_jump_is_reported_once_with_size_start_evidence_and_when_it_was_planted(story):
    at_ms = PLAN.shift.start_ms + 65_000
    (line,) = news(story, at_ms, jumped())
    assert line.startswith(
        f"FOUND  {rfc3339(at_ms)[11:19]} UTC: Womens fashion (category, Pakistan): "
    )
    for part in (
        "orders are at 6.0 times usual. ",
        "Since 14:05 UTC: 600 orders, 100 usual, 6.0 times (5.4 to 6.6).",
        "No other series is confirmed to shift with it.",
        "Evidence 1.4 times what pages when it was found",
        f"(planted at {rfc3339(PLAN.shift.start_ms)[11:19]} UTC, found after 65 s)",
    ):
        assert part in line
    assert news(story, at_ms + 1_000, jumped()) == []


def test_series_that_move_along_are_only_counted(story):
    (line,) = news(story, PLAN.outage.start_ms + 60_000, stopped(series=16))
    assert "Bangladesh: orders have all but stopped" in line
    assert "0.4 % (0 to 0.4)" in line, "what is not 0 is not said to be 0"
    assert " 15 other series have shifted with it." in line
    assert "Evidence more than 1,000 times what pages" in line
    (over,) = news(story, START_MS + 900_000, stopped(series=16, over=rfc3339(START_MS + 800_000)))
    assert over.startswith("OVER   14:15:00 UTC: Bangladesh: orders had all but stopped. Over by ")
    assert news(story, START_MS + 901_000, stopped(over=rfc3339(START_MS + 800_000))) == []


@pytest.mark.parametrize(
    ("verdict", "said"), [(FALSE_ALARM, "false alarm"), (FALSE_ALARM | {"kind": "expected"}, "expected")]
)  # fmt: skip
def test_what_is_answered_is_said_to_be_answered_and_is_found_once(story, verdict, said):
    at_ms = PLAN.outage.start_ms + 60_000
    (found,) = news(story, at_ms, stopped())
    assert found.startswith("FOUND ")
    assert "found after 60 s" in found
    quiet = {"verdict": verdict, "silenced_by": OUTAGE}
    (line,) = news(story, at_ms + 60_000, stopped(**quiet))
    at = rfc3339(at_ms + 60_000)[11:19]
    assert line == f"ANSWER {at} UTC: Bangladesh: answered ({said}, by alice): it no longer pages"
    assert news(story, at_ms + 61_000, stopped(**quiet)) == []
    again = stopped("BD-20261124T1420-down", silenced_by=OUTAGE)
    assert news(story, at_ms + 62_000, stopped(**quiet), again) == [], "found before"
    (line,) = news(story, at_ms + 63_000, stopped())
    assert line.endswith("its answer was taken back: it pages")


def test_nothing_is_over_or_found_anew_where_redis_is_away_or_has_lost_everything(story):
    at_ms = PLAN.outage.start_ms + 60_000
    news(story, at_ms, stopped())
    assert story.news({}, at_ms + 1_000) == []
    assert news(story, at_ms + 2_000) == []
    assert news(story, at_ms + 3_000, stopped()) == []
    (other,) = news(story, at_ms + 4_000, stopped("BD-20261124T1502-down"), stopped())
    assert "planted" not in other, "what was planted was found already"


def test_what_was_over_before_is_no_news_and_the_oldest_are_forgotten(story):
    assert news(story, START_MS, stopped(over=rfc3339(START_MS))) == []
    for minute in range(KNOWN_MAX + 1):
        news(story, START_MS, stopped(f"BD-20261124T{10 + minute // 60}{minute % 60:02}-down"))
    assert len(story._known) == KNOWN_MAX

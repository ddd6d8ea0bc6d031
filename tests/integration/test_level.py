"""The base of a level on real servers: kept over kill -9 and restart, audited, never learnt anew."""

from __future__ import annotations

import json

import pytest
from support.installation import Installation
from support.methodologies import DEMO_TEXT

from streams.index.panes import DAY_MS, HOUR_MS
from tests.support.flow_harness import order, payment

pytestmark = pytest.mark.stack

NOON = 1_794_873_600_000 + 7 * HOUR_MS
"""2026-11-17 in Karachi; the base is this day and the next."""
BASE = "base = { from = 2026-11-17, to = 2026-11-19 }"


async def sell(installed, sales):
    """Sales of each day, at noon; what comes last ends the day before it."""
    async with installed.producer() as producer:
        waiting = []
        for day, minor in sales.items():
            at_ms = NOON + day * DAY_MS
            sold = order(f"e{day}", at_ms, lines=[("books", 1, minor)])
            for topic, event in (("orders", sold), ("payments", payment(f"p{day}", at_ms))):
                waiting.append(await installed.send(producer, topic, event, at_ms=at_ms))
        for sent in waiting:
            await sent


async def shown(installed, index):
    """Values of a day index in Redis by day of the month."""
    days = await installed.redis_values("PK", "days")
    own = f"{index}:market:all:2026-11-"
    return {
        field.removeprefix(own): json.loads(text) for field, text in days.items() if own in field
    }


async def until_shown(installed, index, wanted):
    async def found():
        values = await shown(installed, index)
        return {day: values.get(day) for day in wanted} == wanted

    await installed.until(found)


async def test_levels_go_on_against_the_same_base_after_kill_9(stack, unique, tmp_path):
    methodology = DEMO_TEXT.replace("[markets.PK]\n", f"[markets.PK]\n{BASE}\n")
    assert BASE in methodology
    (tmp_path / "methodology.toml").write_text(methodology)
    installed = Installation(stack, unique("level"), tmp_path, inputs=1)
    installed.overrides["methodology"] = tmp_path / "methodology.toml"
    await installed.create_topics()
    worker = installed.start_worker()
    await sell(installed, {-1: 500, 0: 1_000, 1: 3_000})
    # A base is taken when as_of passes its end and corrected a day later: its rows must be there.
    await until_shown(installed, "sales", {"17": 1_000, "18": 3_000})
    await sell(installed, {2: 4_400, 3: 100})
    await until_shown(installed, "sales_level_index", {"17": 50.0, "18": 150.0, "19": 220.0})

    worker.kill()
    installed.start_worker()
    await sell(installed, {4: 600, 5: 1})
    await until_shown(
        installed,
        "sales_level_index",
        {"17": 50.0, "18": 150.0, "19": 220.0, "20": 5.0, "21": 30.0},
    )
    report = await installed.audit()
    assert report.equal, "\n".join(report.lines())
    installed.stop()

"""One click on a real incident: it pages no more, after restart and takeover too; undone as easily."""

from __future__ import annotations

import aiohttp
import pytest
from support.boards import board_of
from support.installation import Installation

from streams.clock import now_ms
from streams.operate.answering import sending
from streams.publish.incident_records import decode_incident
from streams.publish.page_records import PAGES_FIELD, read_pages
from tests.integration.test_expectation import HOUR_MS, write_seed
from tests.integration.test_given_answers import MAY, TOKEN
from tests.integration.test_shifts import MINUTE_MS, RUSH, Shop

# In a plain run tests/unit/flow/test_answered_shifts.py holds it for the flow, with a takeover, and
# tests/integration/test_given_answers.py the ways to the topic and from it.
pytestmark = [pytest.mark.stack, pytest.mark.deep]
EXPECTED = "orders:market:all:5m"


class Watched:
    """An installation whose shop goes on selling while somebody looks."""

    def __init__(self, installed, shop, session):
        self.installed, self.shop, self.session = installed, shop, session

    async def incident(self):
        """The market's incident, if there is one."""
        texts = await self.installed.redis_values("PK", "incidents")
        found = [decode_incident(text) for text in texts.values()]
        return next((each for each in found if each.dimension == "market"), None)

    async def until(self, holds):
        async def looked():
            await self.shop.sell(now_ms(), times=RUSH)
            incident = await self.incident()
            shifts = await self.installed.redis_values("PK", "shifts")
            return incident if incident is not None and holds(incident, shifts) else None

        return await self.installed.until(looked, 120)

    async def click(self, incident, **asked):
        asked = {"incident": incident.id} | asked
        async with self.session.post("/answers", json=asked, headers=MAY) as response:
            assert response.status == 200, await response.text()

    async def restart(self):
        """Stop the worker in order, and start one."""
        self.installed.workers[-1].terminate()
        self.installed.start_worker()

    async def take_over(self):
        """Kill the worker that has the market; another one goes on."""
        self.installed.workers[-1].kill()
        self.installed.start_worker()


def silenced(incident, shifts):
    return incident.silenced_by == incident.id and "market:all" not in shifts


def paging(incident, shifts):
    return incident.verdict is None and "market:all" in shifts


async def test_a_false_alarm_and_an_expected_event_are_one_click_each(stack, unique, tmp_path):
    installed = Installation(stack, unique("clicked"), tmp_path)
    await installed.create_topics()
    shop = Shop(installed)
    await shop.sell(now_ms() - MINUTE_MS, times=1)
    write_seed(tmp_path / "seed.csv", now_ms() // HOUR_MS * HOUR_MS)
    await installed.command("seed", str(tmp_path / "seed.csv"), "--json", check=0)
    installed.start_worker()
    tokens = tmp_path / "tokens"
    tokens.write_text(f"aisha:{TOKEN}\n")
    async with (
        board_of(installed.overrides | {"answers.tokens_file": tokens}, sending) as url,
        aiohttp.ClientSession(url) as session,
    ):
        watched = Watched(installed, shop, session)
        incident = await watched.until(paging)

        await watched.click(incident, kind="false_alarm")
        found = await watched.until(silenced)
        assert (found.verdict.kind, found.verdict.by) == ("false_alarm", "aisha")
        await watched.restart()
        again = await watched.until(silenced)
        assert (again.id, again.verdict) == (incident.id, found.verdict)
        values = await installed.redis_values("PK")
        assert [each.false for each in read_pages(values[PAGES_FIELD])] == [1, 1]

        await watched.click(incident, kind="false_alarm", taken_back=True)
        await watched.until(paging)
        await watched.click(incident, kind="expected")
        found = await watched.until(silenced)
        assert found.verdict.factor > 2, "as measured"
        await watched.take_over()
        assert (await watched.until(silenced)).verdict == found.verdict
    report = await installed.audit()
    assert report.equal, "\n".join(report.lines())
    installed.stop()

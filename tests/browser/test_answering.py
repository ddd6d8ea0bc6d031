"""Answering in a real Chromium: one click on a card answers it in the name of the token's owner."""

from __future__ import annotations

import pytest
from support.boards import board_of
from support.publications import incident, incident_shift

from streams import clock
from streams.flow.market_answers import GivenAnswers
from streams.index.page_budget import PageCount
from streams.index.panes import MINUTE_MS
from tests.browser.test_page import (  # noqa: F401 - fixtures
    STEP_MS,
    browser,
    playwright_api,
    redis,
    server,
    shop,
    until_true,
)

pytestmark = [pytest.mark.stack, pytest.mark.long]
TIMEOUT_MS = 20_000
TOKEN = "a-token-of-twenty-characters"


@pytest.fixture
async def board(server, redis, shop, browser, tmp_path):  # noqa: F811 - fixtures
    """(page, sent answers, the incident, how to publish it with what was said of it)."""
    sent = []
    tokens = tmp_path / "tokens"
    tokens.write_text(f"aisha:{TOKEN}\n")
    jump = incident_shift("market", "all", direction=1)
    jump.start_ms = clock.now_ms() - 10 * MINUTE_MS
    jump.found_ms = jump.start_ms + 4 * MINUTE_MS
    rush = incident(jump)

    async def send(answer):
        sent.append(answer)
        return answer

    async def publish(given=None):
        floor = shop.floors["PK"]
        floor.incidents, floor.answers = [rush], {} if given is None else {rush.id: given}
        floor.pages = [
            PageCount(30, 12.5, 4, 1, 2, 1, 0.42, 0.24, 8.77),
            PageCount(365, 365.0, 1, 1, 0, 0, 5.1, 0.0, 5.57),
        ]
        now_ms = clock.now_ms()
        await floor.publish(now_ms // STEP_MS * STEP_MS + len(sent) * STEP_MS, now_ms=now_ms)

    await shop.open(("PK", 980))
    await publish()
    settings = {"redis.url": server.url, "answers.tokens_file": tokens}
    async with board_of(settings, lambda _: send) as url:
        context = await browser.new_context(viewport={"width": 1280, "height": 800})
        context.set_default_timeout(TIMEOUT_MS)
        page = await context.new_page()
        page.on("pageerror", lambda error: pytest.fail(str(error)))
        await page.goto(f"{url}?market=PK")
        yield page, sent, rush, publish
        await context.close()


async def heard(page, sent, count):
    deadline_ms = clock.monotonic_ms() + TIMEOUT_MS
    while len(sent) < count:
        assert clock.monotonic_ms() < deadline_ms, await page.inner_text("#answering")
        await page.wait_for_timeout(50)


async def test_one_click_answers_and_one_takes_it_back(board):
    page, sent, rush, publish = board
    await page.click("text=False alarm")
    await page.fill("dialog input[type=password]", TOKEN)
    await page.click("dialog >> text='OK'")
    await until_true(page, "document.querySelector('dialog') === null")
    await heard(page, sent, 1)
    assert [(each.incident, each.kind, each.by) for each in sent] == [
        (rush.id, "false_alarm", "aisha")
    ]
    await publish(GivenAnswers(None, sent[0], (), rush.id))
    await page.click("text=Undo: false alarm")  # the tab knows the token now
    await heard(page, sent, 2)
    assert sent[1].taken_back
    assert "4 pages, 1 confirmed, 2 false, 1 open" in await page.inner_text("#pages")
    assert "365 days: 1 page, 1 confirmed" in await page.inner_text("#pages")
    assert "PagerDuty is not known here" in await page.inner_text("#answering")


async def test_an_expected_event_is_changed_in_a_dialog(board):
    page, sent, rush, publish = board
    await page.evaluate(f"sessionStorage.setItem('ecindex-token', '{TOKEN}')")
    await page.click("text='Expected'")
    await heard(page, sent, 1)
    given = sent[0]._replace(text="sale", scope=("category", "books"), factor=6_000_000)
    await publish(GivenAnswers(None, given, (), rush.id))
    await page.click("text='Until'")
    assert "demand of category:books" in await page.inner_text("dialog")
    await page.fill("dialog input[type=number]", "2.5")
    await page.click("dialog >> text='OK'")
    await heard(page, sent, 2)
    assert (sent[1].factor, sent[1].scope) == (2_500_000, ("category", "books"))
    assert sent[1].text == "sale"
    assert abs(sent[1].until_ms - given.until_ms) < MINUTE_MS

"""The live page in a real Chromium: what it shows is what Redis holds, and old is seen to be old.

apt-get install chromium-headless-shell; uv run --group browser pytest --long tests/browser
"""

from __future__ import annotations

import asyncio
import shutil
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import pytest
from redis.asyncio import Redis
from support.boards import running_board
from support.publications import (
    AS_OF_MS,
    MEASURES,
    incident,
    incident_shift,
    others_of_day,
    status,
    suspicion,
)
from support.shopfloor import Floor, shift_record

from streams import clock
from streams.board.redis_poller import POLL_S
from streams.index.currencies import major_units
from streams.index.panes import DAY_MS, HOUR_MS, MINUTE_MS
from streams.local.local_stack import LocalStack

playwright_api = pytest.importorskip("playwright.async_api")
pytestmark = [pytest.mark.stack, pytest.mark.long]

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium-headless-shell", "chromium", "google-chrome"))), None
)
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip
TWO_SCREENS = {"width": 1280, "height": 800}
STEP_MS, HALF_MINUTE_MS = 5_000, 30_000
TIMEOUT_MS = 60_000
DESKTOP, PHONE = {"width": 1360, "height": 900}, {"width": 390, "height": 844}
SCREEN_SIZES = (
    DESKTOP,
    PHONE,
    {"width": 320, "height": 700},
    {"width": 900, "height": 700},
    {"width": 1120, "height": 800},
    {"width": 1250, "height": 800},
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    if CHROMIUM is None:
        pytest.skip("no Chromium on PATH: apt-get install chromium-headless-shell")
    with LocalStack(tmp_path_factory.mktemp("redis"), with_kafka=False) as local:
        yield local.redis


class Shop:
    """Markets whose publisher runs until it is stopped, as a worker's does."""

    def __init__(self, url):
        self.url = url
        self.floors = {}
        self.task = None

    async def open(self, *markets, expecting=False, history=0, **factors):
        """Publish ``history`` minutes before now; ``factors`` hold for the last eight of them."""
        started_ms = clock.now_ms() // HALF_MINUTE_MS * HALF_MINUTE_MS
        for market, rate in markets:
            floor = self.floors[market] = Floor(self.url, market, rate=rate, expecting=expecting)
            at_ms = started_ms - history * 2 * HALF_MINUTE_MS
            while at_ms < clock.now_ms():
                floor.factors = factors if at_ms > started_ms - 16 * HALF_MINUTE_MS else {}
                await floor.publish(at_ms, now_ms=clock.now_ms())
                at_ms += HALF_MINUTE_MS
                if expecting and history and market == "PK":
                    await asyncio.sleep(
                        2 * POLL_S
                    )  # expectations are nowhere but with who saw them
        await self.step()
        self.start()

    async def step(self):
        now_ms = clock.now_ms()
        for floor in self.floors.values():
            await floor.publish(now_ms // STEP_MS * STEP_MS, now_ms=now_ms)

    def start(self):
        self.task = asyncio.ensure_future(self._beat())

    async def stop(self):
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)

    async def _beat(self):
        while True:
            for floor in self.floors.values():
                await floor.store.heartbeat(clock.now_ms())
            await asyncio.sleep(0.5)

    async def close(self):
        await self.stop()
        for floor in self.floors.values():
            await floor.close()


@pytest.fixture
async def redis(server):
    async with Redis.from_url(server.url, decode_responses=True) as redis:
        await redis.flushall()
        yield redis


@pytest.fixture
async def shop(server, redis):
    shop = Shop(server.url)
    yield shop
    await shop.close()


@pytest.fixture
async def url(server, redis):
    async with running_board(server.url) as url:
        yield url


@pytest.fixture
async def browser():
    async with playwright_api.async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        await browser.close()


@pytest.fixture
async def see(browser, url):
    """Open the page; whatever the browser complains of fails the test."""
    complaints, contexts = [], []

    async def see(market="PK", viewport=None, scheme="light", **options):
        context = await browser.new_context(
            viewport=viewport or DESKTOP, color_scheme=scheme, **options
        )
        context.set_default_timeout(TIMEOUT_MS)
        contexts.append(context)
        page = await context.new_page()
        page.on("console", lambda line: line.type == "error" and complaints.append(line.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        await page.goto(f"{url}?market={market}" if market else url)
        await page.wait_for_selector("#categories tbody tr")
        return page

    yield see
    for context in contexts:
        await context.close()
    ours = [text for text in complaints if "ERR_" not in text]  # of a board that was stopped
    assert not ours


async def until_true(page, expression):
    """Playwright's own wait_for_function evaluates a string in the page, which its policy forbids."""
    deadline_ms = clock.monotonic_ms() + TIMEOUT_MS
    while not await page.evaluate(expression):
        assert clock.monotonic_ms() < deadline_ms, expression
        await asyncio.sleep(0.05)


async def data_values(page, selector):
    return await page.eval_on_selector_all(
        selector, "all => all.map((node) => node.getAttribute('data-value') ?? node.value)"
    )


async def test_what_is_shown_is_what_redis_holds(redis, shop, see):
    await shop.open(("PK", 980), ("BD", 640))
    page = await see()
    values = await redis.hgetall(shop.floors["PK"].keys.values)
    tiles = {
        "orders": "orders:market:all:5m", "sales": "sales:market:all:5m",
        "payments": "payments:market:all:5m", "basket": "basket_sales:market:all:5m",
        "digital": "digital_share:market:all:5m", "failed": "payment_failure_ratio:market:all:5m",
    }  # fmt: skip
    for tile, field in tiles.items():
        (shown,) = await page.eval_on_selector_all(
            f"#tile-{tile} data", "all => all.map(n => n.value)"
        )
        assert shown == values[field], tile
    text = await page.inner_text("#tile-sales data")
    assert text == major_units(int(values["sales:market:all:5m"]), "PKR").partition(".")[0]
    for table, dimension, columns in (
        ("categories", "category", {"orders": 4, "sales": 7, "category_share_by_sales": 8}),
        ("regions", "region", {"orders": 3, "sales": 5}),
        ("channels", "channel", {"orders": 3, "sales": 5}),
        (
            "payments",
            "payment_method",
            {
                "payment_chosen_share": 2,
                "payment_share_by_count": 3,
                "payment_share_by_amount": 4,
                "payment_failure_ratio": 5,
            },
        ),
    ):
        members = await page.eval_on_selector_all(
            f"#{table} tbody tr", "rows => rows.map((row) => row.dataset.key)"
        )
        assert len(members) > 4
        for index, column in columns.items():
            shown = await data_values(page, f"#{table} tbody tr > :nth-child({column})")
            held = [values.get(f"{index}:{dimension}:{member}:5m") for member in members]
            assert shown == held, (table, index)


async def test_a_new_version_is_shown_in_place(shop, see):
    await shop.open(("PK", 980))
    page = await see()
    row = await page.query_selector("#categories tbody tr[data-key=books]")
    shop.floors["PK"].rate = 1_960
    await shop.step()
    text = str(shop.floors["PK"].text("orders", window="5m").value)
    await until_true(page, f"document.querySelector('#tile-orders data').value === '{text}'")
    assert await row.evaluate("row => row.isConnected"), "the row is the same, so a selection lives"


async def test_the_windows_can_be_chosen_and_one_that_fills_says_so(shop, see):
    await shop.open(("PK", 980))
    page = await see()
    await page.get_by_label("1 min", exact=True).focus()
    await page.keyboard.press("ArrowLeft")  # round to the last: radio buttons, as anyone knows them
    assert await page.get_by_label("24 h", exact=True).is_checked()
    assert "filling: the log covers" in await page.inner_text("#coverage")
    cells = await page.eval_on_selector_all(
        "#categories tbody td:nth-child(4)", "all => all.map(n => n.textContent)"
    )
    assert set(cells) == {"filling"}


async def test_without_an_expectation_it_says_warming_and_shows_bars_of_orders(shop, see):
    await shop.open(("PK", 980))
    page = await see()
    assert await page.inner_text("#tile-demand data") == "warming"
    assert "warming" in await page.inner_text("#categories-note")
    assert "still warming" in await page.inner_text("#movers-note")
    assert "Warming" in await page.inner_text("#incidents")
    assert await page.inner_text("#state") == "live · filling"
    assert not await page.query_selector(".bullet .mark")
    assert len(await page.query_selector_all("#categories .bullet .amount")) > 10
    assert not await page.is_visible("#categories th.usual >> nth=0")


async def test_with_an_expectation_demand_is_compared_with_it(redis, shop, see):
    await shop.open(("PK", 980), expecting=True, history=3, beauty_grooming=5.9)
    shop.floors["PK"].factors = {"beauty_grooming": 5.9}
    await shop.step()
    page = await see()
    values = await redis.hgetall(shop.floors["PK"].keys.values)
    (index,) = await page.eval_on_selector_all("#tile-demand data", "all => all.map(n => n.value)")
    assert index == values["demand_index_orders:market:all:5m"]
    await page.get_by_text("1 min", exact=True).click()
    row = "#categories tr[data-key=beauty_grooming]"
    await page.wait_for_selector(f"{row}[data-tone=above]")
    assert await page.query_selector(f"{row} .bullet .mark")
    assert await page.query_selector(f"{row} .amount.above")
    assert not await page.query_selector("#categories tr[data-key=mens_fashion][data-tone]")
    await shop.step()
    await page.wait_for_selector("#chart .band")


async def test_a_shift_of_an_earlier_release_is_shown_without_an_incident(redis, shop, see):
    await shop.open(("PK", 980), expecting=True)
    page = await see()
    assert "None" in await page.inner_text("#incidents")
    record = shift_record(observed=424, expected=72)
    await redis.hset(shop.floors["PK"].keys.shifts, "category:beauty_grooming", record)
    await page.wait_for_selector(".shift")
    text = await page.inner_text(".shift")
    assert "Beauty grooming (category)" in text
    assert "5.90 (5.30 to 6.40)" in text
    assert "since 24 Nov, 19:02; 424 where 72 are usual" in text, "in the market's zone"
    assert (await page.title()).startswith("▲ INCIDENT")


async def test_an_outage_is_one_card_first_and_marked_on_every_place_that_is_looked_at(shop, see):
    await shop.open(("PK", 980), ("BD", 1_006), expecting=True)
    page, other = await see("BD"), await see("PK")
    height = await page.evaluate("document.documentElement.scrollHeight")
    now_ms = clock.now_ms()
    members = [incident_shift("category", f"m{number}", at_ms=now_ms) for number in range(28)]
    measures = msgspec.structs.replace(MEASURES, until_ms=now_ms)
    shifts = [incident_shift(at_ms=now_ms), *members]
    stop = incident(*shifts, market="BD", measures=measures, stopped=True)
    over = incident(
        incident_shift("category", "books", direction=1, at_ms=now_ms), market="BD", over_ms=now_ms
    )
    shop.floors["BD"].incidents = [over, stop]
    shop.floors["BD"].watched = [
        status(*series)._replace(restless=True)
        for series in (("market", "all"), ("category", "books"))
    ]
    await shop.step()
    await page.wait_for_selector(".incident")
    assert len(await page.query_selector_all(".incident")) == 1
    text = await page.inner_text(".incident")
    for words in (
        "Bangladesh: orders have all but stopped",
        "Now: 0 orders in the last minute, 980 usual.",
        "Missed so far: 9,760 orders (9,741 to 9,771); BDT 9,760 (9,741 to 9,771).",
        "Affected: 2 of 3 categories (most Books), every region.",
        "29 series shifted",
        "sent: not known",
    ):
        assert words in text
    assert "Books (category): orders were at" in await page.inner_text(".rows")
    words = "Too restless to be watched within the budget: only a larger shift pages"
    tile = await page.inner_text("#tile-orders")
    assert tile.endswith("; too restless: only a larger shift pages")
    books = "#categories tr[data-key=books]"
    assert await page.get_attribute(f"{books} .restless", "title") == words
    assert len(await page.query_selector_all(".restless")) == 1
    assert f"~ {words.lower()}" in await page.inner_text("#foot"), "a finger reads no title"
    grown = await page.evaluate("document.documentElement.scrollHeight") - height
    assert grown < 150, "a list of shifts does not push the values away"
    assert await page.query_selector("#chart .span.outage.open")
    assert await page.get_attribute("#markets li[data-key=BD]", "data-level") == "outage"
    assert await page.inner_text("#state") == "live · outage"
    assert await page.title() == "■ OUTAGE · Bangladesh, ecindex"
    await until_true(other, "document.title === '■ OUTAGE BD · Pakistan, ecindex'")
    assert await other.get_attribute("#icon", "href") == "/static/icon-outage.svg"
    assert "orders have all but stopped" in await other.inner_text("#elsewhere")
    assert "None" in await other.inner_text("#incidents"), "its own series are as usual"
    await page.focus(".incident .expected-event summary")
    await page.keyboard.press("Enter")
    assert (await page.inner_text(".incident code")).startswith("ecindex answer BD-")
    await shop.step()
    await asyncio.sleep(1)
    assert await page.is_visible(".incident code"), "it stays open while values come"


@pytest.mark.parametrize(("size", "screens"), [(TWO_SCREENS, 2), (PHONE, 5)])
async def test_29_open_incidents_are_counted_and_the_page_stays_short(shop, see, size, screens):
    """The fourth and later ones were a line each: a phone's page was six screens long."""
    await shop.open(("PK", 980), expecting=True)
    jump = incident(incident_shift("category", "books", direction=1))
    shop.floors["PK"].incidents = [
        msgspec.structs.replace(jump, id=f"PK-20261124T14{number:02}-up") for number in range(29)
    ]
    await shop.step()
    page = await see(viewport=size)
    await page.wait_for_selector(".incident")
    assert await page.inner_text("#incidents-note") == "29 open"
    assert len(await page.query_selector_all("#incidents > .incident")) == 3
    assert len(await page.query_selector_all("#incidents > .rows li")) == 4
    height = await page.evaluate("document.documentElement.scrollHeight")
    assert height <= screens * size["height"]
    await page.get_by_text("22 others").click()
    await shop.step()
    shop.floors["PK"].incidents.pop()
    await shop.step()
    await until_true(page, "document.querySelector('#incidents-note').textContent === '28 open'")
    assert await page.is_visible("details.older .rows li"), "unfolded while values come"


async def test_what_is_not_of_today_has_its_date_in_the_markets_zone(shop, see, url):
    await shop.open(("BD", 1_006), expecting=True)
    at_ms = clock.now_ms() // DAY_MS * DAY_MS - 6 * HOUR_MS  # the day before: midnight in Dhaka
    names = ("books", "toys", "sports", "grocery")
    going = [
        incident(incident_shift("category", name, direction=1, at_ms=at_ms), market="BD")
        for name in names
    ]
    for number, each in enumerate(going):
        each.id += str(number)
    over = incident(incident_shift(at_ms=at_ms), market="BD", over_ms=at_ms + MINUTE_MS)
    never = incident(
        incident_shift("region", "dhaka", at_ms=at_ms, over_ms=at_ms, withdrawn=True),
        market="BD", over_ms=at_ms,
    )  # fmt: skip
    never.id += "0"
    shop.floors["BD"].incidents = [over, never, *going]
    await shop.step()
    page = await see("BD")
    midnight = datetime.fromtimestamp(at_ms / 1_000, ZoneInfo("Asia/Dhaka"))
    day, before = (f"{each.day} {each:%b}" for each in (midnight, midnight - timedelta(days=1)))
    await page.wait_for_selector(".incident")
    assert f"began {before}, 23:50 · found 23:54" in await page.inner_text(".incident .timeline")
    rows = await page.inner_text("#incidents")
    assert f"since {before}, 23:50" in rows, "one of those without a card"
    assert f"{before}, 23:50 to {day}, 00:01" in rows
    assert f"taken back by events that came late withdrawn {day}, 00:00" in rows
    await page.goto(f"{url}?incident={over.id}")
    card = await page.wait_for_selector(f'.incident[data-id="{over.id}"] .timeline')
    timeline = await card.inner_text()
    assert f"began {before}, 23:50 · found 23:54 · over {day}, 00:01" in timeline


async def test_a_link_to_an_incident_opens_its_market_and_its_card(shop, see, url):
    await shop.open(("PK", 980), ("BD", 1_006), expecting=True)
    over = incident(incident_shift(), market="BD", over_ms=AS_OF_MS)
    shop.floors["BD"].incidents = [over]
    await shop.step()
    page = await see("PK")
    await page.goto(f"{url}?incident={over.id}")
    await page.wait_for_selector(f'.incident[data-id="{over.id}"]')
    assert "Bangladesh" in await page.title()
    text = await page.inner_text(".incident")
    assert "orders had all but stopped" in text or "orders were at" in text
    assert "Over by" in text
    assert await page.evaluate("document.activeElement.dataset.id") == over.id
    await page.goto(f"{url}?incident=BD-20200101T0000-up")
    said = "document.querySelector('#announcement').textContent"
    await until_true(page, f"{said}.includes('not known any more')")
    assert "not known any more" in await page.inner_text("#incidents .gone")
    await page.goto(f"{url}?incident=BD-2020")
    assert "BD-2020 is not known any more" in await page.inner_text("#incidents .gone")
    await page.click("#incidents .rows a")
    await page.wait_for_selector(f'.incident[data-id="{over.id}"]')
    assert await page.locator(".gone").count() == 0


async def test_the_page_is_not_calm_while_the_chart_falls(shop, see):
    await shop.open(("BD", 1_006), expecting=True)
    page = await see("BD")
    shop.floors["BD"].suspicions = [suspicion()]
    await shop.step()
    await page.wait_for_selector(".suspicions li")
    text = await page.inner_text(".suspicions")
    assert "Bangladesh: 0 orders for 40 s, 1,005 a minute usual; 38 % of what pages" in text
    assert "None" not in await page.inner_text("#incidents")
    assert await page.inner_text("#state") == "live · suspicion"
    said = await page.inner_text("#announcement")
    assert said.startswith("BD is live: Bangladesh: 0 orders for 40 s"), (
        "the level alone has changed"
    )
    assert (await page.title()).startswith("△ · Bangladesh")
    shop.floors["BD"].suspicions = []
    shop.floors["BD"].times = 0.7
    await shop.step()
    await until_true(
        page, "document.querySelector('#incidents').textContent.startsWith('No incident')"
    )
    assert "series are outside the usual range of the last 5 min" in await page.inner_text(
        "#incidents"
    )


async def test_text_from_redis_is_text(redis, shop, see):
    await shop.open(("PK", 980), expecting=True)
    page = await see()
    hostile = "<img src=x onerror=alert(1)>"
    record = shift_record(member=hostile)
    await redis.hset(shop.floors["PK"].keys.shifts, "category:x", record)
    await page.wait_for_selector(".shift")
    shop.floors["PK"].incidents = [incident(incident_shift("category", hostile))]
    shop.floors["PK"].suspicions = [suspicion("category", hostile)]
    await shop.step()
    await page.wait_for_selector(".suspicions li")
    shop.floors["PK"].others = [others_of_day((f"{hostile} \u05d2\u05e0\u05df", 300), ("b", 7))]
    assert await page.is_hidden("#others")
    height = await page.evaluate("document.documentElement.scrollHeight")
    await shop.step()
    await page.wait_for_selector("#others li")
    assert await page.evaluate("document.documentElement.scrollHeight") - height < 150
    assert await page.inner_text("#others li") == (
        f"category 30.7 % of 1,000 orders on 2024-10-04: {hostile} \u05d2\u05e0\u05df 300, b 7"
    )
    assert len(await page.query_selector_all("#others bdi")) == 2
    assert not await page.query_selector("main img")
    for place in (".incident h3", ".suspicions", "#others"):
        assert "<img src=x" in await page.inner_text(place)


async def background(page, selector):
    return await page.eval_on_selector(selector, "node => getComputedStyle(node).backgroundColor")


def is_red(colour):
    red, green, blue, *_ = (float(part) for part in colour.strip("rgba()").split(","))
    return red > 150 and green < 140 and blue < 140


async def test_publishing_that_stops_turns_red_and_back(redis, shop, see):
    await shop.open(("PK", 980), ("BD", 640))
    page = await see()
    await page.wait_for_selector("body[data-state=live]")
    assert not is_red(await background(page, "#freshness"))
    assert await page.is_hidden("#alarm")
    await shop.stop()
    await page.wait_for_selector("body[data-state=stale]")
    assert is_red(await background(page, "#freshness"))
    colour = await page.eval_on_selector(
        "#tile-orders data", "node => getComputedStyle(node).color"
    )
    assert is_red(colour)
    assert "publishing stopped" in await page.inner_text("#alarm")
    assert "publishing stopped" in await page.inner_text("#announcement")
    assert (await page.title()).startswith("⚠")
    await page.wait_for_selector("#markets li[data-state=stale] >> nth=1")
    shop.start()
    await page.wait_for_selector("body[data-state=live]")
    assert not is_red(await background(page, "#freshness"))
    await redis.delete(shop.floors["PK"].keys.values)
    await shop.stop()
    await until_true(page, "document.getElementById('state').textContent === 'absent'")


async def test_a_board_that_dies_turns_red_and_the_page_comes_back_by_itself(server, shop, browser):
    await shop.open(("PK", 980))
    async with running_board(server.url) as url:
        context = await browser.new_context()
        page = await context.new_page()
        await page.goto(f"{url}?market=PK")
        await page.wait_for_selector("body[data-state=live]")
    port = int(url.rstrip("/").rpartition(":")[2])
    await page.wait_for_selector("body[data-state=stale]", timeout=TIMEOUT_MS)
    assert "No connection to the board" in await page.inner_text("#alarm")
    async with running_board(server.url, **{"board.port": port}):
        await page.wait_for_selector("body[data-state=live]", timeout=TIMEOUT_MS)
    await context.close()


async def test_markets_are_switched_by_link_key_and_history(shop, see):
    await shop.open(("PK", 980), ("BD", 640))
    page = await see()
    await page.focus("#markets a >> nth=0")
    await page.keyboard.press("Enter")
    await until_true(page, "document.title.includes('Bangladesh')")
    assert page.url.endswith("?market=BD")
    assert await page.get_attribute("#markets a >> nth=0", "aria-current") == "page"
    orders = await page.eval_on_selector("#tile-orders data", "node => node.value")
    assert orders == str(shop.floors["BD"].text("orders", window="5m").value)
    await page.go_back()
    await until_true(page, "document.title.includes('Pakistan')")


async def test_without_a_market_the_largest_is_shown(shop, see):
    await shop.open(("BD", 640), ("PK", 980))
    page = await see(market="")
    assert page.url.endswith("?market=PK")


SPILT = """cards => cards.filter((card) => {
    const edge = card.getBoundingClientRect().right - parseFloat(getComputedStyle(card).paddingRight)
    return [...card.querySelectorAll("table")].some((t) => t.getBoundingClientRect().right > edge + 1)
        || card.scrollWidth > card.clientWidth
}).map((card) => card.innerText)"""


@pytest.mark.parametrize("size", SCREEN_SIZES, ids=lambda size: str(size["width"]))
@pytest.mark.parametrize("expecting", [False, True], ids=["warming", "expecting"])
async def test_nothing_is_wider_than_the_screen(redis, shop, see, size, expecting):
    await shop.open(
        ("PK", 98_000),
        ("BD", 640),
        ("LK", 1),
        ("NP", 1),
        ("MM", 1),
        expecting=expecting,
        beauty_grooming=5.9,
    )
    page = await see(viewport=size)
    await page.get_by_text("1 min", exact=True).click()
    wide = await page.evaluate("document.documentElement.scrollWidth > innerWidth")
    assert not wide
    if size["width"] >= PHONE["width"]:
        spilt = await page.eval_on_selector_all(".card", SPILT)
        assert spilt == []


async def test_colours_follow_the_system_and_the_button(shop, see):
    await shop.open(("PK", 980))
    dark = await see(scheme="dark")
    light = await see(scheme="light")
    by_system = await background(dark, "body"), await background(light, "body")
    assert by_system[0] != by_system[1]
    await dark.click("#theme")
    assert await background(dark, "body") == by_system[1]
    await dark.reload()
    assert await background(dark, "body") == by_system[1], "remembered"
    await dark.click("#theme")
    assert await background(dark, "body") == by_system[0]


CONTRAST = """() => {
  const channel = (byte) => { const value = byte / 255;
    return value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4; };
  const light = (rgb) => { const [r, g, b] = rgb.match(/[\\d.]+/g).map(Number);
    return 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b); };
  const behind = (node) => { for (; node; node = node.parentElement) {
    const colour = getComputedStyle(node).backgroundColor;
    if (!/rgba\\(.*, 0\\)|transparent/.test(colour)) return colour; } return "rgb(255, 255, 255)"; };
  const poor = [];
  for (const node of document.querySelectorAll("body *")) {
    const text = [...node.childNodes].filter((child) => child.nodeType === 3 && child.data.trim());
    if (!text.length || node.closest("svg, .unseen, noscript, [hidden]") || !node.offsetParent) continue;
    const both = [light(getComputedStyle(node).color), light(behind(node))];
    const ratio = (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
    if (ratio < 4.5) poor.push([node.id || node.className, text[0].data, ratio.toFixed(2)]);
  }
  return poor;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_text_can_be_read(redis, shop, see, scheme):
    """WCAG 2.2 AA: 4.5 to 1, live and stale, with all that can be wrong."""
    await shop.open(("PK", 980), ("BD", 640), ("LK", 9), expecting=True)
    page = await see(scheme=scheme)
    await page.wait_for_selector("#incidents .empty")
    assert await page.evaluate(CONTRAST) == []
    floor = shop.floors["PK"]
    floor.suspicions = shop.floors["BD"].suspicions = [suspicion()]
    await shop.step()
    await page.wait_for_selector(".suspicions li")
    assert await page.evaluate(CONTRAST) == []
    jump, stop = incident(incident_shift("category", "books", direction=1)), incident(stopped=True)
    floor.incidents, shop.floors["LK"].incidents = [jump, stop], [jump]
    await shop.step()
    await page.wait_for_selector(".incident.outage")
    assert await page.evaluate(CONTRAST) == []
    await shop.stop()
    await page.wait_for_selector("body[data-state=stale]")
    assert await page.evaluate(CONTRAST) == []


async def test_it_works_with_a_keyboard_and_a_screen_reader(shop, see):
    await shop.open(("PK", 980), ("BD", 640))
    page = await see()
    tree = await page.locator("body").aria_snapshot()
    for landmark in ("banner", 'navigation "Markets"', "main", "contentinfo"):
        assert landmark in tree, landmark
    for name in ("Categories", "Payment mix", "Regions", "Top movers", "Incidents"):
        assert f'region "{name}"' in tree, name
    assert 'table "Categories"' in tree
    assert 'rowheader "Books"' in tree
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.className") == "skip"
    focused = []
    for _ in range(6):
        await page.keyboard.press("Tab")
        focused.append(
            await page.evaluate(
                "[document.activeElement.id || document.activeElement.tagName,"
                " getComputedStyle(document.activeElement).outlineStyle,"
                " getComputedStyle(document.activeElement.parentElement).outlineStyle]"
            )
        )
    assert all("solid" in styles for _, *styles in focused), focused
    assert "theme" in [name for name, *_ in focused]


async def test_a_long_visit_makes_no_more_of_anything(shop, see):
    await shop.open(("PK", 980))
    page = await see()
    count = "document.querySelectorAll('*').length"
    before = await page.evaluate(count)
    for number in range(20):
        shop.floors["PK"].rate = 900 + number * 10
        await shop.step()
        text = str(shop.floors["PK"].text("orders", window="5m").value)
        await until_true(page, f"document.querySelector('#tile-orders data').value === '{text}'")
    assert await page.evaluate(count) - before < 100

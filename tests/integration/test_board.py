"""The board over a real Redis that a real publisher fills, heard through real HTTP."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from pathlib import Path

import aiohttp
import psutil
import pytest
from redis.asyncio import Redis
from support.boards import DEADLINE_S, listening, own, running_board
from support.command import Command
from support.publications import AS_OF_MS, incident, status, suspicion
from support.shopfloor import Floor, shift_record

from streams import clock
from streams.board.server import CONTENT_SECURITY_POLICY
from streams.flow.market_answers import GivenAnswers
from streams.index.operator_answers import Answer
from streams.index.panes import rfc3339
from streams.local.local_stack import LocalStack
from streams.operate.board_stream import board_events, markets_shown
from streams.publish.incident_records import incident_fields
from streams.publish.keys import sent_key
from streams.publish.sent_records import sent_text
from streams.reader import DEFAULT_PREFIX

pytestmark = pytest.mark.stack

STEP_MS = 5_000
CLIENTS = 100
BOARD_MB_MAX = 120


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A Redis that these tests may empty, freeze and kill."""
    with LocalStack(tmp_path_factory.mktemp("redis"), with_kafka=False) as local:
        yield local.redis


@pytest.fixture
async def client(server):
    async with Redis.from_url(server.url, decode_responses=True) as redis:
        await redis.flushall()
        yield redis


@pytest.fixture
async def floor(server, client):
    floor = Floor(server.url)
    yield floor
    await floor.close()


@pytest.fixture
async def session():
    # A stream goes on for as long as it is wanted.
    timeout = aiohttp.ClientTimeout(total=None, sock_read=DEADLINE_S)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        yield session


@pytest.fixture
async def url(server, client):
    async with running_board(server.url) as url:
        yield url


def now_step():
    return clock.now_ms() // STEP_MS * STEP_MS


async def publish(floor, steps=0):
    """A step that is fresh now, whenever now is."""
    at_ms = now_step() + steps * STEP_MS
    await floor.publish(at_ms, now_ms=clock.now_ms())


async def test_what_is_sent_is_what_redis_holds(client, floor, session, url):
    await publish(floor)
    async with listening(session, url) as stream:
        page = await stream.until("market")
        beat = await stream.until("beat", lambda beat: beat["markets"])
    values = await client.hgetall(floor.keys.values)
    shown = {
        f"{index}:{dimension}:{member}:{window}": cell.get("value")
        for dimension, member, cells in (
            ("market", "all", page["totals"]),
            *(
                (dimension, each["member"], each["cells"])
                for dimension, members in page["dimensions"].items()
                for each in members
            ),
        )
        for index, by_window in cells.items()
        for window, cell in by_window.items()
    }
    held = {field: text for field, text in values.items() if "@" not in field}
    assert {field: text for field, text in shown.items() if text is not None} == held
    assert page["as_of"] == values["@as_of"]
    assert own(beat)["state"] == "live"
    assert own(beat)["orders"] == values["orders:market:all:1m"]
    assert beat["redis"] is None


async def test_each_new_version_is_sent_and_history_grows_with_the_minute(floor, session, url):
    await publish(floor, -24)
    async with listening(session, url) as stream:
        first = await stream.until("market")
        history = await stream.until("history")
        await publish(floor)
        second = await stream.until("market", lambda page: page["as_of"] != first["as_of"])
        grown = await stream.until("history")
    assert second["totals"]["orders"]["1m"]["value"] == str(floor.text("orders").value)
    assert len(grown["points"]) == len(history["points"]) + 1


async def test_a_correction_of_the_same_as_of_is_sent(server, floor, session, url):
    await publish(floor)
    at_ms = now_step()
    await floor.publish(at_ms, now_ms=clock.now_ms())
    async with listening(session, url) as stream:
        await stream.until("market")
        floor.rate *= 2
        await floor.publish(at_ms, now_ms=clock.now_ms())
        text = str(floor.text("orders").value)
        await stream.until("market", lambda page: page["totals"]["orders"]["1m"]["value"] == text)


async def test_a_publisher_that_falls_silent_is_stale_and_then_absent(client, floor, session, url):
    await publish(floor)
    async with listening(session, url) as stream:
        await stream.until("beat", lambda beat: beat["markets"] and own(beat)["state"] == "live")
        # What the store would have written, had it written this a while ago.
        await floor.publish(now_step(), now_ms=clock.now_ms() - 6_000)
        stale = own(await stream.until("beat", lambda beat: own(beat)["state"] == "stale"))
        assert stale["published_age_ms"] > 5_000
        await client.delete(floor.keys.values)
        absent = own(await stream.until("beat", lambda beat: own(beat)["state"] == "absent"))
        assert absent["published_age_ms"] >= stale["published_age_ms"], "ages go on"
        await publish(floor)
        await stream.until("beat", lambda beat: own(beat)["state"] == "live")


async def test_a_flow_that_is_behind_is_stale(floor, session, url):
    await floor.publish(now_step() - 60_000, now_ms=clock.now_ms())
    async with listening(session, url) as stream:
        beat = own(await stream.until("beat", lambda beat: beat["markets"]))
    assert beat["state"] == "stale"
    assert beat["published_age_ms"] < 5_000
    assert beat["as_of_age_ms"] >= 60_000


async def test_a_returning_client_is_sent_only_what_it_lacks(floor, session, url):
    await publish(floor, -1)
    async with listening(session, url) as stream:
        await stream.until("market")
    async with listening(session, url, last_id=stream.last_id) as again:
        await again.until("beat")
        await again.until("beat")
        assert "market" not in again.seen
        await publish(floor)
        await again.until("market")
    assert again.last_id != stream.last_id


async def test_a_client_that_returns_to_a_restarted_board_is_sent_the_newest(
    server, floor, session, url
):
    await publish(floor, -1)
    async with listening(session, url) as stream:
        await stream.until("market")
    await publish(floor)
    async with (
        running_board(server.url) as other,
        listening(session, other, last_id=stream.last_id) as again,
    ):
        page = await again.until("market")
    assert page["totals"]["orders"]["1m"]["value"] == str(floor.text("orders").value)


async def test_a_redis_that_is_killed_shows_and_heals(server, floor, session):
    async with running_board(server.url) as url, listening(session, url) as stream:
        await publish(floor)
        await stream.until("beat", lambda beat: beat["markets"] and own(beat)["state"] == "live")
        server.kill()
        away = await stream.until("beat", lambda beat: beat["redis"] is not None)
        assert "does not answer" in away["redis"]
        async with session.get(f"{url}readyz") as answer:
            assert answer.status == 503
            assert "Redis" in await answer.text()
        await asyncio.to_thread(server.start)
        back = await stream.until("beat", lambda beat: beat["redis"] is None)
        assert own(back)["state"] == "absent", "emptied: unknown, and still on the page"
        await floor.publish(now_step() + STEP_MS, now_ms=clock.now_ms())
        await stream.until("beat", lambda beat: own(beat)["state"] == "live")
        async with session.get(f"{url}readyz") as answer:
            assert answer.status == 200


async def test_active_shifts_are_sent_though_no_value_changed(client, floor, session, url):
    await publish(floor)
    async with listening(session, url) as stream:
        assert "shifts" not in await stream.until("market")
        await client.hset(floor.keys.shifts, "category:beauty_grooming", shift_record())
        (shift,) = (await stream.until("market"))["shifts"]
        assert shift["label"] == "Beauty grooming"
        await stream.until("beat", lambda beat: own(beat)["shifts"] == 1)
        await client.delete(floor.keys.shifts)
        assert "shifts" not in await stream.until("market")


async def test_what_is_wrong_is_sent_in_words_and_as_a_level(client, floor, session, url):
    floor.expecting = True
    await publish(floor)
    async with listening(session, url) as stream:
        await stream.until("market")
        beat = await stream.until("beat", lambda beat: own(beat)["state"] == "live")
        assert (own(beat)["level"], own(beat)["headline"]) == ("fine", "")
        floor.suspicions = [suspicion()]
        await publish(floor, steps=1)
        beat = await stream.until("beat", lambda beat: own(beat)["level"] == "suspicion")
        assert own(beat)["headline"].startswith("Pakistan: 0 orders for 40 s")
        floor.suspicions, floor.incidents = [], [incident(stopped=True)]
        await publish(floor, steps=2)
        page = await stream.until("market", lambda page: page["incidents"].get("open"))
        (stop,) = page["incidents"]["open"]
        assert (stop["kind"], stop["title"]) == ("outage", "Pakistan: orders have all but stopped")
        beat = await stream.until("beat", lambda beat: own(beat)["level"] == "outage")
        assert own(beat)["headline"] == stop["headline"]
        await client.hset(floor.keys.incidents, "x", "somebody else's")
        floor.incidents = [incident(stopped=True, over_ms=AS_OF_MS)]
        await publish(floor, steps=3)
        page = await stream.until("market", lambda page: page["incidents"].get("past"))
        assert "open" not in page["incidents"]


async def test_what_is_answered_and_sent_is_shown_while_as_of_stands(client, floor, session, url):
    stop = incident(stopped=True)
    floor.incidents = [stop]
    await publish(floor)

    def shown(page):
        return page["incidents"]["open"][0]

    async with listening(session, url) as stream:
        page = await stream.until("market")
        assert "acknowledged" not in shown(page)
        assert "sent" not in shown(page)
        given = GivenAnswers(Answer(stop.id, "acknowledged", "alice", AS_OF_MS), None, (), None)
        fields = incident_fields([stop], {stop.id: given})
        await client.hset(floor.keys.incidents, mapping=fields)
        later = await stream.until("market", lambda page: shown(page).get("acknowledged"))
        sent = sent_text({"slack": stop.found_ms + 9_000})
        await client.hset(sent_key("PK", DEFAULT_PREFIX), stop.id, sent)
        told = await stream.until("market", lambda page: shown(page).get("sent"))
    assert page["as_of"] == later["as_of"] == told["as_of"]
    whats = [what for what, _ in shown(told)["timeline"]]
    assert whats == ["began", "found", "sent (slack)", "acknowledged"]


async def test_a_restless_series_is_said_to_be_one(floor, session, url):
    floor.watched = [
        status("market", "all"),
        status("category", "books")._replace(restless=True),
        status("payment_failure", "card")._replace(restless=True),
    ]
    await publish(floor)
    async with listening(session, url) as stream:
        page = await stream.until("market")
    found = [
        (dimension, each["member"])
        for dimension, members in page["dimensions"].items()
        for each in members
        if each.get("restless")
    ]
    assert found == [("category", "books"), ("payment_method", "card")]
    assert "restless" not in page


async def test_what_was_wrong_with_a_market_that_is_gone_is_not_said_to_go_on(
    client, floor, session, url
):
    floor.incidents = [incident(stopped=True)]
    await publish(floor)
    async with listening(session, url) as stream:
        await stream.until("beat", lambda beat: beat["markets"] and own(beat)["level"] == "outage")
        await client.delete(*floor.keys)
        beat = await stream.until("beat", lambda beat: own(beat)["state"] == "absent")
    assert own(beat)["headline"] == "Pakistan: nothing is published any more"
    assert own(beat)["level"] == "stale"


async def test_a_start_finds_ten_minutes_of_each_category_in_redis(server, floor, session):
    for step in range(-60, 1):
        await publish(floor, step)
    async with running_board(server.url) as url, listening(session, url) as stream:
        page = await stream.until("market")
    sparks = {each["member"]: each["spark"] for each in page["dimensions"]["category"]}
    assert len(page["spark_ms"]) > 5
    assert len(sparks["books"]) == len(page["spark_ms"])
    assert sparks["books"][-1] == [floor.text("orders", "category", "books").value]


async def test_an_invalid_snapshot_leaves_the_page_as_it_was(client, floor, session, url):
    await publish(floor)
    async with listening(session, url) as stream:
        await stream.until("market")
        await client.set(floor.keys.snapshot, "{", keepttl=True)
        await client.hset(floor.keys.fence, "applied", "2")
        await stream.until("beat")
        assert own(await stream.until("beat"))["state"] == "live"
        floor.step += 1
        await publish(floor)
        await stream.until("market")


async def test_what_somebody_else_writes_hides_no_other_market(client, floor, session, url):
    """A board ended, again and again, at text that is no UTF-8."""
    async with listening(session, url) as stream:
        await client.sadd("ecindex:v1:markets", b"\xff", "ZZ")
        await client.rpush("ecindex:v1:{ZZ}:shifts", "a list, where a hash belongs")
        await publish(floor)
        await client.hset(floor.keys.shifts, b"category:\xff", b"\xff")
        page = await stream.until("market")
        beat = await stream.until("beat", lambda beat: len(beat["markets"]) == 3)
        assert (beat["redis"], own(beat)["market"]) == (None, floor.market)
        states = {each["market"]: each["state"] for each in beat["markets"]}
        assert (states["ZZ"], page["market"]) == ("absent", floor.market)
        await publish(floor, 1)
        await stream.until("market", lambda new: new["as_of"] != page["as_of"])


async def test_the_keys_of_all_markets_may_be_of_another_type(client, floor, session, url):
    """The page said that Redis does not answer, and showed nothing new of any market."""
    await publish(floor)
    async with listening(session, url) as stream:
        page = await stream.until("market")
        for key in ("ecindex:v1:markets", "ecindex:v1:inputs"):
            await client.delete(key)
            await client.rpush(key, "a list")
        await publish(floor, 1)
        await stream.until("market", lambda new: new["as_of"] != page["as_of"])
        assert (await stream.until("beat"))["redis"] is None


async def test_every_answer_forbids_what_the_page_does_not_need(session, url):
    static = Path(__file__).parents[2] / "streams" / "board" / "static"
    for path in ("", *(f"static/{file.name}" for file in static.iterdir()), "static/x", "livez"):
        async with session.get(f"{url}{path}") as answer:
            assert answer.headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.status == (404 if path == "static/x" else 200)
    assert "unsafe" not in CONTENT_SECURITY_POLICY


async def test_a_file_that_the_browser_has_is_not_sent_again(session, url):
    async with session.get(f"{url}static/board.css") as answer:
        etag = answer.headers["ETag"]
    async with session.get(f"{url}static/board.css", headers={"If-None-Match": etag}) as answer:
        assert answer.status == 304


@pytest.mark.parametrize(
    ("host", "status"),
    [("evil.example", 421), ("localhost:1", 200), ("[::1]:1", 200), ("127.0.0.1", 200)],
)
async def test_a_foreign_host_name_is_not_answered(session, url, host, status):
    async with session.get(url, headers={"Host": host}) as answer:
        assert answer.status == status


async def test_a_market_of_absurd_length_is_refused(session, url):
    async with session.get(f"{url}events?market={'x' * 100}") as answer:
        assert answer.status == 400


def test_the_page_has_nothing_inline_and_asks_nobody_else():
    static = Path(__file__).parents[2] / "streams" / "board" / "static"
    for file in static.iterdir():
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")
        for word in (
            "://",
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            " style=",
            " onclick",
            "eval(",
        ):
            assert word not in text, (file.name, word)


async def test_a_taken_address_is_reported(url):
    port = url.rstrip("/").rpartition(":")[2]
    with Command("board", "--port", port) as command:
        code, out, err = command.finish()
    assert (code, out) == (1, "")
    assert "board.port" in err


async def test_a_client_of_a_few_lines_reads_what_the_page_reads(server, floor, session, url):
    await publish(floor)
    async with listening(session, url) as stream:
        page = await stream.until("market")
        async with aclosing(board_events(url, "PK")) as events:
            async for event in events:
                if event.kind == "market":
                    break
        assert json.loads(event.data) == page
        assert event.id == stream.last_id
    waiting = asyncio.create_task(markets_shown(url, 2))
    other = Floor(server.url, "LK")
    try:
        await publish(other)
        async with asyncio.timeout(DEADLINE_S):
            assert await waiting == ["LK", "PK"]
    finally:
        await other.close()


async def test_a_client_of_a_few_lines_raises_when_the_board_refuses(url):
    with pytest.raises(ConnectionError, match="400"):
        async with aclosing(board_events(url, "P" * 65)) as events:
            await anext(events)


@pytest.mark.slow
@pytest.mark.deep
async def test_a_hundred_clients_all_get_the_last_state_and_the_board_stays_small(
    floor, server, session
):
    with Command("board", "--redis", server.url, "--port", "0", "--json") as command:
        url = (await asyncio.to_thread(command.line))["board"]
        await publish(floor, -12)

        async def client(hears):
            async with listening(session, url) as stream:
                page = await stream.until("market", lambda page: page["as_of"] == hears)
                return page["totals"]["orders"]["1m"]["value"]

        last = now_step()
        clients = [asyncio.ensure_future(client(rfc3339(last))) for _ in range(CLIENTS)]
        for step in range(-11, 1):
            await floor.publish(last + step * STEP_MS, now_ms=clock.now_ms())
            await asyncio.sleep(0.3)
        heard = await asyncio.gather(*clients)
        memory = psutil.Process(command.process.pid).memory_info().rss / 2**20
    assert set(heard) == {str(floor.text("orders").value)}
    assert memory < BOARD_MB_MAX, f"{memory:.0f} MB"

"""``ecindex show`` against a real Redis that a real publisher filled."""

from __future__ import annotations

import dataclasses
import io
import json
import threading

import pytest
import redis.exceptions
from redis import Redis
from rich.console import Console
from support.publications import (
    AS_OF_MS,
    incident,
    incident_shift,
    market_values,
    others_of_day,
    publication,
    value,
)

from streams.console.errors import OperationError
from streams.index.member_lists import ListedMember, MemberList
from streams.local.local_stack import LocalStack
from streams.operate.market_views import ViewState, connect, read_markets
from streams.operate.show import render, show, watch
from streams.publish.incident_records import incident_fields
from streams.publish.incident_words import MarketNaming
from streams.publish.metrics import Metrics
from streams.publish.other_records import other_fields
from streams.publish.redis_state import RedisLimits
from streams.publish.redis_store import RedisStore
from streams.reader import DEFAULT_PREFIX
from streams.settings import RedisSettings

pytestmark = pytest.mark.stack

NOW_MS = AS_OF_MS + 3_000
NAMINGS = {
    "PK": MarketNaming("Pakistan", "PKR", "Asia/Karachi"),
    "MM": MarketNaming("Myanmar", "MMK", "Asia/Yangon"),
    "BD": MarketNaming("Bangladesh", "BDT", "Asia/Dhaka"),
}


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory):
    with LocalStack(tmp_path_factory.mktemp("redis"), with_kafka=False) as local:
        yield local.redis_url


@pytest.fixture
def client(redis_url):
    with connect(RedisSettings(url=redis_url)) as client:
        client.flushall()
        yield client


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=200, force_terminal=True, color_system="standard")


@pytest.fixture
async def publish(redis_url):
    stores = []

    async def write(values, market="PK", now_ms=NOW_MS, members=None):
        metrics = Metrics(markets=[market], version="0", edition=1, methodology="0")
        store = RedisStore(
            redis_url, metrics, prefix=DEFAULT_PREFIX, limits=RedisLimits(60_000), timeout_s=3.0
        )
        stores.append(store)
        made = dataclasses.replace(publication(values, market=market), members=members)
        await store.publish(made, now_ms)

    yield write
    for store in stores:
        await store.close()


def printed(console):
    return console.file.getvalue()


async def test_members_have_the_names_that_were_published_for_them(client, publish):
    named = [ListedMember("books", "Books & maps"), ListedMember("atlases", "", "books")]
    await publish([value()], members=MemberList("PK", 4, {"category": named}))
    (view,) = read_markets(client, NOW_MS, ["PK"], DEFAULT_PREFIX)
    assert view.names == {
        ("category", "books"): "Books & maps",
        ("category", "atlases"): "atlases (Books & maps)",
    }


async def test_the_largest_members_come_first(client, console, publish):
    """By their own orders: `n` of a share is the market's, the same for all."""
    values = [value("orders", "market", "all", "1m", 30)]
    for member, orders in (("apples", 3), ("books", 20), ("cars", 7)):
        share = orders / 30
        values.append(value("orders", member=member, number=orders))
        values.append(value("category_share_by_orders", member=member, number=share, n=30))
        method = "payment_method", f"by_{member}"
        values.append(value("orders", *method, number=orders))
        values.append(value("payment_chosen_share", *method, number=share, n=30))
    await publish(values)
    show(client, console, NAMINGS, prefix=DEFAULT_PREFIX, now_ms=lambda: NOW_MS)
    text = printed(console)
    assert text.index("books") < text.index("cars") < text.index("apples")
    assert text.index("by_books") < text.index("by_cars") < text.index("by_apples")


async def test_a_live_market_is_shown_in_major_units(client, console, publish):
    values = [
        value("orders", "market", "all", "1m", 1234),
        value("orders", "market", "all", "1h", 50_000),
        value("sales", "market", "all", "1m", 123_456_789, unit="minor"),
        value("orders", number=7),
        value("sales", number=2**70, unit="minor"),
        value("category_share_by_orders", window="1h", number=0.123, unit="ratio"),
        value("payment_chosen_share", "payment_method", "cod", "1h", 0.6),
        value("payment_share_by_count", "payment_method", "cod", "1h", 0.4),
        value("orders", "market", "all", "24h", None, status="filling", covered=0.12),
    ]
    await publish(values)
    assert show(client, console, NAMINGS, prefix=DEFAULT_PREFIX, now_ms=lambda: NOW_MS)
    text = printed(console)
    assert "1,234" in text
    assert "1,234,567.89" in text
    assert "PKR/min" in text
    assert "11,805,916,207,174,113,034.24" in text
    assert "12.3" in text
    assert "60.0" in text
    assert "40.0" in text
    assert "24h: filling, 12% covered by the log" in text
    assert "3.0 s ago" in text
    assert "stale" not in text
    assert "payments: none seen yet" in text


@pytest.mark.parametrize(
    ("later_ms", "state"),
    [(5_000, ViewState.LIVE), (5_001, ViewState.STALE), (60_000, ViewState.STALE)],
)
async def test_a_silent_publisher_is_stale(client, console, publish, later_ms, state):
    await publish(market_values("PK", ["books"]))
    (view,) = read_markets(client, NOW_MS + later_ms, None, DEFAULT_PREFIX)
    assert view.state is state
    console.print(render([view], NAMINGS))
    assert ("stale: published" in printed(console)) == (state is ViewState.STALE)


async def test_an_as_of_that_stays_is_stale_though_the_publisher_lives(client, console, publish):
    await publish(market_values("PK", ["books"]), now_ms=AS_OF_MS + 31_000)
    (view,) = read_markets(client, AS_OF_MS + 31_000, None, DEFAULT_PREFIX)
    assert view.state is ViewState.STALE
    assert view.published_age_ms == 0
    console.print(render([view], NAMINGS))
    assert "stale: orders end 31.0 s ago; processing is behind" in printed(console)


async def test_what_expired_is_absent_not_forgotten(client, console, publish):
    await publish(market_values("PK", ["books"]))
    client.delete("ecindex:v1:{PK}:snapshot")
    assert not show(client, console, NAMINGS, prefix=DEFAULT_PREFIX, now_ms=lambda: NOW_MS)
    assert "PK: absent" in printed(console)


async def test_a_narrow_terminal_cuts_no_number(client, publish):
    await publish(market_values("PK", ["books"], base=1_745_040_705))
    narrow = Console(file=io.StringIO(), width=60)
    assert show(client, narrow, NAMINGS, prefix=DEFAULT_PREFIX, now_ms=lambda: NOW_MS)
    assert "…" not in printed(narrow)
    assert "17,450,407.05" in printed(narrow)
    assert "left out here: " in printed(narrow)


async def test_a_market_that_there_is_not_is_answered_with_those_that_there_are(
    client, console, publish
):
    await publish(market_values("PK", ["books"]))
    with pytest.raises(OperationError, match=r"'XX' is not .*; it has BD, MM, PK; published: PK"):
        show(client, console, NAMINGS, ["XX"], prefix=DEFAULT_PREFIX, now_ms=lambda: NOW_MS)
    assert printed(console) == ""


async def test_a_published_market_is_shown_though_the_methodology_here_has_it_not(
    client, console, publish
):
    await publish(market_values("PK", ["books"]))
    assert show(
        client, console, {"BD": "BDT"}, ["PK"], prefix=DEFAULT_PREFIX, now_ms=lambda: NOW_MS
    )


def test_an_empty_redis_says_so(client, console):
    assert not show(client, console, NAMINGS, prefix=DEFAULT_PREFIX, now_ms=lambda: NOW_MS)
    assert "no market was published" in printed(console)


async def test_json_is_one_exact_line(client, console, publish):
    await publish([value("sales", "market", "all", "1m", 2**70, unit="minor")])
    await publish(market_values("MM", ["books"]), market="MM")
    assert (
        show(
            client,
            console,
            NAMINGS,
            ["PK", "BD"],
            prefix=DEFAULT_PREFIX,
            as_json_line=True,
            now_ms=lambda: NOW_MS,
        )
        is False
    )
    (line,) = printed(console).splitlines()
    first, second = json.loads(line)
    assert first["market"] == "PK"
    assert first["state"] == "live"
    assert (first["as_of_age_s"], first["published_age_s"]) == (3.0, 0.0)
    assert first["snapshot"]["values"][0]["value"] == 2**70
    assert second == {
        "market": "BD",
        "state": "absent",
        "as_of_age_s": None,
        "published_age_s": None,
        "source_ages_s": {},
        "snapshot": None,
        "incidents": [],
        "others": [],
    }


async def test_json_has_the_incidents_as_redis_has_them(client, console, publish):
    await publish(market_values("PK", ["books"]))
    over, stop = incident(incident_shift("region", at_ms=0), over_ms=AS_OF_MS), incident()
    (newer,) = incident_fields([stop], {}).values()
    newer = f'{newer[:-1]},"of_a_later_release":[1]}}'
    fields = incident_fields([over], {}) | {stop.id: newer, "x": "{}", "y": "?"}
    client.hset("ecindex:v1:{PK}:incidents", mapping=fields)
    show(
        client, console, NAMINGS, ["PK"],
        prefix=DEFAULT_PREFIX, as_json_line=True, now_ms=lambda: NOW_MS,
    )  # fmt: skip
    (shown,) = json.loads(printed(console))
    assert shown["incidents"] == [json.loads(newer), json.loads(fields[over.id])]


async def test_json_has_what_other_is_made_of_the_newest_day_first(client, console, publish):
    await publish(market_values("PK", ["books"]))
    days = [others_of_day(("pet food", 7), day=19_999), others_of_day(("garden gnomes", 300))]
    client.hset("ecindex:v1:{PK}:others", mapping=other_fields("PK", days) | {"x": "{}", "y": "?"})
    show(
        client, console, NAMINGS, ["PK"],
        prefix=DEFAULT_PREFIX, as_json_line=True, now_ms=lambda: NOW_MS,
    )  # fmt: skip
    (shown,) = json.loads(printed(console))
    assert [each["day"] for each in shown["others"]] == ["2024-10-04", "2024-10-03"]
    (category,) = shown["others"][0]["dimensions"]
    assert category["largest"] == [{"label": "garden gnomes", "count": 300}]


async def test_watch_shows_a_redis_that_is_away_and_goes_on(client, console, publish):
    await publish(market_values("PK", ["books"]))
    stop = threading.Event()
    answers = iter([redis.exceptions.ConnectionError("refused"), None])

    def read():
        answer = next(answers)
        if answer is not None:
            raise answer
        stop.set()
        return read_markets(client, NOW_MS, None, DEFAULT_PREFIX), []

    watch(read, NAMINGS, console, stop, interval_s=0)
    assert "Redis does not answer: refused" in printed(console)
    assert "orders/min" in printed(console)


def test_a_redis_that_is_away_is_reported_to_the_caller(unique):
    with Redis(port=1) as nobody, pytest.raises(redis.exceptions.ConnectionError):
        read_markets(nobody, NOW_MS, None, DEFAULT_PREFIX)


@pytest.mark.parametrize("snapshot", [b"{}", b'{"market":"\xff"}', b"\xff", None])
async def test_a_market_that_cannot_be_read_hides_no_other(client, console, publish, snapshot):
    """Somebody else wrote there. A traceback, or an error of the whole Redis, was all there was."""
    await publish(market_values("PK", ["books"]))
    client.sadd("ecindex:v1:markets", "MM", b"\xff")
    if snapshot is None:
        client.rpush("ecindex:v1:{MM}:snapshot", "a list")
    else:
        client.set("ecindex:v1:{MM}:snapshot", snapshot)
    client.rpush("ecindex:v1:inputs", "a list")
    assert not show(client, console, NAMINGS, prefix=DEFAULT_PREFIX, now_ms=lambda: NOW_MS)
    assert "orders/min" in printed(console)
    assert "MM: absent, its snapshot" in printed(console)
    assert "what became of the inputs cannot be read" in printed(console)

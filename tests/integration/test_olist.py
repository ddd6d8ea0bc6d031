"""Two years of real orders, imported into a running stack: every day equals the tables, exactly."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import date, timedelta
from pathlib import Path

import msgspec
import pytest
from support.installation import Installation
from support.kafka import read_all
from support.methodologies import OLIST
from support.olist_days import expected_days, expected_levels, shoppers_of_days
from support.records import newest_values
from support.sketches import sketch_of

from streams.index.instants import parse_instant
from streams.index.panes import LocalDays, day_name
from streams.index.shoppers import STANDARD_ERROR, estimate, shopper_hash
from streams.index.values import Value

DATA = Path(__file__).parents[3] / "shared/data/olist"

pytestmark = [
    pytest.mark.stack,
    pytest.mark.deep,
    pytest.mark.slow,
    pytest.mark.skipif(not DATA.is_dir(), reason="Olist's tables are not part of the repository"),
]
COMPARED = {
    ("orders", "market"), ("units", "market"), ("sales", "market"), ("orders", "category"),
    ("units", "category"), ("sales", "category"), ("payments", "market"), ("amount", "market"),
    ("payments", "payment_method"), ("amount", "payment_method"),
    ("orders_valid", "market"), ("units_valid", "market"), ("sales_valid", "market"),
    ("orders_valid", "category"), ("units_valid", "category"), ("sales_valid", "category"),
    ("sales_level_index", "market"),
}  # fmt: skip


@pytest.fixture(scope="module")
def expected():
    return expected_days(DATA) | expected_levels(DATA)


async def imported(installed, *options):
    """Import everything; the summary."""
    _, out, _ = await installed.command("import", "olist", str(DATA), "--json", *options, check=0)
    return msgspec.json.decode(out.splitlines()[-1])


def by_day(values):
    """(day, index, dimension, member) -> value of what is compared and not zero."""
    return {
        (value.day, value.index, value.dimension, value.member): value.value
        for value in values
        if value.day is not None and (value.index, value.dimension) in COMPARED and value.value
    }


async def in_values(installed):
    values = newest_values(
        await read_all(installed.stack.bootstrap, installed.settings.topics.values)
    )
    return by_day(value for value in values.values() if value.market == "BR")


async def in_journal(installed):
    """The value of each day and member as journaled last."""
    last: dict[str, Value] = {}
    for record in await read_all(installed.stack.bootstrap, installed.settings.topics.journal):
        content = msgspec.json.decode(record.value)
        for encoded in content.get("values", ()):
            value = msgspec.convert(encoded, Value)
            if value.market == "BR" and value.day is not None:
                last[value.key] = value
    return by_day(last.values())


async def in_redis(installed):
    found = {}
    for field, text in (await installed.redis_values("BR", "days")).items():
        index, dimension, member, day = field.split(":")
        if (index, dimension) in COMPARED and text != "0":
            found[day, index, dimension, member] = json.loads(text)
    return found


def differences(expected, found):
    keys = sorted(expected.keys() | found.keys())
    return [(k, expected.get(k), found.get(k)) for k in keys if expected.get(k) != found.get(k)]


async def over(installed, expected):
    """Without the levels of days that are not: partitions end days apart, and as_of with the first."""
    as_of_ms = parse_instant((await installed.redis_values("BR"))["@as_of"])
    today = day_name(LocalDays("America/Sao_Paulo").day_of(as_of_ms))
    assert today >= "2018-08-01"
    return {
        key: value
        for key, value in expected.items()
        if key[1] != "sales_level_index" or key[0] < today
    }


async def assert_exact(installed, tables):
    """Assert that values, journal, Redis and the audit all equal the tables."""
    report = await installed.audit()
    assert report.equal, "\n".join(report.lines())
    expected = await over(installed, tables)
    last = max(day for day, *_ in expected)
    assert not differences(expected, await in_values(installed))[:20]

    async def journaled():
        return not differences(expected, await in_journal(installed))

    await installed.until(journaled)  # within seconds of the last change
    redis_days = await in_redis(installed)
    first = (date.fromisoformat(last) - timedelta(days=34)).isoformat()
    kept = {key: value for key, value in expected.items() if key[0] >= first}
    assert len({day for day, *_ in kept}) > 15
    assert not differences(kept, redis_days)[:20]
    code, out, _ = await installed.command("audit")
    assert code == 0, out


async def assert_shoppers(installed):
    """Shoppers of each day: the sketch of the people in the tables, and near how many they are."""
    values = newest_values(
        await read_all(installed.stack.bootstrap, installed.settings.topics.values)
    )
    found = {
        value.day: value
        for value in values.values()
        if (value.market, value.index, value.window) == ("BR", "shoppers", "day")
    }
    # As far as every partition's log reaches: the last weeks have an order in some of them only.
    ended = max(found)
    found = {day: value for day, value in found.items() if value.covered == 1}
    people = shoppers_of_days(DATA)
    assert found.keys() | {ended} == {day for day in people if day <= ended}
    within = 0
    for day, value in found.items():
        sketch = sketch_of([shopper_hash(each) for each in people[day]])
        assert value.value == estimate(sketch.to_bytes()), day
        assert abs(value.value - len(people[day])) <= max(1, 4 * STANDARD_ERROR * value.value), day
        within += value.lower <= len(people[day]) <= value.upper
    assert within >= 0.95 * len(found)
    assert len(found) > 500


async def installation(stack, unique, tmp_path, **options):
    installed = Installation(stack, unique("olist"), tmp_path, **options)
    installed.overrides["intervals.stale_after_s"] = 600
    installed.overrides["methodology"] = OLIST
    await installed.create_topics()
    installed.start_worker()
    return installed


async def test_every_day_equals_the_tables(stack, unique, tmp_path, expected):
    installed = await installation(stack, unique, tmp_path)
    summary = await imported(installed)
    assert summary["by_type"]["order.placed"] == 20_000
    await assert_exact(installed, expected)
    await assert_shoppers(installed)
    installed.stop()


@pytest.mark.long
async def test_every_day_equals_the_tables_after_a_pause_in_the_middle(
    stack, unique, tmp_path, expected
):
    installed = await installation(stack, unique, tmp_path)
    await imported(installed, "--pause-s", "10")
    await assert_exact(installed, expected)
    installed.stop()


@pytest.mark.long
async def test_every_day_equals_the_tables_with_eight_partitions_and_two_workers(
    stack, unique, tmp_path, expected
):
    installed = await installation(stack, unique, tmp_path, inputs=8, partials=12)
    installed.start_worker()
    await imported(installed)
    await assert_exact(installed, expected)
    installed.stop()


@pytest.mark.long
async def test_every_day_equals_the_tables_while_shops_of_another_market_sell_live(
    stack, unique, tmp_path, expected
):
    installed = await installation(stack, unique, tmp_path)
    simulating = asyncio.create_task(
        installed.command("simulate", "--rate", "100", "--markets", "PK", "--for", "40", "--json")
    )

    async def live():
        return "@as_of" in await installed.redis_values("PK")

    await installed.until(live)
    await imported(installed)
    report = await installed.audit()
    assert report.equal, "\n".join(report.lines())
    await simulating
    await assert_exact(installed, expected)
    installed.stop()


@pytest.mark.long
async def test_every_day_equals_the_tables_with_workers_killed_on_the_way(
    stack, unique, tmp_path, expected
):
    installed = await installation(stack, unique, tmp_path)
    importing = asyncio.create_task(imported(installed, "--pause-s", "5"))
    began = time.monotonic()
    while not importing.done() and time.monotonic() - began < 60:
        await asyncio.sleep(2)
        installed.workers[-1].kill()
        installed.start_worker()
    await importing
    await assert_exact(installed, expected)
    installed.stop()

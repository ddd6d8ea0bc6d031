"""A seeded worker on real Kafka and Redis: demand near 100, an event announced, kill -9, the same E."""

from __future__ import annotations

import csv

import msgspec
import polars as pl
import pytest
from support.installation import Installation
from support.kafka import read_all

from streams.clock import now_ms
from streams.index.hours import LocalHours
from streams.index.instants import in_zone
from streams.index.panes import HOUR_MS, MINUTE_MS, day_name, rfc3339
from streams.proof.explain.explanation_types import Asked
from streams.proof.explain.gather import explain
from tests.support.flow_harness import order, payment
from tests.support.known_histories import season

pytestmark = pytest.mark.stack
HOURS = LocalHours("Asia/Karachi")
DEMAND = "demand_index_orders:market:all:5m"


def expected_orders(hour_ms):
    return round(3_000 * season(HOURS.cell(hour_ms)))


def write_seed(path, until_ms):
    with path.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["market", "hour", "dimension", "member", "orders", "payments"])
        for hour_ms in range(until_ms - 46 * 24 * HOUR_MS, until_ms, HOUR_MS):
            count = expected_orders(hour_ms)
            writer.writerow(["PK", rfc3339(hour_ms), "", "", count, count])
            writer.writerow(["PK", rfc3339(hour_ms), "category", "Books", count, ""])


async def sell(installed, minutes):
    """Send the expected orders of the last minutes, at their own times."""
    now = now_ms()
    async with installed.producer() as producer:
        waiting = []
        at_ms, number = now - minutes * MINUTE_MS, 0
        while at_ms < now:
            for topic, event in (
                ("orders", order(f"e{number}", at_ms, lines=[("Books", 1, 100)])),
                ("payments", payment(f"e{number}", at_ms)),
            ):
                waiting.append(await installed.send(producer, topic, event, at_ms=at_ms))
            number += 1
            at_ms += HOUR_MS // expected_orders(at_ms // HOUR_MS * HOUR_MS)
        for sent in waiting:
            await sent


async def vintages(installed):
    """Every vintage journaled: name -> its series."""
    found = {}
    for record in await read_all(installed.stack.bootstrap, installed.settings.topics.journal):
        content = msgspec.json.decode(record.value)
        if content["kind"] == "vintage":
            found.setdefault(content["vintage"], []).append(content["series"])
    return found


async def fence_writers(installed):
    """Writers whose fence record of PK stands."""
    found = {}
    for record in await read_all(installed.stack.bootstrap, installed.settings.topics.values):
        market, kind, *writer = record.key.decode().split("|")
        if (market, kind) == ("PK", "fence"):
            found[writer[0]] = record.value
    return {writer for writer, value in found.items() if value is not None}


async def test_a_seeded_market_is_measured_and_a_new_owner_expects_the_same(
    stack, unique, tmp_path
):
    installed = Installation(stack, unique("expected"), tmp_path)
    await installed.create_topics()
    await sell(installed, 8)
    write_seed(tmp_path / "seed.csv", now_ms() // HOUR_MS * HOUR_MS)
    _, out, _ = await installed.command("seed", str(tmp_path / "seed.csv"), "--json", check=0)
    ((seeded),) = msgspec.json.decode(out.splitlines()[-1])
    assert (seeded["market"], seeded["hours"]) == ("PK", 46 * 24)
    worker = installed.start_worker()

    async def measured():
        values = await installed.redis_values("PK")
        return float(values[DEMAND]) if values.get(DEMAND) else None

    # The known season falls by 44 % at once where a Monday begins, and what is expected by and by: 77.
    assert 70 < await installed.until(measured) < 130
    before = await vintages(installed)
    today = day_name(HOURS.local_days.day_of(now_ms()))
    assert today in before

    start = now_ms() // HOUR_MS * HOUR_MS - HOUR_MS
    _, out, _ = await installed.command(
        "expect", "PK", "all", rfc3339(start), rfc3339(start + 3 * HOUR_MS), "4", check=0
    )
    assert in_zone(rfc3339(start), "Asia/Karachi") in out, "as the market's clocks show it"

    async def announced():
        values = await installed.redis_values("PK")
        return values.get(DEMAND) and float(values[DEMAND]) < 40

    assert await installed.until(announced)
    worker.kill()
    former = await fence_writers(installed)
    assert len(former) == 1
    installed.start_worker()
    await sell(installed, 1)

    async def went_on():
        values = await installed.redis_values("PK")
        return values.get("orders:market:all:1m", "0") != "0"

    assert await installed.until(went_on)

    async def retired():
        writers = await fence_writers(installed)
        return len(writers) == 1 and writers != former

    assert await installed.until(retired)
    report = await installed.audit()
    assert report.equal, "\n".join(report.lines())
    assert report.judged["expected"] > 200
    assert not [each for each in report.not_judged if each.stage == "expected"]
    # Just after local midnight the factor's hours are among those that a later day learns from.
    after = await vintages(installed)
    assert {name: after[name] for name in before} == before, "nothing was learnt twice"
    await installed.command("expect", "PK", "all", today, today, "2", check=1)
    await every_kind_of_index_is_explained(installed, today)
    await a_table_of_the_days_is_what_redis_has(installed, tmp_path)
    installed.stop()
    await a_changed_expectation_is_found(installed)
    await records_that_cannot_be_read_are_reported(installed, tmp_path)


async def every_kind_of_index_is_explained(installed, today):
    made_of_rows = set()
    for index, member, window in (
        ("orders", "all", "5m"),
        ("category_share_by_sales", "books", "5m"),
        ("payment_chosen_share", "cod", "5m"),
        ("digital_share", "all", "5m"),
        ("demand_index_sales", "books", "5m"),
        ("payment_index", "all", "5m"),
        ("mix_shift", "all", "5m"),
        ("change_day", "all", "1h"),
        ("sales_net", "all", "day"),
    ):
        asked = Asked("PK", index, member, window, day=today if window == "day" else None)
        explanation = await explain(installed.settings, asked)
        assert explanation.equal, msgspec.json.encode(explanation)
        (counted,) = [each for each in explanation.checks if each.what == "counted"]
        assert counted.equal or counted.why
        if counted.equal:
            made_of_rows.add(window)
    assert made_of_rows == {"5m", "day"}, "by source partition, offset and record"
    at = (await installed.redis_values("PK"))["@as_of"]
    arguments = ("explain", "PK", "demand_index_orders", "all", "1h", "--at", at)
    _, out, _ = await installed.command(*arguments, "--json", check=0)
    explanation = msgspec.json.decode(out.splitlines()[-1])
    assert explanation["value"]["as_of"] <= at
    assert 4.0 in {hour["factor"] for hour in explanation["hours"]}, "the declared factor is named"
    assert explanation["recomputed"] == explanation["published"]
    _, out, _ = await installed.command(*arguments, check=0)
    assert "equal to the last digit" in out


async def a_table_of_the_days_is_what_redis_has(installed, directory):
    path, columns = directory / "days.csv", directory / "days.parquet"
    _, out, _ = await installed.command(
        "export", "days", "--csv", str(path), "--parquet", str(columns), "--json", check=0
    )
    with path.open(newline="") as stream:
        assert next(stream).startswith("# How to cite: ecindex, edition 3 ")
        rows = list(csv.DictReader(stream))
    found = {
        ":".join(row[name] for name in ("index", "dimension", "member", "day")): row["value"]
        for row in rows
        if row["market"] == "PK" and row["value"]
    }
    assert found == await installed.redis_values("PK", "days")
    assert len(found) > 10
    assert {row["vintage"] for row in rows if row["index"] == "orders"} >= {rows[0]["day"]}
    assert pl.read_parquet(columns)["value_exact"].to_list() == [r["value"] or None for r in rows]
    assert msgspec.json.decode(out.splitlines()[-1])["rows"] == len(rows)
    _, out, _ = await installed.command("export", "values", "--csv", "-", check=0)
    assert "PK,,5m,demand_index_orders,market,all," in out


async def a_changed_expectation_is_found(installed):
    records = await read_all(installed.stack.bootstrap, installed.settings.topics.values)
    key = b"PK|demand_index_orders|market|all|24h"
    record = [each for each in records if each.key == key][-1]
    content = msgspec.json.decode(record.value)
    content["expected"] += 1
    async with installed.producer() as producer:
        await producer.send_and_wait(
            record.topic, msgspec.json.encode(content), key=key, partition=record.partition,
            headers=list(record.headers),
        )  # fmt: skip
    _, out, _ = await installed.command("audit", "--market", "PK", "--json", check=1)
    differences = msgspec.json.decode(out.splitlines()[-1])["differences"]
    found = [each for each in differences if each["stage"] == "expected"]
    assert {each["field"] for each in found} == {"expected"}
    assert {each["key"] for each in found} == {key.decode()}
    assert found[0]["found"] == str(content["expected"])


async def records_that_cannot_be_read_are_reported(installed, directory):
    """By everything that reads them: a table, an explanation, the doctor, the audit."""
    planted = {}
    for topic, key in (
        (installed.settings.topics.values, b"PK|orders|market|all|24h"),
        (installed.settings.topics.journal, b"PK"),
    ):
        records = await read_all(installed.stack.bootstrap, topic)
        record = [each for each in records if each.key == key][-1]
        async with installed.producer() as producer:
            sent = await producer.send_and_wait(
                topic, b"{", key=key, partition=record.partition, headers=list(record.headers)
            )
        planted[topic] = f"{topic}-{sent.partition}@{sent.offset}"
    values, journal = planted.values()

    table = ("export", "values", "--csv", str(directory / "values.csv"))
    _, out, err = await installed.command(*table, "--json", check=1)
    summary = msgspec.json.decode(out.splitlines()[-1])
    assert not summary["complete"]
    assert values in {each["where"] for each in summary["unreadable"]["records"]}
    assert values in err
    missing = summary["unreadable"]["not_replaced"]  # of the journal too, where a value was revised
    cited = (directory / "values.csv").read_text().splitlines()[0]
    assert f"incomplete, {missing} records could not be read" in cited
    _, out, _ = await installed.command("export", "days", "--csv", "-", "--market", "BD", check=0)

    asked = ("explain", "PK", "orders", "all", "5m")
    _, out, _ = await installed.command(*asked, "--json", check=0)
    found = msgspec.json.decode(out.splitlines()[-1])["unreadable"]["records"]
    assert {each["where"] for each in found} == {values, journal}
    _, out, _ = await installed.command(*asked, check=0)
    assert "warning: 2 records could not be read" in out

    _, out, _ = await installed.command("doctor", "--json", check=1)
    findings = msgspec.json.decode(out.splitlines()[-1])["findings"]
    wrong = {each["check"]: each["found"] for each in findings if each["level"] == "wrong"}
    assert values in wrong["values"]
    assert journal in wrong["journal"]

    _, out, _ = await installed.command("audit", "--market", "PK", "--json", check=1)
    differences = msgspec.json.decode(out.splitlines()[-1])["differences"]
    refused = {each["where"] for each in differences if each["field"] == "record"}
    assert refused == {values, journal}

"""Definitions on a real Kafka: documents count in the order of the log, and workers follow them."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest
from support.flow_harness import order, payment
from support.installation import Installation

from streams.clock import now_ms
from streams.console.errors import OperationError
from streams.flow.history_book import HistoryBook
from streams.index.definitions import MemberDefinition
from streams.index.panes import LocalDays, day_name
from streams.operate import defining
from streams.operate.definitions_file import read_definitions_file
from streams.records.kafka_topics import connected
from streams.worker.history_reader import HistoryReader
from streams.worker.topic_ids import UNKNOWN, id_of

pytestmark = pytest.mark.stack


@pytest.fixture
async def made(stack, unique, tmp_path):
    found = Installation(stack, unique("defs"), tmp_path, inputs=1, arrival="broker", partials=1)
    await found.create_topics()
    yield found
    found.stop()


async def test_documents_are_applied_followed_and_undone_and_of_two_at_once_the_first_counts(
    made, tmp_path, monkeypatch
):
    settings, path = made.settings, tmp_path / "pk.toml"

    async def edited(member, version=None):
        text = await defining.show_definitions(settings, "PK", version)
        path.write_text(f"{text}\n[category.{member}]\nlabels = ['{member} label']\n")
        return read_definitions_file(path)

    first, second = await edited("garden"), await edited("pets")
    diff = await defining.diff_definitions(settings, first)
    assert [(each.member, each.kind) for each in diff.changes] == [("garden", "appears")]
    done = await defining.apply_definitions(settings, first, "aisha", "gardens")
    assert done == ("PK", 1, 0)
    with pytest.raises(OperationError, match="builds upon version 0 of PK, and 1 is in force"):
        await defining.apply_definitions(settings, second, "omar", "pets")
    with pytest.raises(OperationError, match="nothing changes"):
        await defining.apply_definitions(settings, first._replace(base=1), "omar", "the same again")

    # Two read the same version and send: the second is stored, and changes nothing.
    second, third = await edited("pets"), await edited("tools")
    sending = defining.send_to

    async def overtaken(settings, topic, records):
        monkeypatch.setattr(defining, "send_to", sending)
        await defining.apply_definitions(settings, third, "aisha", "tools")
        return await sending(settings, topic, records)

    monkeypatch.setattr(defining, "send_to", overtaken)
    with pytest.raises(OperationError, match=r"version 2, by aisha \(tools\), came first"):
        await defining.apply_definitions(settings, second, "omar", "pets")

    done = await defining.undo_definitions(settings, "PK", "aisha", "not yet")
    assert done == ("PK", 4, 2)
    async with made.producer() as producer:
        await producer.send_and_wait(settings.topics.definitions, b"{", key=b"PK|4|x")
    lines = await defining.definitions_history(settings, "PK")
    assert [(line.version, line.state, line.base, line.by) for line in lines] == [
        (1, "replaced", 0, "aisha"),
        (2, "replaced", 1, "aisha"),
        (3, "lost", 1, "omar"),
        (4, "in force", 2, "aisha"),
        (5, "refused", None, ""),
    ]
    assert await defining.definitions_history(settings, "BD") == []

    async with connected(settings.kafka) as admin:
        reader = HistoryReader(
            settings,
            HistoryBook(["PK", "BD"]),
            lambda _: UNKNOWN,
            lambda topic: id_of(admin._send_request, topic),
        )
        reading = asyncio.create_task(reader.run())
        await made.until(lambda: asyncio.sleep(0, reader.ready))
        held = reader.book.definitions.markets
        assert (held["PK"].version, held["BD"].version) == (4, 0)
        assert held["PK"].document == first.document
        garden = MemberDefinition(labels=("garden label",))
        assert held["PK"].document.category["garden"] == garden
        assert [each.version for each in held["PK"].troubles] == [5]
        await defining.undo_definitions(settings, "PK", "omar", "tools after all")
        await made.until(lambda: asyncio.sleep(0, held["PK"].version == 6))
        assert "tools" in held["PK"].document.category
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def test_a_worker_publishes_by_what_the_command_applied_and_reads_no_input_again(
    made, tmp_path
):
    installed, path = made, tmp_path / "pk.toml"
    installed.start_worker()
    begin_ms = now_ms()

    async def definitions(version):
        return (await installed.redis_values("PK")).get("@definitions") == version

    async with installed.producer() as producer:
        for number, label in enumerate(("Books", "Garden gnomes", "gnomes", "pets")):
            lines = [(label, 1, 100)]
            await installed.send(producer, "orders", order(f"o{number}", begin_ms, lines=lines))
            await installed.send(producer, "payments", payment(f"p{number}", begin_ms))
        await producer.flush()
        await installed.until(lambda: definitions("0"))
        before = await installed.until(lambda: counted(installed, "other"))
        assert before == {"other": "3", "books": "1"}

        _, shown, _ = await installed.command("definitions", "show", "PK", check=0)
        path.write_text(f"{shown}\n[category.garden]\n\n[category.gnomes]\nparent = 'garden'\n"
                        "labels = ['garden gnomes']\n")  # fmt: skip
        _, said, _ = await installed.command("definitions", "diff", str(path), check=0)
        assert "category gnomes: appears, 2 orders" in said
        arguments = ("definitions", "apply", str(path), "--reason")
        _, said, _ = await installed.command(*arguments, "gnomes sell", check=0)
        assert said == "PK: version 1, built upon 0\n"
        code, _, refused = await installed.command(*arguments, "again")
        assert code != 0
        assert "version 1 is this document: nothing changes" in refused
        await installed.until(lambda: definitions("1"), within_s=10)
        after = await installed.until(lambda: counted(installed, "gnomes"), within_s=10)
        assert after == {"books": "1", "gnomes": "2", "garden": "2", "other": "1"}
        day = ("day", "--day", day_name(LocalDays("Asia/Karachi").day_of(begin_ms)))
        _, said, _ = await installed.command("explain", "PK", "orders", "gnomes", *day, check=0)
        assert "equal to the last digit" in said
        _, said, _ = await installed.command(
            "expect", "PK", "category:gnomes", "2030-01-01", "2030-01-02", "2", check=0
        )
        assert said.startswith("PK category gnomes")
        report = await installed.audit()
        assert report.equal, "\n".join(report.lines())
        _, said, _ = await installed.command(
            "definitions", "undo", "PK", "--reason", "not yet", "--json", check=0
        )
        assert json.loads(said) == {"market": "PK", "version": 2, "base": 1}
        await installed.until(lambda: definitions("2"), within_s=10)
        await installed.until(lambda: counted(installed, "other", before["other"]), within_s=10)
    report = await installed.audit()
    assert report.equal, "\n".join(report.lines())
    read = await metric(installed, "ecindex_events_total")
    assert read == 8, "no input was read again"


async def counted(installed, member, orders=None):
    """Orders of the day by category, once the member has some, or so many."""
    found = await installed.redis_values("PK", "days")
    day = {
        field.split(":")[2]: text
        for field, text in found.items()
        if field.startswith("orders:category:")
    }
    return day if day.get(member) in ([*day.values()] if orders is None else [orders]) else None


async def metric(installed, name):
    """Sum of a worker's series."""
    url = await installed.until(
        lambda: asyncio.sleep(0, installed.metrics_of(installed.workers[0]))
    )
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        lines = (await answer.text()).splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name}{{"))

"""Definitions on a real Kafka: documents count in the order of the log, and workers follow them."""

from __future__ import annotations

import asyncio

import pytest
from support.installation import Installation

from streams.console.errors import OperationError
from streams.flow.history_book import HistoryBook
from streams.index.definitions import MemberDefinition
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
    return found


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

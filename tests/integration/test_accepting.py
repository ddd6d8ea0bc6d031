"""What `ecindex topics accept` takes: only what the log, as it is now, can have halted a worker for."""

from __future__ import annotations

import json

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition
from support.installation import Installation
from support.kafka import delete_records, produce, read_all

from streams.console.errors import OperationError
from streams.operate.accepting import accept
from streams.records.kafka_topics import connected
from streams.settings import load_methodology
from streams.worker.names import app_id
from streams.worker.topic_ids import topic_identities

pytestmark = pytest.mark.stack


@pytest.fixture
async def installed(stack, unique, tmp_path):
    """An installation without workers. Partition 0 of the orders holds offsets 4 to 9."""
    found = Installation(stack, unique("accept"), tmp_path, inputs=2, arrival="broker")
    await found.create_topics()
    orders = found.settings.topics.orders
    await produce(stack.bootstrap, orders, [b"{}"] * 10, partition=0)
    await delete_records(stack.bootstrap, orders, 0, 4)
    return found


async def history(installed):
    return await read_all(installed.stack.bootstrap, installed.settings.topics.history)


LOG = "begins at offset 4 and ends at 10"
PARTITIONS = "its partitions are 0 to 1"


REFUSED = [
    ("id=00000000-0000-0000-0000-000000000001", PARTITIONS),
    ("2:0..3", PARTITIONS),
    ("999999:3..end=3", PARTITIONS),
    ("0:0..4", LOG),  # offset 4 is there
    ("0:3..1", LOG),
    ("0:20..30", LOG),
    ("0:20..end=11", LOG),
    (
        "0:checkpoints-before=5",
        f"{LOG}, .* would name `ecindex topics accept .* 0:checkpoints-before=0`",
    ),
    ("1:checkpoints-before=0", "begins at offset 0 and ends at 0"),
    ("1:0..0", "begins at offset 0 and ends at 0"),
]


async def test_a_change_that_no_worker_can_mean_is_refused_with_what_is_there(installed):
    for change, said in REFUSED:
        with pytest.raises(OperationError, match=said) as refused:
            await accept(installed.settings, installed.settings.topics.orders, change, "")
        assert "`ecindex doctor`" in str(refused.value), change
    assert await history(installed) == []


async def test_a_change_that_the_log_shows_is_accepted(installed):
    settings = installed.settings
    orders = settings.topics.orders
    async with connected(settings.kafka) as admin:
        present = (await topic_identities(admin, [orders]))[orders].topic_id
    # Retention may have gone on since a worker halted, and the log have grown.
    group = app_id(load_methodology(settings).edition, settings.topics.prefix)
    partition = TopicPartition(orders, 0)
    options = settings.kafka.client_options()
    async with AIOKafkaConsumer(**options, group_id=group, enable_auto_commit=False) as workers:
        workers.assign([partition])
        await workers.commit({partition: 7})
    changes = [f"id={present}", "0:0..3", "0:1..2", f"0:{1 << 40}..end=10", "0:12..end=9"]
    for change in [*changes, "0:checkpoints-before=7"]:
        assert (await accept(settings, orders, change, "")).change == change
    records = await history(installed)
    assert len(records) == 6
    # A gap at these offsets in another topic of this name is another one.
    assert {json.loads(record.value)["topic_id"] for record in records} == {present}
    _, _, err = await installed.command("topics", "accept", orders, "7:0..3", check=1)
    assert PARTITIONS in err

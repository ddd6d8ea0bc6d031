"""What the newest checkpoints of an edition say of the topics that their states are of.

A partition that an input has got has no state, and nothing says of which topic it ought to be. The
checkpoints of the input's other partitions do. And they say among how many partitions markets were
placed, which no topic's count tells once topics were created again. Only the changelogs' ends are read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from streams.flow.chain import CheckpointRecord, decode_checkpoint, newest_of
from streams.flow.chunk import SourcePartition
from streams.flow.own_records import place, reading
from streams.settings import KafkaSettings, Settings
from streams.worker.names import app_id, changelog_topic, checkpoint_table, created_with

TAIL_RECORDS = 64
"""Records from the end of a changelog among which a checkpoint is sought first. A flush may be followed
by the tombstones of a few that are retired."""


async def stated_ids(kafka: KafkaSettings, ends: Mapping[TopicPartition, int]) -> set[str]:
    """Return the ids of the topics that checkpoints are of. Raises KafkaError, OwnRecordError.

    ``ends``: where each changelog partition ends.
    """
    if not any(ends.values()):
        return set()  # a first start; a connection would cost 0.3 s
    async with AIOKafkaConsumer(**kafka.client_options(), enable_auto_commit=False) as consumer:
        return {found.topic_id for found in await _newest(consumer, ends)} - {""}


async def places_stated(settings: Settings, edition: int, counts: Mapping[str, int]) -> int | None:
    """Return among how many partitions markets were placed; None where no checkpoint says so.

    ``counts``: partitions of the topics that exist. Raises KafkaError, OwnRecordError.
    """
    group = app_id(edition, settings.topics.prefix)
    changelogs = [
        changelog_topic(group, checkpoint_table(topic))
        for topic in (settings.topics.orders, settings.topics.payments)
    ]
    tps = [
        TopicPartition(log, number) for log in changelogs for number in range(counts.get(log, 0))
    ]
    options = settings.kafka.client_options()
    async with AIOKafkaConsumer(**options, enable_auto_commit=False) as consumer:
        ends = await consumer.end_offsets(tps) if tps else {}
        found = [each.places for each in await _newest(consumer, ends) if each.places]
    return max(found, default=None)


async def other_places(settings: Settings, edition: int, counts: Mapping[str, int]) -> int | None:
    """Return the number that `topics.partials_partitions` must be; None: the one that it is.

    With another number markets are sought where they are not. The topics' counts say what it was, and
    checkpoints where somebody created all of those topics again. Raises KafkaError, OwnRecordError.
    """
    created = created_with(settings, edition, counts)
    if created is None:
        return None
    stated = await places_stated(settings, edition, counts)
    places = settings.topics.partials_partitions
    return None if stated == places else stated or created


async def _newest(
    consumer: AIOKafkaConsumer, ends: Mapping[TopicPartition, int]
) -> Collection[CheckpointRecord]:
    """Return the newest checkpoint of each changelog partition that has one."""
    begins = await consumer.beginning_offsets(sorted(ends)) if ends else {}
    # aiokafka's stop may pass on the cancellation of a fetch from an empty partition.
    held = {tp: end for tp, end in ends.items() if begins[tp] < end}
    if held:
        consumer.assign(sorted(held))
    found = [await _newest_in(consumer, tp, begins[tp], end) for tp, end in held.items()]
    return [each for each in found if each is not None]


def checkpoints_in(records: Iterable[Any]) -> list[CheckpointRecord]:
    """Return the checkpoints among records of a changelog, without tombstones. Raises OwnRecordError."""
    found = []
    for record in records:
        if record.value is not None:
            sp = SourcePartition(record.topic, record.partition)
            with reading(record.key, place(sp, record.offset)):
                found.append(decode_checkpoint(record.value))
    return found


async def _newest_in(
    consumer: AIOKafkaConsumer, tp: TopicPartition, begin: int, end: int
) -> CheckpointRecord | None:
    tail = TAIL_RECORDS
    while True:
        start = max(begin, end - tail)
        consumer.seek(tp, start)
        checkpoints = []
        while await consumer.position(tp) < end:
            records = (await consumer.getmany(tp, timeout_ms=500)).get(tp, ())
            checkpoints += checkpoints_in(records)
        found = newest_of(checkpoints)
        if found is not None or start == begin:
            return found
        tail *= 4

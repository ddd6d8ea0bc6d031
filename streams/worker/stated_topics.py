"""Of which topics the checkpoints of other workers' partitions are.

A partition that an input has got has no state, and nothing says of which topic it ought to be. The
checkpoints of the input's other partitions do. Only the ends of their changelogs are read: the newest
record names the topic.
"""

from __future__ import annotations

from collections.abc import Mapping

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from streams.flow.chain import topic_id_of
from streams.settings import KafkaSettings

TAIL_RECORDS = 64
"""Records from the end of a changelog among which a checkpoint is sought first. A flush may be followed
by the tombstones of a few that are retired."""


async def stated_ids(kafka: KafkaSettings, ends: Mapping[TopicPartition, int]) -> set[str]:
    """Return the ids of the topics that checkpoints are of. Raises KafkaError, FormatError.

    ``ends``: where each changelog partition ends.
    """
    held = {tp: end for tp, end in ends.items() if end > 0}
    if not held:
        return set()
    async with AIOKafkaConsumer(**kafka.client_options(), enable_auto_commit=False) as consumer:
        begins = await consumer.beginning_offsets(sorted(held))
        # aiokafka's stop may pass on the cancellation of a fetch from an empty partition.
        held = {tp: end for tp, end in held.items() if begins[tp] < end}
        if held:
            consumer.assign(sorted(held))
        return {await _newest(consumer, tp, begins[tp], end) for tp, end in held.items()} - {""}


async def _newest(consumer: AIOKafkaConsumer, tp: TopicPartition, begin: int, end: int) -> str:
    """Return the id that the newest checkpoint of a changelog partition names; empty: none does."""
    tail = TAIL_RECORDS
    while begin < end:
        start = max(begin, end - tail)
        consumer.seek(tp, start)
        values = []
        while await consumer.position(tp) < end:
            records = (await consumer.getmany(tp, timeout_ms=500)).get(tp, ())
            values += [each.value for each in records if each.value is not None]
        found = topic_id_of(values)
        if found or start == begin:
            return found
        tail *= 4
    return ""

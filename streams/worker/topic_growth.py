"""Gives changelogs the partitions that their inputs have got.

Faust assigns a changelog's partition together with its source's only where both topics have equally
many. An input may get more partitions at any time, and its new partitions need somewhere to keep their
checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from aiokafka.errors import KafkaError

from streams.settings import KafkaSettings


async def grow_topics(kafka: KafkaSettings, wanted: Mapping[str, int]) -> dict[str, int]:
    """Give topics more partitions, where they have fewer than wanted; return those that grew.

    Raises KafkaError when the broker does not answer or refuses.
    """
    admin = AIOKafkaAdminClient(**kafka.client_options())
    try:
        await admin.start()
        described = await admin.describe_topics()
        found = {topic["topic"]: len(topic["partitions"]) for topic in described}
        short = {topic: count for topic, count in wanted.items() if 0 < found.get(topic, 0) < count}
        for topic, count in short.items():
            try:
                await admin.create_partitions({topic: NewPartitions(total_count=count)})
            except KafkaError:
                if await _count(admin, topic) < count:  # else another worker was quicker
                    raise
        return short
    finally:
        await admin.close()


async def _count(admin: AIOKafkaAdminClient, topic: str) -> int:
    described = await admin.describe_topics()
    return next((len(each["partitions"]) for each in described if each["topic"] == topic), 0)

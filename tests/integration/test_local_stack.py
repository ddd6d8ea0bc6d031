"""The local stack: real servers that answer, survive a crash, and die with their parent."""

from __future__ import annotations

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.structs import TopicPartition
from redis import Redis

pytestmark = pytest.mark.stack


async def create_topic(bootstrap, topic):
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
    finally:
        await admin.close()


async def produce(bootstrap, topic, values):
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
        for value in values:
            await producer.send_and_wait(topic, value)


async def consume(bootstrap, topic, count):
    """The first ``count`` values of the topic's only partition."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    consumer.assign([TopicPartition(topic, 0)])
    async with consumer:
        return [(await consumer.getone()).value for _ in range(count)]


async def test_a_record_goes_in_and_comes_out(stack, unique):
    topic = unique("orders")
    await create_topic(stack.bootstrap, topic)
    await produce(stack.bootstrap, topic, [b"one"])
    assert await consume(stack.bootstrap, topic, 1) == [b"one"]


def test_redis_answers_and_keeps_what_it_is_told(stack, unique):
    with Redis.from_url(stack.redis_url) as redis:
        assert redis.set(unique("key"), "value")

"""The few things that every test with a broker does: create a topic, write values, read them back."""

from __future__ import annotations

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.protocol.admin import CreateAclsRequest, DeleteAclsRequest
from aiokafka.structs import TopicPartition

TOPIC, LITERAL, ALL, ALTER, DENY, ALLOW, ANY = 2, 3, 2, 7, 2, 3, 1
"""Numbers of Kafka's access rules."""


async def create_topic(bootstrap, topic, partitions=1, **configs):
    """Create a topic. Configs are keyword arguments with underscores for dots."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics(
            [
                NewTopic(
                    topic,
                    num_partitions=partitions,
                    replication_factor=1,
                    topic_configs={
                        name.replace("_", "."): str(value) for name, value in configs.items()
                    },
                )
            ]
        )
    finally:
        await admin.close()


async def produce(bootstrap, topic, values, partition=0):
    """Write values, each acknowledged, to one partition."""
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
        for value in values:
            await producer.send_and_wait(topic, value, partition=partition)


async def consume(bootstrap, topic, count, partition=0):
    """Read the first ``count`` values of one partition, without a group."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    consumer.assign([TopicPartition(topic, partition)])
    async with consumer:
        return [(await consumer.getone()).value for _ in range(count)]


async def read_partitions(bootstrap, topic, partitions):
    """Every committed record of a topic up to its present end, by partition, and the ends."""
    tps = [TopicPartition(topic, number) for number in range(partitions)]
    found = {number: [] for number in range(partitions)}
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    )
    async with consumer:
        begins, ends = await consumer.beginning_offsets(tps), await consumer.end_offsets(tps)
        # Nothing is fetched from empty partitions: aiokafka's stop awaits a fetch that it has just
        # cancelled, and a fetch that had not begun ends as a cancellation of the caller.
        tps = [tp for tp in tps if begins[tp] < ends[tp]]
        if tps:
            consumer.assign(tps)
        while any([await consumer.position(tp) < ends[tp] for tp in tps]):
            for tp, records in (await consumer.getmany(timeout_ms=500)).items():
                found[tp.partition] += [r for r in records if r.offset < ends[tp]]
    return found, {tp.partition: end for tp, end in ends.items()}


async def read_all(bootstrap, topic):
    """Every record of a topic as it is now, by partition and in offset order."""
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap) as consumer:
        await consumer._client.set_topics([topic])
        partitions = len(consumer.partitions_for_topic(topic))
    found, _ = await read_partitions(bootstrap, topic, partitions)
    return [record for records in found.values() for record in records]


async def alter_topic(bootstrap, topic, configs):
    """Change a topic's configuration, while others use it."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs)])
    finally:
        await admin.close()


async def delete_records(bootstrap, topic, partition, before_offset):
    """Cut the beginning of a partition's log, as retention does."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.delete_records(
            {TopicPartition(topic, partition): RecordsToDelete(before_offset)}
        )
    finally:
        await admin.close()


async def delete_topic(bootstrap, topic):
    """Delete a topic while its readers are still there."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.delete_topics([topic])
    finally:
        await admin.close()


async def committed(bootstrap, group, topic):
    """Offsets that a group has committed for a topic, by partition."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        offsets = await admin.list_consumer_group_offsets(group)
    finally:
        await admin.close()
    return {tp.partition: found.offset for tp, found in offsets.items() if tp.topic == topic}


async def group_members(bootstrap, group):
    """Number of members that the group's coordinator knows."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        (answer,) = await admin.describe_consumer_groups([group])
    finally:
        await admin.close()
    ((_, _, _, _, _, members, *_),) = answer.groups
    return len(members)


async def commit(bootstrap, group, topic, offsets):
    """Set a group's committed offsets; it must have no members."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False
    )
    consumer.assign([TopicPartition(topic, partition) for partition in offsets])
    async with consumer:
        await consumer.commit({TopicPartition(topic, p): offset for p, offset in offsets.items()})


async def deny_alter(bootstrap, topic):
    """Let everybody use a topic and nobody change it. The broker must have an authorizer."""
    await _ask_controller(
        bootstrap,
        *(
            CreateAclsRequest(TOPIC, topic, LITERAL, "User:*", "*", operation, permission)
            for operation, permission in ((ALL, ALLOW), (ALTER, DENY))
        ),
    )


async def allow_alter(bootstrap, topic):
    """Take every access rule of a topic away."""
    await _ask_controller(bootstrap, DeleteAclsRequest(TOPIC, topic, LITERAL, None, None, ANY, ANY))


async def _ask_controller(bootstrap, *requests):
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        for request in requests:
            answer = await admin._send_to_controller(request)
            (found,) = getattr(answer, "creation_responses", None) or answer.filter_responses
            assert found[0] == 0, answer
    finally:
        await admin.close()

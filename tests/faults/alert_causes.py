"""How the faults of alert_faults.py are caused on a running index, and how they are mended.

Each function is one step. What it must remember until the mend it leaves in ``index.left``.
"""

from __future__ import annotations

import asyncio
import json

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from aiokafka.errors import TopicAlreadyExistsError
from aiokafka.structs import TopicPartition
from support.alarmed import GROUP, LIMIT_S, OF_ORDERS, OF_PAYMENTS, ORDERS, PAYMENTS, VALUES
from support.flow_harness import order
from support.kafka import (
    allow_alter,
    create_topic,
    delete_records,
    delete_topic,
    deny_alter,
    group_members,
)
from support.rig import until

from streams.clock import now_ms
from streams.index.instants import parse_instant
from streams.publish.keys import market_keys

HOUR_MS = 3_600_000


async def nothing(_index):
    """Mend nothing: it goes by itself."""


# -- producers ---------------------------------------------------------------------------------


async def refuse_all(index):
    at_ms = now_ms()
    bad = [{**order(f"first{n}", at_ms), "lines": None, "items": []} for n in range(90)]
    await index.send("orders", [json.dumps(each).encode() for each in bad])


async def mend_the_producer(index):
    index.send_all_the_time()


async def break_the_contract(index):
    await index.send("payments", [b"{"] * 12_000, partition=0)


async def release(index):
    worker = await index.owner(PAYMENTS, 0)
    await index.installed.command(
        "dead-letters", "release", PAYMENTS, "0", "--worker", worker.url, check=0
    )


async def send_ahead(index):
    await index.send("orders", [order(f"ahead{n}", now_ms() + HOUR_MS) for n in range(20)])


async def send_late(index):
    """Orders of a shop that was cut off for ten minutes."""
    at_ms = now_ms() - 600_000
    await index.send("orders", [order(f"late{n}", at_ms + n) for n in range(600)])


async def stamp_ahead(index):
    """Events of one order from a server whose clock is an hour fast; different ones would agree."""
    at_ms = now_ms() + HOUR_MS
    events = [order("stray", at_ms) | {"event_id": f"stray{n}"} for n in range(600)]
    await index.send("orders", events, partition=0, at_ms=at_ms, imported=False)


async def send_again(index):
    """The first orders of this index, as they were, when the live windows no longer know them."""
    await index.send("orders", index.first_orders)


async def grow_old(index):
    """Wait until no live window and no memory of ids holds the first orders."""
    await until(lambda: index.first_orders, LIMIT_S, "orders are sent")
    old_ms = parse_instant(index.first_orders[0]["occurred_at"])
    await until(lambda: now_ms() - old_ms > 420_000, 600, "they are old")


async def leave_open(index):
    producer = AIOKafkaProducer(
        bootstrap_servers=index.stack.bootstrap,
        transactional_id="forgotten",
        transaction_timeout_ms=600_000,
    )
    await producer.start()
    await producer.begin_transaction()
    await producer.send_and_wait(PAYMENTS, b"{}", partition=1)
    index.left.append(producer)


async def end_it(index):
    producer = index.left.pop()
    await producer.abort_transaction()
    await producer.stop()


# -- machines ----------------------------------------------------------------------------------


async def set_clock_ahead(index):
    index.workers[1].clock.write_text(str(HOUR_MS))


async def set_clock_right(index):
    index.workers[1].clock.write_text("0")


async def kill_one(index):
    index.workers[0].kill(hold=True)


async def kill_both(index):
    for worker in index.workers:
        worker.kill(hold=True)


async def start_workers(index):
    for worker in index.workers:
        worker.back()


async def kill_often(index):
    for _ in range(3):
        await until(lambda: asyncio.to_thread(index.is_ready, index.workers[0]), LIMIT_S, "ready")
        await asyncio.sleep(6)  # seen by a scrape
        index.workers[0].kill()
        await asyncio.sleep(1)


async def be_patient(index):
    """Let workers wait longer for a broker than the alert does.

    One that recovers ends after 15 to 90 s, one that still joins does not. When all have ended it
    is EcindexNoWorker, which `all-killed` runs.
    """
    for worker in index.workers:
        worker.env["ECINDEX_KAFKA__REQUEST_TIMEOUT_MS"] = "280000"
    await empty_the_group(index)


async def freeze_the_broker(index):
    """The broker hangs when the only worker has just started, before its state is recovered."""
    worker = index.workers[0]
    worker.back()
    await until(lambda: asyncio.to_thread(index.listens, worker), LIMIT_S, "it listens", 0.01)
    index.stack.kafka.pause()


async def thaw_the_broker(index):
    index.stack.kafka.resume()
    await start_workers(index)


async def empty_the_group(index):
    await kill_both(index)
    await until(lambda: no_members(index), LIMIT_S, "the group is empty")


async def take_the_group(index):
    """Workers start while somebody else's consumer uses the name of their group."""
    stranger = AIOKafkaConsumer(
        ORDERS, bootstrap_servers=index.stack.bootstrap, group_id=GROUP, enable_auto_commit=False
    )
    await stranger.start()
    index.left.append(stranger)
    await start_workers(index)


async def no_members(index):
    return not await group_members(index.stack.bootstrap, GROUP)


async def leave_the_group(index):
    await index.left.pop().stop()


# -- topics ------------------------------------------------------------------------------------


async def delete_values(index):
    await delete_topic(index.stack.bootstrap, VALUES)


async def delete_checkpoints(index):
    await delete_topic(index.stack.bootstrap, OF_ORDERS)


def type_create(topic):
    async def typed(index):
        await index.type_what_is_logged("topic_missing", topic=topic)

    return typed


def recreate(partitions):
    """Delete the orders; create them again, stamped by the broker, with so many partitions."""

    async def recreated(index):
        await delete_topic(index.stack.bootstrap, ORDERS)

        async def made():
            stamps = {"message.timestamp.type": "LogAppendTime"}
            try:
                await create_topic(index.stack.bootstrap, ORDERS, partitions, **stamps)
            except TopicAlreadyExistsError:
                return False
            return True

        await until(made, LIMIT_S, "the topic is there again")

    return recreated


async def give_back_and_accept(index):
    """Two commands: the partitions that the new orders lack, then the new orders themselves."""
    await index.type_what_is_logged("topic_too_short", topic=ORDERS)
    await type_accept(ORDERS, 0, "recreated")(index)


def type_accept(topic, partition, reason):
    async def typed(index):
        await index.type_what_is_logged(
            "partition_halted", topic=topic, partition=partition, reason=reason
        )

    return typed


async def add_partitions(index):
    await deny_alter(index.stack.bootstrap, OF_PAYMENTS)
    admin = AIOKafkaAdminClient(bootstrap_servers=index.stack.bootstrap)
    await admin.start()
    try:
        await admin.create_partitions({PAYMENTS: NewPartitions(total_count=3)})
    finally:
        await admin.close()


async def migrate(index):
    await allow_alter(index.stack.bootstrap, OF_PAYMENTS)
    await index.installed.command("topics", "migrate", check=0)


async def fall_behind(index):
    """Nobody reads while records arrive and retention deletes them."""
    await kill_both(index)
    async with AIOKafkaConsumer(bootstrap_servers=index.stack.bootstrap) as consumer:
        tp = TopicPartition(PAYMENTS, 1)
        before = (await consumer.end_offsets([tp]))[tp]

        async def more():
            return (await consumer.end_offsets([tp]))[tp] > before + 20

        await until(more, LIMIT_S, "records that nobody reads")
    index.left.append(before + 20)


async def delete_unread(index):
    await delete_records(index.stack.bootstrap, PAYMENTS, 1, index.left.pop())
    await start_workers(index)


async def have_much_to_lose(index):
    """Wait for records that take minutes to replace.

    A log that has grown past its old end again when it is looked at is not found.
    """

    async def much():
        async with AIOKafkaConsumer(bootstrap_servers=index.stack.bootstrap) as consumer:
            tp = TopicPartition(ORDERS, 0)
            return (await consumer.end_offsets([tp]))[tp] > 1_500

    await until(much, 400, "1,500 records")


async def lose_the_end(index):
    """Start the broker without a partition's segments, as one whose disk was replaced."""
    kafka = index.stack.kafka
    await asyncio.to_thread(kafka.stop)
    for path in (kafka.directory / "data" / f"{ORDERS}-0").iterdir():
        if path.name != "partition.metadata":
            path.unlink()
    await asyncio.to_thread(kafka.start)


# -- Redis -------------------------------------------------------------------------------------


async def make_it_a_replica(index):
    index.redis("REPLICAOF", "127.0.0.1", "1")


async def make_it_a_master(index):
    index.redis("REPLICAOF", "NO", "ONE")


async def take_memory(index):
    index.redis("CONFIG", "SET", "maxmemory-policy", "noeviction")
    index.redis("CONFIG", "SET", "maxmemory", "1mb")


async def free_memory(index):
    index.redis("CONFIG", "SET", "maxmemory", "0")


async def slow_down(index):
    index.passage.delay_s = 2.0


async def raise_the_time_out(index):
    for worker in index.workers:
        worker.env["ECINDEX_REDIS__TIMEOUT_MS"] = "20000"
        worker.kill()


def refuse(*users):
    async def refused(index):
        for user in users:
            index.redis("ACL", "SETUSER", user, "off")
            index.redis("CLIENT", "KILL", "USER", user)

    return refused


def let_in(*users):
    async def taken(index):
        for user in users:
            index.redis("ACL", "SETUSER", user, "on")

    return taken


async def hang_a_node(index):
    index.left.append(index.cluster.owner(market_keys("PK", "watched:v1").fence))
    index.left[-1].freeze()


async def thaw_it(index):
    index.left.pop().thaw()

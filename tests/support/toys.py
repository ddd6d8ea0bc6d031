"""Toy workers as child processes, and the oracle that tells whether they were exact."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import TopicPartition
from support.kafka import create_topic

TOY = Path(__file__).with_name("toy_worker.py")


async def read_all(bootstrap, topic, partitions):
    """Every record of a topic up to its present end, by partition, and those ends."""
    tps = [TopicPartition(topic, number) for number in range(partitions)]
    found = {number: [] for number in range(partitions)}
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    async with consumer:
        begins, ends = await consumer.beginning_offsets(tps), await consumer.end_offsets(tps)
        # Where there is nothing, nothing is fetched: aiokafka's stop awaits a fetch that it has just
        # cancelled, and one that had not begun ends as the caller's own cancellation.
        tps = [tp for tp in tps if begins[tp] < ends[tp]]
        if tps:
            consumer.assign(tps)
        while any([await consumer.position(tp) < ends[tp] for tp in tps]):
            for tp, records in (await consumer.getmany(timeout_ms=500)).items():
                found[tp.partition] += [r for r in records if r.offset < ends[tp]]
    return found, {tp.partition: end for tp, end in ends.items()}


class Toys:
    """A topic of integers, and the workers that sum it up."""

    def __init__(self, stack, name, directory, partitions):
        self.stack = stack
        self.name = name
        self.topic = f"{name}-in"
        self.changelog = f"{name}-toy-changelog"
        self.directory = directory
        self.partitions = partitions
        self.children = {}
        self.starts = 0

    async def create(self, **configs):
        await create_topic(self.stack.bootstrap, self.topic, self.partitions, **configs)
        await create_topic(
            self.stack.bootstrap, self.changelog, self.partitions, cleanup_policy="compact"
        )

    def start(self, worker, *options):
        self.starts += 1
        child = self.stack.spawn(
            f"{self.name}-{worker}-{self.starts}",
            [
                *(sys.executable, str(TOY)),
                *("--bootstrap", self.stack.bootstrap),
                *("--app-id", self.name),
                *("--topic", self.topic),
                *("--partitions", str(self.partitions)),
                *("--dir", str(self.directory / worker)),
                *options,
            ],
        )
        self.children[worker] = child
        return child

    def said(self, worker, what="status"):
        """What a worker wrote about itself, oldest first."""
        path = self.directory / worker / "status.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        said = [json.loads(line) for line in lines if line.endswith("}")]
        return [line["content"] for line in said if line["what"] == what]

    async def produce(self, count, *, per_s=0, first=0):
        async with AIOKafkaProducer(
            bootstrap_servers=self.stack.bootstrap, acks="all", enable_idempotence=True, linger_ms=5
        ) as producer:
            began = time.monotonic()
            for number in range(first, first + count):
                await producer.send(self.topic, b"%d" % number, partition=number % self.partitions)
                if per_s and number % 100 == 0:
                    due = began + (number - first) / per_s
                    await asyncio.sleep(max(0.0, due - time.monotonic()))
            await producer.flush()

    async def produce_in_transaction(self, number, *, count, commit):
        producer = AIOKafkaProducer(
            bootstrap_servers=self.stack.bootstrap, transactional_id=f"{self.name}-{number}"
        )
        async with producer:
            await producer.begin_transaction()
            for value in range(count):
                await producer.send(self.topic, b"%d" % value, partition=value % self.partitions)
            await (producer.commit_transaction() if commit else producer.abort_transaction())

    async def produce_keyed(self, first, *, keys, count):
        async with AIOKafkaProducer(bootstrap_servers=self.stack.bootstrap) as producer:
            for partition in range(self.partitions):
                for value in range(first, first + count):
                    await producer.send(
                        self.topic, b"%d" % value, key=b"%d" % (value % keys), partition=partition
                    )
            await producer.flush()

    async def produce_compressed(self, partition, codec, *, count):
        async with AIOKafkaProducer(
            bootstrap_servers=self.stack.bootstrap, compression_type=codec, linger_ms=5
        ) as producer:
            for value in range(count):
                await producer.send(self.topic, b"%d" % value, partition=partition)
            await producer.flush()

    async def states(self):
        records, _ = await read_all(self.stack.bootstrap, self.changelog, self.partitions)
        states = {}
        for number, found in records.items():
            live = {record.key: record.value for record in found}
            values = [json.loads(value) for value in live.values() if value is not None]
            states[number] = max(values, key=lambda state: state["through"], default=None)
        return states

    async def assert_exact(self, within_s=60):
        """O: the states equal a batch over the log. P: and reach its end within a minute."""
        log, ends = await read_all(self.stack.bootstrap, self.topic, self.partitions)
        expected = {
            number: {
                "through": ends[number] - 1,
                "n": len(records),
                "sum": sum(int(record.value or 0) for record in records),
            }
            for number, records in log.items()
            if ends[number]
        }
        deadline = time.monotonic() + within_s
        while True:
            states = await self.states()
            behind = [
                number
                for number, want in expected.items()
                if states[number] is None or states[number]["through"] < want["through"]
            ]
            if not behind:
                break
            assert time.monotonic() < deadline, (
                f"partitions {behind} are behind: {states} of {expected}\n"
                + "\n".join(child.log_tail(30) for child in self.children.values())
            )
            await asyncio.sleep(0.2)
        assert {number: states[number] for number in expected} == expected

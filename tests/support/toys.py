"""Toy workers as child processes, and the oracle that judges whether they were exact."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

from aiokafka import AIOKafkaProducer
from support.kafka import create_topic, read_partitions

TOY = Path(__file__).with_name("toy_worker.py")


class Toys:
    """A topic of integers and the workers that sum them."""

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

    def reports(self, worker, what="status", pid=None):
        """Reports that a worker wrote about itself, oldest first. ``pid``: those of one life."""
        path = self.directory / worker / "status.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        reports = [json.loads(line) for line in lines if line.endswith("}")]
        return [
            report["content"]
            for report in reports
            if report["what"] == what and pid in (None, report["pid"])
        ]

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
        records, _ = await read_partitions(self.stack.bootstrap, self.changelog, self.partitions)
        states = {}
        for number, found in records.items():
            live = {record.key: record.value for record in found}
            values = [json.loads(value) for value in live.values() if value is not None]
            states[number] = max(values, key=lambda state: state["through"], default=None)
        return states

    async def assert_exact(self, within_s=60):
        """Oracles O and P: the states reach the log's end within a minute and equal a batch over it."""
        log, ends = await read_partitions(self.stack.bootstrap, self.topic, self.partitions)
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

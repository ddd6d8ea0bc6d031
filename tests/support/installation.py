"""A whole ecindex of its own on the session's Kafka and Redis: unique topics, group and keys.

It has the markets of the simulated shops.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from itertools import count
from pathlib import Path

import redis.asyncio
from aiokafka import AIOKafkaProducer
from support.methodologies import DEMO

from streams.index.stamps import IMPORTED
from streams.proof.audit.auditor import audit
from streams.records import kafka_topics
from streams.settings import load_settings

ECINDEX = Path(sys.executable).with_name("ecindex")


class Installation:
    """Creates topics, runs workers as child processes, produces events and reads Redis."""

    def __init__(self, stack, name, directory, *, inputs=3, arrival="producer", partials=3):
        self.stack = stack
        self.name = name
        self.directory = directory
        self.inputs = inputs
        self.arrival = arrival
        self.workers = []
        self._numbers = count()
        """Of workers: one that takes a dead one's place has a log of its own."""
        self.overrides = {
            "kafka.bootstrap_servers": stack.bootstrap,
            "redis.url": stack.redis_url,
            "redis.prefix": name,
            "topics.orders": f"{name}-orders",
            "topics.payments": f"{name}-payments",
            "topics.prefix": name,
            "topics.partials_partitions": partials,
            "data_dir": directory / "data",
            "log.format": "json",
            "methodology": DEMO,
        }

    @property
    def settings(self):
        return load_settings(None, self.overrides)

    @property
    def env(self):
        own = {
            f"ECINDEX_{name.replace('.', '__').upper()}": str(value)
            for name, value in self.overrides.items()
        }
        return {**os.environ, **own}  # noqa: TID251 - the children's environment

    async def create_topics(self):
        settings = self.settings
        wanted = await kafka_topics.plan_topics(settings, inputs=self.inputs, arrival=self.arrival)
        return await kafka_topics.create_topics(settings.kafka, wanted)

    def start_worker(self, program=(ECINDEX,), **env):
        child = self.stack.spawn(
            f"{self.name}-worker-{next(self._numbers)}",
            [*map(str, program), "worker", "--metrics-port", "0", "--json"],
            env=self.env | env,
        )
        self.workers.append(child)
        return child

    def metrics_of(self, child):
        """Wait until a worker has printed the address of its server; return it."""
        for line in child.log_tail(10_000).splitlines():
            if line.startswith('{"metrics"') and "event" not in line:
                return json.loads(line)["metrics"]
        return None

    async def command(self, *arguments, check=None):
        """Run ``ecindex``; return (exit code, stdout, stderr)."""
        process = await asyncio.create_subprocess_exec(
            str(ECINDEX), *arguments, env=self.env,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate()
        if check is not None:
            assert process.returncode == check, (out.decode(), err.decode())
        return process.returncode, out.decode(), err.decode()

    async def audit(self, **options):
        return await audit(self.settings, **options)

    # -- events ----------------------------------------------------------------------------------

    def producer(self):
        return AIOKafkaProducer(
            bootstrap_servers=self.stack.bootstrap, acks="all", enable_idempotence=True, linger_ms=5
        )

    async def send(self, producer, topic, event, *, at_ms=None, partition=None, imported=True):
        """Send an event; ``imported``: its record's own time is believed, whatever it is."""
        value = event if isinstance(event, bytes) else json.dumps(event).encode()
        key = event["order_id"].encode() if isinstance(event, dict) else b"key"
        return await producer.send(
            f"{self.name}-{topic}", value, key=key, timestamp_ms=at_ms, partition=partition,
            headers=list(IMPORTED) if imported else [],
        )  # fmt: skip

    # -- what is published -----------------------------------------------------------------------

    async def redis_values(self, market, what="values"):
        client = redis.asyncio.Redis.from_url(self.stack.redis_url)
        try:
            found = await client.hgetall(f"{self.name}:v1:{{{market}}}:{what}")
        finally:
            await client.aclose()
        return {field.decode(): text.decode() for field, text in found.items()}

    async def until(self, condition, within_s=60, every_s=0.2):
        """Wait for an async condition; if it does not come, fail with the workers' last log lines."""
        deadline = time.monotonic() + within_s
        while True:
            found = await condition()
            if found:
                return found
            assert time.monotonic() < deadline, "\n".join(
                child.log_tail(40) for child in self.workers
            )
            await asyncio.sleep(every_s)

    def stop(self):
        for child in self.workers:
            child.terminate()

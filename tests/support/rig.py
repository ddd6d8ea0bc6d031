"""A rig of real parts: broker, Redis, workers under a supervisor, a producer, and the oracles.

The oracles O and P are methods (oracle.py). V is what the watchers saw (watchers.py). A test injects
its faults in between.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from aiokafka import AIOKafkaProducer
from support.kafka import alter_topic
from support.methodologies import DEMO
from support.oracle import Oracle
from support.shop import ORDERS, PAYMENTS

from streams.index.stamps import IMPORTED
from streams.local.local_stack import LocalStack
from streams.records.kafka_topics import create_topics, plan_topics
from streams.settings import load_methodology, load_settings
from streams.worker import names

CHILD = Path(__file__).with_name("worker_child.py")


def now_ms() -> int:
    return time.time_ns() // 1_000_000  # noqa: TID251 - the tests' own clock


async def until(condition, within_s, what, every_s=0.05):
    """Poll a condition, async or plain; return its first true answer."""
    deadline = time.monotonic() + within_s
    while True:
        found = condition()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        assert time.monotonic() < deadline, f"did not happen within {within_s} s: {what}"
        await asyncio.sleep(every_s)


@dataclass(frozen=True, slots=True)
class Exit:
    code: int
    lived_s: float
    at: float


class Supervised:
    """One worker, which is restarted after a growing pause whenever it ends non-zero."""

    def __init__(self, rig, name, patches):
        self.rig = rig
        self.name = name
        self.patches = patches
        self.child = None
        self.exits: list[Exit] = []
        self.frozen = False
        self._starts = 0
        self._leaving = False
        self._task = asyncio.create_task(self._run(), name=f"supervise-{name}")

    async def _run(self):
        pause_s = 0.2
        while not self._leaving:
            self._starts += 1
            began = time.monotonic()
            child = await asyncio.to_thread(self._spawn)
            self.child = child
            while child.running:  # noqa: ASYNC110 - a process sets no event
                await asyncio.sleep(0.02)
            lived_s = time.monotonic() - began
            self.exits.append(Exit(child.returncode, lived_s, time.monotonic()))
            if self._leaving or child.returncode == 0:
                return
            pause_s = 0.2 if lived_s > 10 else min(pause_s * 2, 3.0)
            await asyncio.sleep(pause_s)

    def _spawn(self):
        return self.rig.stack.spawn(
            f"{self.rig.name}-{self.name}-{self._starts}",
            [
                *(sys.executable, str(CHILD)),
                *(argument for patch in self.patches for argument in ("--patch", patch)),
                *("worker", "--config", str(self.rig.config), "--metrics-port", "0", "--json"),
            ],
        )

    @property
    def running(self):
        return self.child is not None and self.child.running

    @property
    def metrics_url(self):
        """Address of the current process's /metrics; None until it is served."""
        if self.child is None or not self.child.log_path.exists():
            return None
        for line in self.child.log_path.read_text(errors="replace").splitlines():
            if line.startswith('{"metrics"'):
                return json.loads(line)["metrics"]
        return None

    def log(self):
        """Log text of all its processes so far."""
        paths = sorted(self.rig.stack.logs.glob(f"{self.rig.name}-{self.name}-*.log"))
        return "\n".join(path.read_text(errors="replace") for path in paths)

    async def leave(self, within_s=15.0):
        """Send SIGTERM; return (exit code, seconds). Code None: it was too slow and was killed."""
        self._leaving = True
        began = time.monotonic()
        if self.running:
            code = await asyncio.to_thread(self._terminate, within_s)
        else:
            code = self.child.returncode if self.child is not None else None
        await self._task
        return code, time.monotonic() - began

    def _terminate(self, within_s):
        import os
        import signal

        os.kill(self.child.pid, signal.SIGTERM)
        code = self.child.wait(within_s)
        if code is None:
            self.child.kill()
        return code


class Rig(Oracle):
    """Topics, workers and watchers on a stack, as an async context manager.

    Without ``stack`` it starts a stack of its own, which may be killed and frozen. On a shared stack
    ``name`` keeps topics, group and keys apart.
    """

    def __init__(
        self,
        directory,
        cache_dir=None,
        *,
        stack=None,
        name="ecindex",
        inputs=4,
        partials=12,
        arrival="producer",
        settings="",
    ):
        self.directory = directory
        self.name = name
        self.inputs = inputs
        self.partials = partials
        self.arrival = arrival
        self.owns_stack = stack is None
        self.stack = LocalStack(directory, cache_dir=cache_dir) if stack is None else stack
        self.config = directory / "ecindex.toml"
        self.topic = {ORDERS: f"{name}-{ORDERS}", PAYMENTS: f"{name}-{PAYMENTS}"}
        self._more_settings = settings
        self.workers: list[Supervised] = []
        self.watchers: list = []
        self.produced: dict[tuple[str, int], int] = defaultdict(int)
        self.last_fault_at = self.produced_at = 0.0
        self.events: list[str] = []

    async def __aenter__(self):
        if self.owns_stack:
            await asyncio.to_thread(self.stack.start)
        self.config.write_text(
            f'data_dir = "{self.directory}/data"\nmethodology = "{DEMO}"\n'
            f'[kafka]\nbootstrap_servers = "{self.stack.bootstrap}"\n'
            f'[redis]\nurl = "{self.stack.redis_url}"\nprefix = "{self.name}"\n'
            f'[topics]\norders = "{self.topic[ORDERS]}"\npayments = "{self.topic[PAYMENTS]}"\n'
            f'prefix = "{self.name}"\npartials_partitions = {self.partials}\n' + self._more_settings
        )
        self.settings = load_settings(self.config)
        self.methodology = load_methodology(self.settings)
        self.wanted = await plan_topics(self.settings, inputs=self.inputs, arrival=self.arrival)
        await create_topics(self.settings.kafka, self.wanted)
        counts = dict.fromkeys(self.topic.values(), self.inputs)
        self.changelogs = names.changelogs(self.settings, self.methodology.edition, counts)
        self.group = names.app_id(self.methodology.edition, self.name)
        self.began = time.monotonic()
        return self

    async def __aexit__(self, *_):
        for watcher in self.watchers:
            await watcher.stop()
        for worker in self.workers:
            worker._leaving = True
            if worker.running:
                await asyncio.to_thread(worker.child.kill)
        await asyncio.gather(*(worker._task for worker in self.workers), return_exceptions=True)
        if self.owns_stack:
            await asyncio.to_thread(self.stack.stop)

    # -- parts

    @property
    def bootstrap(self):
        return self.stack.bootstrap

    def worker(self, name, *patches):
        worker = Supervised(self, name, patches)
        self.workers.append(worker)
        return worker

    def running_workers(self):
        return [w for w in self.workers if w.running and not w.frozen and not w._leaving]

    async def ready(self, *workers, within_s=60.0):
        """Wait until these (default: all) answer /readyz with 200."""
        import aiohttp

        async def all_ready():
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
                for worker in workers or self.workers:
                    url = worker.metrics_url
                    if url is None:
                        return False
                    try:
                        async with session.get(url.replace("/metrics", "/readyz")) as answer:
                            if answer.status != 200:
                                return False
                    except (aiohttp.ClientError, TimeoutError):
                        return False
            return True

        await until(all_ready, within_s, "workers ready")

    def note(self, text):
        self.events.append(f"{time.monotonic() - self.began:7.2f} {text}")

    def fault(self, text):
        """Note the begin or end of a fault. Oracle P counts from the last note."""
        self.last_fault_at = time.monotonic()
        self.note(text)

    async def alter(self, topic, **changes):
        """Change configs of one of our topics. Kafka's old call replaces them all, so all are sent."""
        own = next(wanted.configs for wanted in self.wanted if wanted.name == topic)
        changed = {name.replace("_", "."): str(value) for name, value in changes.items()}
        await alter_topic(self.bootstrap, topic, {**own, **changed})

    async def alter_input(self, topic, **changes):
        """Change configs of an input topic, named orders or payments."""
        await self.alter(self.topic[topic], **changes)

    @property
    def checkpoint_topics(self):
        return {
            topic: next(log for log in self.changelogs if f"checkpoint-{own}-" in log)
            for topic, own in self.topic.items()
        }

    # -- producing

    async def produce(self, made, *, begin_ms=None, speed=1.0):
        """Send records when due (those before ``begin_ms`` at once); wait for acknowledgements."""
        async with AIOKafkaProducer(
            bootstrap_servers=self.bootstrap,
            acks="all",
            enable_idempotence=True,
            linger_ms=5,
            request_timeout_ms=120_000,  # also how long a full buffer waits for an absent broker
            max_request_size=8_000_000,
        ) as producer:
            # A broker that is away for longer than the request timeout must not lose records.
            producer._message_accumulator._batch_ttl = 300
            began = time.monotonic()
            waiting = []
            for number, record in enumerate(made):
                if begin_ms is not None and number % 20 == 0:
                    due_s = began + (record.due_ms - begin_ms) / 1000 / speed
                    late_s = due_s - time.monotonic()
                    if late_s > 0:
                        await asyncio.sleep(late_s)
                waiting.append(
                    await producer.send(
                        self.topic[record.topic],
                        record.value,
                        key=record.key,
                        partition=record.partition,
                        timestamp_ms=record.due_ms,
                        headers=list(IMPORTED),
                    )
                )
                self.produced[record.topic, record.partition] += 1
                if len(waiting) >= 20_000:
                    await asyncio.gather(*waiting)
                    waiting.clear()
                elif number % 200 == 0:
                    await asyncio.sleep(0)
            await asyncio.gather(*waiting)
        self.produced_at = time.monotonic()
        self.note(f"produced {len(made)}")

    async def send(self, topic, partition, value, key=None, timestamp_ms=None, **options):
        """Produce one record unchanged; return its offset."""
        async with AIOKafkaProducer(
            bootstrap_servers=self.bootstrap, max_request_size=210_000_000, **options
        ) as producer:
            sent = await producer.send_and_wait(
                self.topic[topic], value, key, partition, timestamp_ms or now_ms(), list(IMPORTED)
            )
        self.produced[topic, partition] += 1
        self.produced_at = time.monotonic()
        return sent.offset

    def report(self):
        lines = ["what happened:", *self.events]
        for worker in self.workers:
            exits = [(each.code, round(each.lived_s, 1)) for each in worker.exits]
            lines.append(f"worker {worker.name}: exits {exits}")
            if worker.child is not None:
                lines.append(worker.child.log_tail(15))
        for watcher in self.watchers:
            lines += [f"{type(watcher).__name__}: {each}" for each in watcher.violations[:10]]
        return "\n".join(lines)

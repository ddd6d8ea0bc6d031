"""An index whose parts can be broken, watched as ``up`` watches its own: Prometheus and Alertmanager.

Kafka, Redis, two workers that are started again when they end, events that flow all the time, and the
rules and alerts of ``config/`` word for word.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shlex
import socket
import sys
import urllib.request
from functools import partial
from operator import itemgetter

import redis
from aiokafka.errors import KafkaError
from support import worker_child
from support.flow_harness import METHODOLOGY, order, payment
from support.installation import Installation
from support.prometheus import Api
from support.rig import until
from support.valkeys import HOST, Passage

from streams.clock import now_ms
from streams.local import ports
from streams.local.debian_packages import DebianPackages
from streams.local.local_stack import LocalStack
from streams.local.monitoring import Monitoring
from streams.local.supervisor import Supervisor
from streams.worker import names

NAME = "watched"
ORDERS, PAYMENTS = f"{NAME}-orders", f"{NAME}-payments"
GROUP = names.app_id(METHODOLOGY.edition, NAME)
OF_ORDERS = names.changelog_topic(GROUP, names.checkpoint_table(ORDERS))
OF_PAYMENTS = names.changelog_topic(GROUP, names.checkpoint_table(PAYMENTS))
VALUES = f"{NAME}.values"
PASSWORD = "not-told"
USERS = ("one", "two")
PROGRAM = (sys.executable, worker_child.__file__, "--patch", "clock_of_a_file")
EVERY_S = 0.1
FIRST = 600
LIMIT_S = 180
"""Seconds after which waiting is given up: no promise about anything."""


class Kept:
    """A worker on a port of its own that is started again when it ends, unless it is held."""

    def __init__(self, index, number):
        self.index, self.number = index, number
        self.port = ports.choose(1)[0]
        self.url = f"http://{HOST}:{self.port}"
        self.target = f"{HOST}:{self.port}"
        self.clock = index.directory / f"clock-{number}"
        self.clock.write_text("0")
        self.env = {"CLOCK_AHEAD": str(self.clock)}
        if index.users:
            self.env |= {
                "ECINDEX_REDIS__USERNAME": USERS[number],
                "ECINDEX_REDIS__PASSWORD": PASSWORD,
            }
        self.held = False
        self.child = None

    def launch(self):
        if self.held or (self.child is not None and self.child.running):
            return
        installed = self.index.installed
        self.child = self.index.stack.spawn(
            f"worker-{self.number}",
            [*PROGRAM, "worker", "--metrics-port", str(self.port), "--json"],
            env=installed.env | self.env,
        )

    def kill(self, *, hold=False):
        """End it as a crash would. Held, it stays away until ``launch`` is called on it again."""
        self.held = hold
        self.child.kill()

    def back(self):
        self.held = False
        self.launch()


class Alarmed:
    """Made by ``alarmed``."""

    def __init__(self, directory, stack, *, redis_url, users, arrival, inputs=2):
        self.directory, self.stack, self.users = directory, stack, users
        self.installed = Installation(stack, NAME, directory, inputs=inputs, arrival=arrival)
        self.installed.overrides["redis.url"] = redis_url
        self.workers = [Kept(self, number) for number in range(2)]
        self.passage = None
        self.cluster = None
        self.left = []
        """What a fault holds open until it is mended."""
        self.first_orders = []
        """The first orders that were sent, as they were."""
        self._sent = 0
        self._sending = None
        self._ended = False
        self._mark = {}

    # -- its parts -------------------------------------------------------------------------------

    async def tend(self):
        """Start workers that end, as ``up`` does."""
        keeper = Supervisor(lambda _text: None)
        for worker in self.workers:
            worker.launch()
            keeper.keep(partial(getattr, worker, "child"), worker.launch)
        while True:
            keeper.poll()
            await asyncio.sleep(EVERY_S)

    def send_all_the_time(self):
        """Begin to send orders and payments, twenty a second of each, spread over the partitions."""
        if self._sending is None:
            self._sending = asyncio.create_task(self._send_all_the_time())

    async def end(self):
        """Stop sending, as long as there is a broker that a producer can take leave of."""
        self._ended = True
        if self._sending is not None:
            await asyncio.wait({self._sending}, timeout=10)
            await _end(self._sending)

    async def _send_all_the_time(self):
        while not self._ended:
            with contextlib.suppress(KafkaError, OSError):  # a fault; the load goes on after it
                async with self.installed.producer() as producer:
                    while not self._ended:
                        for make, topic in ((order, "orders"), (payment, "payments")):
                            for _ in range(2):
                                self._sent += 1
                                event = make(f"e{self._sent}", now_ms())
                                if topic == "orders" and len(self.first_orders) < FIRST:
                                    self.first_orders.append(event)
                                await self.installed.send(producer, topic, event)
                        await asyncio.sleep(EVERY_S)
            await asyncio.sleep(1)

    async def send(self, topic, events, **options):
        async with self.installed.producer() as producer:
            for event in events:
                await self.installed.send(producer, topic, event, **options)
            await producer.flush()

    async def flows(self):
        """Wait until Prometheus has seen both sources fresh and every worker is ready."""

        def fresh():
            found = self.prometheus.query(
                "count(market_source:ecindex_index_source_age_seconds:min{market='PK'} < 30) == 2"
            )
            return bool(found) and all(map(self.is_ready, self.workers))

        what = "both sources are fresh, both workers ready"
        await until(lambda: asyncio.to_thread(fresh), LIMIT_S, what)

    async def ready(self):
        for worker in self.workers:
            await until(partial(asyncio.to_thread, self.is_ready, worker), LIMIT_S, "ready")

    @staticmethod
    def listens(worker):
        with socket.socket() as probe:
            return probe.connect_ex((HOST, worker.port)) == 0

    @staticmethod
    def is_ready(worker):
        try:
            with urllib.request.urlopen(f"{worker.url}/readyz", timeout=5):
                return True
        except OSError:  # an HTTP error status is one too
            return False

    def redis(self, *command):
        """Run a command on this index's own Redis, as its administrator."""
        with redis.Redis(port=self.stack.redis.ports[0]) as client:
            return client.execute_command(*command)

    # -- what workers say ------------------------------------------------------------------------

    def mark(self):
        """Look only at what workers log from here on."""
        self._mark = {path: path.stat().st_size for path in self._logs()}

    def _logs(self):
        return sorted(self.stack.logs.glob("worker-*.log"))

    def _events(self, name, fields):
        for path in self._logs():
            with path.open("rb") as log:
                log.seek(self._mark.get(path, 0))
                for line in log:
                    if f'"event": "{name}"'.encode() in line:
                        record = json.loads(line)
                        if all(record.get(key) == value for key, value in fields.items()):
                            yield record

    async def type_what_is_logged(self, name, **fields):
        """Type the command of the newest log record's ``action`` as it stands.

        A partition may have got another owner since it halted. What the first one said of the log's
        end no longer holds then, and is not accepted.
        """
        records = await until(lambda: list(self._events(name, fields)), LIMIT_S, f"{name} {fields}")
        record = max(records, key=itemgetter("timestamp"))
        program, *arguments = shlex.split(record["action"].split("`")[1])
        assert program == "ecindex"
        await self.installed.command(*arguments, check=0)

    async def owner(self, topic, partition):
        """The worker that owns an input's partition."""

        def owns(worker):
            try:
                with urllib.request.urlopen(f"{worker.url}/partitions", timeout=5) as answer:
                    owned = json.load(answer)
            except OSError:
                return False
            return (topic, partition) in {(each["topic"], each["partition"]) for each in owned}

        async def found():
            for worker in self.workers:
                if await asyncio.to_thread(owns, worker):
                    return worker
            return None

        return await until(found, LIMIT_S, f"somebody owns {topic}-{partition}")

    # -- what the monitoring says ----------------------------------------------------------------

    def alert(self, name, labels):
        """State in Prometheus: None, pending or firing."""
        states = {
            each["state"]
            for each in self.prometheus.get("alerts")["alerts"]
            if each["labels"]["alertname"] == name and labels.items() <= each["labels"].items()
        }
        return "firing" if "firing" in states else "pending" if states else None

    def told(self, name, labels):
        """State in Alertmanager: None, active, or suppressed by another alert."""
        with urllib.request.urlopen(f"{self.alertmanager}/api/v2/alerts", timeout=30) as answer:
            for each in json.load(answer):
                if {"alertname": name, **labels}.items() <= each["labels"].items():
                    return each["status"]["state"]
        return None


@contextlib.asynccontextmanager
async def alarmed(
    directory, cache_dir, *, redis_url=None, users=False, arrival="broker", kafka_settings=None
):
    """Run an index that is watched. ``redis_url``: of another Redis than its own."""
    stack = LocalStack(directory / "stack", cache_dir=cache_dir, kafka_settings=kafka_settings)
    monitoring = Monitoring(
        directory / "stack",
        DebianPackages(cache_dir / "debian"),
        prometheus=True,
        alertmanager=True,
    )
    async with contextlib.AsyncExitStack() as parts:
        parts.push_async_callback(asyncio.to_thread, stack.stop)
        await asyncio.to_thread(stack.start)
        passage = None
        if redis_url is None:
            passage = await parts.enter_async_context(Passage(stack.redis.ports[0]))
            redis_url = passage.url
        index = Alarmed(directory, stack, redis_url=redis_url, users=users, arrival=arrival)
        index.passage = passage
        for user in USERS if users else ():
            index.redis("ACL", "SETUSER", user, "on", f">{PASSWORD}", "~*", "+@all")
        await index.installed.create_topics()
        parts.push_async_callback(asyncio.to_thread, monitoring.stop)
        await asyncio.to_thread(monitoring.launch, [worker.port for worker in index.workers])
        tending = asyncio.create_task(index.tend())
        parts.push_async_callback(_end, tending)
        await asyncio.to_thread(monitoring.wait_ready)
        index.prometheus = Api(monitoring.prometheus.url)
        index.alertmanager = monitoring.alertmanager.url
        index.tending = tending
        parts.push_async_callback(index.end)
        yield index


async def _end(task):
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

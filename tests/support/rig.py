"""The real thing under test: broker, Redis, workers under a supervisor, a producer, the oracles.

O, P and V of the fault plan are methods here (`assert_exact`, `caught_up`, the watchers); a scenario
is what happens in between.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import TopicPartition
from support.batch import Batch
from support.kafka import alter_topic
from support.shop import ORDERS, PAYMENTS
from support.toys import read_all

from streams.flow.chain import CheckpointRecord, _best_chain, _decode
from streams.index import partials as col
from streams.index.partials import Layout, from_wire
from streams.ops.local_stack import LocalStack
from streams.ops.topics import create_topics, plan_topics
from streams.settings import load_methodology, load_settings
from streams.worker import names

CHILD = Path(__file__).with_name("worker_child.py")
TOPICS = (ORDERS, PAYMENTS)


def now_ms() -> int:
    return time.time_ns() // 1_000_000  # noqa: TID251 - the tests' own clock


async def until(condition, within_s, what):
    """Poll an (async or plain) condition; its first true answer."""
    deadline = time.monotonic() + within_s
    while True:
        found = condition()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        assert time.monotonic() < deadline, f"did not happen within {within_s} s: {what}"
        await asyncio.sleep(0.05)


@dataclass(frozen=True, slots=True)
class Exit:
    code: int
    lived_s: float
    at: float


class Supervised:
    """One worker, started again (with a growing pause) whenever it ends non-zero."""

    def __init__(self, rig, name, patches):
        self.rig = rig
        self.name = name
        self.patches = patches
        self.child = None
        self.exits: list[Exit] = []
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
            while child.running:
                await asyncio.sleep(0.02)
            lived_s = time.monotonic() - began
            self.exits.append(Exit(child.returncode, lived_s, time.monotonic()))
            if self._leaving or child.returncode == 0:
                return
            pause_s = 0.2 if lived_s > 10 else min(pause_s * 2, 3.0)
            await asyncio.sleep(pause_s)

    def _spawn(self):
        return self.rig.stack.spawn(
            f"{self.name}-{self._starts}",
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
        """Where the present process serves /metrics; None while it does not yet."""
        if self.child is None or not self.child.log_path.exists():
            return None
        for line in self.child.log_path.read_text(errors="replace").splitlines():
            if line.startswith('{"metrics"'):
                return json.loads(line)["metrics"]
        return None

    def log(self):
        """Everything that all its processes logged."""
        paths = sorted(self.rig.stack.logs.glob(f"{self.name}-*.log"))
        return "\n".join(path.read_text(errors="replace") for path in paths)

    async def leave(self, within_s=15.0):
        """SIGTERM; (exit code, seconds). None when it did not end in time: it is killed."""
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


class Rig:
    """A stack of its own, topics, workers, watchers. Use ``async with``."""

    def __init__(self, directory, cache_dir, *, inputs=4, arrival="producer", settings=""):
        self.directory = directory
        self.inputs = inputs
        self.arrival = arrival
        self.stack = LocalStack(directory, cache_dir=cache_dir)
        self.config = directory / "ecindex.toml"
        self._more_settings = settings
        self.workers: list[Supervised] = []
        self.watchers: list = []
        self.produced: dict[tuple[str, int], int] = defaultdict(int)
        self.last_fault_at = self.produced_at = 0.0
        self.events: list[str] = []

    async def __aenter__(self):
        await asyncio.to_thread(self.stack.start)
        self.config.write_text(
            f'data_dir = "{self.directory}/data"\n'
            f'[kafka]\nbootstrap_servers = "{self.stack.bootstrap}"\n'
            f'[redis]\nurl = "{self.stack.redis_url}"\n' + self._more_settings
        )
        self.settings = load_settings(self.config)
        self.methodology = load_methodology(self.settings)
        self.wanted = await plan_topics(self.settings, inputs=self.inputs, arrival=self.arrival)
        await create_topics(self.settings.kafka, self.wanted)
        counts = dict.fromkeys(TOPICS, self.inputs)
        self.changelogs = names.changelogs(self.settings, self.methodology.edition, counts)
        self.group = names.app_id(self.methodology.edition)
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
        return [w for w in self.workers if w.running and not w.child.paused and not w._leaving]

    async def ready(self, *workers, within_s=60.0):
        """Wait until these (default: all) answer /readyz with 200."""
        import aiohttp

        async def all_ready():
            async with aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=2)
            ) as session:
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
        """Note a fault, or the end of one: P counts from the last of them."""
        self.last_fault_at = time.monotonic()
        self.note(text)

    async def alter(self, topic, **changes):
        """Change configs of one of our topics (the old call of Kafka's sets all of them anew)."""
        own = next(wanted.configs for wanted in self.wanted if wanted.name == topic)
        changed = {name.replace("_", "."): str(value) for name, value in changes.items()}
        await alter_topic(self.bootstrap, topic, {**own, **changed})

    @property
    def checkpoint_topics(self):
        return {
            topic: next(name for name in self.changelogs if f"checkpoint-{topic}-" in name)
            for topic in TOPICS
        }

    # -- producing

    async def produce(self, made, *, begin_ms=None, speed=1.0):
        """Send records when they are due (those due before ``begin_ms`` at once), acknowledged."""
        async with AIOKafkaProducer(
            bootstrap_servers=self.bootstrap,
            acks="all",
            enable_idempotence=True,
            linger_ms=5,
            request_timeout_ms=15_000,
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
                        record.topic,
                        record.value,
                        key=record.key,
                        partition=record.partition,
                        timestamp_ms=record.due_ms,
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

    # -- reading back

    async def log(self):
        """{(topic, partition): [(offset, value, timestamp)]} of the inputs, and the batch of it."""
        batch = Batch()
        for topic in TOPICS:
            records, _ = await read_all(self.bootstrap, topic, self.inputs)
            for partition, found in records.items():
                assert len(found) == self.produced[topic, partition], (
                    f"{topic}-{partition}: {len(found)} records in the log, "
                    f"{self.produced[topic, partition]} were produced"
                )
                batch.feed(topic, partition, [(r.offset, r.value, r.timestamp) for r in found])
        return batch

    async def chains(self):
        """{(topic, partition): records of the best chain, oldest first} from the changelogs."""
        found = {}
        for topic, changelog in self.checkpoint_topics.items():
            records, _ = await read_all(self.bootstrap, changelog, self.inputs)
            for partition, lines in records.items():
                live: dict[bytes, bytes] = {}
                for record in lines:
                    if record.value is None:
                        live.pop(record.key, None)
                    else:
                        live[record.key] = record.value
                decoded: dict[str, CheckpointRecord] = {
                    key.decode(): _decode(value) for key, value in live.items()
                }
                path = _best_chain(decoded)
                assert path or not decoded, f"{topic}-{partition}: no complete chain"
                found[topic, partition] = [decoded[key] for key in path]
        return found

    async def caught_up(self, within_s=60.0):
        """P: checkpoints reach the log's end within a minute of the last fault or record."""
        began = max(self.last_fault_at, self.produced_at)
        deadline = max(began + within_s, time.monotonic() + 1)
        tail = CheckpointTail(self)
        async with tail:
            while True:
                behind = {
                    sp: (tail.through.get(sp, -1) + 1, end)
                    for sp, end in self.produced.items()
                    if tail.through.get(sp, -1) + 1 < end
                }
                if not behind:
                    break
                assert time.monotonic() < deadline, (
                    f"P: {within_s} s after the last fault these lag (next offset, end): {behind}\n"
                    + self.report()
                )
                await tail.read()
        took = time.monotonic() - began
        self.note(f"P: lag 0 after {took:.1f} s")
        return took

    # -- O

    async def assert_exact(self, *, within_s=60.0, workers=True):
        """O: checkpoints, Redis, ``ecindex.values`` and /metrics equal the batch over the log."""
        batch = await self.log()
        problems = self.check_chains(await self.chains(), batch)
        assert not problems, self._wrong("checkpoints", problems)
        deadline = time.monotonic() + within_s
        while True:
            redis = await self.read_redis()
            problems = self.check_redis(redis, batch)
            if not problems:
                break
            # Level 2 follows the checkpoints by a few hundred ms; a wrong sum stays wrong.
            assert time.monotonic() < deadline, self._wrong("Redis", problems)
            await asyncio.sleep(0.5)
        problems = await self.check_values_topic(batch)
        assert not problems, self._wrong("ecindex.values", problems)
        problems = await self.check_aside(batch)
        assert not problems, self._wrong("late and dead letters", problems)
        if workers:
            problems = await self.check_metrics(batch)
            assert not problems, self._wrong("/metrics", problems)
        self.note("O: exact")
        return batch

    def _wrong(self, where, problems):
        shown = "\n".join(map(str, problems[:15]))
        return f"O: {where}: {len(problems)} differences:\n{shown}\n{self.report()}"

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

    def check_chains(self, chains, batch):
        problems = []
        for sp, through in batch.through.items():
            chain = chains.get(sp)
            if not chain:
                problems.append(f"{sp}: no checkpoint")
                continue
            head = chain[-1]
            if head.through != through:
                problems.append(f"{sp}: through {head.through}, log ends at {through}")
            if head.watermarks != batch.watermarks[sp]:
                problems.append(f"{sp}: watermarks {head.watermarks} != {batch.watermarks[sp]}")
            problems += self._check_rows(sp, chain, head, batch)
        return problems

    def _check_rows(self, sp, chain, head, batch):
        newest = {}
        for record in chain:
            for market, book, slot, sparse in record.rows:
                newest[market, book, slot] = sparse
        problems = []
        days = set()
        for (market, book, slot), sparse in newest.items():
            layout = Layout(self.methodology.markets[market])
            if book == "day":
                name = time.strftime("%Y-%m-%d", time.gmtime(slot * 86_400))
                days.add((market, name))
                row = from_wire(sparse, layout.day_width)
                found, expected = _day_cells(layout, row), batch.sp_days[sp, market, name]
            else:
                row = from_wire(sparse, layout.live_width)
                found, expected = _live_cells(layout, row), batch.sp_panes[sp, market, slot]
            expected = {cell: n for cell, n in expected.items() if n and cell in found}
            found = {cell: n for cell, n in found.items() if n}
            if found != expected:
                problems.append(f"{sp} {market} {book} {slot}: {_difference(found, expected)}")
        missing = [
            (market, day)
            for (owner, market, day), cells in batch.sp_days.items()
            if owner == sp and any(cells.values()) and (market, day) not in days
        ]
        problems += [f"{sp}: no row of day {each}" for each in missing]
        open_from = {
            market: at - 120_000 - 5_000 for market, at in batch.watermarks[sp].items()
        }
        problems += [
            f"{sp}: no row of open pane {market} {pane}"
            for (owner, market, pane), cells in batch.sp_panes.items()
            if owner == sp
            and pane > open_from[market]
            and any(cells.values())
            and (market, "live", pane) not in newest
        ]
        return problems

    async def read_redis(self):
        """{market: {"hash", "snapshot", "days", "fence"}}, each market read in one transaction."""
        from redis.asyncio import Redis

        client = Redis.from_url(self.stack.redis_url, decode_responses=True)
        found = {}
        async with client:
            for market in sorted(await client.smembers("ecindex:v1:markets")):
                tag = f"ecindex:v1:{{{market}}}"
                async with client.pipeline(transaction=True) as pipe:
                    pipe.hgetall(f"{tag}:values").get(f"{tag}:snapshot")
                    pipe.hgetall(f"{tag}:days").hgetall(f"{tag}:fence")
                    values, snapshot, days, fence = await pipe.execute()
                found[market] = {
                    "hash": values,
                    "snapshot": json.loads(snapshot) if snapshot else None,
                    "days": days,
                    "fence": fence,
                }
        return found

    def check_redis(self, redis, batch):
        problems = []
        for market in {market for market, _ in batch.panes}:
            found = redis.get(market)
            if found is None or found["snapshot"] is None:
                problems.append(f"{market}: nothing in Redis")
                continue
            for value in found["snapshot"]["values"]:
                problems += self._check_value(market, value, batch)
            for value in found["snapshot"]["values"]:
                name = f"{value['index']}:{value['dimension']}:{value['member']}:{value['window']}"
                in_hash = found["hash"].get(name)
                number = value["value"]
                if (number is None) != (in_hash is None) or (
                    number is not None and float(in_hash) != float(number)
                ):
                    problems.append(f"{market} {name}: hash {in_hash}, snapshot {number}")
            if found["hash"].get("@as_of") != found["snapshot"]["as_of"]:
                problems.append(f"{market}: as_of of hash and snapshot differ")
            problems += self._check_days(market, found["days"], batch)
        return problems

    def _check_value(self, market, value, batch):
        from support.batch import WINDOWS_MS, millis

        length_ms = WINDOWS_MS[value["window"]]
        end_ms = millis(value["as_of"])
        cache = batch.__dict__.setdefault("windows", {})
        key = (market, end_ms, length_ms)
        if key not in cache:
            cache[key] = batch.values(market, batch.window(market, end_ms, length_ms))
        name = (value["index"], value["dimension"], value["member"])
        expected = cache[key].get(name)
        if expected is None:
            return [f"{market} {name} {value['window']}: not expected at all"]
        number, observed, n = expected
        if value["status"] == "filling":
            number = None
        if (value["value"], value["observed"], value["n"]) != (number, observed, n):
            return [
                f"{market} {name} {value['window']} at {value['as_of']}: "
                f"{value['value'], value['observed'], value['n']} expected {number, observed, n}"
            ]
        return []

    def _check_days(self, market, found, batch):
        problems = []
        expected = {}
        days = sorted(day for code, day in batch.days if code == market and any(batch.days[code, day].values()))
        for day in days:
            for (index, dimension, member), number in batch.day_values(market, day).items():
                expected[f"{index}:{dimension}:{member}:{day}"] = str(number)
        for name in expected.keys() | found.keys():
            if expected.get(name) != found.get(name):
                problems.append(
                    f"{market} {name}: Redis {found.get(name)}, expected {expected.get(name)}"
                )
        return problems

    async def check_values_topic(self, batch):
        """The newest value of each key equals Redis' (hence the batch), days too."""
        redis = await self.read_redis()
        topic = self.settings.topics.values
        records, _ = await read_all(
            self.bootstrap, topic, self.settings.topics.partials_partitions
        )
        fences = {
            market: tuple(int(found["fence"][name]) for name in ("edition", "as_of_ms", "applied"))
            for market, found in redis.items()
        }
        newest = {}
        for lines in records.values():
            for record in lines:
                headers = dict(record.headers)
                version = tuple(int(headers[name]) for name in ("edition", "as_of", "applied"))
                key = record.key.decode()
                if version > fences[key.partition("|")[0]]:
                    continue  # published since Redis was read
                if key not in newest or version >= newest[key][0]:
                    newest[key] = (version, record.value)
        problems = []
        for key, (version, content) in newest.items():
            market, kind, *_ = key.split("|")
            if kind == "fence":
                continue
            value = json.loads(content)
            name = f"{value['index']}:{value['dimension']}:{value['member']}"
            if value.get("day"):
                held = redis[market]["days"].get(f"{name}:{value['day']}")
            else:
                held = redis[market]["hash"].get(f"{name}:{value['window']}")
            number = value["value"]
            if (held is None) != (number is None) or (
                number is not None and float(held) != float(number)
            ):
                problems.append(f"{key}: {number} at {version}, Redis {held} at {fences[market]}")
        present = {key for key in newest if "|fence|" not in key}
        if not present:
            problems.append("ecindex.values is empty")
        return problems

    async def check_aside(self, batch):
        """Every too late and every dead record is in its topic, by source offset; no other is."""
        problems = []
        for topic, expected in (
            (self.settings.topics.late, batch.late),
            (self.settings.topics.dead_letters, batch.dead),
        ):
            records, _ = await read_all(self.bootstrap, topic, 4)
            found = set()
            for lines in records.values():
                for record in lines:
                    headers = dict(record.headers)
                    found.add(
                        (
                            headers["source_topic"].decode(),
                            int(headers["source_partition"]),
                            int(headers["source_offset"]),
                        )
                    )
            if found != expected:
                problems.append(
                    f"{topic}: missing {sorted(expected - found)[:5]}, "
                    f"not expected {sorted(found - expected)[:5]}"
                )
        return problems

    async def scrape(self):
        """{worker name: {(metric, labels): number}} of every worker that answers."""
        import aiohttp
        from prometheus_client.parser import text_string_to_metric_families

        found = {}
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=3)) as session:
            for worker in self.running_workers():
                url = worker.metrics_url
                if url is None:
                    continue
                try:
                    async with session.get(url) as answer:
                        text = await answer.text()
                except (aiohttp.ClientError, TimeoutError):
                    continue
                found[worker.name] = {
                    (sample.name, tuple(sorted(sample.labels.items()))): sample.value
                    for family in text_string_to_metric_families(text)
                    for sample in family.samples
                }
        return found

    async def check_metrics(self, batch):
        """Each market on exactly one worker, its counts those of the batch at its as_of."""
        deadline = time.monotonic() + 20
        while True:
            problems = self._check_scrape(await self.scrape(), batch)
            if not problems or time.monotonic() > deadline:
                return problems
            await asyncio.sleep(0.3)

    def _check_scrape(self, scraped, batch):
        problems = []
        owners = defaultdict(list)
        for worker, series in scraped.items():
            for (name, labels), number in series.items():
                if name == "ecindex_index_as_of_timestamp_seconds":
                    owners[dict(labels)["market"]].append((worker, round(number * 1000)))
        for market in {market for market, _ in batch.panes}:
            if len(owners[market]) != 1:
                problems.append(f"{market}: as_of series on {owners[market]}")
                continue
            ((worker, as_of_ms),) = owners[market]
            wanted = batch.values(market, batch.window(market, as_of_ms, 300_000))
            for (name, labels), number in scraped[worker].items():
                own = dict(labels)
                if own.get("market") != market or own.get("window") != "5m":
                    continue
                cell = {
                    "ecindex_market_orders": ("orders", "market", "all"),
                    "ecindex_market_sales_minor": ("sales", "market", "all"),
                    "ecindex_orders": ("orders", "category", own.get("category")),
                    "ecindex_sales_minor": ("sales", "category", own.get("category")),
                }.get(name)
                if cell is not None and wanted[cell][0] != number:
                    problems.append(
                        f"{worker} {market} {cell}: {number}, expected {wanted[cell][0]}"
                    )
        for worker, series in scraped.items():
            halted = [key for key, n in series.items() if "partition_halted" in key[0] and n]
            problems += [f"{worker}: halted {each}" for each in halted]
        return problems


class CheckpointTail:
    """Follows the checkpoint changelogs: the largest ``through`` a source partition."""

    def __init__(self, rig):
        self._rig = rig
        self.through: dict[tuple[str, int], int] = {}
        self._topic_of = {log: topic for topic, log in rig.checkpoint_topics.items()}

    async def __aenter__(self):
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=self._rig.bootstrap, auto_offset_reset="earliest"
        )
        self._consumer.assign(
            [
                TopicPartition(log, number)
                for log in self._topic_of
                for number in range(self._rig.inputs)
            ]
        )
        await self._consumer.start()
        return self

    async def __aexit__(self, *_):
        await self._consumer.stop()

    async def read(self):
        for tp, records in (await self._consumer.getmany(timeout_ms=200)).items():
            sp = (self._topic_of[tp.topic], tp.partition)
            for record in records:
                if record.value is not None:
                    through = _decode(record.value).through
                    self.through[sp] = max(through, self.through.get(sp, -1))


def _live_cells(layout, row):
    cells = {
        ("orders", "market", "all"): row[col.ORDERS],
        ("units", "market", "all"): row[col.UNITS],
        ("sales", "market", "all"): row[col.SALES],
        ("payments", "market", "all"): row[col.PAYMENTS],
        ("amount", "market", "all"): row[col.AMOUNT],
        ("failed", "market", "all"): row[col.FAILED],
        ("payment_refunds", "market", "all"): row[col.PAYMENT_REFUNDS],
        ("refund_amount", "market", "all"): row[col.REFUND_AMOUNT],
        ("cancelled_orders", "market", "all"): row[col.CANCELLED],
        ("refunded_orders", "market", "all"): row[col.REFUNDED],
    }
    for dimension, block in (
        ("category", layout.category),
        ("payment_method", layout.method),
        ("region", layout.region),
        ("channel", layout.channel),
    ):
        for member in block.members:
            at = block.at(member)
            for offset, name in enumerate(("orders", "units", "sales")):
                cells[name, dimension, member] = row[at + offset]
            if dimension == "payment_method":
                for offset, name in ((3, "payments"), (4, "amount"), (5, "failed")):
                    cells[name, dimension, member] = row[at + offset]
    return cells


def _day_cells(layout, row):
    three = ("orders", "units", "sales")
    cells = {}

    def ledgers(dimension, member, at):
        for ledger, prefix in enumerate(("", "cancelled_", "refunded_")):
            for offset, name in enumerate(three):
                cells[prefix + name, dimension, member] = row[at + 3 * ledger + offset]

    ledgers("market", "all", 0)
    payment_names = ("payments", "amount", "failed", "payment_refunds", "refund_amount")
    for offset, name in enumerate((*payment_names, "unplaced_payments", "unplaced_amount")):
        cells[name, "market", "all"] = row[9 + offset]
    for member in layout.day_category.members:
        ledgers("category", member, layout.day_category.at(member))
    for member in layout.day_method.members:
        at = layout.day_method.at(member)
        ledgers("payment_method", member, at)
        for offset, name in enumerate(payment_names):
            cells[name, "payment_method", member] = row[at + 9 + offset]
    return cells


def _difference(found, expected):
    keys = sorted(found.keys() | expected.keys())
    return [
        (key, found.get(key), expected.get(key))
        for key in keys
        if found.get(key) != expected.get(key)
    ][:4]


# -- V: watchers ----------------------------------------------------------------------------------


@dataclass
class _Watcher:
    rig: Rig
    violations: list[str] = field(default_factory=list)

    def start(self):
        self.rig.watchers.append(self)
        self._task = asyncio.create_task(self._run())
        return self

    async def stop(self):
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    def wrong(self, text):
        self.violations.append(f"{time.monotonic() - self.rig.began:7.2f} {text}")


class RedisWatch(_Watcher):
    """Every 50 ms: versions never go down, keys always expire, values are never of the future."""

    def __init__(self, rig, fields=("orders:market:all:1m",)):
        super().__init__(rig)
        self.high: dict[str, tuple[int, int, int]] = {}
        self.as_of: dict[str, str] = {}
        self.samples: list[tuple[float, dict[str, list]]] = []
        """(monotonic, {market: [@as_of, @published_at, *fields]}), whenever something changed."""
        self.absent = 0
        self.polls = 0
        self._fields = fields

    async def _run(self):
        from redis.asyncio import Redis
        from redis.exceptions import RedisError

        client = Redis.from_url(
            self.rig.stack.redis_url, decode_responses=True, socket_timeout=2
        )
        markets = list(self.rig.methodology.markets)
        last = None
        while True:
            await asyncio.sleep(0.05)
            try:
                async with client.pipeline(transaction=False) as pipe:
                    for market in markets:
                        tag = f"ecindex:v1:{{{market}}}"
                        pipe.hmget(f"{tag}:fence", "edition", "as_of_ms", "applied")
                        pipe.hmget(f"{tag}:values", "@as_of", "@published_at", *self._fields)
                        pipe.pttl(f"{tag}:values")
                    answers = await pipe.execute()
            except (RedisError, OSError, TimeoutError):
                continue
            self.polls += 1
            sample = {}
            for market, fence, values, ttl_ms in zip(
                markets, answers[0::3], answers[1::3], answers[2::3], strict=True
            ):
                if self._see(market, fence, values, ttl_ms):
                    sample[market] = values
            if sample != last:
                last = sample
                self.samples.append((time.monotonic(), sample))

    def _see(self, market, fence, values, ttl_ms):
        if fence[0] is None or values[0] is None:
            self.absent += market in self.high
            return False
        version = tuple(int(number) for number in fence)
        if version < self.high.get(market, version):
            self.wrong(f"{market}: fence {version} after {self.high[market]}")
        if values[0] < self.as_of.get(market, values[0]):
            self.wrong(f"{market}: @as_of {values[0]} after {self.as_of[market]}")
        if not 0 < ttl_ms <= 60_000:
            self.wrong(f"{market}: values expire in {ttl_ms} ms")
        self.high[market] = max(version, self.high.get(market, version))
        self.as_of[market] = max(values[0], self.as_of.get(market, values[0]))
        return True


class ValuesWatch(_Watcher):
    """Consumes ``ecindex.values``: a market's versions never go down, in the order of the log."""

    def __init__(self, rig):
        super().__init__(rig)
        self.high: dict[str, tuple[int, int, int]] = {}
        self.records = 0

    async def _run(self):
        topic = self.rig.settings.topics.values
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.rig.bootstrap, auto_offset_reset="earliest"
        )
        partitions = range(self.rig.settings.topics.partials_partitions)
        consumer.assign([TopicPartition(topic, number) for number in partitions])
        async with consumer:
            while True:
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    for record in records:
                        self._see(record)

    def _see(self, record):
        self.records += 1
        headers = dict(record.headers)
        version = tuple(int(headers[name]) for name in ("edition", "as_of", "applied"))
        market = record.key.split(b"|")[0].decode()
        high = self.high.get(market, version)
        if version < high:
            self.wrong(f"{record.key.decode()} at {record.offset}: {version} after {high}")
        self.high[market] = max(version, high)


class MetricsWatch(_Watcher):
    """Scrapes every worker: a market on one worker at a time, its as_of never lower than shown."""

    def __init__(self, rig, every_s=0.1):
        super().__init__(rig)
        self.as_of: dict[str, float] = {}
        self.scrapes = 0
        self.moves = 0
        self._every_s = every_s
        self._owner: dict[str, str] = {}

    async def _run(self):
        import aiohttp

        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
            pending: dict[str, asyncio.Task] = {}
            while True:
                await asyncio.sleep(self._every_s)
                for worker in self.rig.workers:
                    url = worker.metrics_url if worker.running else None
                    if url is not None and url not in pending:
                        pending[url] = asyncio.create_task(self._scrape(session, url))
                for url in [url for url, task in pending.items() if task.done()]:
                    self._compare(url, pending.pop(url).result())

    async def _scrape(self, session, url):
        """(market -> as_of, when it was asked, when it was answered); {} when it was not."""
        import aiohttp

        asked = time.monotonic()
        try:
            async with session.get(url) as answer:
                text = await answer.text()
        except (aiohttp.ClientError, TimeoutError):
            return {}, asked, time.monotonic()
        self.scrapes += 1
        head = "ecindex_index_as_of_timestamp_seconds{"
        found = {}
        for line in text.splitlines():
            if line.startswith(head):
                labels, number = line.removeprefix(head).split("} ")
                found[labels.split('"')[1]] = float(number)
        return found, asked, time.monotonic()

    def _compare(self, url, scraped):
        found, asked, answered = scraped
        for market, as_of in found.items():
            owner, shown, seen_at = self._owner_of(market)
            if as_of < shown:
                self.wrong(f"{market}: {url} shows as_of {as_of} after {owner} showed {shown}")
            if owner not in (None, url):
                self.moves += 1
                if asked < seen_at:
                    self.wrong(f"{market}: on {url} and on {owner} at once")
            self.as_of[market] = max(as_of, shown)
            self._owner[market] = (url, answered)

    def _owner_of(self, market):
        owner, seen_at = self._owner.get(market, (None, 0.0))
        return owner, self.as_of.get(market, 0.0), seen_at

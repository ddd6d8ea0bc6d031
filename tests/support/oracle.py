"""O and P: what a rig's workers left behind, compared with the batch over the log."""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition
from support.batch import WINDOWS_MS, Batch, millis
from support.kafka import read_all, read_partitions

from streams.flow.chain import CheckpointRecord, _best_chain, _decode
from streams.index import partials as col
from streams.index.partials import Layout, from_wire
from streams.proof.audit.expected_values import is_measured


class Oracle:
    """The half of a Rig that judges; see rig.py for the other."""

    # -- reading back

    async def log(self):
        """{(topic, partition): [(offset, value, timestamp)]} of the inputs, and the batch of it."""
        batch = Batch(self.poison)
        for topic, own in self.topic.items():
            records, _ = await read_partitions(self.bootstrap, own, self.inputs)
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
            records, _ = await read_partitions(self.bootstrap, changelog, self.inputs)
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
        open_from = {market: at - 120_000 - 5_000 for market, at in batch.watermarks[sp].items()}
        problems += [
            f"{sp}: no row of open pane {market} {pane}"
            for (owner, market, pane), cells in batch.sp_panes.items()
            if owner == sp
            and pane > open_from[market]
            and any(cells.values())
            and (market, "live", pane) not in newest
        ]
        return problems

    def tag(self, market):
        """What a market's Redis keys begin with."""
        return f"{self.name}:v1:{{{market}}}"

    async def read_redis(self):
        """{market: {"hash", "snapshot", "days", "fence"}}, each market read in one transaction."""
        from redis.asyncio import Redis

        client = Redis.from_url(self.stack.redis_url, decode_responses=True)
        found = {}
        async with client:
            for market in sorted(await client.smembers(f"{self.name}:v1:markets")):
                tag = self.tag(market)
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
            (as_of_ms,) = {
                millis(value["as_of"])
                for value in found["snapshot"]["values"]
                if (value["index"], value["dimension"], value["window"])
                == ("orders", "market", "1m")
            } or {0}
            buyers = batch.buyers_days(market, as_of_ms // 900_000 * 900_000)
            problems += self._check_days(market, found["days"], batch, buyers)
        return problems

    def _check_value(self, market, value, batch):
        if is_measured(value["index"]):
            return []  # against what is usual: no sum over the log, judged by its own tests
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
            found = (value["value"], value["observed"], value["n"])
            where = f"{market} {name} {value['window']} at {value['as_of']}"
            return [f"{where}: found {found}, expected {number, observed, n}"]
        return []

    def _check_days(self, market, found, batch, buyers):
        expected = dict(buyers)
        days = sorted(
            day
            for code, day in batch.days
            if code == market and any(batch.days[code, day].values())
        )
        for day in days:
            for (index, dimension, member), number in batch.day_values(market, day).items():
                expected[f"{index}:{dimension}:{member}:{day}"] = number
        shown = {name: json.loads(text) for name, text in found.items()}
        return [
            f"{market} {name}: Redis {shown.get(name)}, expected {expected.get(name)}"
            for name in expected.keys() | shown.keys()
            if expected.get(name) != shown.get(name)
        ]

    async def check_values_topic(self, batch):
        """The newest value of each key equals Redis' (hence the batch), days too."""
        redis = await self.read_redis()
        topic = self.settings.topics.values
        records = await read_all(self.bootstrap, topic)
        fences = {
            market: tuple(int(found["fence"][name]) for name in ("edition", "as_of_ms", "applied"))
            for market, found in redis.items()
        }
        newest = {}
        for record in records:
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
            found = set()
            for record in await read_all(self.bootstrap, topic):
                headers = dict(record.headers)
                found.add(
                    (
                        headers["source_topic"].decode().removeprefix(f"{self.name}-"),
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

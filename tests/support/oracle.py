"""The oracles O and P: the results of a rig's workers, compared with the batch over the log."""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition
from support.by_name import expected_row, said_row
from support.kafka import read_all, read_partitions
from support.methodologies import DEMO
from support.reference import WINDOWS, LogReference, Rules, to_ms

from streams.flow.chain import CheckpointRecord, _best_chain, decode_checkpoint
from streams.proof.audit.expected_values import is_measured
from streams.publish.journal import VERSION_HEADERS
from streams.publish.keys import FENCE_FIELDS


class Oracle:
    """The half of a Rig that judges. rig.py has the other half."""

    # -- reading back

    async def log(self):
        """The reference, fed with everything in the input topics."""
        batch = LogReference(Rules.read(DEMO))
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
                    key.decode(): decode_checkpoint(value) for key, value in live.items()
                }
                path = _best_chain(decoded)
                assert path or not decoded, f"{topic}-{partition}: no complete chain"
                found[topic, partition] = [decoded[key] for key in path]
        return found

    async def caught_up(self, within_s=60.0):
        """Oracle P: checkpoints reach the log's end within a minute of the last fault or record."""
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
        """Oracle O: checkpoints, Redis, ``ecindex.values`` and /metrics equal the batch over the log."""
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
        problems = await self.check_set_aside(batch)
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
        for sp, source in batch.sources.items():
            chain = chains.get(sp)
            if not source.history:
                continue
            through, watermarks = source.history[-1]
            if not chain:
                problems.append(f"{sp}: no checkpoint")
                continue
            head = chain[-1]
            if head.through != through:
                problems.append(f"{sp}: through {head.through}, log ends at {through}")
            if head.watermarks != watermarks:
                problems.append(f"{sp}: watermarks {head.watermarks} != {watermarks}")
            problems += self._check_rows(sp, chain, source)
        return problems

    def _check_rows(self, sp, chain, source):
        through, watermarks = source.history[-1]
        newest = {}
        for record in chain:
            sketches = {(market, pane): sketch for market, pane, sketch in record.sketches}
            for market, book, slot, packed in record.rows:
                sketch = sketches.get((market, slot), b"") if book == "live" else b""
                newest[market, book, slot] = packed, sketch
        problems = []
        for (market, book, slot), (packed, sketch) in newest.items():
            found = said_row(book, packed, sketch)
            wanted = expected_row(source, (market, book, slot), through)
            if found[0] != wanted[0]:
                problems.append(f"{sp} {market} {book} {slot}: {_difference(found[0], wanted[0])}")
            elif found != wanted:
                problems.append(f"{sp} {market} {book} {slot}: {found[1:]}, expected {wanted[1:]}")
        kept_ms = source.rules.grace_ms + source.rules.pane_ms
        problems += [
            f"{sp}: no row of {market} {book} {slot}"
            for market, book, slot in source.slots()
            if (market, book, slot) not in newest
            and (book == "day" or slot > watermarks[market] - kept_ms)
            and expected_row(source, (market, book, slot), through)[0]
        ]
        return problems

    def tag(self, market):
        """The prefix of a market's Redis keys."""
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
        for market in batch.markets():
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
                to_ms(value["as_of"])
                for value in found["snapshot"]["values"]
                if (value["index"], value["dimension"], value["window"])
                == ("orders", "market", "1m")
            } or {0}
            buyers = batch.buyers(market, as_of_ms // 900_000 * 900_000)
            problems += self._check_days(market, found["days"], batch.days(market) | buyers)
        return problems

    def _check_value(self, market, value, batch):
        if is_measured(value["index"]):
            return []  # measured against the expectation, not summed; it has tests of its own
        length_ms = WINDOWS[value["window"]]
        end_ms = to_ms(value["as_of"])
        cache = batch.__dict__.setdefault("windows", {})
        key = (market, end_ms, length_ms)
        if key not in cache:
            cache[key] = batch.window(market, end_ms, length_ms)
        name = f"{value['index']}:{value['dimension']}:{value['member']}"
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

    def _check_days(self, market, found, expected):
        shown = {name: json.loads(text) for name, text in found.items()}
        return [
            f"{market} {name}: Redis {shown.get(name)}, expected {expected.get(name)}"
            for name in expected.keys() | shown.keys()
            if expected.get(name) != shown.get(name)
        ]

    async def check_values_topic(self, batch):
        """Check that each key's newest value, days too, equals the one in Redis, hence the batch."""
        redis = await self.read_redis()
        topic = self.settings.topics.values
        records = await read_all(self.bootstrap, topic)
        fences = {
            market: tuple(int(found["fence"][name]) for name in FENCE_FIELDS)
            for market, found in redis.items()
        }
        newest = {}
        for record in records:
            headers = dict(record.headers)
            version = tuple(int(headers[name]) for name in VERSION_HEADERS)
            key = record.key.decode()
            if version > fences[key.partition("|")[0]]:
                continue  # published since Redis was read
            if key not in newest or version >= newest[key][0]:
                newest[key] = (version, record.value)
        problems = []
        for key, (version, content) in newest.items():
            market, kind, *_ = key.split("|")
            if kind in ("fence", "members"):
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

    async def check_set_aside(self, batch):
        """Check that exactly the too late and the dead records are in their topics, by source offset."""
        problems = []
        for topic, expected in (
            (self.settings.topics.late, batch.places("too_late") | batch.places("day_only")),
            (self.settings.topics.dead_letters, batch.places("dead")),
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
        """Check that each market is on one worker, with the counts of the batch at its as_of."""
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
        for market in batch.markets():
            if len(owners[market]) != 1:
                problems.append(f"{market}: as_of series on {owners[market]}")
                continue
            ((worker, as_of_ms),) = owners[market]
            wanted = batch.window(market, as_of_ms, WINDOWS["5m"])
            for (name, labels), number in scraped[worker].items():
                own = dict(labels)
                if own.get("market") != market or own.get("window") != "5m":
                    continue
                cell = {
                    "ecindex_market_orders": "orders:market:all",
                    "ecindex_market_sales_minor": "sales:market:all",
                    "ecindex_orders": f"orders:category:{own.get('category')}",
                    "ecindex_sales_minor": f"sales:category:{own.get('category')}",
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
    """Follows the checkpoint changelogs for the largest ``through`` of each source partition."""

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
        # What aiokafka's stop cancels must have begun: else it ends as the caller's own cancellation.
        await asyncio.sleep(0)
        await self._consumer.stop()

    async def read(self):
        for tp, records in (await self._consumer.getmany(timeout_ms=200)).items():
            sp = (self._topic_of[tp.topic], tp.partition)
            for record in records:
                if record.value is not None:
                    through = decode_checkpoint(record.value).through
                    self.through[sp] = max(through, self.through.get(sp, -1))


def _difference(found, expected):
    keys = sorted(found.keys() | expected.keys())
    return [
        (key, found.get(key), expected.get(key))
        for key in keys
        if found.get(key) != expected.get(key)
    ][:4]

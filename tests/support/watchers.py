"""V: what readers see during the whole run must never go back, and must expire or read stale."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition
from support.rig import Rig


@dataclass
class _Watcher:
    rig: Rig
    violations: list[str] = field(default_factory=list)

    def start(self):
        self.rig.watchers.append(self)
        self._task = asyncio.create_task(self._run())
        return self

    async def stop(self):
        # More than once: a client library may take a cancellation for a time-out of its own.
        while not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=1)

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

        client = Redis.from_url(self.rig.stack.redis_url, decode_responses=True, socket_timeout=2)
        markets = list(self.rig.methodology.markets)
        last = None
        while True:
            await asyncio.sleep(0.05)
            try:
                async with client.pipeline(transaction=False) as pipe:
                    for market in markets:
                        tag = self.rig.tag(market)
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
                    sample[market] = values  # noqa: PERF403 - it looks, too
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

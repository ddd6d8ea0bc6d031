"""Oracle V: what readers see must never go back during a run, and must expire or read stale."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import NamedTuple

import aiohttp
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition
from support.oracle import CheckpointTail
from support.rig import Rig

from streams.publish.journal import VERSION_HEADERS
from streams.publish.keys import FENCE_FIELDS


@dataclass
class _Watcher:
    rig: Rig
    violations: list[str] = field(default_factory=list)

    def start(self):
        self.rig.watchers.append(self)
        self._task = asyncio.create_task(self._run())
        return self

    async def stop(self):
        # More than once: a client library may mistake a cancellation for its own time-out.
        while not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=1)

    def wrong(self, text):
        self.violations.append(f"{time.monotonic() - self.rig.began:7.2f} {text}")


class RedisWatch(_Watcher):
    """Reads Redis every 50 ms: versions never go down and keys always expire."""

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
                        pipe.hmget(f"{tag}:fence", *FENCE_FIELDS)
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
                    sample[market] = values  # noqa: PERF403 - _see also checks
            if sample != last:
                last = sample
                self.samples.append((time.monotonic(), sample))

    def stalls(self):
        """By market: [longest seconds for which its @as_of did not move or was absent, since when]."""
        longest: dict[str, tuple[float, float]] = {}
        since: dict[str, tuple[float, str]] = {}
        for at, sample in self.samples:
            for market, values in sample.items():
                began, as_of = since.get(market, (at, values[0]))
                if as_of != values[0] or market not in since:
                    stall = (at - began, began - self.rig.began)
                    longest[market] = max(longest.get(market, stall), stall)
                    since[market] = (at, values[0])
        return {
            market: [round(seconds, 1), round(began, 1)]
            for market, (seconds, began) in sorted(longest.items())
        }

    def _see(self, market, fence, values, ttl_ms):
        if fence[0] is None or values[0] is None:
            self.absent += market in self.high
            return False
        version = tuple(int(number) for number in fence)
        if version < self.high.get(market, version):
            self.wrong(f"{market}: fence {version} after {self.high[market]}")
        if values[0] < self.as_of.get(market, values[0]):
            self.wrong(f"{market}: @as_of {values[0]} after {self.as_of[market]}")
        # 0: the last millisecond; -2: the key expired between two commands; -1: it never expires.
        if ttl_ms == -1 or ttl_ms > 60_000:
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
        version = tuple(int(headers[name]) for name in VERSION_HEADERS)
        market = record.key.split(b"|")[0].decode()
        high = self.high.get(market, version)
        if version < high:
            self.wrong(f"{record.key.decode()} at {record.offset}: {version} after {high}")
        self.high[market] = max(version, high)


class Scrape(NamedTuple):
    """One answer of one worker to a scrape. ``asked`` and ``answered`` are monotonic seconds."""

    asked: float
    answered: float
    url: str
    as_of: dict[str, float]
    """as_of of each market shown, in seconds."""


class MetricsWatch(_Watcher):
    """Scrapes every worker: a market is on one worker at a time, and its as_of never goes back.

    Like Prometheus it gives up after 10 s. A scrape shows the state of some moment between its
    request and its answer, so only scrapes that do not overlap are compared.
    """

    TIMEOUT_S = 10.0
    AT_ONCE_S = 1.0
    """Two workers that show a market in turn within this time both own it: no handover is so fast."""

    def __init__(self, rig, every_s=0.1):
        super().__init__(rig)
        self.scrapes = 0
        self.moves = 0
        self._every_s = every_s
        self._seen: dict[str, list[tuple[float, float, str, float]]] = defaultdict(list)

    async def _run(self):
        timeout = aiohttp.ClientTimeout(total=self.TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            pending: dict[str, asyncio.Task] = {}
            while True:
                await asyncio.sleep(self._every_s)
                for worker in self.rig.workers:
                    url = worker.metrics_url if worker.running else None
                    if url is not None and url not in pending:
                        pending[url] = asyncio.create_task(self._scrape(session, url))
                for url in [url for url, task in pending.items() if task.done()]:
                    scrape = pending.pop(url).result()
                    if scrape is not None:
                        self._compare(scrape)

    async def _scrape(self, session, url):
        asked = time.monotonic()
        try:
            async with session.get(url) as answer:
                text = await answer.text()
        except (aiohttp.ClientError, TimeoutError):
            return None
        self.scrapes += 1
        head = "ecindex_index_as_of_timestamp_seconds{"
        found = {}
        for line in text.splitlines():
            if line.startswith(head):
                labels, number = line.removeprefix(head).split("} ")
                found[labels.split('"')[1]] = float(number)
        return Scrape(asked, time.monotonic(), url, found)

    def _compare(self, scrape):
        for market, as_of in scrape.as_of.items():
            seen = self._seen[market]
            for _, answered, url, shown in seen:
                if answered <= scrape.asked and as_of < shown:
                    self.wrong(f"{market}: {scrape.url} shows {as_of} after {url} showed {shown}")
            if seen and seen[-1][2] != scrape.url:
                self.moves += 1
            if other := self._shown_between(seen, scrape):
                self.wrong(f"{market}: on {scrape.url} and on {other} at once")
            seen.append((scrape.asked, scrape.answered, scrape.url, as_of))
            del seen[:-400]

    def _shown_between(self, seen, scrape):
        """Worker that showed the market after this one had shown it, and before this scrape began.

        A worker that is frozen while it answers shows what it owned then: an answer says nothing of
        what overlaps it.
        """
        late = [each for each in seen if each[0] > scrape.asked - self.AT_ONCE_S]
        before = [answered for _, answered, url, _ in late if url == scrape.url]
        return next(
            (
                url
                for asked, answered, url, _ in late
                if url != scrape.url
                and answered <= scrape.asked
                and before
                and min(before) <= asked
            ),
            None,
        )


class LagWatch(_Watcher):
    """Measures how far the checkpoints are behind the producer, in seconds, a few times a second.

    Oracle P reads the log's end after production. This watcher measures while events keep coming: the
    age of the oldest event that no checkpoint includes.
    """

    STEADY_S = 2.0
    """Seconds behind that are no lag: a checkpoint is written once a second and takes some time."""

    def __init__(self, rig):
        super().__init__(rig)
        self.samples: list[tuple[float, float]] = []
        """(monotonic, seconds behind)."""
        self._waiting: dict[tuple[str, int], deque[tuple[float, int]]] = defaultdict(deque)
        """By source partition: (monotonic seconds, log end) of each end that no checkpoint reached."""

    async def _run(self):
        async with CheckpointTail(self.rig) as tail:
            while True:
                self._measure(tail.through)
                await asyncio.sleep(0.1)
                await tail.read()

    def _measure(self, through):
        now = time.monotonic()
        behind_s = 0.0
        for sp, end in self.rig.produced.items():
            waiting = self._waiting[sp]
            if not waiting or waiting[-1][1] != end:
                waiting.append((now, end))
            while waiting and waiting[0][1] <= through.get(sp, -1) + 1:
                waiting.popleft()
            if waiting:
                behind_s = max(behind_s, now - waiting[0][0])
        self.samples.append((now, behind_s))

    def recovered_after(self, since):
        """Seconds from ``since`` until the lag was gone; None while it is not."""
        return next(
            (
                at - since
                for at, behind_s in self.samples
                if at >= since and behind_s < self.STEADY_S
            ),
            None,
        )

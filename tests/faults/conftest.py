"""One rig for all single faults. Each test breaks its two workers; the next test finds them whole."""

from __future__ import annotations

import asyncio
import logging

import pytest
import pytest_asyncio
from support.rig import Rig, now_ms
from support.shop import shop
from support.watchers import MetricsWatch, RedisWatch, ValuesWatch


@pytest.fixture(autouse=True)
def _quiet_clients():
    """Silence the tests' own clients: they log each refused connection, ten lines a second.

    Only here: what a command says of a refusal it takes from these logs.
    """
    logger = logging.getLogger("aiokafka")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(before)


class Bench:
    """A rig with two workers and all watchers, which produces bursts of events during faults."""

    def __init__(self, rig):
        self.rig = rig
        self.bursts = 0
        self.joined = 0

    async def whole(self):
        """Wait until two workers are ready, whatever the previous test left behind."""
        rig = self.rig
        rig.workers = [worker for worker in rig.workers if not worker._leaving]
        while len(rig.workers) < 2:
            self.joined += 1
            rig.worker(f"w{self.joined}")
        await rig.ready()

    async def burst(self, fault=None, *, events=1_500, span_s=5.0, backlog=0.1):
        """Produce for ``span_s`` seconds; start the coroutine function ``fault`` after a third of it."""
        rig = self.rig
        self.bursts += 1
        start_ms = now_ms() + 300
        made = shop(
            events,
            seed=self.bursts,
            first=self.bursts * 1_000_000,
            start_ms=start_ms,
            span_ms=int(span_s * 1000),
            partitions=rig.inputs,
            backlog=backlog if self.bursts == 1 else 0,
        )
        producing = asyncio.create_task(rig.produce(made, begin_ms=start_ms))
        if fault is not None:
            await asyncio.sleep(span_s / 3)
            await fault()
        await producing

    async def judge(self):
        """Assert the oracles O, P and V; return the batch that the results were compared with."""
        rig = self.rig
        await rig.caught_up()
        batch = await rig.assert_exact()
        for watcher in rig.watchers:
            violations, watcher.violations = watcher.violations, []
            assert not violations, "V:\n" + "\n".join(violations[:20]) + "\n" + rig.report()
        return batch


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def bench(tmp_path_factory, cache_dir):
    async with Rig(tmp_path_factory.mktemp("faults"), cache_dir) as rig:
        for name in ("a", "b"):
            rig.worker(name)
        for watch in (RedisWatch, ValuesWatch, MetricsWatch):
            watch(rig).start()
        yield Bench(rig)

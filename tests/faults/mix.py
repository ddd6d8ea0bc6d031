"""The mix of faults. Their kinds and counts are fixed; their times are drawn from a seed."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass

from support.rig import Rig, now_ms, until
from support.shop import shop
from support.watchers import LagWatch, MetricsWatch, RedisWatch, ValuesWatch


@dataclass(frozen=True, slots=True)
class Plan:
    """How many events are produced over how long, and what is broken in the meantime."""

    events: int = 200_000
    span_s: float = 200.0
    kills: int = 5
    freezes: int = 2
    freeze_s: float = 30.0
    broker_kills: int = 1
    refusals: int = 1
    refusal_s: float = 9.0
    redis_kills: int = 0


FULL = Plan()
SMALL = Plan(
    events=20_000, span_s=45.0, kills=2, freezes=1, freeze_s=9.0, broker_kills=0, refusals=0,
    redis_kills=1,
)  # fmt: skip


class Mix:
    """Runs a plan on a rig and judges it by the oracles afterwards."""

    def __init__(self, rig: Rig, plan: Plan, seed: int):
        self.rig = rig
        self.plan = plan
        self.dice = random.Random(seed)
        self.seed = seed

    async def run(self, *patches):
        """Produce events and inject the faults. Return when production and the last fault have ended."""
        rig, plan = self.rig, self.plan
        for name in ("a", "b"):
            rig.worker(name, *patches)
        await rig.ready()
        self.redis = RedisWatch(rig).start()
        self.values = ValuesWatch(rig).start()
        self.metrics = MetricsWatch(rig).start()
        self.lag = LagWatch(rig).start()
        start_ms = now_ms() + 1_000
        made = await asyncio.to_thread(
            shop, plan.events, seed=self.seed, start_ms=start_ms, span_ms=int(plan.span_s * 1000)
        )
        producing = asyncio.create_task(rig.produce(made, begin_ms=now_ms()))
        faults = asyncio.gather(
            *(self._at(due_s, what) for due_s, what in self._schedule()),
        )
        await producing
        await faults

    def _schedule(self):
        plan, dice = self.plan, self.dice
        first, last = 0.08 * plan.span_s, 0.95 * plan.span_s

        def draw(count, latest=last):
            return sorted(dice.uniform(first, latest) for _ in range(count))

        due = [(at, self._kill) for at in draw(plan.kills)]
        # Freezes never overlap: with both workers frozen, only their waking would be tested.
        slot_s = (last - first) / max(plan.freezes, 1)
        for number in range(plan.freezes):
            room_s = max(0.0, slot_s - plan.freeze_s - 5)
            due.append((first + number * slot_s + dice.uniform(0, room_s), self._freeze))
        due += [(at, self._kill_broker) for at in draw(plan.broker_kills)]
        due += [(at, self._refuse) for at in draw(plan.refusals, last - plan.refusal_s)]
        due += [(at, self._kill_redis) for at in draw(plan.redis_kills)]
        return due

    async def _at(self, due_s, what):
        await asyncio.sleep(due_s)
        await what()

    async def _victim(self):
        return self.dice.choice(await until(self.rig.running_workers, 120, "a worker to break"))

    async def _kill(self):
        worker = await self._victim()
        self.rig.fault(f"kill -9 {worker.name}")
        await asyncio.to_thread(worker.child.kill)

    async def _freeze(self):
        worker = await self._victim()
        child = worker.child
        self.rig.fault(f"SIGSTOP {worker.name}")
        worker.frozen = True
        child.pause()
        await asyncio.sleep(self.plan.freeze_s)
        self.rig.fault(f"SIGCONT {worker.name}")
        child.resume()
        worker.frozen = False

    async def _kill_broker(self):
        self.rig.fault("kill -9 broker")
        await asyncio.to_thread(self.rig.stack.kafka.kill)
        await asyncio.sleep(self.dice.uniform(0.5, 4.0))
        await asyncio.to_thread(self.rig.stack.kafka.start)
        self.rig.fault("broker is back")

    async def _refuse(self):
        topic = self.dice.choice(list(self.rig.checkpoint_topics.values()))
        self.rig.fault(f"{topic} refuses writes")
        await self._alter(topic, max_message_bytes=100)
        await asyncio.sleep(self.plan.refusal_s)
        await self._alter(topic)
        self.rig.fault(f"{topic} takes writes again")

    async def _alter(self, topic, **changes):
        from aiokafka.errors import KafkaError

        deadline = time.monotonic() + 60
        while True:  # the broker may be away: faults overlap
            try:
                await self.rig.alter(topic, **changes)
            except (KafkaError, OSError):
                assert time.monotonic() < deadline
                await asyncio.sleep(0.5)
            else:
                return

    async def _kill_redis(self):
        self.rig.fault("kill -9 Redis")
        await asyncio.to_thread(self.rig.stack.redis.kill)
        await asyncio.sleep(1)
        await asyncio.to_thread(self.rig.stack.redis.start)
        self.rig.fault("Redis is back")

    async def judge(self):
        """Assert the oracles O, P and V; return the figures of the run."""
        rig = self.rig
        lag_s = await rig.caught_up()
        # By now the watcher has seen the lag end too, unless the last fault ended after production.
        recovered_s = await until(
            lambda: self.lag.recovered_after(rig.last_fault_at), 60, "the lag being gone"
        )
        assert recovered_s < 60, (
            f"P: lag 0 {recovered_s:.1f} s after the last fault\n" + rig.report()
        )
        batch = await rig.assert_exact()
        violations = [each for watcher in rig.watchers for each in watcher.violations]
        assert not violations, "V:\n" + "\n".join(violations[:20]) + "\n" + rig.report()
        return {
            "seed": self.seed,
            "events": self.plan.events,
            "lag_s": round(lag_s, 1),
            "recovered_s": round(recovered_s, 1),
            "behind_s_max": round(max(behind_s for _, behind_s in self.lag.samples), 1),
            "outcomes": {
                name: sum(batch.outcomes(topic)[name] for topic in rig.topic)
                for name in ("accepted", "late", "duplicate", "too_late", "dead")
            },
            "exits": {w.name: [each.code for each in w.exits] for w in rig.workers},
            "stalls_s_since": self.redis.stalls(),
            "redis_polls": self.redis.polls,
            "value_records": self.values.records,
            "scrapes": self.metrics.scrapes,
            "moves": self.metrics.moves,
        }

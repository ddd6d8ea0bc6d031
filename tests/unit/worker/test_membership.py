"""Who is in the group when Redis refuses some workers or all, and that nothing goes to and fro."""

from __future__ import annotations

import asyncio

import pytest
from redis.exceptions import AuthenticationError, BusyLoadingError

from streams.publish.redis_health import RedisHealth
from streams.worker.membership import Membership
from streams.worker.stops import ExitCode, StopSwitch

REFUSED, AWAY = AuthenticationError("WRONGPASS"), BusyLoadingError("LOADING")


class World:
    """A group of workers on one clock. ``errors``: what Redis answers each worker; None: all."""

    def __init__(self, monkeypatch):
        self.ms = 0
        self.members = []
        self.errors = {}
        self.workers = {}
        self.changes = 0
        self._ready = {}
        monkeypatch.setattr("streams.worker.membership.asyncio.sleep", self.sleep)

    async def sleep(self, _seconds):
        waiting = self._ready.setdefault(asyncio.current_task(), asyncio.Event())
        waiting.clear()
        await waiting.wait()

    def start(self, name, error=None):
        self.errors[name] = error
        self.workers[name] = worker = Worker(self, name)
        worker.joining = asyncio.ensure_future(worker.join())

    async def run(self, seconds):
        """Let a second pass for every worker, again and again; those that end are started again."""
        for _ in range(seconds):
            self.ms += 1_000
            for waiting in list(self._ready.values()):
                waiting.set()
            for _ in range(20):
                await asyncio.get_running_loop().create_task(_nothing())
            for worker in list(self.workers.values()):
                if worker.name in self.members:
                    await worker.beat()
                    if worker.switch.reason is not None:
                        self.leave(worker.name)
                        assert worker.switch.reason.code is ExitCode.CANNOT_PUBLISH
                        self.start(worker.name, self.errors[worker.name])

    def leave(self, name):
        self.members.remove(name)
        self.changes += 1

    async def asked(self):
        return list(self.members)


async def _nothing():
    return None


class Worker:
    """A worker as far as its membership goes; it is its own store."""

    def __init__(self, world, name):
        self.world, self.name = world, name
        self.health = RedisHealth(lambda: world.ms)
        self.switch = StopSwitch()
        self.holds_markets = True
        self.membership = Membership(
            self, self.switch, world.asked, lambda: name, clock=lambda: world.ms
        )

    async def probe(self):
        error = self.world.errors[self.name]
        if error is None:
            self.health.worked("PK")
        else:
            self.health.failed("PK", error)
        return error is None

    async def join(self):
        await self.membership.join()
        self.world.members.append(self.name)
        self.world.changes += 1

    async def beat(self):
        await self.probe()
        await self.membership.check()


@pytest.fixture
async def world(monkeypatch):
    world = World(monkeypatch)
    yield world
    for worker in world.workers.values():
        worker.joining.cancel()


async def test_a_refused_worker_stays_outside_and_comes_in_once_redis_takes_it(world):
    world.start("healthy")
    await world.run(1)
    world.start("sick", REFUSED)
    await world.run(60)
    assert world.members == ["healthy"]
    sick = world.workers["sick"].membership
    assert "outside the group" in sick.why_not
    assert "redis.password" in sick.why_not
    world.errors["sick"] = None
    await world.run(3)
    assert world.members == ["healthy", "sick"]
    assert sick.why_not is None
    assert world.changes == 2


@pytest.mark.parametrize("name", ["a", "z"], ids=["first", "last"])
async def test_a_worker_that_is_refused_later_gives_its_markets_back(world, name):
    for each in (name, "m"):
        world.start(each)
    await world.run(1)
    world.errors[name] = REFUSED
    await world.run(4)
    assert sorted(world.members) == sorted([name, "m"])
    await world.run(16)
    assert world.members == ["m"]
    changes = world.changes
    await world.run(120)
    assert world.changes == changes, "nothing goes to and fro"


@pytest.mark.parametrize("number", [2, 3, 6])
async def test_of_workers_that_are_all_refused_one_stays(world, number):
    for each in range(number):
        world.start(f"w{each}")
    await world.run(1)
    for each in range(number):
        world.errors[f"w{each}"] = REFUSED
    for _ in range(60):
        await world.run(1)
        assert world.members, "somebody folds all the time"
    assert len(world.members) == 1
    (stays,) = world.members
    assert "cannot publish" in world.workers[stays].membership.why_not
    changes = world.changes
    await world.run(120)
    assert world.changes == changes
    other = next(name for name in world.workers if name != stays)
    world.errors[other] = None  # its password was set: it comes in, and the other makes way
    await world.run(30)
    assert world.members == [other]


async def test_a_redis_that_does_not_answer_moves_no_market(world):
    for each in ("a", "b"):
        world.start(each)
    await world.run(1)
    world.errors = dict.fromkeys("ab", AWAY)
    await world.run(120)
    assert sorted(world.members) == ["a", "b"]
    assert "cannot publish" in world.workers["a"].membership.why_not
    world.start("c", AWAY)  # it could not show that it can do its work
    await world.run(10)
    assert sorted(world.members) == ["a", "b"]
    world.errors = dict.fromkeys("abc")
    await world.run(3)
    assert sorted(world.members) == ["a", "b", "c"]
    assert world.workers["a"].membership.why_not is None


async def test_without_anybody_in_the_group_a_worker_joins_whatever_redis_says(world):
    world.start("a", REFUSED)
    await world.run(5)
    assert world.members == ["a"]
    await world.run(60)
    assert world.members == ["a"]
    world.start("b", REFUSED)
    await world.run(60)
    assert world.members == ["a"]
    world.leave("a")
    del world.workers["a"]
    await world.run(10)
    assert world.members == ["b"]

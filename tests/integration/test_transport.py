"""The transport with real workers and a real broker: exact (O) and moving (P) after every fault."""

from __future__ import annotations

import asyncio
import random
import time

import pytest
from support.toys import Toys

from streams.worker.stops import ExitCode

pytestmark = pytest.mark.stack


@pytest.fixture
async def toys(stack, unique, tmp_path):
    made = Toys(stack, unique("toy"), tmp_path, partitions=4)
    yield made
    for child in made.children.values():
        child.kill()


async def until(condition, within_s=30.0):
    deadline = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "did not happen in time"
        await asyncio.sleep(0.05)
    return found


@pytest.mark.slow
async def test_two_workers_killed_and_frozen_are_exact(toys):
    await toys.create()
    for worker in ("one", "two"):
        toys.start(worker)
    dice = random.Random(7)
    producing = asyncio.create_task(toys.produce(100_000, per_s=4000))
    for _ in range(3):
        await asyncio.sleep(dice.uniform(2.5, 5.0))
        worker = dice.choice(["one", "two"])
        toys.children[worker].kill()
        toys.start(worker)
    zombie = toys.children["two"]
    await asyncio.sleep(3)
    zombie.pause()
    await asyncio.sleep(10)  # longer than the session of 6 s: its partitions are the other's
    zombie.resume()
    assert await asyncio.to_thread(zombie.wait, 10) == ExitCode.AWAY
    toys.start("two")
    await producing
    await toys.assert_exact()

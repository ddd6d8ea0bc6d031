"""The oracles O, P and V hold for a stream of events under the mix of faults."""

from __future__ import annotations

import json

import pytest
from faults.mix import FULL, SMALL, Mix
from support.rig import Rig

pytestmark = pytest.mark.stack


@pytest.mark.slow
@pytest.mark.deep
async def test_two_workers_killed_and_frozen_with_redis_lost_are_exact(tmp_path, cache_dir):
    async with Rig(tmp_path, cache_dir) as rig:
        mix = Mix(rig, SMALL, seed=1)
        await mix.run()
        await mix.judge()
        # The machine decides which worker was killed, and in what state. One was killed for certain.
        codes = [each.code for worker in rig.workers for each in worker.exits]
        assert -9 in codes


@pytest.mark.chaos
@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
async def test_the_whole_mix_is_exact(tmp_path, cache_dir, seed):
    async with Rig(tmp_path, cache_dir) as rig:
        mix = Mix(rig, FULL, seed)
        await mix.run()
        print(json.dumps(await mix.judge()))  # noqa: T201 - a run takes minutes and shows its figures

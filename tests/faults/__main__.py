"""Run whole mixes one after another and print a line of JSON for each, for ``ecindex bench chaos``.

python -m faults --runs 5 --seed 1        (in tests/)
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from faults.mix import FULL, Mix
from support.rig import Rig

from streams.local.kafka_jars import default_cache_dir


async def run_once(plan, seed, directory, cache_dir):
    """Run one mix and return its figures. ``failed`` names the oracle that failed and what it found."""
    began = time.monotonic()
    async with Rig(directory, cache_dir) as rig:
        mix = Mix(rig, plan, seed)
        figures = {"seed": seed, "events": plan.events}
        try:
            await mix.run()
            figures |= await mix.judge()
        except AssertionError as error:
            figures["failed"] = str(error)[:4_000]
        return figures | {"seconds": round(time.monotonic() - began, 1), "faults": rig.events}


def main() -> int:
    parser = argparse.ArgumentParser(prog="faults")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--events", type=int, default=FULL.events)
    parser.add_argument("--dir", type=Path, help="kept; otherwise a temporary one, deleted")
    args = parser.parse_args()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    cache_dir = default_cache_dir(os.environ)  # noqa: TID251 - the tests' own composition root
    plan = replace(FULL, events=args.events)
    failed = False
    for seed in range(args.seed, args.seed + args.runs):
        with tempfile.TemporaryDirectory(prefix="ecindex-chaos-") as temporary:
            directory = (args.dir or Path(temporary)) / f"mix-{seed}"
            # A directory of its own: an earlier run left its log, its topics and its workers' addresses.
            directory.mkdir(parents=True)
            figures = asyncio.run(run_once(plan, seed, directory, cache_dir))
        failed |= "failed" in figures
        sys.stdout.write(json.dumps(figures) + "\n")
        sys.stdout.flush()
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())

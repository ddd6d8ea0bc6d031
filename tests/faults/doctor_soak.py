"""Doctor of a busy, healthy index: ``python -m faults.doctor_soak --minutes 30`` (in tests/).

Two workers fold simulated shops; every minute one of them is killed or stopped and another starts.
Doctor is asked all the time. Whatever it tells is printed and fails the run.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from support.installation import ECINDEX, Installation

from streams.local.local_stack import LocalStack
from streams.proof.doctor.diagnose import diagnose
from streams.proof.doctor.findings import Level


async def soak(installed, minutes, rate, every_s, tell):
    """{finding as text: how often it was told}, and how often doctor was asked."""
    await installed.create_topics()
    installed.start_worker()
    installed.start_worker()
    simulator = installed.stack.spawn(
        "simulator",
        [str(ECINDEX), "simulate", "--rate", str(rate), "--season", "flat", "--duplicates", "0.01"],
        env=installed.env,
    )
    await installed.until(lambda: installed.redis_values("PK"), within_s=120)
    told, asked, began = Counter(), 0, time.monotonic()
    churning = asyncio.create_task(churn(installed, every_s))
    try:
        while time.monotonic() - began < minutes * 60:
            diagnosis = await diagnose(installed.settings)
            asked += 1
            assert simulator.running, simulator.log_tail(20)
            for finding in diagnosis.findings:
                if finding.level is not Level.OK and finding.where != "workers":
                    told[finding.level, finding.check, finding.line()] += 1
                    tell(f"{time.monotonic() - began:6.0f} s  {finding.line()}")
    finally:
        churning.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await churning
        simulator.terminate()
        installed.stop()
    return told, asked


async def churn(installed, every_s):
    """Kill one worker of two, then stop the other in order, and so on."""
    for turn in range(10_000):
        await asyncio.sleep(every_s)
        leaver = installed.workers.pop(0)
        await asyncio.to_thread(leaver.terminate if turn % 2 else leaver.kill)
        installed.start_worker()


def main():
    parser = argparse.ArgumentParser(prog="python -m faults.doctor_soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--rate", type=float, default=1_000)
    parser.add_argument("--every", type=float, default=60, help="seconds between rebalances")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="ecindex-soak-") as directory,
        LocalStack(Path(directory) / "stack") as stack,
    ):
        installed = Installation(stack, "soak", Path(directory), inputs=8, arrival="broker")
        told, asked = asyncio.run(
            soak(
                installed,
                options.minutes,
                options.rate,
                options.every,
                lambda text: print(text, flush=True),  # noqa: T201 - a command line of its own
            )
        )
    print(f"asked {asked} times in {options.minutes:g} min; told {dict(told)}")  # noqa: T201
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main())

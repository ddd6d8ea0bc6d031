"""What members cost: ``python -m faults.state_limits --markets 8 --members 500`` (in tests/).

A real worker folds orders that name every category of every market. It prints the age of values, which
is about eight seconds for a live market of any size that the worker can hold, and the worker's memory.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

import psutil
from support.flow_harness import order
from support.installation import Installation

from streams.clock import now_ms
from streams.index.instants import parse_instant
from streams.local.local_stack import LocalStack


def methodology_of(markets, members):
    """(text of a methodology, codes of its markets, names of the categories that each has)."""
    names = [f"c{number:03}" for number in range(members)]
    codes = [f"M{number:02}" for number in range(markets)]
    head = f"""
edition = 1
methods.cod.digital = false
methods.card.digital = true
channels.web = {{}}
channels.app = {{}}
category_sets.all_of_them = {json.dumps(names)}
"""
    sections = [
        f'[markets.{code}]\nname = "{code}"\ncurrency = "PKR"\ntime_zone = "Asia/Karachi"\n'
        f'categories = "all_of_them"\nmembers_max = {max(members, 64)}\n'
        for code in codes
    ]
    return "\n".join([head, *sections]), codes, names


async def measure(installed, codes, names, rate, seconds):
    """Figures after ``seconds`` of ``rate`` orders a second."""
    await installed.create_topics()
    child = installed.start_worker()
    ages, sent, began = [], 0, time.monotonic()
    async with installed.producer() as producer:
        while time.monotonic() - began < seconds:
            due = int((time.monotonic() - began) * rate)
            for number in range(sent, due):
                at_ms = now_ms()
                lines = [(names[number // len(codes) % len(names)], 1, 100)]
                event = order(f"o{number}", at_ms, market=codes[number % len(codes)], lines=lines)
                await installed.send(producer, "orders", event)
            sent = due
            await asyncio.sleep(0.2)
            held = await installed.redis_values(codes[number % len(codes)])
            as_of_ms = parse_instant(held.get("@as_of", ""))
            if as_of_ms is not None and time.monotonic() - began > seconds / 2:
                ages.append(now_ms() - as_of_ms)
    process = psutil.Process(child.pid)
    figures = {
        "markets": len(codes),
        "members": len(names),
        "orders": sent,
        "fields_of_a_market": len(await installed.redis_values(codes[0])),
        "age_s_median": sorted(ages)[len(ages) // 2] / 1000 if ages else None,
        "age_s_max": max(ages) / 1000 if ages else None,
        "rss_mb": round(process.memory_info().rss / 1e6),
        "cpu_s": round(sum(process.cpu_times()[:2]), 1),
        "seconds": seconds,
    }
    installed.stop()
    return figures


def main():
    parser = argparse.ArgumentParser(prog="python -m faults.state_limits", description=__doc__)
    parser.add_argument("--markets", type=int, default=8)
    parser.add_argument("--members", type=int, default=500)
    parser.add_argument("--rate", type=float, default=300)
    parser.add_argument("--seconds", type=float, default=120)
    options = parser.parse_args()
    text, codes, names = methodology_of(options.markets, options.members)
    with (
        tempfile.TemporaryDirectory(prefix="ecindex-limits-") as directory,
        LocalStack(Path(directory) / "stack") as stack,
    ):
        installed = Installation(stack, "limits", Path(directory), inputs=2, arrival="broker")
        installed.overrides["methodology"] = Path(directory) / "methodology.toml"
        installed.overrides["methodology"].write_text(text)
        found = asyncio.run(measure(installed, codes, names, options.rate, options.seconds))
    print(json.dumps(found))  # noqa: T201 - a command line of its own
    return 0


if __name__ == "__main__":
    sys.exit(main())

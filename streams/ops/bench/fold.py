"""``ecindex bench fold``: order events a second and core through the whole worker path.

Kafka -> decode -> dedupe -> rows -> partials and checkpoints acknowledged, by a real worker (level 2
and its publishing included) pinned to one core, the broker on another. Each run has topics and a
group of its own over the same inputs.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from streams.clock import monotonic_ms, now_ms
from streams.flow import plain
from streams.ops import topics as topic_ops
from streams.ops.bench import events
from streams.ops.errors import OperationError
from streams.ops.local_stack import LocalStack
from streams.settings import load_methodology, load_settings
from streams.worker import batches

BYTES_AN_ID = 8
RSS_BASE_MB = 250
_CHILD_TIMEOUT_S = 180


@dataclass(frozen=True, slots=True)
class FoldBench:
    """What is run. ``event_rate`` is event time's pace: it decides how many ids grace holds."""

    count: int = 1_200_000
    partitions: int = 8
    runs: int = 5
    event_rate: int = 10_000
    cache_dir: Path | None = None


def run_fold(bench: FoldBench, say: Callable[[str], None]) -> dict[str, Any]:
    """Run it; the result as ``bench fold --json`` prints it."""
    count = bench.count // bench.partitions * bench.partitions
    with (
        tempfile.TemporaryDirectory(prefix="ecindex-bench-") as name,
        LocalStack(Path(name), cache_dir=bench.cache_dir) as stack,
    ):
        _pin_others()
        asyncio.run(_prepare(stack, "bench0", bench.partitions))
        say(f"producing {count} orders")
        settings = load_settings(None, {"kafka.bootstrap_servers": stack.bootstrap})
        made = events.order_events(
            load_methodology(settings),
            count,
            first_ms=now_ms() - count * 1000 // bench.event_rate - 60_000,
            rate_per_s=bench.event_rate,
        )
        size = asyncio.run(events.produce(stack.bootstrap, "orders", bench.partitions, made))
        found = []
        for number in range(1, bench.runs + 1):
            asyncio.run(_prepare(stack, f"bench{number}", bench.partitions))
            one = _run_once(stack, f"bench{number}", bench.partitions, count, Path(name))
            one["events_per_s"] = count / one["seconds"]
            found.append(one)
            say(f"run {number}: {one['events_per_s']:,.0f} events/s, RSS {one['rss_mb']:.0f} MB")
    rates = [one["events_per_s"] for one in found]
    return {
        "bench": "fold",
        "median": round(statistics.median(rates)),
        "unit": "order events/s a core",
        "runs": [round(rate) for rate in rates],
        "cpu_seconds": [round(one["cpu_seconds"], 2) for one in found],
        "rss_mb": round(max(one["rss_mb"] for one in found)),
        "rss_allowed_mb": round(
            RSS_BASE_MB + BYTES_AN_ID * max(one["ids"] for one in found) / 1_048_576
        ),
        "compiled": plain.COMPILED and batches.COMPILED,
        "events": count,
        "bytes_an_event": round(size / count),
        "machine": machine(),
    }


def machine() -> dict[str, Any]:
    """What a figure was measured on."""
    return {
        "cores": os.cpu_count(),
        "processor": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "started_ms": monotonic_ms(),
    }


def _pin_others() -> None:
    """Give the worker a core of its own where there are two."""
    cores = os.cpu_count() or 1
    if cores > 1 and sys.platform == "linux":
        for child in psutil.Process().children(recursive=True):
            child.cpu_affinity(list(range(1, cores)))


async def _prepare(stack: LocalStack, prefix: str, partitions: int) -> None:
    settings = load_settings(
        None, {"kafka.bootstrap_servers": stack.bootstrap, "topics.prefix": prefix}
    )
    wanted = await topic_ops.plan_topics(settings, inputs=partitions, arrival="producer")
    await topic_ops.create_topics(settings.kafka, wanted)


def _run_once(
    stack: LocalStack, prefix: str, partitions: int, count: int, directory: Path
) -> dict[str, Any]:
    argv = [
        *(sys.executable, "-m", "streams.ops.bench.fold_worker"),
        *("--bootstrap", stack.bootstrap, "--redis", stack.redis_url, "--prefix", prefix),
        *("--partitions", str(partitions), "--through", str(count // partitions - 1)),
        *("--dir", str(directory / prefix)),
    ]
    if sys.platform == "linux" and (os.cpu_count() or 1) > 1:
        argv = ["taskset", "-c", "0", *argv]
    log = directory / f"{prefix}.log"
    with log.open("w") as stderr:
        done = subprocess.run(  # noqa: S603 - our own module
            argv, stdout=subprocess.PIPE, stderr=stderr, timeout=_CHILD_TIMEOUT_S, check=False
        )
    lines = done.stdout.decode().splitlines()
    if done.returncode or not lines:
        tail = log.read_text()[-2000:]
        raise OperationError(f"the bench's worker ended {done.returncode}; its log ends:\n{tail}")
    found: dict[str, Any] = json.loads(lines[-1])
    return found

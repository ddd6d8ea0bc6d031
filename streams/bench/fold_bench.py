"""``ecindex bench fold``: order events a second through the whole worker path on one core.

The path is Kafka -> decode -> dedupe -> rows -> partials and checkpoints acknowledged. A real worker,
with level 2 and its publishing, is pinned to one core; the broker runs on another. Each run reads the
inputs that all runs share, and has topics and a group of its own.
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
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from streams.bench import order_events
from streams.clock import monotonic_ms, now_ms
from streams.console.errors import OperationError
from streams.flow import plain
from streams.local.local_stack import LocalStack
from streams.records import kafka_topics
from streams.settings import example, load_methodology, load_settings
from streams.worker import batches

BYTES_AN_ID = 8
RSS_BASE_MB = 250
_CHILD_TIMEOUT_S = 180
EXITS_AFTER_S = 0.1
"""How long after the last acknowledgement the worker exits when nothing more is needed of it."""


@dataclass(frozen=True, slots=True)
class FoldBench:
    """Parameters of the bench.

    ``event_rate``: events a second of event time. It decides how many ids the grace holds.
    """

    count: int = 1_200_000
    partitions: int = 8
    runs: int = 5
    event_rate: int = 10_000
    cache_dir: Path | None = None


@dataclass(frozen=True, slots=True)
class FoldInput:
    """Orders in a running Kafka. Any number of workers can fold them from the beginning."""

    stack: LocalStack
    directory: Path
    partitions: int
    count: int
    bytes_an_event: int

    def run(self, prefix: str, linger_s: float = EXITS_AFTER_S) -> dict[str, Any]:
        """Fold all orders with a fresh worker that has topics and a group of its own.

        The worker's topics and its keys in Redis begin with ``prefix``. The worker goes on publishing
        for ``linger_s`` after it was timed. Returns what it measured.
        """
        asyncio.run(_prepare(self.stack, prefix, self.partitions))
        work = _Work(prefix, self.partitions, self.count // self.partitions - 1, linger_s)
        found = _run_once(self.stack, work, self.directory)
        found["events_per_s"] = self.count / found["seconds"]
        found["events_per_cpu_s"] = self.count / found["cpu_seconds"]
        return found


@contextmanager
def fold_input(bench: FoldBench, echo: Callable[[str], None]) -> Iterator[FoldInput]:
    """Start Kafka and Redis off the worker's core, and produce the orders that are folded."""
    count = bench.count // bench.partitions * bench.partitions
    with (
        tempfile.TemporaryDirectory(prefix="ecindex-bench-") as name,
        LocalStack(Path(name), cache_dir=bench.cache_dir) as stack,
    ):
        leave_first_core(psutil.Process().children(recursive=True))
        asyncio.run(_prepare(stack, "bench0", bench.partitions))
        echo(f"producing {count} orders")
        settings = load_settings(
            None,
            {"kafka.bootstrap_servers": stack.bootstrap, "methodology": example("demo")},
        )
        made = order_events.order_events(
            load_methodology(settings),
            count,
            first_ms=now_ms() - count * 1000 // bench.event_rate - 60_000,
            rate_per_s=bench.event_rate,
        )
        size = asyncio.run(order_events.produce(stack.bootstrap, "orders", bench.partitions, made))
        yield FoldInput(stack, Path(name), bench.partitions, count, round(size / count))


def run_fold(bench: FoldBench, echo: Callable[[str], None]) -> dict[str, Any]:
    """Run the bench and return the result that ``bench fold --json`` prints."""
    found = []
    with fold_input(bench, echo) as given:
        for number in range(1, bench.runs + 1):
            one = given.run(f"bench{number}")
            found.append(one)
            echo(f"run {number}: {one['events_per_s']:,.0f} events/s, RSS {one['rss_mb']:.0f} MB")
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
        "events": given.count,
        "bytes_an_event": given.bytes_an_event,
        "machine": machine(),
    }


def machine() -> dict[str, Any]:
    """Describe the machine that a figure was measured on."""
    return {
        "cores": os.cpu_count(),
        "processor": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "started_ms": monotonic_ms(),
    }


def leave_first_core(processes: Iterable[psutil.Process]) -> None:
    """Keep the processes off the worker's core, on Linux with at least two cores."""
    cores = os.cpu_count() or 1
    if cores > 1 and sys.platform == "linux":
        for process in processes:
            process.cpu_affinity(list(range(1, cores)))


async def _prepare(stack: LocalStack, prefix: str, partitions: int) -> None:
    settings = load_settings(
        None,
        {
            "kafka.bootstrap_servers": stack.bootstrap,
            "topics.prefix": prefix,
            "methodology": example("demo"),
        },
    )
    wanted = await kafka_topics.plan_topics(settings, inputs=partitions, arrival="producer")
    await kafka_topics.create_topics(settings.kafka, wanted)


class _Work(NamedTuple):
    prefix: str
    partitions: int
    through: int
    linger_s: float


def _run_once(stack: LocalStack, work: _Work, directory: Path) -> dict[str, Any]:
    argv = [
        *(sys.executable, "-m", "streams.bench.fold_worker"),
        *("--bootstrap", stack.bootstrap, "--redis", stack.redis_url, "--prefix", work.prefix),
        *("--partitions", str(work.partitions), "--through", str(work.through)),
        *("--dir", str(directory / work.prefix), "--linger", str(work.linger_s)),
    ]
    if sys.platform == "linux" and (os.cpu_count() or 1) > 1:
        argv = ["taskset", "-c", "0", *argv]
    log = directory / f"{work.prefix}.log"
    with log.open("w") as stderr:
        done = subprocess.run(  # noqa: S603 - our own module
            argv, stdout=subprocess.PIPE, stderr=stderr, timeout=_CHILD_TIMEOUT_S, check=False
        )
    lines = done.stdout.decode().splitlines()
    if done.returncode or not lines:
        tail = log.read_text()[-2000:]
        raise OperationError(
            f"the bench's worker ended with exit code {done.returncode}; its log ends:\n{tail}"
        )
    found: dict[str, Any] = json.loads(lines[-1])
    return found

"""``ecindex bench board``: what a hundred readers of the live page cost the worker, and what they miss.

In each run a fresh worker folds the input of ``bench fold`` on a core of its own, with a board beside
it. Runs without readers (A) and with readers (B) come in the order A B B A, so that a machine that slows
down counts against neither. Board, readers, broker and Redis share the other core.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from streams.bench.fold_bench import FoldBench, FoldInput, fold_input, leave_first_core, machine
from streams.bench.order_events import MARKETS
from streams.console.errors import OperationError
from streams.operate.board_stream import board_events
from streams.settings import as_toml, environment_without_settings, example, load_settings

BOARD_MB_MAX = 120
LINGER_S = 5.0
"""How long the worker goes on publishing after it was timed: `as_of` is seconds behind the log's end."""
BEATS = 3
"""Beats to wait for. The board sends one a second, each after it has read Redis: with the third, the
board shows the last state that Redis had."""


@dataclass(frozen=True, slots=True)
class BoardBench:
    """Parameters of the bench: ``runs`` with readers, and as many without."""

    count: int = 1_200_000
    runs: int = 5
    clients: int = 100
    cache_dir: Path | None = None


class _Child(NamedTuple):
    """A child process that answers in lines of JSON."""

    process: subprocess.Popen[str]
    log: Path

    def next_line(self) -> dict[str, Any]:
        """Return its next line, decoded. Raises OperationError when there is none."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            tail = self.log.read_text(encoding="utf-8")[-2000:]
            raise OperationError(
                f"{self.log.stem} ended with exit code {self.process.wait()}; its log ends:\n{tail}"
            )
        found: dict[str, Any] = json.loads(line)
        return found

    def asked(self, question: dict[str, str]) -> dict[str, Any]:
        """Send ``question`` as a line of JSON and return the answer, decoded."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        return self.next_line()


def run_board_bench(bench: BoardBench, echo: Callable[[str], None]) -> dict[str, Any]:
    """Run the bench and return the result that ``bench board --json`` prints."""
    without: list[dict[str, Any]] = []
    with_readers: list[dict[str, Any]] = []
    fold = FoldBench(count=bench.count, cache_dir=bench.cache_dir)
    with fold_input(fold, echo) as given:
        for number in range(2 * bench.runs):
            clients = bench.clients if number % 4 in {1, 2} else 0
            one = _run_once(given, f"board{number}", clients)
            (with_readers if clients else without).append(one)
            echo(
                f"{clients} readers: {one['events_per_cpu_s']:,.0f} events/s of CPU, "
                f"{one['events_per_s']:,.0f} events/s, board {one['board_rss_mb']} MB"
                + (f", {one['saw_last']} saw the last state" if clients else "")
            )
    cost = {
        name: [
            round(100 * (1 - own[name] / other[name]), 2)
            for own, other in zip(with_readers, without, strict=True)
        ]
        for name in ("events_per_cpu_s", "events_per_s")
    }
    return {
        "bench": "board",
        "median": round(statistics.median(cost["events_per_cpu_s"]), 2),
        "unit": f"% fewer order events a second of CPU with {bench.clients} readers than without",
        "runs": cost["events_per_cpu_s"],
        "median_wall": round(statistics.median(cost["events_per_s"]), 2),
        "runs_wall": cost["events_per_s"],
        "without": _rates(without),
        "with": _rates(with_readers),
        "clients": bench.clients,
        "saw_last": [one["saw_last"] for one in with_readers],
        "missed": sum(bench.clients - one["saw_last"] for one in with_readers),
        "states_sent": [one["states"] for one in with_readers],
        "mb_sent": [one["mb"] for one in with_readers],
        "rss_mb": max(one["board_rss_mb"] for one in with_readers),
        "rss_allowed_mb": BOARD_MB_MAX,
        "board_cpu_seconds": [one["board_cpu_seconds"] for one in with_readers],
        "events": given.count,
        "machine": machine(),
    }


def _rates(found: list[dict[str, Any]]) -> dict[str, list[int]]:
    names = ("events_per_cpu_s", "events_per_s")
    return {name: [round(one[name]) for one in found] for name in names}


def _run_once(given: FoldInput, prefix: str, clients: int) -> dict[str, Any]:
    with _board(given, prefix) as (url, process), _readers(given, prefix, url, clients) as readers:
        found = given.run(prefix, LINGER_S)
        last = asyncio.run(_last_states(url))
        if not last:
            raise OperationError("nothing was published during the fold: give more --events")
        if readers is not None:
            found |= readers.asked(last)
        found["board_rss_mb"] = round(process.memory_info().rss / 2**20)
        used = process.cpu_times()
        found["board_cpu_seconds"] = round(used.user + used.system, 2)
        return found


@contextmanager
def _board(given: FoldInput, prefix: str) -> Iterator[tuple[str, psutil.Process]]:
    place = {"redis.url": given.stack.redis_url, "redis.prefix": prefix}
    settings = load_settings(None, place | {"methodology": example("demo")})
    config = given.directory / f"{prefix}.toml"
    config.write_text(as_toml(settings), encoding="utf-8")
    argv = [sys.executable, "-P", "-m", "streams.cli", "board", "--config", str(config)]
    with _child(given, f"{prefix}-board", [*argv, "--port", "0", "--json"]) as child:
        yield child.next_line()["board"], psutil.Process(child.process.pid)


@contextmanager
def _readers(given: FoldInput, prefix: str, url: str, clients: int) -> Iterator[_Child | None]:
    if not clients:
        yield None
        return
    argv = [sys.executable, "-P", "-m", "streams.bench.board_clients", "--board", url]
    argv += ["--markets", ",".join(MARKETS), "--clients", str(clients)]
    with _child(given, f"{prefix}-readers", argv) as child:
        if not child.next_line()["connected"]:
            raise OperationError(f"the board at {url} did not answer all of {clients} readers")
        yield child


async def _last_states(url: str) -> dict[str, str]:
    """Market -> id of its last state on the board. Nothing may publish any more."""

    async def last_of(market: str) -> tuple[str, str]:
        newest, beats = "", 0
        async with aclosing(board_events(url, market)) as events:
            async for event in events:
                if event.kind == "market":
                    newest = event.id
                beats += event.kind == "beat"
                if beats == BEATS:
                    break
        return market, newest

    found = await asyncio.gather(*(last_of(market) for market in MARKETS))
    return {market: newest for market, newest in found if newest}


@contextmanager
def _child(given: FoldInput, name: str, argv: list[str]) -> Iterator[_Child]:
    log = given.directory / f"{name}.log"
    with (
        log.open("w", encoding="utf-8") as stderr,
        subprocess.Popen(  # noqa: S603 - our own modules
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=environment_without_settings(),
        ) as process,
    ):
        leave_first_core([psutil.Process(process.pid)])
        try:
            yield _Child(process, log)
        finally:
            process.terminate()

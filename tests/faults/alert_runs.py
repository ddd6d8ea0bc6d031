"""Each alert of docs/faults.md by its real fault: ``python -m faults.alert_runs`` (in tests/).

It causes one fault after another on a real index and waits until a real Prometheus has the alert firing
and Alertmanager has got it; then it does what the row says, and waits for the alert's end. It prints a
table and exits with 1 if an alert did not fire, or did not end, within its time.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import logging
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path

from faults.alert_faults import CHAPTERS, FIRST_USER, NOT_RUN, index_of

from streams.clock import now_ms
from streams.index.panes import rfc3339
from streams.local.kafka_jars import default_cache_dir

POLL_S = 0.5
TOLD_WITHIN_S = 20
"""Prometheus sends a firing alert to Alertmanager at the next evaluation."""
LONG_S = 300
"""The next turn does not wait for an end that may take longer: its alert stays beside the others."""
SLACK = 2
"""What takes longer than its time is waited for so many times as long, to print what it took."""


@dataclasses.dataclass
class Run:
    """What became of one expected alert; seconds since the fault, ``resolved_s`` since the mend."""

    fault: str
    expected: object
    caused: str = ""
    metric_s: float | None = None
    pending_s: float | None = None
    firing_s: float | None = None
    told: str | None = None
    resolved_s: float | None = None
    awaited: bool = True
    """Whether its end was waited for."""
    error: str = ""

    @property
    def failed(self):
        late = self.firing_s is None or self.firing_s > self.expected.within_s
        ended = self.resolved_s is not None and self.resolved_s <= self.expected.ends_within_s
        return bool(self.error) or late or self.told is None or (self.awaited and not ended)

    def line(self):
        cells = (
            self.fault, self.expected.alert, self.caused, seconds(self.metric_s),
            seconds(self.pending_s), seconds(self.firing_s), f"{self.expected.within_s:g}",
            self.told or "no", seconds(self.resolved_s) if self.awaited else "not awaited",
            f"{self.expected.ends_within_s:g}", "FAILED " + self.error if self.failed else "ok",
        )  # fmt: skip
        return "| " + " | ".join(cells) + " |"


HEAD = (
    "| fault | alert | caused at | metric after s | pending after s | firing after s | stated | "
    "in Alertmanager | resolved after s | stated | |\n" + "|---" * 11 + "|"
)


def seconds(value):
    return "-" if value is None else f"{value:.0f}"


class Turn:
    """One fault with its alerts."""

    def __init__(self, index, fault, patience_s, tell):
        self.index, self.fault, self.patience_s, self.tell = index, fault, patience_s, tell
        self.runs = [Run(fault.name, each) for each in fault.expected]
        self.ends = []

    async def go(self):
        index, fault = self.index, self.fault
        for each in fault.expected:
            found = await self.ask(index.alert, each.alert, dict(each.labels))
            assert found is None, f"{each.alert} is {found} before the fault"
        if fault.prepare is not None:
            await fault.prepare(index)
        began = time.monotonic()
        for run in self.runs:
            run.caused = rfc3339(now_ms())[11:19]
        self.tell(f"{fault.name}: caused")
        await fault.cause(index)
        await asyncio.gather(*(self.rise(run, began) for run in self.runs))
        self.tell(f"{fault.name}: mended")
        await fault.mend(index)
        mended = time.monotonic()
        for run in self.runs:
            run.awaited = run.expected.ends_within_s <= self.patience_s
            if run.awaited and run.firing_s is not None:
                end = asyncio.create_task(self.fall(run, mended))
                self.ends.append((run, end))

    def failed(self, error):
        """Note why this turn ended; the other faults are run all the same."""
        self.tell("".join(traceback.format_exception(error)))
        for run in self.runs:
            run.error = run.error or f"{type(error).__name__}: {error}"[:200]

    async def ask(self, what, *arguments):
        return await asyncio.to_thread(what, *arguments)

    async def rise(self, run, began):
        """Wait for metric, pending, firing and Alertmanager."""
        index, expected = self.index, run.expected
        limit_s = expected.within_s * SLACK + TOLD_WITHIN_S
        while run.told is None and time.monotonic() - began < limit_s:
            if index.tending.done():
                index.tending.result()
            state = await self.ask(index.alert, expected.alert, dict(expected.labels))
            seen = run.metric_s or await self.ask(index.prometheus.query, expected.metric)
            at_s = time.monotonic() - began
            if seen and run.metric_s is None:
                run.metric_s = at_s
            if state == "pending" and run.pending_s is None:
                run.pending_s = at_s
            if state == "firing":
                if run.firing_s is None:
                    run.firing_s = at_s
                run.told = await self.ask(index.told, expected.alert, dict(expected.labels))
            await asyncio.sleep(POLL_S)
        self.tell(f"{run.fault} {expected.alert}: firing after {seconds(run.firing_s)} s")

    async def fall(self, run, mended):
        expected = run.expected
        while time.monotonic() - mended < expected.ends_within_s * SLACK:
            if await self.ask(self.index.alert, expected.alert, dict(expected.labels)) is None:
                run.resolved_s = time.monotonic() - mended
                break
            await asyncio.sleep(POLL_S)
        self.tell(f"{run.fault} {expected.alert}: resolved after {seconds(run.resolved_s)} s")


async def run_chapter(chapter, directory, cache_dir, patience_s, tell):
    """Run the turns of one index; return what became of each alert."""
    runs, ends = [], []
    async with index_of(chapter, directory, cache_dir) as index:
        for faults in chapter.turns:
            turns = [Turn(index, fault, patience_s, tell) for fault in faults]
            for turn in turns:
                runs += turn.runs
            if faults[0] is FIRST_USER:  # nothing was ever sent
                await index.ready()
            else:
                index.send_all_the_time()
                await index.flows()
            index.mark()
            outcomes = await asyncio.gather(*(turn.go() for turn in turns), return_exceptions=True)
            for turn, outcome in zip(turns, outcomes, strict=True):
                if outcome is not None:
                    turn.failed(outcome)
            own = [pair for turn in turns for pair in turn.ends]
            # The next turn begins when this one is over, but for alerts whose own range is long.
            await asyncio.gather(*(end for run, end in own if run.expected.ends_within_s < LONG_S))
            ends += [end for _run, end in own]
        await asyncio.gather(*ends)
    return runs


def chosen(only):
    """Chapters with the named faults; all without a name."""
    for chapter in CHAPTERS:
        turns = tuple(
            faults
            for turn in chapter.turns
            if (faults := tuple(f for f in turn if not only or {f.name, chapter.name} & only))
        )
        if turns:
            yield dataclasses.replace(chapter, turns=turns)


async def run_all(only, directory, cache_dir, patience_s, tell):
    runs = []
    for chapter in chosen(only):
        tell(f"-- {chapter.name}")
        home = directory / chapter.name
        home.mkdir()
        found = await run_chapter(chapter, home, cache_dir, patience_s, tell)
        for run in found:
            tell(run.line())
        runs += found
    return runs


def main():
    parser = argparse.ArgumentParser(prog="python -m faults.alert_runs", description=__doc__)
    parser.add_argument("--only", action="append", default=[], help="name of a fault or a chapter")
    parser.add_argument(
        "--patience", type=float, default=3_600, help="seconds; longer ends are not awaited"
    )
    options = parser.parse_args()
    known = {c.name for c in CHAPTERS} | {f.name for c in CHAPTERS for t in c.turns for f in t}
    if unknown := set(options.only) - known:
        parser.error(f"--only {' '.join(unknown)}: expected one of {', '.join(sorted(known))}")
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    cache_dir = default_cache_dir(os.environ)  # noqa: TID251 - the tests' own composition root

    def tell(text):
        print(f"{rfc3339(now_ms())[11:19]} {text}", flush=True)  # noqa: T201 - a command line

    with tempfile.TemporaryDirectory(prefix="ecindex-alerts-") as directory:
        runs = asyncio.run(
            run_all(set(options.only), Path(directory), cache_dir, options.patience, tell)
        )
    print(HEAD, *(run.line() for run in runs), sep="\n")  # noqa: T201
    for row, why in NOT_RUN.items():
        print(f"not run: {row}: {why}")  # noqa: T201
    return 1 if any(run.failed for run in runs) else 0


if __name__ == "__main__":
    sys.exit(main())

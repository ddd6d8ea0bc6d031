"""``ecindex bench chaos``: whole mixes of faults, judged by an independent recomputation.

The faults and the judge belong to the tests (tests/faults). This module runs them in a checkout and
summarises their reports.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streams.bench.fold_bench import machine
from streams.console.errors import OperationError

TESTS = Path(__file__).parents[2] / "tests"
"""The tests of the checkout that this file lies in; an installation has none."""


@dataclass(frozen=True, slots=True)
class ChaosBench:
    """Parameters of the bench: ``runs`` mixes, with the seeds ``seed``, ``seed`` + 1 and so on."""

    runs: int = 5
    seed: int = 1
    events: int = 200_000


def run_chaos(bench: ChaosBench, echo: Callable[[str], None]) -> dict[str, Any]:
    """Run the bench and return the result that ``bench chaos --json`` prints.

    ``failed`` is 0 when every mix was exact. Raises OperationError outside a checkout, and when a mix
    crashed instead of reporting.
    """
    if not (TESTS / "faults" / "__main__.py").exists():
        raise OperationError(
            f"bench chaos needs a checkout: expected faults/ of the tests in {TESTS}, found none"
        )
    found = []
    for one in _mixes(bench):
        found.append(one)
        outcome = "exact" if "failed" not in one else f"FAILED: {one['failed'][:500]}"
        echo(f"seed {one['seed']}: {outcome} ({one['seconds']:.0f} s)")
    if len(found) != bench.runs:
        raise OperationError(f"{len(found)} of {bench.runs} mixes reported; the others crashed")
    exact = [one["lag_s"] for one in found if "failed" not in one]
    return {
        "bench": "chaos",
        "median": statistics.median(exact) if exact else None,
        "unit": "s from the last fault or event to lag 0",
        "runs": exact,
        "failed": len(found) - len(exact),
        "seeds": [one["seed"] for one in found],
        "events": bench.events,
        "exits": [one.get("exits") for one in found],
        "machine": machine(),
    }


def _mixes(bench: ChaosBench) -> Iterator[dict[str, Any]]:
    argv = [sys.executable, "-m", "faults", "--runs", str(bench.runs)]
    argv += ["--seed", str(bench.seed), "--events", str(bench.events)]
    with subprocess.Popen(argv, cwd=TESTS, stdout=subprocess.PIPE, text=True) as child:  # noqa: S603 - our own module
        assert child.stdout is not None
        for line in child.stdout:
            if line.startswith("{"):
                yield json.loads(line)

"""``ecindex bench shifts``: days between false pages, and minutes until a true one.

False pages are counted on markets of a total and 40 or 200 members. These are learnt by the workers' own
arithmetic and watched without a shift. Delays are measured on series of one rate, with a shift planted
at any minute of a day. The budget is promised for the stated range of errors (shift_shops.STATED). The
stress range is only reported.
"""

from __future__ import annotations

import math
import resource
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from streams.bench import shift_peers as peers
from streams.bench.fold_bench import machine
from streams.bench.shift_outage import stop_markets
from streams.bench.shift_recorded import judge_nab
from streams.bench.shift_runs import LEARN_DAYS, Quiet, run_quiet, run_shifted
from streams.bench.shift_shops import STATED, STRESS, Array, Counts
from streams.index.shift_budget import ShiftRules
from streams.index.shift_ratio import ratio_interval

MEMBERS = (40, 200)
RATES = (200.0, 20.0, 5.0, 0.5)
FACTORS = {"x2": 2.0, "x3": 3.0, "x0.5": 0.5, "x0": 0.0, "x6": 6.0}
REACHABLE: dict[float, dict[str, tuple[int, int]]] = {
    200.0: {"x2": (52, 135), "x3": (11, 18), "x0.5": (70, 185), "x0": (3, 4)},
    20.0: {"x2": (64, 171), "x3": (14, 26), "x0.5": (114, 311), "x0": (5, 10)},
    5.0: {"x2": (99, 285), "x3": (20, 46), "x0.5": (214, 549), "x0": (11, 29)},
    0.5: {"x3": (90, 269), "x0": (83, 216)},
}
"""Rate -> factor -> minutes until the page (median, p90) that are promised for 40 members. Decision 0220
has the measurements."""
STOPS = ((200.0, 2.5), (200.0, 60.0), (20.0, 4.0), (20.0, 60.0))
"""Outages of a whole market: (orders a minute, minutes for which it stops)."""
_PEER_SERIES = 164
_STRESS_PART = 0.2


@dataclass(frozen=True, slots=True)
class ShiftsBench:
    """Parameters of the bench. ``seed`` None: a fresh seed, which the result states."""

    series_years: float = 300.0
    delay_series: int = 500
    """Number of series for each rate and factor."""
    days: int = 56
    seed: int | None = None
    stops: int = 30
    """Number of outages of each kind."""
    nab: Path | None = None
    """Directory of NAB's files and their windows."""


def run_shifts(bench: ShiftsBench, echo: Callable[[str], None]) -> dict[str, Any]:
    """Run the bench and return the result that ``bench shifts --json`` prints."""
    source = np.random.SeedSequence(bench.seed)
    seeds = iter(source.spawn(2 * len(MEMBERS) + len(RATES) + len(STOPS)))
    echo(f"seed {source.entropy}")
    rules = ShiftRules()
    watcher = _PeerWatch(bench.days)
    quiet, stress = [], []
    for members in MEMBERS:
        rng = np.random.default_rng(next(seeds))
        watch = watcher if members == MEMBERS[0] else None
        run = run_quiet(
            rng, members, bench.series_years, STATED, echo, days=bench.days, watch=watch
        )
        quiet.append(_quiet_result(run))
    for members in MEMBERS:
        rng = np.random.default_rng(next(seeds))
        years = bench.series_years * _STRESS_PART
        run = run_quiet(rng, members, years, STRESS, echo, days=bench.days)
        stress.append(_quiet_result(run))
    delays: dict[str, Any] = {}
    weight = rules.members / MEMBERS[0]
    for rate in RATES:
        echo(f"delays at {rate:g} a minute")
        found = run_shifted(
            np.random.default_rng(next(seeds)),
            rate,
            tuple(FACTORS.values()),
            weight,
            bench.delay_series,
        )
        delays[f"{rate:g}"] = {name: _median_p90(found[f]) for name, f in FACTORS.items()}
    outages = []
    for rate, minutes in STOPS:
        echo(f"markets of {rate:g} a minute that stop for {minutes:g} minutes")
        outages.append(stop_markets(np.random.default_rng(next(seeds)), rate, minutes, bench.stops))
    first = quiet[0]
    return {
        "bench": "shifts",
        "median": first["mean_days_between_false_pages"]["mean"],
        "unit": "days between false pages, market + 40 members",
        "runs": [one["mean_days_between_false_pages"]["mean"] for one in quiet],
        "mean_days_between_false_pages": first["mean_days_between_false_pages"],
        "budget_days": rules.budget_days,
        "series": first["series"],
        "series_years": first["series_years"],
        "configurations": quiet,
        "delay_minutes": delays,
        "slower_than_stated": _slower(delays),
        "outages_of_markets": outages,
        "stress": stress,
        "peers": watcher.result(),
        "nab": [] if bench.nab is None else judge_nab(bench.nab),
        "within_budget": _within(quiet, rules.budget_days),
        "seed": source.entropy,
        "rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "machine": machine(),
    }


def _quiet_result(run: Quiet) -> dict[str, Any]:
    market_days = float(run.market_days)
    rate = ratio_interval(len(run.pages), market_days, 0.0)
    return {
        "series": run.members + 1,
        "series_years": round(run.series_years, 1),
        "market_days": run.market_days,
        "false_pages": len(run.pages),
        "by_clock": dict(Counter(page.clock for page in run.pages)),
        "mean_days_between_false_pages": {
            "mean": round(1 / rate.ratio, 1) if run.pages else None,
            "lower": round(1 / rate.upper, 1),
            "upper": round(1 / rate.lower, 1) if rate.lower > 0 else None,
        },
        "expectation_error_by_hour": [
            round(float(q), 3) for q in np.quantile(np.sqrt(run.noise), (0.1, 0.5, 0.9))
        ],
    }


def _within(quiet: list[dict[str, Any]], budget_days: float) -> bool:
    """True if the budget holds: for 40 members with its whole interval, for 200 in the mean."""
    small, large = (one["mean_days_between_false_pages"] for one in quiet)
    return small["lower"] >= budget_days and (large["mean"] or math.inf) >= budget_days


def _median_p90(delays: list[float]) -> list[float | None]:
    """Median and p90 of the delays; None where the quantile was not found within three days."""
    if not delays:
        return [None, None]
    found = np.quantile(delays, (0.5, 0.9), method="inverted_cdf")
    return [round(float(one)) if math.isfinite(one) else None for one in found]


def _slower(delays: dict[str, Any]) -> list[str]:
    slower = []
    for rate, stated in REACHABLE.items():
        for name, limits in stated.items():
            found = delays[f"{rate:g}"][name]
            for which, own, limit in zip(("median", "p90"), found, limits, strict=True):
                if own is None or own > limit:
                    slower.append(f"{rate:g} a minute, {name}, {which}: {own}, promised {limit}")
    return slower


class _PeerWatch:
    """Collects the minutes of the first series, for the rules that others page by."""

    def __init__(self, days: int) -> None:
        self._days = days
        self._counts: list[Counts] = []
        self._past: Array | None = None

    def __call__(self, day: int, counts: Counts, hours: Array) -> None:
        del day
        self._counts.append(counts[:_PEER_SERIES].astype(np.int64))
        self._past = hours[:_PEER_SERIES]

    def result(self) -> dict[str, Any]:
        counts = np.concatenate(self._counts, axis=1).astype(float)
        assert self._past is not None
        sigmas = peers.three_sigmas(self._past, LEARN_DAYS * 24)
        band = np.stack([peers.adaptive_band(series) for series in counts])
        return {
            "three_sigmas_by_hour": peers.a_month(sigmas, 60, self._days),
            "adaptive_band": peers.a_month(band, 1, self._days - 7),
        }

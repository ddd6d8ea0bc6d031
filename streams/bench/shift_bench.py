"""``ecindex bench shifts``: days between false pages, and seconds until a true one.

Each run gives the same series to two detectors: the one that workers run (``now``) and the one of 0.2
(``before``). False pages are counted on markets of a total and 40 or 200 members. These are learnt by
the workers' own arithmetic and watched without a shift. Delays are measured on series of which a rate is
expected when a shift begins, at any second of a day, at the weight of a total and of a member of one of
five markets. The budget is promised for the stated range of errors (shift_shops.STATED), also where
orders come in lumps and demand in bursts. The stress range is only reported.
"""

from __future__ import annotations

import math
import resource
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from streams.bench import shift_peers as peers
from streams.bench.fold_bench import machine
from streams.bench.shift_outage import stop_markets
from streams.bench.shift_recorded import judge_nab
from streams.bench.shift_runs import LEARN_DAYS, NOW, Quiet, run_quiet, run_shifted
from streams.bench.shift_shops import STATED, STRESS, Array, Counts, Errors
from streams.index.shift_budget import ShiftRules, weights
from streams.index.shift_detector import ShiftEvent
from streams.index.shift_ratio import ratio_interval

MEMBERS = (40, 200)
MARKETS = 5
"""Markets that share the budget where delays are measured."""
RATES = (1000.0, 200.0, 100.0, 20.0)
FACTORS = {"x2": 2.0, "x3": 3.0, "x0.5": 0.5, "x0": 0.0, "x6": 6.0}
PROMISED: dict[float, dict[str, tuple[int | None, int]]] = {
    1000.0: {"x0": (None, 75), "x6": (75, 205)},
    200.0: {"x0": (None, 100), "x6": (75, 205)},
    100.0: {"x0": (None, 120), "x6": (75, 205)},
    20.0: {"x0": (None, 210), "x3": (360, 900)},
}
"""Rate -> factor -> seconds until the page is told (median, p90) that are promised for the stated range
of sizes. Decision 0225 has the measurements."""
PROMISED_REGULAR: dict[float, dict[str, tuple[int | None, int]]] = {
    1000.0: {"x0": (None, 75), "x6": (None, 90)},
    200.0: {"x0": (None, 75), "x6": (None, 90)},
    100.0: {"x0": (None, 75), "x6": (None, 90)},
    20.0: {"x0": (None, 150)},
}
"""The same where minutes are as regular as a size of 15 says, or more so."""
REGULAR = Errors(size=(15.0, 50.0))
_RESTLESS = {
    "lumps of 30 s": replace(STATED, lumps=6),
    "lumps of 60 s": replace(STATED, lumps=12),
    "bursts of 3 minutes": replace(STATED, bursts=True),
}
STOPS = ((200.0, 2.5), (200.0, 60.0), (20.0, 4.0), (20.0, 60.0))
"""Outages of a whole market: (orders a minute, minutes for which it stops)."""
_PEER_SERIES = 164
_STRESS_PART = 0.2
_RESTLESS_PART = 0.1


@dataclass(frozen=True, slots=True)
class ShiftsBench:
    """Parameters of the bench. ``seed`` None: a fresh seed, which the result states."""

    series_years: float = 300.0
    delay_series: int = 150
    """Number of series for each rate, factor and weight."""
    days: int = 56
    seed: int | None = None
    stops: int = 30
    """Number of outages of each kind."""
    nab: Path | None = None
    """Directory of NAB's files and their windows."""


def run_shifts(bench: ShiftsBench, echo: Callable[[str], None]) -> dict[str, Any]:
    """Run the bench and return the result that ``bench shifts --json`` prints."""
    source = np.random.SeedSequence(bench.seed)
    seeds = (np.random.default_rng(each) for each in source.spawn(100))
    echo(f"seed {source.entropy}")
    rules = ShiftRules()
    watcher = _PeerWatch(bench.days)
    quiet, stress, restless = [], [], {}
    for members in MEMBERS:
        watch = watcher if members == MEMBERS[0] else None
        years = bench.series_years
        run = run_quiet(next(seeds), members, years, STATED, echo, days=bench.days, watch=watch)
        quiet.append(_quiet_result(run, echo))
    for members in MEMBERS:
        years = bench.series_years * _STRESS_PART
        run = run_quiet(next(seeds), members, years, STRESS, echo, days=bench.days)
        stress.append(_quiet_result(run, echo))
    for name, errors in _RESTLESS.items():
        echo(name)
        years = bench.series_years * _RESTLESS_PART
        run = run_quiet(next(seeds), MEMBERS[0], years, errors, echo, days=bench.days)
        restless[name] = _quiet_result(run, echo)
    delays = {
        "stated": _delays(bench, seeds, STATED, echo),
        "regular": _delays(bench, seeds, REGULAR, echo),
    }
    outages = []
    for rate, minutes in STOPS:
        echo(f"markets of {rate:g} a minute that stop for {minutes:g} minutes")
        outages.append(stop_markets(next(seeds), rate, minutes, bench.stops))
    first = quiet[0][NOW]
    return {
        "bench": "shifts",
        "median": first["mean_days_between_false_pages"]["mean"],
        "unit": "days between false pages, market + 40 members",
        "runs": [one[NOW]["mean_days_between_false_pages"]["mean"] for one in quiet],
        "mean_days_between_false_pages": first["mean_days_between_false_pages"],
        "budget_days": rules.budget_days,
        "series": quiet[0]["series"],
        "series_years": quiet[0]["series_years"],
        "configurations": quiet,
        "delay_seconds": delays,
        "slower_than_stated": [
            *_slower(delays["stated"], PROMISED),
            *_slower(delays["regular"], PROMISED_REGULAR),
        ],
        "outages_of_markets": outages,
        "stress": stress,
        "restless": restless,
        "peers": watcher.result(),
        "nab": [] if bench.nab is None else judge_nab(bench.nab),
        "within_budget": _within(quiet, rules.budget_days),
        "seed": source.entropy,
        "rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "machine": machine(),
    }


def _delays(
    bench: ShiftsBench,
    seeds: Iterator[np.random.Generator],
    errors: Errors,
    echo: Callable[[str], None],
) -> dict[str, Any]:
    """Weight -> rate -> design -> factor -> (median, p90) in seconds."""
    own, each = weights(ShiftRules(), 1 / MARKETS, MEMBERS[0])
    found: dict[str, Any] = {}
    for name, weight in (("total", own), ("member", each)):
        for rate in RATES:
            echo(f"delays of a {name} at {rate:g} a minute, size {errors.size}")
            delays = run_shifted(
                next(seeds), rate, tuple(FACTORS.values()), weight, bench.delay_series, errors
            )
            by_design = {
                design: {shift: _median_p90(by[f]) for shift, f in FACTORS.items()}
                for design, by in delays.items()
            }
            echo(f"seconds (median, p90): {by_design}")
            found.setdefault(name, {})[f"{rate:g}"] = by_design
    return found


def _quiet_result(run: Quiet, echo: Callable[[str], None]) -> dict[str, Any]:
    result = {
        "series": run.members + 1,
        "series_years": round(run.series_years, 1),
        "market_days": run.market_days,
        **{design: _pages_result(run, pages) for design, pages in run.pages.items()},
        "expectation_error_by_hour": _quantiles(np.sqrt(run.noise)),
        "size_learnt_over_true": _quantiles(run.sizes),
        "by_pane": round(run.by_pane, 2),
    }
    echo(str(result))
    return result


def _pages_result(run: Quiet, pages: Sequence[ShiftEvent]) -> dict[str, Any]:
    rate = ratio_interval(len(pages), float(run.market_days), 0.0)
    return {
        "false_pages": len(pages),
        "by_clock": dict(Counter(page.clock for page in pages)),
        "mean_days_between_false_pages": {
            "mean": round(1 / rate.ratio, 1) if pages else None,
            "lower": round(1 / rate.upper, 1),
            "upper": round(1 / rate.lower, 1) if rate.lower > 0 else None,
        },
    }


def _quantiles(values: Array) -> list[float]:
    return [round(float(q), 3) for q in np.quantile(values, (0.1, 0.5, 0.9))]


def _within(quiet: list[dict[str, Any]], budget_days: float) -> bool:
    """True if the budget holds: for 40 members with its whole interval, for 200 in the mean."""
    small, large = (one[NOW]["mean_days_between_false_pages"] for one in quiet)
    return small["lower"] >= budget_days and (large["mean"] or math.inf) >= budget_days


def _median_p90(delays: list[float]) -> list[float | None]:
    """Median and p90 of the delays; None where the quantile was not found in time."""
    if not delays:
        return [None, None]
    found = np.quantile(delays, (0.5, 0.9), method="inverted_cdf")
    return [round(float(one)) if math.isfinite(one) else None for one in found]


def _slower(
    delays: dict[str, Any], promised: Mapping[float, Mapping[str, tuple[int | None, int]]]
) -> list[str]:
    slower = []
    for weight, by_rate in delays.items():
        for rate, stated in promised.items():
            for name, limits in stated.items():
                found = by_rate[f"{rate:g}"][NOW][name]
                for which, own, limit in zip(("median", "p90"), found, limits, strict=True):
                    if limit is not None and (own is None or own > limit):
                        where = f"{weight} at {rate:g} a minute, {name}, {which}"
                        slower.append(f"{where}: {own} s, promised {limit}")
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

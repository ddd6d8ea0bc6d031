"""``bench shifts``: a whole market stops; which of its series is found first, and which ends last.

A member's alert has to wait until the market's own alert could be there. It must not fire when the
market is back while its smallest members are not yet known to be back (decision 0303). This module
measures both spreads with the detector that workers run. All series stop in the same second. The
expectation of each series is wrong by a factor of its own, and panes are more dispersed than Poisson.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from streams.bench.shift_shops import PANES
from streams.index.shift_budget import ShiftRules, page_days, weights
from streams.index.shift_clock import DOWN, MICRO
from streams.index.shift_detector import Detectors

PARTS = (
    *(0.21, 0.18, 0.12, 0.1, 0.087, 0.082, 0.073, 0.07),
    *(0.054, 0.053, 0.036, 0.033, 0.031, 0.007, 0.004),
    *(0.5, 0.25, 0.12, 0.06, 0.03, 0.02, 0.01, 0.01),
    *(0.58, 0.33, 0.07, 0.02),
    *(0.30, 0.30, 0.27, 0.11, 0.012, 0.007),
)  # fmt: skip
"""Shares of the market's orders, as in the simulated shops: categories, regions, channels, methods."""
SIZE = 20.0
"""Negative-binomial size of a minute."""
LEARNT_SIZE = 12.0
"""Size that detectors have learnt of it: the upper limit and the margin make it smaller."""
WARM_MINUTES, AFTER_MINUTES = 60, 360
_FIRST_MINUTE = 60_000
"""First minute of a run: any full hour. The stop falls on any second of the hour that begins
WARM_MINUTES later."""


class Stop(NamedTuple):
    """One outage. Times are in minutes. Series 0 is the market's total."""

    found: dict[int, float]
    """Series -> time from the stop to the end of the pane in which the stop was found."""
    ended: dict[int, float]
    """Series -> time from the return of orders until the end was found."""

    @property
    def first_member_leads(self) -> float | None:
        """How much earlier than the market the first member was found; below 0: later.

        None if the market or every member was not found.
        """
        members = [minutes for series, minutes in self.found.items() if series]
        return self.found[0] - min(members) if 0 in self.found and members else None

    @property
    def last_member_trails(self) -> float | None:
        """How much later than the market's end the last member's end was found.

        A member whose end was not found counts as AFTER_MINUTES. None if the market's end was not found,
        or no member was found.
        """
        if 0 not in self.ended or set(self.found) == {0}:
            return None
        return max(self.ended.get(series, AFTER_MINUTES) for series in self.found) - self.ended[0]


def stop_market(
    rng: np.random.Generator, rate: float, minutes: float, *, learnt: bool = True
) -> Stop:
    """Simulate a market of ``rate`` orders a minute that stops for ``minutes``.

    ``learnt`` False: the market has just become live, and no size is known of its series.
    """
    expected_rate = rate * np.array((1.0, *PARTS))
    # Error of an hour's expectation: 5-6 % at 20 a minute, 16-18 % at 0.05 (methodology, simulated).
    spread = 0.05 + 0.12 * np.exp(-expected_rate / 3) + 0.03 * rng.random(len(expected_rate))
    mean = expected_rate * np.exp(rng.normal(0.0, spread))
    own, each = weights(ShiftRules(), 1.0, len(PARTS))
    evidence = [own, *[each] * len(PARTS)]
    detectors = Detectors(
        np.array([page_days(ShiftRules(), weight) for weight in evidence]),
        np.arange(len(evidence)) == 0,
    )
    sizes = detectors.sizes
    sizes.learns = False
    if learnt:
        for known in (sizes.size, sizes.next_size, sizes.pane_size, sizes.next_pane_size):
            known[:] = LEARNT_SIZE
    expected, noise = np.round(expected_rate * MICRO), spread**2
    stops = _FIRST_MINUTE + WARM_MINUTES + 60 * rng.random()
    goes_on = stops + minutes
    found: dict[int, float] = {}
    ended: dict[int, float] = {}
    for minute in range(_FIRST_MINUTE, int(goes_on) + AFTER_MINUTES):
        begins = minute + np.arange(PANES) / PANES
        silent = np.clip(np.minimum(goes_on, begins + 1 / PANES) - np.maximum(stops, begins), 0, 1)
        now = np.maximum(mean * (1 - PANES * silent)[:, None] / PANES, 1e-12)
        size = SIZE / PANES
        panes = rng.negative_binomial(size, size / (size + now)).astype(float)
        for event in detectors.minute(minute, panes.sum(axis=0), expected, noise, panes):
            if event.direction != DOWN or event.at <= stops:
                continue
            if event.kind == "page":
                found.setdefault(event.series, event.at - stops)
            elif event.series in found:
                ended.setdefault(event.series, event.at - goes_on)
        if minute > goes_on and len(ended) == len(found):
            break
    return Stop(found, ended)


def stop_markets(
    rng: np.random.Generator, rate: float, minutes: float, runs: int
) -> dict[str, Any]:
    """Simulate ``runs`` stops; their median, p90 and largest times, in minutes."""
    stops = [stop_market(rng, rate, minutes) for _ in range(runs)]
    return {
        "orders_a_minute": rate,
        "minutes": minutes,
        "runs": runs,
        "market_found": sum(0 in stop.found for stop in stops),
        "market_found_after": _spread([stop.found.get(0) for stop in stops]),
        "market_over_after": _spread([stop.ended.get(0) for stop in stops]),
        "first_member_leads": _spread([stop.first_member_leads for stop in stops]),
        "last_member_trails": _spread([stop.last_member_trails for stop in stops]),
    }


def _spread(minutes: list[float | None]) -> list[float] | None:
    known = [each for each in minutes if each is not None]
    return [round(float(q), 1) for q in np.quantile(known, (0.5, 0.9, 1.0))] if known else None

"""``bench shifts``: a whole market stops; which of its series is found first, and which ends last.

A member's alert has to wait until the market's own alert could be there. It must not fire when the
market is back while its smallest members are not yet known to be back (decision 0303). This module
measures both spreads with the detector that workers run. All series stop in the same second. The
expectation of each series is wrong by a factor of its own, and minutes are more dispersed than Poisson.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from streams.index import shift_detector as detector
from streams.index.shift_budget import ShiftRules, page_days, weights
from streams.index.shift_clock import DOWN, MICRO
from streams.index.shift_detector import DetectorRules, ShiftState

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
WARM_MINUTES, AFTER_MINUTES = 60, 360
_FIRST_MINUTE = 60_000
"""First minute of a run: any full hour. The stop falls on any second of the hour that begins
WARM_MINUTES later."""


class Stop(NamedTuple):
    """One outage. Times are in minutes. Series 0 is the market's total."""

    found: dict[int, float]
    """Series -> time from the stop to the end of the minute in which the stop was found."""
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


def stop_market(rng: np.random.Generator, rate: float, minutes: float) -> Stop:
    """Simulate a market of ``rate`` orders a minute that stops for ``minutes``."""
    expected_rate = rate * np.array((1.0, *PARTS))
    # Error of an hour's expectation: 5-6 % at 20 a minute, 16-18 % at 0.05 (methodology, simulated).
    spread = 0.05 + 0.12 * np.exp(-expected_rate / 3) + 0.03 * rng.random(len(expected_rate))
    mean = expected_rate * np.exp(rng.normal(0.0, spread))
    own, each = weights(ShiftRules(), 1.0, len(PARTS))
    rules = [DetectorRules(page_days(ShiftRules(), own), drifts=True)]
    rules += [DetectorRules(page_days(ShiftRules(), each))] * len(PARTS)
    states = [ShiftState.fresh(one) for one in rules]
    stops = _FIRST_MINUTE + WARM_MINUTES + 60 * rng.random()
    goes_on = stops + minutes
    found: dict[int, float] = {}
    ended: dict[int, float] = {}
    for minute in range(_FIRST_MINUTE, int(goes_on) + AFTER_MINUTES):
        silent = max(0.0, min(goes_on, minute + 1) - max(stops, minute))
        now = np.maximum(mean * (1 - silent), 1e-12)
        counts = rng.negative_binomial(SIZE, SIZE / (SIZE + now))
        for series, state in enumerate(states):
            expected = round(expected_rate[series] * MICRO)
            noise = float(spread[series] ** 2)
            for event in detector.advance(
                state, rules[series], minute, int(counts[series]), expected, noise
            ):
                if event.direction != DOWN or event.at <= stops:
                    continue
                if event.kind == "page":
                    found.setdefault(series, event.at - stops)
                elif series in found:
                    ended.setdefault(series, event.at - goes_on)
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

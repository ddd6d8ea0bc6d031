"""What a demo plants and announces beforehand: a jump of a category here, an outage there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streams.index.methodology import slug
from streams.index.panes import rfc3339
from streams.ops.simulate_options import Outage, Shift, ShopOptions
from streams.ops.simulate_profile import Profile

FACTOR = 6.0
PLANTED_AFTER = 0.4
"""Of the time: enough before it to see what is usual, enough after it to see the change."""
OUTAGE_PART = 0.4
ENDLESS_MS = 300_000
"""Without an end, things happen as if there were five minutes."""
FIRST_LIVE_MS = 5_000
"""About how long after the first event values are live; the time counts from there."""
LAG_SCALE = 0.001
"""Cash on delivery is captured after 108 to 281 s instead of 30 to 78 h, or none would be seen."""
CATEGORY = "Beauty & Grooming"
"""Neither the largest nor a rare one."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What is shown. ``for_s`` counts from the first live values; None: until stopped."""

    rate_per_s: float = 50.0
    markets: tuple[str, ...] = ()
    seed: int = 0
    for_s: float | None = None

    def shops(self, profile: Profile, plan: Plan | None = None) -> ShopOptions:
        """Options of the simulation. Raises SettingsError where one of these is wrong."""
        outage = None if plan is None else plan.outage
        return ShopOptions(
            seed=self.seed,
            rate_per_s=self.rate_per_s,
            markets=self.markets,
            season="flat",
            lag_scale=LAG_SCALE,
            shifts=() if plan is None else (plan.shift,),
            outages=() if outage is None else (outage,),
        ).checked(profile)


@dataclass(frozen=True, slots=True)
class Plan:
    """The two things that will happen; ``outage`` needs a second market."""

    shift: Shift
    outage: Outage | None

    def announcement(self, now_ms: int) -> list[str]:
        """A sentence for each: what, where, when."""
        shift, outage = self.shift, self.outage
        where = f"{shift.category} in {shift.market}"
        lines = [f"demand for {where} times {shift.factor:g} {_when(shift.start_ms, None, now_ms)}"]
        if outage is not None:
            when = _when(outage.start_ms, outage.end_ms, now_ms)
            lines.append(f"outage of {outage.market} {when}")
        return lines


def make_plan(
    profile: Profile, markets: Sequence[str], start_ms: int, duration_ms: int | None
) -> Plan:
    """The plan of a demo of ``markets`` whose first event is at ``start_ms``."""
    named = sorted(markets or profile.markets, key=lambda code: -profile.markets[code].weight)
    category = CATEGORY if CATEGORY in profile.categories else next(iter(profile.categories))
    span_ms = duration_ms or ENDLESS_MS
    at_ms = start_ms + FIRST_LIVE_MS + round(span_ms * PLANTED_AFTER)
    shift = Shift(named[0], slug(category), FACTOR, at_ms, None)
    if len(named) == 1:
        return Plan(shift, None)
    return Plan(shift, Outage(named[1], at_ms, at_ms + round(span_ms * OUTAGE_PART)))


def _when(start_ms: int, end_ms: int | None, now_ms: int) -> str:
    at = f"{rfc3339(start_ms)[11:19]} UTC"
    if now_ms < start_ms:
        lasts = "" if end_ms is None else f", for {(end_ms - start_ms) / 1000:.0f} s"
        return f"at {at}, in {(start_ms - now_ms) / 1000:.0f} s{lasts}"
    if end_ms is None or now_ms < end_ms:
        return f"since {at}, {(now_ms - start_ms) / 1000:.0f} s ago"
    return f"from {at} on, over since {(now_ms - end_ms) / 1000:.0f} s"

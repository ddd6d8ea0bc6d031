"""The changes that a demo plants and announces: one category jumps, another market has an outage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streams.index.panes import HOUR_MS, rfc3339
from streams.index.slugs import slug
from streams.shops.simulate_options import Outage, PlantedShift, ShopOptions
from streams.shops.simulate_profile import Profile

FACTOR = 6.0
JUMP_AFTER_MS, JUMP_MS = 310_000, 250_000
"""The jump begins after five minutes without a change, and lasts long enough to be found."""
OUTAGE_AFTER_MS, OUTAGE_MS = 400_000, 270_000
"""The outage of another market. Jump and outage end in time for their ends to be reported."""
FOUND_MS = 300_000
"""An outage is found within this time."""
STORY_MS = 960_000
"""Time until jump and outage have been found and their ends have been reported."""
PLANTED_AFTER, OUTAGE_PART = 0.4, 0.4
"""Shares of a demo's time if that is shorter than STORY_MS: before the changes, and of the outage. One
then sees values before and after the changes, but no report of their end."""
FIRST_LIVE_MS = 5_000
"""About how long after the first event values are live. The demo's time counts from there."""
LAG_SCALE = 0.001
"""Cash on delivery is captured after 108 to 281 s instead of 30 to 78 h, or a demo would show none."""
CATEGORY = "Women's Fashion"
"""The category that jumps. It has a tenth of the orders: times six, the market has half as many more."""
SEED_WEEKS = 6
"""Weeks of hourly counts that are seeded. No expectation lacks an hour from the first value on."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """Options of a demo. ``for_s`` counts from the first live values; None: until stopped."""

    rate_per_s: float = 100.0
    """At this rate the category that jumps has 200 orders a minute in the largest market."""
    markets: tuple[str, ...] = ()
    seed: int = 0
    for_s: float | None = None

    def shops(self, profile: Profile, plan: Plan | None = None) -> ShopOptions:
        """Options of the simulation. Raises SettingsError if one of them is wrong."""
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
    """The two changes that a demo plants. ``outage`` is None if there is no second market."""

    shift: PlantedShift
    outage: Outage | None
    whole: bool
    """True if there is time to find both changes and to see them end."""
    story_ms: int
    """How long it takes to find both changes and to see them end, from the first live values on."""

    def announcement(self, now_ms: int) -> list[str]:
        """One sentence for each change: what, where, when."""
        shift, outage = self.shift, self.outage
        where = f"{shift.category} in {shift.market}"
        when = _when(shift.start_ms, shift.end_ms, now_ms)
        lines = [f"demand for {where} times {shift.factor:g} {when}"]
        if outage is not None:
            when = _when(outage.start_ms, outage.end_ms, now_ms)
            lines.append(f"outage of {outage.market} {when}")
        return lines

    def opening(self, now_ms: int) -> list[str]:
        """First sentences of a demo: the announcement, and whether there is time for the ends."""
        lines = [f"will be planted: {line}" for line in self.announcement(now_ms)]
        minutes = -(-self.story_ms // 60_000)
        if self.whole:
            lines.append(
                f"each is reported here when it is found and when it ends: {minutes} minutes"
            )
        else:
            lines.append(
                f"the values will show it; finding it, explaining it and seeing it end takes {minutes} "
                f"minutes (--for {minutes}m, or no --for)"
            )
        return lines


def make_plan(
    profile: Profile, markets: Sequence[str], start_ms: int, duration_ms: int | None
) -> Plan:
    """Plan a demo of ``markets`` whose first event is at ``start_ms``.

    ``duration_ms`` None: the demo runs until it is stopped.
    """
    named = sorted(markets or profile.markets, key=lambda code: -profile.markets[code].weight)
    category = CATEGORY if CATEGORY in profile.categories else next(iter(profile.categories))
    whole = duration_ms is None or duration_ms >= STORY_MS
    live_ms = start_ms + FIRST_LIVE_MS
    waits_ms = past_the_hour_ms(live_ms + JUMP_AFTER_MS, live_ms + OUTAGE_AFTER_MS + FOUND_MS)
    if duration_ms is not None and duration_ms < STORY_MS + waits_ms:
        waits_ms = 0
    jump: tuple[int, int | None]
    if duration_ms is None or whole:
        live_ms += waits_ms
        jump = (live_ms + JUMP_AFTER_MS, live_ms + JUMP_AFTER_MS + JUMP_MS)
        silence = (live_ms + OUTAGE_AFTER_MS, live_ms + OUTAGE_AFTER_MS + OUTAGE_MS)
    else:
        at_ms = live_ms + round(duration_ms * PLANTED_AFTER)
        jump, silence = (at_ms, None), (at_ms, at_ms + round(duration_ms * OUTAGE_PART))
    shift = PlantedShift(named[0], slug(category), FACTOR, *jump)
    outage = Outage(named[1], *silence) if len(named) > 1 else None
    return Plan(shift, outage, whole, STORY_MS + waits_ms)


def past_the_hour_ms(from_ms: int, until_ms: int) -> int:
    """How much later ``[from_ms, until_ms)`` must begin so that no full hour lies in it.

    The detector's hourly clock finds a shift that goes on when an hour ends. That clock knows no start
    within the hour, and it sees an end only when the next hour ends.
    """
    hour_ms = -(-from_ms // HOUR_MS) * HOUR_MS
    return hour_ms - from_ms if hour_ms < until_ms else 0


def _when(start_ms: int, end_ms: int | None, now_ms: int) -> str:
    at = f"{rfc3339(start_ms)[11:19]} UTC"
    if now_ms < start_ms:
        lasts = "" if end_ms is None else f", for {(end_ms - start_ms) / 1000:.0f} s"
        return f"at {at}, in {(start_ms - now_ms) / 1000:.0f} s{lasts}"
    if end_ms is None or now_ms < end_ms:
        return f"since {at}, {(now_ms - start_ms) / 1000:.0f} s ago"
    return f"since {at}, over {(now_ms - end_ms) / 1000:.0f} s ago"

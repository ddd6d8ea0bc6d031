"""What a demo plants and announces beforehand: a jump of a category here, an outage there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streams.index.methodology import slug
from streams.index.panes import HOUR_MS, rfc3339
from streams.shops.simulate_options import Outage, Shift, ShopOptions
from streams.shops.simulate_profile import Profile

FACTOR = 6.0
JUMP_AFTER_MS, JUMP_MS = 310_000, 250_000
"""Of the story: five minutes of the usual, then a jump that lasts long enough to be found .."""
OUTAGE_AFTER_MS, OUTAGE_MS = 400_000, 270_000
""".. and an outage elsewhere; both are over in time to be told so."""
FOUND_MS = 300_000
"""Within this an outage is found."""
STORY_MS = 960_000
"""When all of it has been found and told to be over."""
PLANTED_AFTER, OUTAGE_PART = 0.4, 0.4
"""In less time than that: parts of the time, to see what is usual and what changes, if not its end."""
FIRST_LIVE_MS = 5_000
"""About how long after the first event values are live; the time counts from there."""
LAG_SCALE = 0.001
"""Cash on delivery is captured after 108 to 281 s instead of 30 to 78 h, or none would be seen."""
CATEGORY = "Women's Fashion"
"""A tenth of the orders; times six it is half as much again for the whole market."""
SEED_WEEKS = 6
"""Hours that the shops are seeded with: all are known from the first value on."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What is shown. ``for_s`` counts from the first live values; None: until stopped."""

    rate_per_s: float = 100.0
    """The category that jumps has 200 orders a minute in the largest market then."""
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
    whole: bool
    """Whether there is time to find what is planted and to see it end."""
    story_ms: int
    """How long all of it takes, from the first live values on."""

    def announcement(self, now_ms: int) -> list[str]:
        """A sentence for each: what, where, when."""
        shift, outage = self.shift, self.outage
        where = f"{shift.category} in {shift.market}"
        when = _when(shift.start_ms, shift.end_ms, now_ms)
        lines = [f"demand for {where} times {shift.factor:g} {when}"]
        if outage is not None:
            when = _when(outage.start_ms, outage.end_ms, now_ms)
            lines.append(f"outage of {outage.market} {when}")
        return lines

    def opening(self, now_ms: int) -> list[str]:
        """Sentences to begin with: the announcement, and whether there is time for all of it."""
        lines = [f"will be planted: {line}" for line in self.announcement(now_ms)]
        minutes = -(-self.story_ms // 60_000)
        if self.whole:
            lines.append(f"both are found and told here, and their ends: {minutes} minutes in all")
        else:
            lines.append(
                f"values will show it; to find it, explain it and see it end takes {minutes} minutes "
                f"(--for {minutes}m, or no --for)"
            )
        return lines


def make_plan(
    profile: Profile, markets: Sequence[str], start_ms: int, duration_ms: int | None
) -> Plan:
    """The plan of a demo of ``markets`` whose first event is at ``start_ms``."""
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
    shift = Shift(named[0], slug(category), FACTOR, *jump)
    outage = Outage(named[1], *silence) if len(named) > 1 else None
    return Plan(shift, outage, whole, STORY_MS + waits_ms)


def past_the_hour_ms(from_ms: int, until_ms: int) -> int:
    """How much later ``[from_ms, until_ms)`` must be for no full hour to lie in it.

    A shift under way when an hour ends is found by the detector's hourly clock, which knows no start
    within the hour, and sees an end at the next hour's only.
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
    return f"from {at} on, over since {(now_ms - end_ms) / 1000:.0f} s"

"""Options of a simulation, and what can be planted in it: shifts and outages."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from streams.index.slugs import slug
from streams.settings import Problem, SettingsError
from streams.shops.simulate_profile import Profile

Season = Literal["flat", "week", "year"]
"""flat: one rate at all times. week: the rate follows the hours of the week. year: the months too."""

SECOND_MS = 1_000
FACTOR_MAX = 1_000.0
"""Largest factor that is planted, as large as one that an operator may say."""
DELAYED_MAX_S = 60
"""Longest delay of an event that is out of order. It lies within the grace: no event is too late."""


@dataclass(frozen=True, slots=True)
class PlantedShift:
    """Demand of a category is multiplied by ``factor`` in [start, end).

    ``category`` ``all`` stands for the whole market. ``end_ms`` None: it does not end.
    """

    market: str
    category: str
    factor: float
    start_ms: int
    end_ms: int | None


@dataclass(frozen=True, slots=True)
class Outage:
    """A market has no events in [start, end)."""

    market: str
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class ShopOptions:
    """Everything that decides the events of a simulation, beside the profile and the time.

    ``rate_per_s``: orders placed and payments tried, in all markets, mean of a week. Cancels, refunds
    and cash on delivery are added once there are orders old enough. ``duplicates``: share of events that
    are sent twice. ``out_of_order``: share of events that are sent up to ``out_of_order_max_s`` after
    they occurred. ``lag_scale`` shrinks the hours and days after which orders are cancelled, delivered
    and refunded.
    """

    seed: int = 0
    rate_per_s: float = 50.0
    markets: tuple[str, ...] = ()
    season: Season = "week"
    duplicates: float = 0.0
    out_of_order: float = 0.0
    out_of_order_max_s: float = 10.0
    lag_scale: float = 1.0
    shifts: tuple[PlantedShift, ...] = ()
    outages: tuple[Outage, ...] = ()

    def checked(self, profile: Profile) -> ShopOptions:
        """Return these options with all markets named. Raises SettingsError if one option is wrong."""
        known = set(profile.markets)
        members = {slug(name) for name in profile.categories} | {"all"}
        planted = [shift.market for shift in self.shifts]
        planted += [outage.market for outage in self.outages]
        rules = (
            ("--rate", self.rate_per_s, 0 < self.rate_per_s < math.inf, "more than 0"),
            ("--markets", self.markets, set(self.markets) <= known, f"some of {sorted(known)}"),
            ("--duplicates", self.duplicates, 0 <= self.duplicates <= 1, "0 to 1"),
            ("--out-of-order", self.out_of_order, 0 <= self.out_of_order <= 1, "0 to 1"),
            (
                "--out-of-order-max",
                self.out_of_order_max_s,
                0 <= self.out_of_order_max_s <= DELAYED_MAX_S,
                f"0 to {DELAYED_MAX_S} s",
            ),
            ("--lag-scale", self.lag_scale, 0 < self.lag_scale <= 1, "above 0, at most 1"),
            ("--seed", self.seed, self.seed >= 0, "0 or more"),
            (
                "--shift, --outage",
                planted,
                set(planted) <= set(self.markets or known),
                f"markets of {sorted(self.markets or known)}",
            ),
            (
                "--shift",
                [shift.category for shift in self.shifts],
                all(shift.category in members for shift in self.shifts),
                f"categories of {sorted(members)}",
            ),
        )
        problems = [
            Problem(name, repr(found), "command line", expected)
            for name, found, holds, expected in rules
            if not holds
        ]
        if problems:
            raise SettingsError(problems)
        markets = tuple(sorted(set(self.markets) or known))
        # 60 and 60.0 are one simulation, so their orders must have the same ids.
        numbers = {
            name: float(getattr(self, name))
            for name in (
                "rate_per_s",
                "duplicates",
                "out_of_order",
                "out_of_order_max_s",
                "lag_scale",
            )
        }
        return replace(self, markets=markets, **numbers)  # type: ignore[arg-type] # all floats


class Planted(NamedTuple):
    """Shifts and outages as text from the command line."""

    shifts: tuple[str, ...] = ()
    outages: tuple[str, ...] = ()

    def into(self, options: ShopOptions, origin_ms: int, for_ms: int | None) -> ShopOptions:
        """Plant them into a run that begins at ``origin_ms``. Raises SettingsError.

        One that begins when the run is over is refused: it plants nothing. ``for_ms`` None: no end.
        """
        shifts = tuple(parse_shift(text, origin_ms) for text in self.shifts)
        outages = tuple(parse_outage(text, origin_ms) for text in self.outages)
        planted: list[tuple[str, str, PlantedShift | Outage]] = [
            ("--shift", *each) for each in zip(self.shifts, shifts, strict=True)
        ]
        planted += [("--outage", *each) for each in zip(self.outages, outages, strict=True)]
        problems = [
            Problem(
                name, repr(text), "command line", f"after_s below {for_ms / SECOND_MS:g} (--for)"
            )
            for name, text, found in planted
            if for_ms is not None and found.start_ms - origin_ms >= for_ms
        ]
        if problems:
            raise SettingsError(problems)
        return replace(options, shifts=shifts, outages=outages)


def parse_shift(text: str, origin_ms: int) -> PlantedShift:
    """Parse ``market:category:factor:after_s[:duration_s]``; ``after_s`` counts from ``origin_ms``.

    Raises SettingsError.
    """
    parts = text.split(":")
    try:
        market, category, factor, after, *duration = parts
        factor_value, after_s = float(factor), float(after)
        lasting_s = [float(part) for part in duration]
        bounds = (factor_value, after_s, *lasting_s)
        right = len(lasting_s) <= 1 and all(0 <= bound < math.inf for bound in bounds)
        # Neither times 1 nor for no time is a shift: it was accepted, and nothing was planted.
        right = right and factor_value != 1 and factor_value <= FACTOR_MAX
        right = right and all(round(length_s * SECOND_MS) > 0 for length_s in lasting_s)
    except (ValueError, OverflowError):
        right = False
    if not right:
        expected = (
            f"market:category:factor:after_s[:duration_s], factor from 0 to {FACTOR_MAX:g} and not 1, "
            "after_s not below 0, duration_s above 0"
        )
        raise SettingsError([Problem("--shift", repr(text), "command line", expected)])
    start_ms = origin_ms + round(after_s * SECOND_MS)
    end_ms = start_ms + round(lasting_s[0] * SECOND_MS) if lasting_s else None
    return PlantedShift(market, slug(category), factor_value, start_ms, end_ms)


def parse_outage(text: str, origin_ms: int) -> Outage:
    """Parse ``market:after_s:duration_s``; ``after_s`` counts from ``origin_ms``.

    Raises SettingsError.
    """
    try:
        market, after, duration = text.split(":")
        start_ms = origin_ms + round(float(after) * SECOND_MS)
        end_ms = start_ms + round(float(duration) * SECOND_MS)
        right = float(after) >= 0 and end_ms > start_ms
    except (ValueError, OverflowError):
        right = False
    if not right:
        expected = "market:after_s:duration_s, after_s not below 0, duration_s above 0"
        raise SettingsError([Problem("--outage", repr(text), "command line", expected)])
    return Outage(market, start_ms, end_ms)

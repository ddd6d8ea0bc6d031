"""The budget of false shift pages, and how markets and their series divide it.

All series share one budget: a mean of ``budget_days`` between false pages. A series of weight w pages at
budget / w days of evidence, so it pages falsely at most w times in the length of the budget. The weights
of all series sum to at most 1. They are fixed beforehand (methodology.toml), for places of series: a
series without sales today keeps its part, and an empty place is part of the reserve. Members that appear
while the index runs take places and then the rest of the reserve, at the weight of a place.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

_ROUNDING = 1e-9
APPEARED_MAX = 200
"""Series of a market, its total included, up to which members that appear are watched. Each costs time
in every minute, and room in the record of the detectors."""
BUDGET_DAYS = (1.0, 36_500.0)
PART_MIN = 0.001
"""Least part of a budget: of 5e-324 a worker could compute nothing."""


class ShiftRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Section ``[shifts]`` of methodology.toml: the budget, and how a market divides its share.

    ``all``: the part of the market's total. ``members``: the part that its other series divide.
    ``reserve``: the part for future members. The three are fractions of the market's share.
    """

    budget_days: float = 30.0
    all: float = 0.2
    members: float = 0.7
    reserve: float = 0.1

    def mistakes(self) -> list[str]:
        """What is wrong with the rules, one sentence about each wrong setting."""
        found = []
        least, most = BUDGET_DAYS
        if not least <= self.budget_days <= most:  # NaN is refused too, here and below
            found.append(f"shifts.budget_days must be above 0, from {least:g} to {most:g}")
        if not (self.all >= PART_MIN and self.members >= PART_MIN and self.reserve >= 0):
            found.append(
                f"shifts.all and shifts.members must be above 0, at least {PART_MIN:g}, "
                "shifts.reserve at least 0"
            )
        elif self.all + self.members + self.reserve > 1 + _ROUNDING:
            found.append("shifts.all, members and reserve must add up to at most 1")
        return found


def market_shares(weights: Mapping[str, float]) -> dict[str, float]:
    """Share of the budget of each market, in proportion to its ``shift_weight``."""
    total = sum(weights.values())
    return {code: weight / total for code, weight in weights.items()}


def weights(rules: ShiftRules, market_share: float, members: int) -> tuple[float, float]:
    """(weight of the market's total, weight of each of the ``members`` places of other series)."""
    if not 0 < market_share <= 1 or members < 1:
        raise ValueError(f"a market's share must be in (0, 1], found {market_share}; members >= 1")
    return market_share * rules.all, market_share * rules.members / members


def watched_most(rules: ShiftRules, places: int) -> int:
    """Return how many series besides the total the reserve allows at the weight of a place.

    Those that appear are watched up to ``APPEARED_MAX`` series of a market.

    >>> watched_most(ShiftRules(), 42), watched_most(ShiftRules(), 199), watched_most(ShiftRules(), 300)
    (48, 199, 300)
    """
    room = int(places * (rules.members + rules.reserve) / rules.members * (1 + _ROUNDING))
    return max(places, min(room, APPEARED_MAX - 1))


def page_days(rules: ShiftRules, weight: float) -> float:
    """Evidence, in days, at which a series of this weight pages."""
    return rules.budget_days / weight

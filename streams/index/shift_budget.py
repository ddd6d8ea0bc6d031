"""The budget of false shift pages, and how markets and their series divide it.

All series share one budget: a mean of ``budget_days`` between false pages. A series of weight w pages at
budget / w days of evidence, so it pages falsely at most w times in the length of the budget. The weights
of all series sum to at most 1. They are fixed beforehand (methodology.toml): a series without sales
today keeps its part, and the reserve is for future members.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

_ROUNDING = 1e-9


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
        if not self.budget_days > 0:
            found.append("shifts.budget_days must be above 0")
        if min(self.all, self.members) <= 0 or self.reserve < 0:
            found.append("shifts.all and shifts.members must be above 0, shifts.reserve at least 0")
        if self.all + self.members + self.reserve > 1 + _ROUNDING:
            found.append("shifts.all, members and reserve must add up to at most 1")
        return found


def market_shares(weights: Mapping[str, float]) -> dict[str, float]:
    """Share of the budget of each market, in proportion to its ``shift_weight``."""
    total = sum(weights.values())
    return {code: weight / total for code, weight in weights.items()}


def weights(rules: ShiftRules, market_share: float, members: int) -> tuple[float, float]:
    """(weight of the market's total, weight of each of its ``members`` other series)."""
    if not 0 < market_share <= 1 or members < 1:
        raise ValueError(f"a market's share must be in (0, 1], found {market_share}; members >= 1")
    return market_share * rules.all, market_share * rules.members / members


def page_days(rules: ShiftRules, weight: float) -> float:
    """Evidence, in days, at which a series of this weight pages."""
    return rules.budget_days / weight

"""The series of a market that are watched for shifts, their weights, and what pages.

All series share one budget: a mean of ``budget_days`` between false pages. A series of weight w pages
at budget / w days of evidence, so it pages falsely at most w times a budget's length; the weights of
all series sum to at most 1. They are fixed beforehand (methodology.toml): a series that is not sold
today keeps its part, and the reserve is for members to come.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from streams.index import partials as col
from streams.index.indices import ALL, CATEGORY, CHANNEL, MARKET, METHOD, REGION
from streams.index.methodology import Market
from streams.index.partials import Block, Layout

PAYMENT_FAILURE = "payment_failure"
"""Dimension of failed payments by method; ``payment_method`` is of captured ones."""


class ShiftRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Section ``[shifts]`` of methodology.toml: the budget, and how a market divides its share."""

    budget_days: float = 30.0
    all: float = 0.2
    members: float = 0.7
    reserve: float = 0.1


class Series(NamedTuple):
    """One watched count: which dimension and member, and its column in a live row."""

    dimension: str
    member: str
    column: int

    @property
    def drifts(self) -> bool:
        """Whether it has the daily clock: the market's orders do."""
        return self.dimension == MARKET


def watched(layout: Layout) -> tuple[Series, ...]:
    """All series of a market, its orders first, in an order that the methodology fixes."""
    return tuple(_watched(layout))


def _watched(layout: Layout) -> Iterator[Series]:
    yield Series(MARKET, ALL, col.ORDERS)
    yield from _of(CATEGORY, layout.category, 0)
    yield from _of(REGION, layout.region, 0)
    yield from _of(CHANNEL, layout.channel, 0)
    yield from _of(METHOD, layout.method, col.CAPTURED_AT)
    yield from _of(PAYMENT_FAILURE, layout.method, col.FAILED_AT)


def _of(dimension: str, block: Block, offset: int) -> Iterator[Series]:
    for index, member in enumerate(block.members):
        yield Series(dimension, member, block.base + block.width * index + offset)


def weights(rules: ShiftRules, market_share: float, members: int) -> tuple[float, float]:
    """(weight of the market's total, weight of each of its ``members`` series)."""
    if not 0 < market_share <= 1 or members < 1:
        raise ValueError(f"a market's share must be in (0, 1], found {market_share}; members >= 1")
    return market_share * rules.all, market_share * rules.members / members


def page_days(rules: ShiftRules, weight: float) -> float:
    """Evidence, in days, at which a series of this weight pages."""
    return rules.budget_days / weight


def market_shares(markets: dict[str, Market]) -> dict[str, float]:
    """Share of the budget of every market: the same for each."""
    return dict.fromkeys(markets, 1 / len(markets))

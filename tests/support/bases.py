"""The default methodology with base periods of the level index."""

from __future__ import annotations

import dataclasses

from support.flow_harness import METHODOLOGY

from streams.index.level import BasePeriod
from streams.index.methodology import Methodology
from streams.index.panes import day_number


def based(market: str, first: str, end: str, net_minor: int | None = None) -> Methodology:
    """``market`` with the base ``[first, end)``, local dates."""
    period = BasePeriod(day_number(first), day_number(end), net_minor)
    own = dataclasses.replace(METHODOLOGY.markets[market], base=period)
    return dataclasses.replace(METHODOLOGY, markets={**METHODOLOGY.markets, market: own})

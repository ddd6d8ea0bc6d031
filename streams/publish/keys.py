"""Names of Redis keys (docs/contract.md#redis). One market's keys share the hash tag ``{MARKET}``."""

from __future__ import annotations

from typing import NamedTuple


class MarketKeys(NamedTuple):
    """Every key of one market, in the order in which the fenced script gets them."""

    fence: str
    """HASH: edition, as_of_ms and applied of what is written. It decides who may write."""
    values: str
    """HASH: ``index:dimension:member:window`` -> plain decimal."""
    snapshot: str
    """STRING: JSON of all values."""
    changes: str
    """STREAM: the changes of each write, bounded."""
    history: str
    """ZSET: one point a minute of the headline values, scored by as_of in ms."""
    days: str
    """HASH: ``index:dimension:member:YYYY-MM-DD`` -> plain decimal."""
    shifts: str
    """HASH: ``dimension:member`` -> JSON of the active shift. A series without one has no field."""


def market_keys(market: str, prefix: str) -> MarketKeys:
    """Keys of ``market``.

    >>> market_keys("PK", "ecindex:v1").values
    'ecindex:v1:{PK}:values'
    """
    tag = f"{prefix}:{{{market}}}"
    return MarketKeys(*(f"{tag}:{name}" for name in MarketKeys._fields))


def markets_key(prefix: str) -> str:
    """Key of the SET of markets published within the last day."""
    return f"{prefix}:markets"

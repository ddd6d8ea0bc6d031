"""Names of Redis keys (docs/contract.md#redis). One market's keys share the hash tag ``{MARKET}``."""

from __future__ import annotations

from typing import NamedTuple

from streams.index.indices import SOURCES


class MarketKeys(NamedTuple):
    """Every key of one market, in the order in which the fenced script gets them."""

    fence: str
    """HASH: the version (``index.values.Fence``) of what is written. It decides who may write."""
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
    suspicions: str
    """HASH: ``dimension:member`` -> JSON of what does not look as expected and does not page yet."""
    incidents: str
    """HASH: id -> JSON of an incident, open or past (``publish.incident_records``)."""
    others: str
    """HASH: local day -> JSON of what ``other`` is made of (``publish.other_records``)."""


FENCE_FIELDS = ("edition", "generation", "definitions", "as_of_ms", "applied")
"""Fields of the HASH ``:fence``, in the order in which versions are compared."""
MEMBERS_FIELD = "@members"
"""Field of the HASH ``:values``: JSON of the market's members (``index.member_lists``)."""
AS_OF_FIELDS = ("@as_of", *(f"@as_of:{source}" for source in SOURCES))
"""Fields of the HASH ``:values``: the headline, then ``as_of`` of each source that was seen."""

AS_OF_AGE_MAX_MS = 30_000
"""Beyond this age of ``as_of`` readers, page and alerts say that the flow is behind."""


def market_keys(market: str, prefix: str) -> MarketKeys:
    """Keys of ``market``.

    >>> market_keys("PK", "ecindex:v1").values
    'ecindex:v1:{PK}:values'
    """
    tag = f"{prefix}:{{{market}}}"
    return MarketKeys(*(f"{tag}:{name}" for name in MarketKeys._fields))


def sent_key(market: str, prefix: str) -> str:
    """Key of the HASH incident -> JSON of when people were told (``publish.sent_records``).

    `ecindex notify` writes it, so it is none of the publisher's: it has an expiry of its own.

    >>> sent_key("PK", "ecindex:v1")
    'ecindex:v1:{PK}:sent'
    """
    return f"{prefix}:{{{market}}}:sent"


def inputs_key(prefix: str) -> str:
    """Key of the HASH ``topic-partition`` -> JSON of what became of its last records."""
    return f"{prefix}:inputs"


def markets_key(prefix: str) -> str:
    """Key of the SET of markets published within the last day."""
    return f"{prefix}:markets"

"""Suspicions as Redis holds them, in the HASH ``:suspicions``: ``dimension:member`` -> JSON.

One structure for those who write it and those who read it. Instants are RFC 3339.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from streams.index.formats import json_reader
from streams.index.incidents import WAYS
from streams.index.panes import rfc3339
from streams.index.suspicions import Suspicion
from streams.index.values import VERSION


class PublishedSuspicion(msgspec.Struct, frozen=True):
    """A series that does not look as expected: what it counted from ``since`` until ``until``."""

    dimension: str
    member: str
    direction: str
    since: str
    until: str
    observed: int
    expected: float
    expected_a_minute: float
    evidence: float
    """Evidence of a shift, as a multiple of what pages."""
    fact: bool
    """True when the count alone is a plain fact, however little evidence there is yet."""
    v: int = VERSION


decode_suspicion = json_reader(PublishedSuspicion)
_encode = msgspec.json.Encoder().encode


def suspicion_fields(suspicions: Iterable[Suspicion]) -> dict[str, str]:
    """Fields of ``:suspicions``, the foremost first."""
    return {
        f"{each.dimension}:{each.member}": _encode(published_suspicion(each)).decode()
        for each in suspicions
    }


def published_suspicion(suspicion: Suspicion) -> PublishedSuspicion:
    """Return a suspicion as it is published."""
    return PublishedSuspicion(
        dimension=suspicion.dimension,
        member=suspicion.member,
        direction=WAYS[suspicion.direction],
        since=rfc3339(suspicion.since_ms),
        until=rfc3339(suspicion.until_ms),
        observed=suspicion.observed,
        expected=suspicion.expected,
        expected_a_minute=suspicion.expected_a_minute,
        evidence=suspicion.evidence_ratio,
        fact=suspicion.surprise > 0,
    )


def read_suspicions(fields: Mapping[str, str]) -> list[PublishedSuspicion]:
    """Suspicions of the HASH, the market's own first, then by evidence; without what is none."""
    found = []
    for text in fields.values():
        try:
            found.append(decode_suspicion(text))
        except msgspec.DecodeError:
            continue
    found.sort(key=lambda each: (each.dimension != "market", -each.evidence, each.member))
    return found

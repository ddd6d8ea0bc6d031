"""Checks of the labels that shops send: whether members have them, and rows room."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from streams.index.identifiers import DIMENSIONS
from streams.proof.doctor.findings import Finding, Level
from streams.publish.other_records import OthersOfDimension
from streams.publish.other_words import say_others, share
from streams.records.redis_reader import MarketRedis

UNDECLARED_SHARE_MAX = 0.05
UNDECLARED_MIN = 50
"""Orders, or payments: fewer of a day that has just begun say little."""
MORE_SHARE_MAX = 0.01
_LABELS_NAMED = 5


def check_labels(held: Mapping[str, MarketRedis | None]) -> list[Finding]:
    """Check what `other` of each market's newest local day is made of."""
    published = {code: redis.others[0] for code, redis in held.items() if redis and redis.others}
    found = [
        finding
        for code, others in sorted(published.items())
        for each in others.dimensions
        if each.dimension in DIMENSIONS
        for finding in _of_dimension(code, others.day, each)
    ]
    if found or not published:
        return found
    expected = "labels that members have, and room for them"
    return [
        Finding("labels", Level.OK, ", ".join(sorted(published)), expected, "members have them")
    ]


def _of_dimension(code: str, day: str, of: OthersOfDimension) -> Iterator[Finding]:
    made_of = say_others(of, day, _LABELS_NAMED).line
    where = f"{code} {of.dimension}"
    if of.undeclared >= UNDECLARED_MIN and share(of.undeclared, of) > UNDECLARED_SHARE_MAX:
        yield Finding(
            "labels",
            Level.WARNING,
            where,
            f"at most {UNDECLARED_SHARE_MAX:.0%} of a day's {of.counted} whose label no member has",
            f"{share(of.undeclared, of):.1%}; in `other`: {made_of}",
            f"run `ecindex definitions propose {code}`, and name them: "
            "docs/methodology.md, Members and their labels",
            cause=f"undeclared {of.counted}",
        )
    if share(of.more, of) > MORE_SHARE_MAX:
        yield Finding(
            "labels",
            Level.WARNING,
            where,
            f"room for the labels of {1 - MORE_SHARE_MAX:.0%} of a day's {of.counted}",
            f"{share(of.more, of):.1%} without room; in `other`: {made_of}",
            "find the producer that invents labels (an id in their place), and mend it: "
            "docs/runbook.md, EcindexLabelsWithoutRoom",
            cause=f"without room {of.counted}",
        )

"""What `other` is made of, as Redis holds it: the HASH ``:others``, local day -> JSON.

One structure for those who write it and those who read it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from streams.index.formats import json_reader
from streams.index.indices import METHOD
from streams.index.other_labels import PAYMENTS, OtherLabels, OthersOfDay
from streams.index.panes import day_name, rfc3339
from streams.index.values import VERSION

SHOWN_SHARE_MIN = 0.001
"""Share of a day's orders, or payments, from which on people are told of it."""


class PublishedLabel(msgspec.Struct, frozen=True):
    """An undeclared label, and how many orders or payments name it."""

    label: str
    count: int


class OthersOfDimension(msgspec.Struct, frozen=True):
    """``other`` of one dimension: counts of orders, or of payments, as ``counted`` says."""

    dimension: str
    counted: str
    total: int
    other: int
    undeclared: int
    more: int
    unnamed: int
    uncertain: int
    labels: int
    largest: list[PublishedLabel]

    @property
    def says_something(self) -> bool:
        """Whether enough is in it that the methodology could tell apart; less is a slip of the pen."""
        least = max(1.0, SHOWN_SHARE_MIN * self.total)
        return self.undeclared >= least or self.more >= least

    @property
    def unnamed_is_other(self) -> bool:
        """False of the payment method of orders: one that names none is in no member."""
        return self.counted == PAYMENTS or self.dimension != METHOD


class PublishedOthers(msgspec.Struct, frozen=True):
    """What `other` is made of on one local day, as it was known at ``as_of``."""

    market: str
    day: str
    as_of: str
    dimensions: list[OthersOfDimension]
    v: int = VERSION


decode_others = json_reader(PublishedOthers)
_encode = msgspec.json.Encoder().encode


def other_fields(market: str, days: Iterable[OthersOfDay]) -> dict[str, str]:
    """Fields of ``:others``: local day -> JSON."""
    found = (published_others(market, each) for each in days)
    return {each.day: _encode(each).decode() for each in found}


def read_others(fields: Mapping[str, str]) -> list[PublishedOthers]:
    """Days of the HASH, the newest first; without a field that is none of a known shape."""
    found = []
    for text in fields.values():
        try:
            found.append(decode_others(text))
        except msgspec.DecodeError:
            continue
    return sorted(found, key=lambda each: each.day, reverse=True)


def published_others(market: str, others: OthersOfDay) -> PublishedOthers:
    """Return a day as it is published."""
    dimensions = [of_dimension(each) for each in others.dimensions]
    return PublishedOthers(market, day_name(others.day), rfc3339(others.as_of_ms), dimensions)


def of_dimension(found: OtherLabels) -> OthersOfDimension:
    """Return a dimension as it is published."""
    fields = found._asdict()
    return OthersOfDimension(
        **fields | {"largest": [PublishedLabel(*each) for each in found.largest]}
    )

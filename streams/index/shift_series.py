"""The series of a market that are watched for shifts, in an order that the methodology fixes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from streams.index import partials as col
from streams.index.indices import ALL, CATEGORY, CHANNEL, MARKET, METHOD, REGION
from streams.index.partials import Block, Layout

PAYMENT_FAILURE = "payment_failure"
"""Dimension of failed payments by method; ``payment_method`` is of captured ones."""


class WatchedSeries(NamedTuple):
    """One watched count: which dimension and member, and its column in a live row."""

    dimension: str
    member: str
    column: int

    @property
    def drifts(self) -> bool:
        """Whether it has the daily clock: the market's orders do."""
        return self.dimension == MARKET

    @property
    def of_payments(self) -> bool:
        """Whether it is counted from the payments topic."""
        return self.dimension in (METHOD, PAYMENT_FAILURE)


def watched(layout: Layout) -> tuple[WatchedSeries, ...]:
    """All series of a market: its orders first, then members' orders, captures and failures."""
    return tuple(_watched(layout))


def _watched(layout: Layout) -> Iterator[WatchedSeries]:
    yield WatchedSeries(MARKET, ALL, col.ORDERS)
    yield from _of(CATEGORY, layout.category, 0)
    yield from _of(REGION, layout.region, 0)
    yield from _of(CHANNEL, layout.channel, 0)
    yield from _of(METHOD, layout.method, col.CAPTURED_AT)
    yield from _of(PAYMENT_FAILURE, layout.method, col.FAILED_AT)


def _of(dimension: str, block: Block, offset: int) -> Iterator[WatchedSeries]:
    for index, member in enumerate(block.members):
        yield WatchedSeries(dimension, member, block.base + block.width * index + offset)

"""The series of a market that are watched for shifts, in an order that the methodology fixes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from streams.index import partials as col
from streams.index.indices import ALL, CATEGORY, CHANNEL, MARKET, METHOD, REGION
from streams.index.partials import Block, Layout

PAYMENT_FAILURE = "payment_failure"
"""Dimension of failed payments by method. The dimension ``payment_method`` counts captured ones."""


class WatchedSeries(NamedTuple):
    """One watched count: its dimension, its member and its column in a live row."""

    dimension: str
    member: str
    column: int

    @property
    def drifts(self) -> bool:
        """True when the series has the daily clock: only the market's orders have."""
        return self.dimension == MARKET

    @property
    def amount_column(self) -> int | None:
        """Column of its money: sales of orders, amounts of captured payments. None: it has none."""
        if self.dimension == PAYMENT_FAILURE:
            return None
        if self.dimension == METHOD:
            return self.column + col.AMOUNT_AT - col.CAPTURED_AT
        return self.column + col.SALES - col.ORDERS  # each block of orders has the totals' order

    @property
    def of_payments(self) -> bool:
        """True when the series is counted from the payments topic."""
        return self.dimension in (METHOD, PAYMENT_FAILURE)


def watched(layout: Layout) -> tuple[WatchedSeries, ...]:
    """All watched series of a market: its orders, then orders, captures and failures of its members."""
    return tuple(_watched(layout))


def rests(series: Sequence[WatchedSeries]) -> dict[int, int]:
    """Place of each series of failed payments -> that of the same method's captured ones.

    Together they are the payments tried: a method that is used more fails more often.
    """
    captured = {each.member: at for at, each in enumerate(series) if each.dimension == METHOD}
    return {
        at: captured[each.member]
        for at, each in enumerate(series)
        if each.dimension == PAYMENT_FAILURE
    }


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

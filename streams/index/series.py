"""The columns of a live row that have an expectation, and the scope and measure of each."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from streams.index import partials as col
from streams.index.identifiers import MARKETS_MAX
from streams.index.indices import CATEGORY, CHANNEL, METHOD, REGION
from streams.index.learning import WHOLE, Scope
from streams.index.partials import Block, Layout
from streams.index.season import ColumnRelations

MEASURES = ("orders", "units", "sales", "payments", "amount", "failed")
"""Orders, units and sales of a payment method are those of the orders that chose it."""
_PAYMENTS = 3
_OWN_SIZE = frozenset({"orders", "payments", "failed"})


class Series(NamedTuple):
    """One column: a measure of a member. ``column`` is its place in a live row."""

    scope: Scope
    measure: str
    column: int

    @property
    def of_payments(self) -> bool:
        """True when the series is counted from the payments topic."""
        return self.measure in MEASURES[_PAYMENTS:]


class SeriesTable:
    """The series of one market, in a fixed order: the columns of a vintage."""

    def __init__(self, category: Block, method: Block, region: Block, channel: Block) -> None:
        self.series = tuple(_series(category, method, region, channel))
        self.at = {(each.scope, each.measure): at for at, each in enumerate(self.series)}
        self.scopes = tuple(each.scope for each in self.series)
        self.columns = ColumnRelations(
            size_of=np.array([self.at[each.scope, _counted(each)] for each in self.series]),
            shape_of=np.array(
                [
                    self.at[WHOLE, "payments" if each.of_payments else "orders"]
                    for each in self.series
                ]
            ),
        )
        self.row_columns = tuple(each.column for each in self.series)


def series_table(layout: Layout) -> SeriesTable:
    """Return the table of a market. It never changes, so those with equal columns share it."""
    return _cached_table(layout.category, layout.method, layout.region, layout.channel)


_cached_table = lru_cache(MARKETS_MAX)(SeriesTable)


def _counted(series: Series) -> str:
    """Measure that counts the events which the series sums."""
    if series.measure in _OWN_SIZE:
        return series.measure
    return "payments" if series.of_payments else "orders"


def _series(category: Block, method: Block, region: Block, channel: Block) -> list[Series]:
    totals = (col.ORDERS, col.UNITS, col.SALES, col.PAYMENTS, col.AMOUNT, col.FAILED)
    found = [Series(WHOLE, measure, at) for measure, at in zip(MEASURES, totals, strict=True)]
    for dimension, block, measures in (
        (CATEGORY, category, MEASURES[:_PAYMENTS]),
        (METHOD, method, MEASURES),
        (REGION, region, MEASURES[:_PAYMENTS]),
        (CHANNEL, channel, MEASURES[:_PAYMENTS]),
    ):
        for index, member in enumerate(block.members):
            at = block.base + block.width * index
            found += [
                Series((dimension, member), measure, at + offset)
                for offset, measure in enumerate(measures)
            ]
    return found

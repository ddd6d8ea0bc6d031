"""Ledgers of the day book: gross (placed), valid (minus cancelled), net (minus refunded too).

They are plain sums by the day on which an order was placed, never clamped: a refund of more than was
sold shows as a negative net, which is a finding. A member without a cancel or refund on a day has no
values of valid and net, because they equal its gross. The market always has them.
"""

from __future__ import annotations

from collections.abc import Iterator

from streams.index import partials as col
from streams.index.indices import (
    ALL,
    CATEGORY,
    MARKET,
    METHOD,
    ORDERS_BASIS,
    PAYMENTS_BASIS,
    Entry,
    day_entries,
)
from streams.index.partials import Block, Layout, Row
from streams.index.values import ratio

VALID, NET = "_valid", "_net"
"""Suffix of an index name by ledger. Gross has no suffix."""
_MEASURES = (("orders", "count"), ("units", "count"), ("sales", "minor"))
LATE, CANCEL, REFUND = "late", "cancel", "refund"


def book_entries(layout: Layout, row: Row) -> Iterator[Entry]:
    """Every index of a local day in all ledgers."""
    yield from day_entries(layout, row)
    yield from _less(MARKET, ALL, row, 0)
    for dimension, block in ((CATEGORY, layout.day_category), (METHOD, layout.day_method)):
        for member, at in _members(block):
            if any(row[at + col.CANCELLED_AT : at + col.REFUNDED_AT + 3]):
                yield from _less(dimension, member, row, at)
    placed = row[col.DAY_PAYMENTS]
    total = placed + row[col.UNPLACED_PAYMENTS]
    yield Entry(
        "cohort_coverage", MARKET, ALL, "ratio", ratio(placed, total), placed, total, PAYMENTS_BASIS
    )


def net_sales(row: Row) -> int:
    """Net sales of the market in a row of the day book, in minor units."""
    return _net(row, col.SALES)


def net_orders(row: Row) -> int:
    """Orders in a row of the day book that were neither cancelled nor refunded."""
    return _net(row, col.ORDERS)


def _net(row: Row, at: int) -> int:
    return row[col.PLACED_AT + at] - row[col.CANCELLED_AT + at] - row[col.REFUNDED_AT + at]


def cause_of(layout: Layout, entry: Entry, old: Row, new: Row) -> str:
    """Why a value of a day that is over changed: decided by which of its columns differ."""
    if entry.basis == PAYMENTS_BASIS:
        return LATE
    at = _column(layout, entry)

    def moved(offset: int) -> bool:
        return old[at + offset : at + offset + 3] != new[at + offset : at + offset + 3]

    if not entry.name.endswith((VALID, NET)) or moved(col.PLACED_AT):
        return LATE
    return CANCEL if moved(col.CANCELLED_AT) else REFUND


def _column(layout: Layout, entry: Entry) -> int:
    if entry.dimension == CATEGORY:
        return layout.day_category.at(entry.member)
    if entry.dimension == METHOD:
        return layout.day_method.at(entry.member)
    return 0


def _members(block: Block) -> Iterator[tuple[str, int]]:
    return zip(block.members, range(block.base, block.end, block.width), strict=True)


def _less(dimension: str, member: str, row: Row, at: int) -> Iterator[Entry]:
    placed, cancelled, refunded = (
        row[at + offset : at + offset + 3]
        for offset in (col.PLACED_AT, col.CANCELLED_AT, col.REFUNDED_AT)
    )
    valid = [gross - less for gross, less in zip(placed, cancelled, strict=True)]
    net = [kept - less for kept, less in zip(valid, refunded, strict=True)]
    for ledger, sums in ((VALID, valid), (NET, net)):
        for (name, unit), value in zip(_MEASURES, sums, strict=True):
            yield Entry(name + ledger, dimension, member, unit, value, value, sums[0], ORDERS_BASIS)

"""Ledgers of the day book: gross (placed), valid (minus cancelled), net (minus refunded too).

They are sums by the day on which an order was placed, never clamped: a refund of more than was sold
shows as a negative net, which is a finding. A member without a cancel or refund on a day has no
values of valid and net, because they equal its gross. The market always has them.

Two things cannot be known, since orders that count are forgotten: whether an order that came later
than the grace is a copy of one that counts, and whether an order counted before a copy of it was
refused. A value contains the former, and not the corrections of the latter. ``lower`` is the value if
all late orders are copies and all of these orders counted; ``upper`` is the value. What is corrected
is subtracted from both: an order that came in time and late is cancelled once.
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
)
from streams.index.partials import Block, Layout, Row
from streams.index.values import ratio

VALID, NET = "_valid", "_net"
"""Suffix of an index name by ledger. Gross has no suffix."""
GROSS = ""
_MEASURES = (("orders", "count"), ("units", "count"), ("sales", "minor"))
_LESS = {GROSS: (), VALID: (col.CANCELLED_AT,), NET: (col.CANCELLED_AT, col.REFUNDED_AT)}
LATE, CANCEL, REFUND, DEFINITION = "late", "cancel", "refund", "definition"
"""Causes of a revision."""


def book_entries(layout: Layout, row: Row) -> Iterator[Entry]:
    """Every index of a local day in all ledgers. Members with no events are left out."""
    yield from _three(MARKET, ALL, row, 0, GROSS)
    yield from _paid(MARKET, ALL, row, col.DAY_PAYMENTS)
    blocks = ((CATEGORY, layout.day_category), (METHOD, layout.day_method))
    for dimension, block in blocks:
        for member, at in _members(block):
            if _any(row, at, col.PLACED_AT, col.PLACED_AT + 3):
                yield from _three(dimension, member, row, at, GROSS)
            if dimension == METHOD and row[at + col.DAY_METHOD_PAYMENTS_AT]:
                yield from _paid(dimension, member, row, at + col.DAY_METHOD_PAYMENTS_AT)
    yield from _three(MARKET, ALL, row, 0, VALID)
    yield from _three(MARKET, ALL, row, 0, NET)
    for dimension, block in blocks:
        for member, at in _members(block):
            if _any(row, at, col.CANCELLED_AT, col.REFUNDED_AT + 3):
                yield from _three(dimension, member, row, at, VALID)
                yield from _three(dimension, member, row, at, NET)
    total = row[col.DAY_PAYMENTS]
    placed = total - row[col.UNPLACED_PAYMENTS]
    yield Entry(
        "cohort_coverage", MARKET, ALL, "ratio", ratio(placed, total), placed, total, PAYMENTS_BASIS
    )


def net_sales(row: Row) -> int:
    """Net sales of the market in a row of the day book, in minor units."""
    return _left(row, 2, NET)


def net_orders(row: Row) -> int:
    """Orders in a row of the day book that were neither cancelled nor refunded."""
    return _left(row, 0, NET)


def _left(row: Row, at: int, ledger: str) -> int:
    return row[at] + row[at + col.LATE_AT] - sum(row[at + less] for less in _LESS[ledger])


def _unsure(row: Row, at: int, ledger: str) -> int:
    """How much less it may be: by late orders that are copies, and by corrections that wait."""
    waiting = (row[at + col.WAITING_AT + less] for less in _LESS[ledger])
    return row[at + col.LATE_AT] + sum(waiting)


def _three(dimension: str, member: str, row: Row, at: int, ledger: str) -> Iterator[Entry]:
    """Orders, units and sales of one ledger; ``at``: the first column of the member."""
    left = [_left(row, at + offset, ledger) for offset in range(3)]
    unsure = [_unsure(row, at + offset, ledger) for offset in range(3)]
    for (name, unit), value, less in zip(_MEASURES, left, unsure, strict=True):
        limits = (float(value - less), float(value)) if any(unsure) else (None, None)
        yield Entry(
            name + ledger, dimension, member, unit, value, value, left[0], ORDERS_BASIS,
            False, *limits,
        )  # fmt: skip


def _paid(dimension: str, member: str, row: Row, at: int) -> Iterator[Entry]:
    captured, amount = row[at], row[at + 1]
    yield Entry(
        "payments", dimension, member, "count", captured, captured, captured, PAYMENTS_BASIS
    )
    yield Entry("amount", dimension, member, "minor", amount, amount, captured, PAYMENTS_BASIS)


def _any(row: Row, at: int, start: int, stop: int) -> bool:
    """Whether a member has anything in these columns, or late or waiting beside them."""
    beside = at + col.LATE_AT
    return any(row[at + start : at + stop]) or any(row[beside + start : beside + stop])


def cause_of(layout: Layout, entry: Entry, old: Row, new: Row) -> str:
    """Why a value of a day that is over changed: decided by which of its columns differ."""
    if entry.basis == PAYMENTS_BASIS:
        return LATE
    at = _column(layout, entry)

    def moved(offset: int) -> bool:
        spans = (slice(start, start + 3) for start in (at + offset, at + col.LATE_AT + offset))
        return any(old[span] != new[span] for span in spans)

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

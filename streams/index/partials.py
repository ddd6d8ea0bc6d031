"""Member rows: what level 2 merges. A row is one flat list of integers; the edition fixes its columns.

A row of the live book (by ``occurred_at``) and a row of the day book (by ``placed_at``) are plain sums,
so merging is addition, in any order and any grouping. ``Layout`` says what each column means; it is part
of the methodology's hash (``ROW_FORMAT``). Rows of level 1 count by label (``label_rows``), with the
same totals and the same columns of each label.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from operator import add

from streams.index.methodology import Market

# Columns of a live row before its dimension blocks.
ORDERS, UNITS, SALES = 0, 1, 2
PAYMENTS, AMOUNT, FAILED, PAYMENT_REFUNDS, REFUND_AMOUNT = 3, 4, 5, 6, 7
CANCELLED, REFUNDED = 8, 9
SHOPPER_ORDERS, NEW_KNOWN, NEW_SHOPPERS = 10, 11, 12
BOUGHT = slice(SHOPPER_ORDERS, NEW_SHOPPERS + 1)
"""Columns of a live row that count by shopper. The sketch of the shoppers lies beside the row."""
UNCERTAIN = 13  # by how many orders, at most, members that unite labels may be too large
CHOSEN = 17  # placed orders that name a payment method
REFUND_FAILURES, UNREFUNDED_AMOUNT, DISPUTES, DISPUTED_AMOUNT = 18, 19, 20, 21
REVERSALS, REVERSED_AMOUNT = 22, 23
LIVE_TOTALS = 24  # 14 to 16 are free: more would move the blocks

CATEGORY_WIDTH = 3  # orders, units, sales
METHOD_WIDTH = 6  # orders that chose it, their units and sales; captured payments, amount; failed
CHOSEN_AT, CHOSEN_UNITS_AT, CHOSEN_SALES_AT, CAPTURED_AT, AMOUNT_AT, FAILED_AT = range(6)
REGION_WIDTH = 3
CHANNEL_WIDTH = 3

# Columns of a day row: the parts of the three ledgers, then payments, then the dimension blocks.
PLACED_AT, CANCELLED_AT, REFUNDED_AT = 0, 3, 6  # each: orders, units, sales
LATE_AT = 9  # orders, units, sales placed by events later than the grace; in no ledger yet
WAITING_AT = 9  # + CANCELLED_AT, + REFUNDED_AT: of corrections that wait for their refused order
DAY_PAYMENTS, DAY_AMOUNT, DAY_FAILED, DAY_PAYMENT_REFUNDS, DAY_REFUND_AMOUNT = 18, 19, 20, 21, 22
UNPLACED_PAYMENTS = 23  # of DAY_PAYMENTS: captured without placed_at, so on the payment's own day
DAY_UNCERTAIN = 24  # as UNCERTAIN, over all parts
DAY_REFUND_FAILURES, DAY_UNREFUNDED_AMOUNT, DAY_DISPUTES, DAY_DISPUTED_AMOUNT = 25, 26, 27, 28
DAY_REVERSALS, DAY_REVERSED_AMOUNT = 29, 30
DAY_TOTALS = 32
DAY_CATEGORY_WIDTH = 18
DAY_METHOD_WIDTH = 23  # eighteen as for a category, by chosen method; then the five of payments
DAY_METHOD_PAYMENTS_AT = 18
DAY_PLACED_WIDTH = 1  # of a region or channel in a label row: orders placed, in time

Row = list[int]
_WIDE = 2**63


@dataclass(frozen=True, slots=True)
class Block:
    """The columns of one dimension, at ``base + width * member index + offset``."""

    base: int
    width: int
    members: tuple[str, ...]

    @property
    def end(self) -> int:
        """First column after the block."""
        return self.base + self.width * len(self.members)

    def at(self, member: str) -> int:
        """First column of a member."""
        return self.base + self.width * self.members.index(member)


class Layout:
    """Columns of one market's rows. ``live_width`` and ``day_width`` are their lengths."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self.category = Block(LIVE_TOTALS, CATEGORY_WIDTH, market.categories)
        self.method = Block(self.category.end, METHOD_WIDTH, market.methods)
        self.region = Block(self.method.end, REGION_WIDTH, market.regions)
        self.channel = Block(self.region.end, CHANNEL_WIDTH, market.channels)
        self.live_width = self.channel.end
        self.day_category = Block(DAY_TOTALS, DAY_CATEGORY_WIDTH, market.categories)
        self.day_method = Block(self.day_category.end, DAY_METHOD_WIDTH, market.methods)
        self.day_width = self.day_method.end


def add_into(total: Row, row: Row) -> None:
    """Add a row to a total of the same width, in place."""
    total[:] = map(add, total, row)


def sum_rows(rows: Iterable[Row], width: int) -> Row:
    """Column sums of the rows; zeros when there are no rows."""
    columns = list(zip(*rows, strict=True))
    return list(map(sum, columns)) if columns else [0] * width


def to_wire(row: Row) -> list[int | str]:
    """Sparse form of a row: column, value, column, value, .. of its nonzero values.

    A sum beyond 64 bits (over partitions and days) is written as decimal text:
    none of our wire formats holds a wider integer, and no sum may wrap.
    """
    sparse: list[int | str] = []
    for column, value in enumerate(row):
        if value:
            sparse.append(column)
            sparse.append(value if -_WIDE <= value < _WIDE else str(value))
    return sparse


def from_wire(sparse: list[int | str], width: int) -> Row:
    """Row of the sparse form. IndexError for a column that the layout does not have."""
    row = [0] * width
    pairs = iter(sparse)
    for column, value in zip(pairs, pairs, strict=True):
        row[int(column)] = int(value)
    return row

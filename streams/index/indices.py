"""Rows of a window or a day -> the index values that every market always has, one entry each.

Counts are integers of the row. Shares and baskets are one division of two of them. This module alone
decides which columns make which index; docs/methodology.md explains each with its source.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from streams.index import partials as col
from streams.index.partials import Block, Layout, Row
from streams.index.shoppers import STANDARD_ERROR
from streams.index.values import ratio

ORDERS_BASIS, PAYMENTS_BASIS = "orders", "payments"
"""The source (kind of input) that an entry is counted from. Each source has its own as_of."""
SOURCES = (ORDERS_BASIS, PAYMENTS_BASIS)

MARKET, CATEGORY, METHOD, REGION, CHANNEL = (
    "market",
    "category",
    "payment_method",
    "region",
    "channel",
)
ALL = "all"

_OF_PAYMENTS = frozenset(
    {
        "payments",
        "amount",
        "payment_share_by_count",
        "payment_share_by_amount",
        "payment_failure_ratio",
        "payment_index",
        "digital_share",
        "mix_shift",
        "cohort_coverage",
    }
)


def source_of(index: str) -> str:
    """Return the source that an index is counted from: its values are as old as that source.

    >>> source_of("payment_chosen_share"), source_of("payment_index")
    ('orders', 'payments')
    """
    return PAYMENTS_BASIS if index in _OF_PAYMENTS else ORDERS_BASIS


class Entry(NamedTuple):
    """One index value, before its window, version and coverage are known."""

    name: str
    dimension: str
    member: str
    unit: str
    value: int | float | None
    observed: int | None
    n: int
    basis: str
    measured: bool = False
    """True when the value has no meaning without an expectation."""
    lower: float | None = None
    upper: float | None = None
    """Limits of an estimate: ``ERRORS`` standard errors below and above it."""


ERRORS = 2
"""Standard errors from an estimate to its ``lower`` and ``upper``; about 95 % of estimates err less."""
SHOPPERS, ORDERS_PER_SHOPPER, NEW_SHOPPER_SHARE = SHOPPER_INDICES = (
    "shoppers",
    "orders_per_shopper",
    "new_shopper_share",
)
SHOPPER_WINDOWS = frozenset({"1h", "24h"})
"""Live windows in which shoppers are counted. Local days count them too."""


def live_entries(layout: Layout, orders: Row, payments: Row) -> Iterator[Entry]:
    """Every index of a live window.

    ``orders`` and ``payments``: the window's row at the as_of of each topic.
    """
    count = orders[col.ORDERS]
    yield from _three(MARKET, ALL, orders, col.ORDERS)
    yield _mean("basket_sales", "minor", orders[col.SALES], count)
    yield _mean("basket_units", "ratio", orders[col.UNITS], count)
    yield from _members(CATEGORY, layout.category, orders)
    for member, at in _columns(layout.category):
        yield _share("category_share_by_orders", CATEGORY, member, orders[at], count, count)
        yield _share(
            "category_share_by_sales", CATEGORY, member, orders[at + 2], orders[col.SALES], count
        )
    yield from _members(METHOD, layout.method, orders)
    chosen = orders[col.CHOSEN]
    for member, at in _columns(layout.method):
        yield _share("payment_chosen_share", METHOD, member, orders[at], chosen, chosen)
    yield from _members(REGION, layout.region, orders)
    yield from _members(CHANNEL, layout.channel, orders)
    yield from _payment_entries(layout, payments)


def with_something(entries: Iterable[Entry]) -> set[tuple[str, str]]:
    """Return (dimension, member) of the market and of what has any count: few in a quiet hour."""
    return {(each.dimension, each.member) for each in entries if each.observed} | {(MARKET, ALL)}


def _payment_entries(layout: Layout, row: Row) -> Iterator[Entry]:
    captured, amount, failed = row[col.PAYMENTS], row[col.AMOUNT], row[col.FAILED]
    yield _count("payments", MARKET, ALL, "count", captured, captured, PAYMENTS_BASIS)
    yield _count("amount", MARKET, ALL, "minor", amount, captured, PAYMENTS_BASIS)
    yield _failure(MARKET, ALL, failed, captured)
    digital = 0
    for member, at in _columns(layout.method):
        own, own_amount = row[at + col.CAPTURED_AT], row[at + col.AMOUNT_AT]
        yield _count("payments", METHOD, member, "count", own, own, PAYMENTS_BASIS)
        yield _count("amount", METHOD, member, "minor", own_amount, own, PAYMENTS_BASIS)
        yield _share(
            "payment_share_by_count", METHOD, member, own, captured, captured, PAYMENTS_BASIS
        )
        yield _share(
            "payment_share_by_amount", METHOD, member, own_amount, amount, captured, PAYMENTS_BASIS
        )
        yield _failure(METHOD, member, row[at + col.FAILED_AT], own)
        if member in layout.market.digital:
            digital += own
    yield _share("digital_share", MARKET, ALL, digital, captured, captured, PAYMENTS_BASIS)


def shopper_entries(orders: int, known: int, new: int, shoppers: int) -> Iterator[Entry]:
    """Shoppers, orders a shopper, and the share of orders that are a shopper's first.

    ``orders``: orders that name a shopper. ``known``: orders that state whether the shopper is new.
    ``new``: orders that state the shopper is new. ``shoppers``: how many different shoppers, as
    estimated (``shoppers.estimate``).

    >>> [(each.value, each.lower, each.upper) for each in shopper_entries(300, 200, 30, 200)]
    [(200, 193.5, 206.5), (1.5, 1.4527845036319613, 1.550387596899225), (0.15, None, None)]
    """
    lower = upper = least = most = None
    if shoppers:
        error = ERRORS * STANDARD_ERROR
        lower, upper = shoppers * (1 - error), shoppers * (1 + error)
        least, most = orders / upper, orders / lower
    whole = MARKET, ALL
    yield Entry(
        SHOPPERS, *whole, "count", shoppers or None, shoppers, orders, ORDERS_BASIS,
        lower=lower, upper=upper,
    )  # fmt: skip
    each = ratio(orders, shoppers)
    yield Entry(
        ORDERS_PER_SHOPPER, *whole, "ratio", each, orders, orders, ORDERS_BASIS,
        lower=least, upper=most,
    )  # fmt: skip
    yield _share(NEW_SHOPPER_SHARE, *whole, new, known, known)


def _columns(block: Block) -> Iterator[tuple[str, int]]:
    return zip(block.members, range(block.base, block.end, block.width), strict=True)


def _members(dimension: str, block: Block, row: Row) -> Iterator[Entry]:
    for member, at in _columns(block):
        yield from _three(dimension, member, row, at)


def _three(dimension: str, member: str, row: Row, at: int) -> tuple[Entry, Entry, Entry]:
    count, units, sales = row[at : at + 3]
    return (
        Entry("orders", dimension, member, "count", count, count, count, ORDERS_BASIS),
        Entry("units", dimension, member, "count", units, units, count, ORDERS_BASIS),
        Entry("sales", dimension, member, "minor", sales, sales, count, ORDERS_BASIS),
    )


def _count(
    index: str, dimension: str, member: str, unit: str, value: int, n: int, basis: str
) -> Entry:
    return Entry(index, dimension, member, unit, value, value, n, basis)


def _share(
    index: str,
    dimension: str,
    member: str,
    part: int,
    whole: int,
    n: int,
    basis: str = ORDERS_BASIS,
) -> Entry:
    return Entry(index, dimension, member, "ratio", ratio(part, whole), part, n, basis)


def _mean(index: str, unit: str, total: int, count: int) -> Entry:
    return Entry(index, MARKET, ALL, unit, ratio(total, count), total, count, ORDERS_BASIS)


def _failure(dimension: str, member: str, failed: int, captured: int) -> Entry:
    tried = failed + captured
    value = ratio(failed, tried)
    return Entry(
        "payment_failure_ratio", dimension, member, "ratio", value, failed, tried, PAYMENTS_BASIS
    )

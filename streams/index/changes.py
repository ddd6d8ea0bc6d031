"""Change of orders against the same local hours a day and a week earlier."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from streams.index import partials as col
from streams.index.demand import change
from streams.index.hours import LocalHours
from streams.index.indices import ALL, CATEGORY, MARKET, ORDERS_BASIS, Entry
from streams.index.panes import HOUR_MS
from streams.index.partials import CATEGORY_WIDTH, Layout, Row

AGO_DAYS = {"change_day": 1, "change_week": 7}
CHANGES = frozenset(AGO_DAYS)
HOURS = {"1h": 1, "24h": 24}
"""Windows that are compared, in whole hours: rows older than a day are kept by the hour."""


def hours_before(
    hours: LocalHours, end_ms: int, count: int, days: int
) -> tuple[list[int], list[int]]:
    """(starts of the last ``count`` hours before ``end_ms``, starts of those hours ``days`` earlier)."""
    own = list(range(end_ms - count * HOUR_MS, end_ms, HOUR_MS))
    return own, [hours.days_before(hour_ms, days) for hour_ms in own]


def change_entries(
    layout: Layout, changes: Mapping[str, tuple[Row, Row] | None]
) -> Iterator[Entry]:
    """Change of orders of the market and of each category.

    ``changes``: index name -> (row now, row before), or None where the earlier hours are not known.
    """
    for name, rows in changes.items():
        yield _entry(name, MARKET, ALL, rows, col.ORDERS)
        for index, member in enumerate(layout.category.members):
            at = layout.category.base + CATEGORY_WIDTH * index
            yield _entry(name, CATEGORY, member, rows, at)


def _entry(name: str, dimension: str, member: str, rows: tuple[Row, Row] | None, at: int) -> Entry:
    if rows is None:
        return Entry(name, dimension, member, "ratio", None, None, 0, ORDERS_BASIS)
    now, before = rows[0][at], rows[1][at]
    return Entry(name, dimension, member, "ratio", change(now, before), now, now, ORDERS_BASIS)

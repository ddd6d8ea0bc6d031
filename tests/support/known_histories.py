"""Histories of hours whose expectation is known: a season, a growth and planted factors."""

from __future__ import annotations

import math

import numpy as np

from streams.index.expectation import Vintage, fit
from streams.index.hours import calendar_of, local_hours
from streams.index.learning import WHOLE, lessons
from streams.index.panes import HOUR_MS, day_number
from streams.index.season import ColumnRelations

ORDERS, BOOKS, SALES = range(3)
"""Columns of the histories here: the market's orders, one category's, and the category's sales."""
COLUMNS = ColumnRelations(
    size_of=np.array([ORDERS, BOOKS, BOOKS]), shape_of=np.array([ORDERS, ORDERS, ORDERS])
)
SCOPES = [WHOLE, ("category", "books"), ("category", "books")]


def season(cell: int) -> float:
    """Factor of an hour of the week: busy evenings, quiet nights, a weekend that begins on Friday."""
    hour, weekday = cell % 24, cell // 24
    return (1 + 0.8 * math.sin((hour - 9) / 12 * math.pi)) * (1.3 if weekday >= 4 else 1.0)


class History:
    """Expected orders of a market by hour: ``rate`` an hour, ``growth`` a week, planted factors."""

    def __init__(self, day="2026-11-24", zone="Asia/Karachi", rate=6000.0, growth=0.0, share=0.1):
        self.hours = local_hours(zone)
        self.day = day_number(day)
        self.calendar = calendar_of(self.hours, self.day)
        self.origin_ms = self.hours.hours_of(self.day).start
        self.rate, self.growth, self.share = rate, growth, share
        self.counts = np.array([self.row(hour_ms) for hour_ms in self.calendar.hours_ms])

    def row(self, hour_ms: int) -> list[float]:
        """Expected counts of an hour, without planted events."""
        weeks = (hour_ms - self.origin_ms) / (168 * HOUR_MS)
        orders = self.rate * season(self.hours.cell(hour_ms)) * (1 + self.growth) ** weeks
        return [orders, orders * self.share, orders * self.share * 2_000]

    def start_of(self, days: int) -> int:
        """First hour of the local day ``days`` after the vintage's."""
        return self.hours.hours_of(self.day + days).start

    def between(self, first_day: int, last_day: int) -> slice:
        """Rows of the local days ``first_day..last_day``, counted from the vintage's (negative)."""
        hours = self.calendar.hours_ms
        start, end = self.start_of(first_day), self.start_of(last_day + 1)
        return slice(sum(hour < start for hour in hours), sum(hour < end for hour in hours))

    def vintage(self, known_from=None, **adjustments) -> Vintage:
        known = np.ones_like(self.counts)
        if known_from is not None:
            known[np.array(self.calendar.hours_ms) < known_from] = 0
        learnt, factors = lessons(self.calendar, SCOPES, known, **adjustments)
        return fit(self.calendar, self.counts, COLUMNS, learnt, factors)

    def off(self, vintage: Vintage, column=ORDERS) -> float:
        """Relative error of E of the vintage's day: E over the known expectation, minus 1."""
        known = sum(self.row(hour_ms)[column] for hour_ms in self.hours.hours_of(self.day))
        return sum(vintage.expected[column][self.calendar.own]) / 1e6 / known - 1

    def worst_hour(self, vintage: Vintage, column=ORDERS) -> float:
        """Largest relative error of an hour of the day, the error of the whole day divided out."""
        own = self.hours.hours_of(self.day)
        level = 1 + self.off(vintage, column)
        pairs = zip(vintage.expected[column][self.calendar.own], own, strict=True)
        return max(abs(found / 1e6 / level / self.row(ms)[column] - 1) for found, ms in pairs)

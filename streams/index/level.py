"""The level of a day's net sales: 100 x net sales / mean of the base period.

A base is integers, the net sales of its days and how many days they are, so that a level is one division
and a change of base one factor. Source: Consumer Price Index Manual (ILO, IMF and others, 2020), chapter
9, on index reference periods and linking.
"""

from __future__ import annotations

from typing import NamedTuple

from streams.index.values import ratio

LEVEL = "sales_level_index"
"""Name of the index: day values of the market as a whole."""


class BasePeriod(NamedTuple):
    """A base as methodology.toml names it: local days ``[first, end)``, numbers since 1970."""

    first: int
    end: int
    net_minor: int | None = None
    """Net sales of these days where the operator states them: the log does not hold the days."""


class Base(NamedTuple):
    """Net sales of a base period, in minor units."""

    first: int
    end: int
    net_minor: int
    final: bool
    """Whether no cancel or refund can change it any more."""

    @property
    def days(self) -> int:
        """Local days of the period; one without an order counts as one with nothing."""
        return self.end - self.first

    @property
    def mean(self) -> float:
        """Mean of a day."""
        return self.net_minor / self.days


def level(net_minor: int, base: Base) -> float | None:
    """Level of a day; the mean of the base is 100. None where the base has sold nothing.

    >>> level(4_400, Base(0, 4, 16_000, True))
    110.0
    """
    return ratio(100 * net_minor * base.days, base.net_minor) if base.net_minor > 0 else None


def link(old: Base, new: Base) -> float | None:
    """Factor from levels on the old base to those on the new: 100 / old level over the new base.

    >>> link(Base(0, 4, 16_000, True), Base(4, 6, 10_000, True))
    0.8
    """
    if old.net_minor <= 0 or new.net_minor <= 0:
        return None
    return ratio(old.net_minor * new.days, new.net_minor * old.days)

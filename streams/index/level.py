"""The level of a day's net sales: 100 x net sales / mean of the base period.

A base is two integers: the net sales of its days and the number of its days. So a level is one division
and a change of base is one factor. Source: Consumer Price Index Manual (ILO, IMF and others, 2020),
chapter 9, on index reference periods and linking.
"""

from __future__ import annotations

from typing import NamedTuple

from streams.index.values import ratio

LEVEL = "sales_level_index"
"""Name of the index. It has day values, for the market as a whole."""


class BasePeriod(NamedTuple):
    """A base as methodology.toml names it: local days ``[first, end)``, in days since 1970-01-01."""

    first: int
    end: int
    net_minor: int | None = None
    """Net sales of these days as the operator states them, for days that the log does not hold."""


class Base(NamedTuple):
    """A base period, local days ``[first, end)``, with its net sales in minor units."""

    first: int
    end: int
    net_minor: int
    final: bool
    """True when no cancel or refund can change it any more."""

    @property
    def days(self) -> int:
        """Number of local days in the period. A day without an order counts too."""
        return self.end - self.first

    @property
    def mean(self) -> float:
        """Mean net sales of a day, in minor units."""
        return self.net_minor / self.days


def level(net_minor: int, base: Base) -> float | None:
    """Level of a day; the mean of the base is 100. None when the base has no positive net sales.

    >>> level(4_400, Base(0, 4, 16_000, True))
    110.0
    """
    return ratio(100 * net_minor * base.days, base.net_minor) if base.net_minor > 0 else None


def link(old: Base, new: Base) -> float | None:
    """Factor from levels on the old base to levels on the new: 100 / the old level over the new base.

    >>> link(Base(0, 4, 16_000, True), Base(4, 6, 10_000, True))
    0.8
    """
    if old.net_minor <= 0 or new.net_minor <= 0:
        return None
    return ratio(old.net_minor * new.days, new.net_minor * old.days)

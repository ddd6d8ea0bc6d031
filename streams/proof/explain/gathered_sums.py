"""The sums that a value is made of, read from the counted values published beside it. No IO."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from streams.index.indices import (
    MARKET,
    METHOD,
    SHOPPER_INDICES,
)
from streams.index.methodology import Market
from streams.index.values import Value
from streams.proof.explain.explanation_types import Based, CountedRows, Number, PublishedValue, Term
from streams.proof.recompute.formulas import (
    Expected,
    day_values_of,
    shopper_values_of,
    window_values_of,
)
from streams.proof.recompute.sums import Sums

_PAID = {"payments": "captured", "amount": "amount"}
"""Index -> name of its sum for a method, where the two differ."""


def sum_of(index: str, dimension: str, member: str, *, day: bool) -> str:
    """Return the name of the sum that a counted value publishes."""
    prefix = {MARKET: "", METHOD: f"method/{member}/"}.get(dimension, f"{dimension}/{member}/")
    if index in _PAID:
        return f"{prefix}{_PAID[index]}" if prefix else index
    return f"{prefix}placed/{index}" if day else f"{prefix}{index}"


@dataclass(slots=True)
class Parts:
    """Inputs of a formula. It records the terms that were read, and the sums made of them."""

    value: Value
    market: Market
    where: str
    find: Callable[[str, str, str], PublishedValue | None]
    """(index, dimension, member) -> the record of the same window and publication."""
    exact: Callable[[], int]
    """The expectation in millionths; raises NotKnownError."""
    mix: Callable[[], list[int]]
    """The expectation of each method's payments; raises NotKnownError."""
    before: Callable[[], tuple[int, int]]
    """(orders counted earlier, hours of them); raises NotKnownError."""
    base: Callable[[], Based]
    """The base that a level is measured against; raises NotKnownError."""
    rows: CountedRows | None = None
    """Rows that the value's own count is made of; None: they were not read."""
    terms: list[Term] = field(default_factory=list)
    sums: Sums = field(default_factory=Sums)
    shoppers: int = 0
    """Estimated number of different shoppers."""
    limits: tuple[float | None, float | None] = (None, None)
    """``lower`` and ``upper`` of an estimated number."""
    calculation: str = ""

    @property
    def prefix(self) -> str:
        """Prefix of the sums of the value's own member."""
        return sum_of("", self.value.dimension, self.value.member, day=False)

    def own(self, name: str, number: int | None) -> int:
        """Record a field of the value itself as a term, and return it; 0 for None."""
        self.terms.append(Term(name, number, self.where))
        return number or 0

    def observed(self, name: str, index: str, dimension: str, member: str) -> int | None:
        """Return another record's count, kept as a sum; None without one: the member had nothing."""
        found = self.find(index, dimension, member)
        if found is None:
            return None
        self.terms.append(Term(name, found.value.observed, found.where))
        count = found.value.observed or 0
        self.sums[sum_of(index, dimension, member, day=self.value.day is not None)] = count
        return count

    def counted(self) -> Expected:
        """Compute the value's index and member from the sums."""
        value, sums = self.value, self.sums
        if value.index in SHOPPER_INDICES:
            values = shopper_values_of(self.shoppers, sums)
        elif value.day is not None:
            values = day_values_of(value.dimension, value.member, sums)
        else:
            values = window_values_of(self.market, value.dimension, value.member, sums, sums)
        found = next(each for each in values if each.index == value.index)
        self.limits = found.lower, found.upper
        return found

    def divided(self) -> Number | None:
        """Divide two sums, and record the division."""
        found = self.counted()
        return self.result(f"{found.observed} / {found.whole}", found.value)

    def result(self, calculation: str, number: Number | None) -> Number | None:
        """Record how the number was made, and return it."""
        self.calculation = f"{calculation} = {number}"
        return number

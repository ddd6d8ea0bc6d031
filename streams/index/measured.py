"""Values measured against the expectation: what each one counts, its band, and the demand indices.

An expectation has the columns of a live row. So ``indices.live_entries`` of an expected row gives, in
``observed``, the expected observation of each value, and no column is named twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from streams.index import partials as col
from streams.index.band import band
from streams.index.changes import CHANGES
from streams.index.demand import SCALE, demand_index, mix_shift
from streams.index.indices import (
    ALL,
    CATEGORY,
    CHANNEL,
    MARKET,
    METHOD,
    PAYMENTS_BASIS,
    REGION,
    Entry,
    live_entries,
)
from streams.index.noise import Noise
from streams.index.partials import Layout, Row
from streams.index.values import DAY_WINDOW

DEMAND = {
    "orders": "demand_index_orders",
    "units": "demand_index_units",
    "sales": "demand_index_sales",
    "payments": "payment_index",
}
"""Counted index -> its demand index."""
DEMAND_DIMENSIONS = frozenset({MARKET, CATEGORY, REGION, CHANNEL})
MEASURED = frozenset({*DEMAND.values(), "mix_shift", *CHANGES})
"""Indices against an expectation or an earlier window. Only a live market has them."""
PAYMENT_DIMENSIONS = frozenset({MARKET, METHOD})
_WHOLE_DAYS = frozenset({"24h", DAY_WINDOW})

Name = tuple[str, str, str]
"""(index, dimension, member)."""


class ValueExpectation(NamedTuple):
    """Expectation of one value, on the scale of its ``observed``.

    ``exact`` is an integer in units of 1 / SCALE; ``expected`` is the same as a number. ``lower`` and
    ``upper`` limit the band. ``warming``: learnt from too few days to rely on.
    """

    exact: int
    lower: float
    upper: float
    vintage: str
    warming: bool

    @property
    def expected(self) -> float:
        """The expectation as it is published."""
        return self.exact / SCALE


class ExpectedRow(NamedTuple):
    """Expectation of a span, by the columns of a live row. A column not in ``noise`` has none."""

    row: Row
    noise: Mapping[int, Noise]
    warming: frozenset[int]
    vintage: str


def columns_of(layout: Layout) -> dict[Name, int]:
    """Column whose noise applies to each value: the column that is its ``observed``, or most of it."""
    numbered = list(range(layout.live_width))
    found = {
        (entry.name, entry.dimension, entry.member): int(entry.observed or 0)
        for entry in live_entries(layout, numbered, numbered)
    }
    found["digital_share", MARKET, ALL] = col.PAYMENTS
    return found


def window_expectations(
    entries: Iterable[Entry],
    layout: Layout,
    columns: Mapping[Name, int],
    orders: ExpectedRow | None,
    payments: ExpectedRow | None,
    window: str,
) -> list[ValueExpectation | None]:
    """Expectation of each entry of a live window; None where nothing is known.

    ``orders`` and ``payments``: the expected row of the window, by basis.
    """
    if orders is None and payments is None:
        return [None for _ in entries]
    zeros = [0] * layout.live_width
    expected = live_entries(
        layout,
        zeros if orders is None else orders.row,
        zeros if payments is None else payments.row,
    )
    bands: dict[tuple[int, int], tuple[float, float]] = {}
    found: list[ValueExpectation | None] = []
    for entry, wanted in zip(entries, expected, strict=True):
        row = payments if entry.basis == PAYMENTS_BASIS else orders
        column = columns[entry.name, entry.dimension, entry.member]
        noise = None if row is None else row.noise.get(column)
        if row is None or noise is None:
            found.append(None)
            continue
        exact = wanted.observed or 0
        limits = bands.get((column, exact))
        if limits is None:
            limits = bands[column, exact] = _limits(exact, noise, window)
        found.append(ValueExpectation(exact, *limits, row.vintage, column in row.warming))
    return found


def day_expectations(
    entries: Iterable[Entry], columns: Mapping[Name, int], span: ExpectedRow | None
) -> list[ValueExpectation | None]:
    """Expectation of a local day's gross orders, units and sales, up to what has passed of the day.

    A day counts a payment on the day of its order. No hour knows that day, so payments have no
    expectation.
    """
    found: list[ValueExpectation | None] = []
    for entry in entries:
        column = columns.get((entry.name, entry.dimension, entry.member))
        noise = None if span is None or column is None else span.noise.get(column)
        if span is None or column is None or noise is None or entry.basis == PAYMENTS_BASIS:
            found.append(None)
            continue
        exact = span.row[column]
        limits = _limits(exact, noise, DAY_WINDOW)
        found.append(ValueExpectation(exact, *limits, span.vintage, column in span.warming))
    return found


def _limits(exact: int, noise: Noise, window: str) -> tuple[float, float]:
    relative = noise.day if window in _WHOLE_DAYS else noise.hour
    worth = noise.dispersion / SCALE
    found = band(exact / SCALE, relative / SCALE, worth if worth > 0 else 1.0)
    return found.lower, found.upper


def demand_entries(
    entries: Sequence[Entry], expectation: Sequence[ValueExpectation | None]
) -> Iterator[tuple[Entry, ValueExpectation | None]]:
    """Demand and payment indices of a window's entries, and the shift of its payment mix."""
    mix: list[tuple[int, int]] = []
    known = True
    for entry, own in zip(entries, expectation, strict=True):
        name = DEMAND.get(entry.name)
        dimensions = PAYMENT_DIMENSIONS if entry.basis == PAYMENTS_BASIS else DEMAND_DIMENSIONS
        if name is None or entry.dimension not in dimensions:
            continue
        observed = entry.observed or 0
        value = None if own is None else demand_index(observed, own.exact)
        yield entry._replace(name=name, unit="index", value=value, measured=True), own
        if entry.name == "payments" and entry.dimension == METHOD:
            known = known and own is not None
            mix.append((observed, 0 if own is None else own.exact))
    whole = next(
        (own for entry, own in zip(entries, expectation, strict=True) if _is_all_payments(entry)),
        None,
    )
    captured = [observed for observed, _ in mix]
    shift = mix_shift(captured, [exact for _, exact in mix]) if known and mix else None
    total = sum(captured)
    yield (
        Entry("mix_shift", MARKET, ALL, "ratio", shift, total, total, PAYMENTS_BASIS, True),
        whole if known else None,
    )


def _is_all_payments(entry: Entry) -> bool:
    return entry.name == "payments" and entry.dimension == MARKET

"""Says which span a value covers, and what else must be read to explain it. No IO."""

from __future__ import annotations

from typing import NamedTuple

from streams.index.changes import AGO_DAYS, HOURS, hours_before
from streams.index.hours import LocalHours
from streams.index.indices import ALL, MARKET, METHOD
from streams.index.instants import parse_instant
from streams.index.level import LEVEL
from streams.index.measured import DEMAND
from streams.index.methodology import Market
from streams.index.panes import day_number
from streams.index.spans import hours_of_span
from streams.index.values import WINDOWS_MS, Value

Series = tuple[str, str, str]
"""(dimension, member, measure) of a vintage."""

_MEASURE = {
    "orders": "orders",
    "units": "units",
    "sales": "sales",
    "payments": "payments",
    "amount": "amount",
    "category_share_by_orders": "orders",
    "category_share_by_sales": "sales",
    "payment_share_by_count": "payments",
    "payment_share_by_amount": "amount",
    "payment_chosen_share": "orders",
    "payment_failure_ratio": "failed",
    "digital_share": "payments",
    "basket_sales": "sales",
    "basket_units": "units",
    "mix_shift": "payments",
    **{name: counted for counted, name in DEMAND.items()},
}
"""Index -> the measure whose expectation its values publish."""
_COUNTED = {
    **{name: counted for counted, name in DEMAND.items()},
    "mix_shift": "payments",
    LEVEL: "sales_net",
}


class ValueSpan(NamedTuple):
    """``[start_ms, end_ms)`` of a window or day, and from where in it the log covers it."""

    start_ms: int
    end_ms: int
    covered_from_ms: int


class JournalQuery(NamedTuple):
    """What to search the journal for."""

    key: str
    days: frozenset[int]
    """Local days whose vintages make the expectation."""
    series: frozenset[Series]
    closing: tuple[str, str, str]
    """(index, dimension, member) of the value in hour and day closings."""
    former: tuple[str, ...]
    """Ids that the member had: records of before its rename name it by them."""
    hours: frozenset[int]
    day_start_ms: int | None = None
    base: str | None = None
    """Name of the base that a level is measured against."""


def span_of(value: Value, hours: LocalHours) -> ValueSpan:
    """Span of a value, from its record alone."""
    end_ms = parse_instant(value.as_of)
    assert end_ms is not None  # the contract requires an instant
    if value.day is not None:
        start_ms = hours.local_days.start_ms(day_number(value.day))
        return ValueSpan(start_ms, end_ms, start_ms)
    length_ms = WINDOWS_MS[value.window]
    if value.index in AGO_DAYS:  # whole hours, ending at the last whole one
        return ValueSpan(end_ms - length_ms, end_ms, end_ms - length_ms)
    return ValueSpan(end_ms - length_ms, end_ms, end_ms - round(value.covered * length_ms))


def series_of(value: Value, market: Market) -> tuple[Series, ...]:
    """Series whose sum is the ``expected`` of the value; empty without an expectation."""
    measure = _MEASURE.get(value.index)
    if measure is None or value.expected is None:
        return ()
    if value.index == "digital_share":
        return tuple((METHOD, each, measure) for each in market.methods if each in market.digital)
    return ((value.dimension, value.member, measure),)


def methods_of(market: Market) -> tuple[Series, ...]:
    """Series of the payments by each method, which make the mix."""
    return tuple((METHOD, each, "payments") for each in market.methods)


def noise_series(value: Value, market: Market) -> Series:
    """Series whose noise makes the band of a value."""
    if value.index == "digital_share":
        return (MARKET, ALL, "payments")
    return series_of(value, market)[0]


def former_ids(market: Market, dimension: str, member: str) -> tuple[str, ...]:
    """Return the ids that a member had."""
    of = (dimension, member)
    return tuple(former for (where, former), now in market.renamed.items() if (where, now) == of)


def query_of(value: Value, market: Market, hours: LocalHours) -> JournalQuery:
    """Return what to search the journal for to explain a value."""
    span = span_of(value, hours)
    own = set(hours_of_span(span.start_ms, span.end_ms))
    closing = (_COUNTED.get(value.index, value.index), value.dimension, value.member)
    if value.index in AGO_DAYS:
        last, before = hours_before(hours, span.end_ms, HOURS[value.window], AGO_DAYS[value.index])
        own = {*last, *before}
        closing = ("orders", value.dimension, value.member)
    series: set[Series] = set()
    if value.expected is not None and value.index != LEVEL:
        series = {*series_of(value, market), noise_series(value, market)}
    if value.index == "mix_shift":
        series.update(methods_of(market))
    series |= {
        (dimension, former, measure)
        for dimension, member, measure in series
        for former in former_ids(market, dimension, member)
    }
    return JournalQuery(
        key=value.key,
        days=frozenset(hours.day_of_hour(hour_ms) for hour_ms in own),
        series=frozenset(series),
        closing=closing,
        former=former_ids(market, value.dimension, value.member),
        hours=frozenset(own),
        day_start_ms=None if value.day is None else span.start_ms,
        base=value.vintage if value.index == LEVEL else None,
    )

"""An entry of a window or day as it is published: status, coverage, expectation."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from streams.flow.market_progress import MarketProgress
from streams.index.changes import CHANGES
from streams.index.indices import MARKET, Entry
from streams.index.measured import ValueExpectation
from streams.index.values import COVERED_MIN, Value


def value_of(
    progress: MarketProgress,
    entry: Entry,
    window: str,
    as_of: str,
    covered: float,
    phase: str,
    *,
    revision: int = 0,
    day: str | None = None,
    expectation: ValueExpectation | None = None,
) -> Value:
    """Return the value of an entry at ``as_of``, with its expectation and the resulting status."""
    status, value = "ok", entry.value
    if entry.name in CHANGES and covered < 1:
        status = "filling"
    elif covered < COVERED_MIN and day is None:
        status, value = "filling", None
    elif entry.measured and (expectation is None or expectation.warming):
        status = "warming"
    elif value is None:
        status = "no_data"
    lower, upper = (None, None) if value is None else (entry.lower, entry.upper)
    return Value(
        market=progress.market.code,
        index=entry.name,
        dimension=entry.dimension,
        member=entry.member,
        window=window,
        as_of=as_of,
        value=value,
        unit=entry.unit,
        observed=entry.observed,
        covered=covered,
        n=entry.n,
        status=status,
        phase=phase,
        revision=revision,
        edition=progress.methodology.edition,
        day=day,
        expected=None if expectation is None else expectation.expected,
        lower=lower if expectation is None else expectation.lower,
        upper=upper if expectation is None else expectation.upper,
        vintage=None if expectation is None else expectation.vintage,
        definitions=_touched(progress.market.touched, entry),
    )


def _touched(touched: Mapping[tuple[str, str], int], entry: Entry) -> int | msgspec.UnsetType:
    if not touched:
        return msgspec.UNSET
    member = entry.name if entry.dimension == MARKET else entry.member
    return touched.get((entry.dimension, member), msgspec.UNSET)


def differs(old: Value, new: Value) -> bool:
    """Whether a reader would see another value."""
    return (
        old.value != new.value
        or old.observed != new.observed
        or old.n != new.n
        or old.status != new.status
        or old.covered != new.covered
        or old.phase != new.phase
        or old.definitions != new.definitions
        # The expectation moves with every pane; a published record keeps that of its own as_of.
        or (old.as_of == new.as_of and old.expected != new.expected)
        or (new.expected is None and (old.lower, old.upper) != (new.lower, new.upper))
    )

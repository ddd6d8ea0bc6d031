"""An entry of a window or day as it is published: status, coverage, what is usual for it."""

from __future__ import annotations

from streams.flow.standing import Standing
from streams.index.changes import CHANGES
from streams.index.indices import Entry
from streams.index.measured import Usual
from streams.index.values import COVERED_MIN, Value


def value_of(
    at: Standing,
    entry: Entry,
    window: str,
    as_of: str,
    covered: float,
    phase: str,
    *,
    revision: int = 0,
    day: str | None = None,
    usual: Usual | None = None,
) -> Value:
    """Value of an entry at ``as_of``: with what is usual for it, and what status that makes."""
    status, value = "ok", entry.value
    if entry.name in CHANGES and covered < 1:
        status = "filling"
    elif covered < COVERED_MIN and day is None:
        status, value = "filling", None
    elif entry.measured and (usual is None or usual.warming):
        status = "warming"
    elif value is None:
        status = "no_data"
    lower, upper = (None, None) if value is None else (entry.lower, entry.upper)
    return Value(
        market=at.market.code,
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
        edition=at.methodology.edition,
        day=day,
        expected=None if usual is None else usual.expected,
        lower=lower if usual is None else usual.lower,
        upper=upper if usual is None else usual.upper,
        vintage=None if usual is None else usual.vintage,
    )


def differs(old: Value, new: Value) -> bool:
    """Whether a reader would see another value."""
    return (
        old.value != new.value
        or old.observed != new.observed
        or old.n != new.n
        or old.status != new.status
        or old.covered != new.covered
        or old.phase != new.phase
        # What is expected moves with every pane; a record keeps that of its own as_of.
        or (old.as_of == new.as_of and old.expected != new.expected)
    )

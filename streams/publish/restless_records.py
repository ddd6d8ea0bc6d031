"""Series that are too restless to be watched within the budget: ``@restless`` of ``:values``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from streams.flow.shift_watch import SeriesStatus
from streams.index.formats import json_reader

RESTLESS_FIELD = "@restless"
RESTLESS_WORDS = "too restless to be watched within the budget: only a larger shift pages"
_decode = json_reader(list[str])
_encode = msgspec.json.Encoder().encode


def restless_text(statuses: Iterable[SeriesStatus]) -> str:
    """JSON of the restless ones, ``dimension:member`` each."""
    found = [f"{s.series.dimension}:{s.series.member}" for s in statuses if s.restless]
    return _encode(sorted(found)).decode()


def read_restless(text: str | bytes | None) -> list[str]:
    """Series of the field; none where it is missing or of a shape that is not known."""
    try:
        return _decode(text or b"[]")
    except msgspec.DecodeError:
        return []


def restless_series(fields: Sequence[str]) -> set[tuple[str, str]]:
    """(dimension, member) of each.

    >>> restless_series(["category:books"])
    {('category', 'books')}
    """
    parts = (field.partition(":") for field in fields)
    return {(dimension, member) for dimension, _, member in parts}

"""Decides which status a value must have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streams.index.changes import AGO_DAYS
from streams.index.level import LEVEL
from streams.index.values import COVERED_MIN, Value

if TYPE_CHECKING:
    from collections.abc import Callable

    from streams.proof.explain.explanation_types import Number


def status_of(
    value: Value, number: Number | None, warming: Callable[[Value], bool | None]
) -> str | None:
    """Return the status that a value must have; None where the records do not tell."""
    if value.index in AGO_DAYS and value.covered < 1:
        return "filling"
    if value.covered < COVERED_MIN and (value.day is None or value.index == LEVEL):
        return "filling"
    if value.index == LEVEL and value.vintage is None:
        return "warming"
    measured = value.index in ("payment_index", "mix_shift") or value.index.startswith("demand_")
    if measured:
        found = warming(value)
        if found is None or found:
            return None if found is None else "warming"
    return "no_data" if number is None else "ok"

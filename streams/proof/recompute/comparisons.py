"""Recomputes the indices that are measured against an expectation, earlier hours or a base."""

from __future__ import annotations

from streams.index.demand import SCALE


def demand_index(observed: int, expected: int) -> float | None:
    """Return 100 x observed / expected (millionths); None if nothing was expected."""
    return 100 * SCALE * observed / expected if expected > 0 else None


def change(now: int, before: int) -> float | None:
    """Return (now - before) / before; None if the hours before had nothing."""
    return (now - before) / before if before > 0 else None


def level_index(net_minor: int, base_days: int, base_net_minor: int) -> float | None:
    """Return 100 x net sales of a day / mean of the base's days; None if the base has none."""
    return 100 * net_minor * base_days / base_net_minor if base_net_minor > 0 else None

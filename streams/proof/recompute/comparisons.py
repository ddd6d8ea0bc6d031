"""What is measured against an expectation, earlier hours or a base, a second time."""

from __future__ import annotations

from streams.index.demand import SCALE


def demand_index(observed: int, expected: int) -> float | None:
    """Counted by expected (millionths), 100 where it is as expected."""
    return 100 * SCALE * observed / expected if expected > 0 else None


def change(now: int, before: int) -> float | None:
    """What hours have more than the same local hours before, by what those had."""
    return (now - before) / before if before > 0 else None


def level_index(net_minor: int, base_days: int, base_net_minor: int) -> float | None:
    """Net sales of a day by the mean of its base's days, 100 where they are as much."""
    return 100 * net_minor * base_days / base_net_minor if base_net_minor > 0 else None

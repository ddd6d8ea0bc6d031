"""How large a shift is, and which members drive it.

The interval of observed / expected is Byar's approximation to the exact Poisson limits (Breslow and
Day, Statistical Methods in Cancer Research II, 1987, formula 2.13). The count is first made smaller for
the error of the expectation itself: with a relative variance s^2, it is as if only X / (1 + s^2 X)
events had been counted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec

_Z_95 = 1.959963984540054
CONTRIBUTORS_MAX = 3


class RatioInterval(msgspec.Struct, frozen=True):
    """The ratio observed / expected with its 95 % interval."""

    observed: float
    expected: float
    ratio: float
    lower: float
    upper: float


class Contributor(msgspec.Struct, frozen=True):
    """One member's part in a shift: events counted, events expected, and the difference."""

    member: str
    observed: int
    expected: float
    excess: float


def ratio_interval(observed: float, expected: float, noise: float) -> RatioInterval:
    """Interval of a count against its expectation (both in events). ValueError unless ``expected`` > 0.

    ``noise``: s^2, the relative variance of the expectation.

    >>> found = ratio_interval(20, 10.0, 0.0)
    >>> round(found.ratio, 2), round(found.lower, 2), round(found.upper, 2)
    (2.0, 1.22, 3.09)
    """
    if expected <= 0:
        raise ValueError(f"expected must be above 0, found {expected}")
    shrunk = 1 + noise * observed
    known = observed / shrunk
    lower = known * max(0.0, _root(known, -_Z_95)) ** 3 if known > 0 else 0.0
    upper = (known + 1) * _root(known + 1, _Z_95) ** 3
    return RatioInterval(
        observed,
        expected,
        observed / expected,
        lower * shrunk / expected,
        upper * shrunk / expected,
    )


def _root(count: float, z: float) -> float:
    return 1 - 1 / (9 * count) + z / (3 * math.sqrt(count))


def strength(observed: float, expected: float) -> float:
    """Log-likelihood ratio of the ratio found against 1: large, and on many events, is strong.

    >>> round(strength(424, 72.0)), round(strength(1_224, 1_098.0)), strength(0, 0.0)
    (400, 7, 0.0)
    """
    if expected <= 0:
        return 0.0
    gain = observed * math.log(observed / expected) if observed > 0 else 0.0
    return gain - (observed - expected)


def contributors(
    members: Mapping[str, tuple[int, float]], direction: int
) -> tuple[Contributor, ...]:
    """The members with the largest X - E in the direction of the shift, the largest first.

    ``members``: (events, events expected) of each member since the shift began.
    """
    found = [
        Contributor(member, observed, expected, observed - expected)
        for member, (observed, expected) in members.items()
        if (observed - expected) * direction > 0
    ]
    found.sort(key=lambda one: (-one.excess * direction, one.member))
    return tuple(found[:CONTRIBUTORS_MAX])

"""Ratios against the expectation: demand, changes, payments, the mix of payments.

An expectation is an integer in units of 1 / ``SCALE``, so sums over panes are exact. Every ratio here
is one division of two integers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

SCALE = 1_000_000
"""Units of an expectation in one order, one unit sold, one minor unit of money or one payment."""


def demand_index(observed: int, expected: int) -> float | None:
    """100 x observed / expected over the same panes; None where nothing is expected.

    ``expected`` is in units of 1 / SCALE. For several hours, or for all members of a dimension, sum both
    arguments first: a mean of indices would give a quiet hour the weight of a busy one.

    >>> demand_index(42, 40_000_000), demand_index(0, 5_000_000), demand_index(3, 0)
    (105.0, 0.0, None)
    """
    return 100 * SCALE * observed / expected if expected > 0 else None


def change(now: int, before: int) -> float | None:
    """Relative change against an earlier window of the same length; None after an empty one.

    >>> change(110, 100), change(50, 100), change(5, 0)
    (0.1, -0.5, None)
    """
    return (now - before) / before if before > 0 else None


def mix_shift(observed: Sequence[int], expected: Sequence[int]) -> float | None:
    """Distance of a mix from the expected one, minus what its size explains; about 0 without a change.

    This is the total variation distance of the observed shares from the expected shares, minus the mean
    that this distance has by chance when as many payments are drawn from the expected mix. It lies
    between about -0.05 and 1. None without a payment or without an expectation.

    >>> mix_shift([50, 50], [1, 1]) < 0 < mix_shift([80, 20], [1, 1])
    True
    """
    n, total = sum(observed), sum(expected)
    if n <= 0 or total <= 0:
        return None
    apart = sum(abs(own * total - mean * n) for own, mean in zip(observed, expected, strict=True))
    return apart / (2 * n * total) - mix_null_mean(n, expected)


def mix_null_mean(n: int, expected: Sequence[int]) -> float:
    """Mean total variation distance of ``n`` draws from the expected mix.

    It is half the sum of the members' mean absolute deviations, divided by ``n``.
    """
    total = sum(expected)
    deviations = (mean_deviation(n, mean / total) for mean in expected)
    return math.fsum(deviations) / (2 * n)


def mean_deviation(n: int, share: float) -> float:
    """Mean absolute deviation of a binomial count (``n`` draws, probability ``share``) from its mean.

    De Moivre's closed form, 2 v (1-p) C(n, v) p^v (1-p)^(n-v) with v = floor(np) + 1 (Diaconis and
    Zabell, Closed Form Summation for Classical Distributions, 1991).

    >>> mean_deviation(1, 0.5), round(mean_deviation(2, 0.5), 12)
    (0.5, 0.5)
    """
    if not 0 < share < 1:
        return 0.0
    v = math.floor(n * share) + 1
    v = min(v, n)  # when np is just below n, the formula's last term applies
    log_term = (
        math.lgamma(n + 1)
        - math.lgamma(v + 1)
        - math.lgamma(n - v + 1)
        + v * math.log(share)
        + (n - v + 1) * math.log1p(-share)
    )
    return 2 * v * math.exp(log_term)

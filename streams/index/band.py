"""The band that holds most values when nothing has changed: quantiles of a negative binomial count.

A count of mean m that varies beyond chance by the relative variance s^2 is negative binomial of size
k = 1 / s^2. With s^2 = 0 it is Poisson. The band holds ``COVERAGE`` of the distribution and leaves equal
tails below and above. Small means are summed exactly. Above ``_EXACT_MAX`` a Cornish-Fisher expansion of
the quantile replaces the sum. Where noise is so large that the expansion is wrong, the exact band of a
smaller mean is scaled up. A property test checks the coverage.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

COVERAGE = 0.95
"""Share of counts that lie within the band when nothing has changed."""
_Z = 1.959963984540054
"""Standard normal quantile of (1 + COVERAGE) / 2."""
_TAIL = (1 - COVERAGE) / 2
_EXACT_MAX = 40.0
_NOISE_MIN = 1e-9
"""Smaller noise counts as none: the size k would leave no digits for the count."""
_WILD = 0.2
"""Relative variance above which the expansion loses the lower tail."""
_WILD_EXACT_MAX = 400.0


class Band(NamedTuple):
    """Lower and upper limit; both limits still belong to the band."""

    lower: float
    upper: float


def band(mean: float, noise: float, worth: float = 1.0) -> Band:
    """Band of an observation whose mean is ``mean``.

    ``noise``: relative variance s^2 beyond counting. ``worth``: how many units of the observation come
    and go together (``Noise.dispersion``); for money, the minor units of a typical order.

    >>> band(100, 0.0)
    Band(lower=81, upper=120)
    >>> band(100, 0.01)
    Band(lower=74, upper=129)
    """
    if mean <= 0:
        return Band(0, 0)
    if noise < _NOISE_MIN:
        noise = 0.0
    events = mean / worth
    if events <= _EXACT_MAX:
        low, high = _exact(events, noise)
    elif noise <= _WILD:
        low, high = _expanded(events, noise)
    else:
        summed = min(events, _WILD_EXACT_MAX)
        low, high = (round(limit * events / summed) for limit in _exact(summed, noise))
    return Band(low * worth, high * worth) if worth != 1 else Band(low, high)


@lru_cache(maxsize=8_192)
def _exact(mean: float, noise: float) -> tuple[int, int]:
    """Smallest counts whose distribution function reaches each tail."""
    if noise > 0:
        size = 1 / noise
        term = math.exp(-size * math.log1p(mean * noise))
        odds = mean / (size + mean)
    else:
        size, odds = 0.0, mean
        term = math.exp(-mean)
    total, count, low = term, 0, -1
    while True:
        if low < 0 and total >= _TAIL:
            low = count
        if total >= 1 - _TAIL or term < total * 1e-15:  # what remains is lost in rounding
            return max(low, 0), count
        term *= (size + count if noise > 0 else 1.0) * odds / (count + 1)
        count += 1
        total += term


def _expanded(mean: float, noise: float) -> tuple[int, int]:
    """Quantiles by Cornish and Fisher (1937): terms in the third cumulant, its square and the fourth."""
    variance = mean + noise * mean * mean
    deviation = math.sqrt(variance)
    skew = (1 + 2 * noise * mean) / deviation
    excess = 6 * noise + 1 / variance

    def quantile(z: float) -> float:
        bent = (
            z
            + skew * (z * z - 1) / 6
            + excess * (z**3 - 3 * z) / 24
            - skew * skew * (2 * z**3 - 5 * z) / 36
        )
        return mean + deviation * bent

    return max(0, math.ceil(quantile(-_Z) - 0.5)), math.ceil(quantile(_Z) - 0.5)

"""Suspicions: what a page already shows of a series before the evidence is enough to page.

A series is suspected by its evidence, or by a plain fact: the last seconds hold so few or so many events
that even a bursty series would hardly do so. Suspicions page nobody, so they need no budget. They must
not flicker either: a series stays suspected for a while, and one that is suspected in vain again and
again has to show more.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from streams.index.indices import MARKET
from streams.index.panes import HOUR_MS, MINUTE_MS
from streams.index.shift_ratio import strength

EVIDENCE_MIN = 0.05
"""Evidence, as a multiple of what pages, from which a series is suspected. All series together reach it
falsely about once in this part of the budget: once in a day and a half of 30 days."""
FACT_NATS = 12.0
"""Surprise from which the last seconds are a plain fact: a probability of about 6 in a million."""
BURST_SIZE, REGULAR_SIZE = 5.0, 50.0
"""Sizes of the negative binomial that spans are compared with: the burstiest and the most regular that
the budget is stated for. A count of a mean m has the variance m + m * m / size."""
REGULAR_FROM_MS = 2 * MINUTE_MS
"""Shorter spans are taken for as bursty as BURST_SIZE: no hour shows that a shop delivers in lumps."""
STILL = 0.5
"""A series is suspected until it surprises by less than this part of what it takes."""
VAIN_AFTER = 3
VAIN_MARGIN = 1.3
VAIN_KEPT_MS = 6 * HOUR_MS
"""After ``VAIN_AFTER`` suspicions within an hour that ended without a shift, a series must surprise by
``VAIN_MARGIN`` times as much for this long: a shop that delivers in lumps is silent every minute."""
SUSPICIONS_MAX = 5


class SpanCount(NamedTuple):
    """What a series counted in the last ``length_ms``, what was expected, and how bursty it may be."""

    length_ms: int
    observed: int
    expected: float
    size: float = BURST_SIZE


class Suspicion(msgspec.Struct, frozen=True):
    """A series that does not look as expected, in the span that shows it most."""

    dimension: str
    member: str
    direction: int
    since_ms: int
    until_ms: int
    observed: int
    expected: float
    evidence_ratio: float
    """Its evidence, as a multiple of what pages."""
    surprise: float
    """Surprise of the span in nats; 0 when it is suspected by its evidence alone."""

    @property
    def expected_a_minute(self) -> float:
        """Events expected in a minute of the span."""
        return self.expected * 60_000 / (self.until_ms - self.since_ms)


def size_of(length_ms: int, noise: float) -> float:
    """Size of a span's count. ``noise``: s^2, the relative variance of the series' hours (index/noise).

    Bursts average out, so what an hour varies says how much a part of it can: at most as many times as
    much as there are parts.

    >>> size_of(300_000, 0.2 / 60), size_of(300_000, 0.00001), size_of(10_000, 0.00001)
    (25.0, 50.0, 5.0)
    """
    if length_ms < REGULAR_FROM_MS:
        return BURST_SIZE
    variance = noise * HOUR_MS / length_ms
    return max(BURST_SIZE, 1 / max(variance, 1 / REGULAR_SIZE))


def surprise(observed: int, expected: float, size: float = BURST_SIZE) -> float:
    """Nats by which a count differs from its expectation: Chernoff's bound of a negative binomial.

    >>> round(surprise(0, 84.0), 1), round(surprise(84, 84.0), 1), round(surprise(100, 16.7), 1)
    (14.4, 0.0, 13.4)
    """
    if expected <= 0:
        return 0.0
    tail = size * math.log((size + expected) / (size + observed))
    if observed == 0:
        return tail
    odds = observed * (size + expected) / (expected * (size + observed))
    return observed * math.log(odds) + tail


class SuspicionMemory:
    """What each series was suspected of by a fact, so that its suspicion neither flickers nor recurs."""

    def __init__(self) -> None:
        self._peaks: dict[tuple[str, str], float] = {}
        """Of each series that is suspected now: the most that it surprised."""
        self._ended: dict[tuple[str, str], list[tuple[int, float]]] = {}
        """When suspicions ended without a shift, and how much the series had surprised."""
        self._vain: dict[tuple[str, str], tuple[int, float]] = {}

    def limit(self, name: tuple[str, str], now_ms: int) -> float:
        """Surprise from which the series is suspected, or still suspected."""
        at_ms, nats = self._vain.get(name, (now_ms, 0.0))
        if now_ms - at_ms > VAIN_KEPT_MS:
            del self._vain[name]
            nats = 0.0
        limit = max(FACT_NATS, VAIN_MARGIN * nats)
        return limit * STILL if name in self._peaks else limit

    def note(self, name: tuple[str, str], nats: float, now_ms: int, *, shifted: bool) -> None:
        """Note how much a series surprises. Suspicions that end ``VAIN_AFTER`` times were in vain."""
        if shifted:
            self._peaks.pop(name, None)
            self._ended.pop(name, None)
        elif nats >= self.limit(name, now_ms):
            self._peaks[name] = max(nats, self._peaks.get(name, 0.0))
        elif peak := self._peaks.pop(name, 0.0):
            ended = [each for each in self._ended.get(name, []) if now_ms - each[0] <= HOUR_MS]
            ended.append((now_ms, peak))
            self._ended[name] = ended[-VAIN_AFTER:]
            if len(ended) >= VAIN_AFTER:
                self._vain[name] = now_ms, max(nats for _, nats in ended)


def suspect(
    name: tuple[str, str],
    spans: Sequence[SpanCount],
    evidence_ratio: float,
    limit: float,
    until_ms: int,
    leaning: int = 0,
) -> Suspicion | None:
    """Return what is suspected of a series; None: it looks as expected.

    ``spans``: the last seconds and minutes, the shortest first. ``limit``: surprise that is a fact.
    ``leaning``: direction of the evidence; 0: not known. Of a market that stops after a jump the long
    spans show the jump: their count was said beside the evidence of the stop.
    """
    own = [span for span in spans if leaning in (0, _way(span))]
    by_evidence = evidence_ratio >= EVIDENCE_MIN and bool(own)
    spans = own if by_evidence else spans
    nats = [surprise(span.observed, span.expected, span.size) for span in spans]
    fact = max(nats, default=0.0) >= limit
    if not spans or not (fact or by_evidence):
        return None
    tells = nats if fact else [strength(span.observed, span.expected) for span in spans]
    at = max(range(len(spans)), key=tells.__getitem__)
    span = spans[at]
    return Suspicion(
        dimension=name[0],
        member=name[1],
        direction=_way(span),
        since_ms=until_ms - span.length_ms,
        until_ms=until_ms,
        observed=span.observed,
        expected=span.expected,
        evidence_ratio=evidence_ratio if span in own else 0.0,
        surprise=nats[at] if fact else 0.0,
    )


def _way(span: SpanCount) -> int:
    return 1 if span.observed > span.expected else -1


def market_suspected(suspicions: Iterable[Suspicion]) -> int:
    """Direction in which the market's own total is suspected; 0: it is not."""
    return next((each.direction for each in suspicions if each.dimension == MARKET), 0)


def foremost(
    suspicions: Iterable[Suspicion], explained: frozenset[int] = frozenset()
) -> list[Suspicion]:
    """The suspicions worth showing, the whole market's first, then by evidence and surprise.

    ``explained``: directions in which the market itself is shifted, which explains its members. A market
    that is suspected itself does so too.
    """
    found = list(suspicions)
    by_market = {each.direction for each in found if each.dimension == MARKET} | explained
    shown = [each for each in found if each.dimension == MARKET or each.direction not in by_market]
    shown.sort(
        key=lambda each: (
            each.dimension != MARKET,
            -max(each.evidence_ratio, each.surprise / FACT_NATS * EVIDENCE_MIN),
            each.dimension,
            each.member,
        )
    )
    return shown[:SUSPICIONS_MAX]

"""Suspicions of one market at work: what the last panes and minutes show of each watched series."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from streams.flow.ledger import Ledger
from streams.flow.shift_watch import SeriesStatus
from streams.index.demand import SCALE
from streams.index.incidents import Incident, IncidentShift
from streams.index.indices import ALL, MARKET
from streams.index.measured import ExpectedRow
from streams.index.noise import Noise
from streams.index.panes import HOUR_MS, MINUTE_MS
from streams.index.partials import Row
from streams.index.suspicions import (
    BURST_SIZE,
    EVIDENCE_MIN,
    SpanCount,
    Suspicion,
    SuspicionMemory,
    foremost,
    size_of,
    surprise,
    suspect,
)

FACT_SPANS_MS = tuple(seconds * 1_000 for seconds in (5, 10, 20, 30, 60, 120, 300))
"""Spans whose count alone may be a fact."""
LONG_SPANS_MS = tuple(minutes * MINUTE_MS for minutes in (15, 60, 180))
"""Spans that may show best what the evidence says."""
QUIET_MAX_MS = HOUR_MS
"""How far back the last event of a series is looked for."""


class SpanExpectation(Protocol):
    """Expectations of a market, as ``flow.market_expectation.MarketExpectation`` reads them."""

    def of_span(self, start_ms: int, end_ms: int) -> ExpectedRow | None:
        """Expectation of ``[start_ms, end_ms)`` by the columns of a live row; None: unknown."""


class _Span(NamedTuple):
    length_ms: int
    row: Row
    expected: Row
    noise: Mapping[int, Noise]


class MarketSuspicions:
    """What is suspected of one market. Nothing of it is kept: it is read from the newest panes."""

    def __init__(self, ledger: Ledger, expectation: SpanExpectation, pane_ms: int) -> None:
        self._ledger = ledger
        self._expectation = expectation
        self._pane_ms = pane_ms
        self._memory = SuspicionMemory()
        self._shown: list[Suspicion] = []
        self._until_ms = 0
        self._judged: Sequence[SeriesStatus] = ()

    def shown(self) -> list[Suspicion]:
        """Suspicions as of the last step."""
        return self._shown

    def step(
        self,
        statuses: Sequence[SeriesStatus],
        incidents: Iterable[Incident],
        from_ms: int,
        live_ms: int,
    ) -> None:
        """Judge what every awake series shows at ``live_ms``; no series that is shifted already.

        ``from_ms``: first instant of which all sources are known.
        """
        until_ms = live_ms // self._pane_ms * self._pane_ms
        if until_ms == self._until_ms and statuses is self._judged:
            return  # no pane is new, and none changed
        self._until_ms, self._judged = until_ms, statuses
        shifts = [shift for incident in incidents for shift in incident.shifts]
        explained = frozenset(
            shift.direction for shift in shifts if shift.dimension == MARKET and not shift.over_ms
        )
        ends_ms = _last_ends(shifts)
        facts = self._spans(FACT_SPANS_MS, from_ms, until_ms)
        longer = (
            self._spans(LONG_SPANS_MS, from_ms, until_ms)
            if any(_may_page(status) for status in statuses)
            else []
        )
        found = []
        for status in statuses:
            own = status.series.dimension, status.series.member
            since_ms = max(ends_ms.get(own, 0), ends_ms.get((MARKET, ALL), 0))
            spans = [
                span
                for span in (facts + longer if _may_page(status) else facts)
                if until_ms - span.length_ms >= since_ms
            ]
            suspicion = self._suspicion(status, spans, until_ms)
            if suspicion is not None:
                found.append(suspicion)
        self._shown = foremost(found, explained)

    def _suspicion(
        self, status: SeriesStatus, spans: Sequence[_Span], until_ms: int
    ) -> Suspicion | None:
        series = status.series
        name = series.dimension, series.member
        at = series.column
        counts = [_count(span, at) for span in spans if not status.warming]
        limit = self._memory.limit(name, until_ms)
        nats = max(
            (surprise(each.observed, each.expected, each.size) for each in counts), default=0.0
        )
        self._memory.note(name, nats, until_ms, shifted=status.shift is not None)
        if status.shift is not None:
            return None
        found = suspect(name, counts, status.evidence_ratio, limit, until_ms, status.leaning)
        return found if found is None or found.observed else self._quiet(found, at)

    def _quiet(self, suspicion: Suspicion, column: int) -> Suspicion:
        """Return the suspicion of a series without an event with the time since its last one."""
        since_ms = suspicion.since_ms
        oldest_ms = suspicion.until_ms - QUIET_MAX_MS
        while since_ms > oldest_ms:
            # Older minutes keep no panes.
            recent = since_ms > suspicion.until_ms - FACT_SPANS_MS[-1] or since_ms % MINUTE_MS
            before_ms = since_ms - (self._pane_ms if recent else MINUTE_MS)
            if self._ledger.window_sum(before_ms, since_ms)[column]:
                break
            since_ms = before_ms
        expected = self._expectation.of_span(since_ms, suspicion.until_ms)
        if expected is None:
            return suspicion
        return msgspec.structs.replace(
            suspicion, since_ms=since_ms, expected=expected.row[column] / SCALE
        )

    def _spans(self, lengths_ms: Iterable[int], from_ms: int, until_ms: int) -> list[_Span]:
        """Rows of the spans that end at ``until_ms``; without those of which something is unknown."""
        found = []
        for length_ms in lengths_ms:
            edge_ms = self._pane_ms if length_ms <= FACT_SPANS_MS[-1] else MINUTE_MS
            since_ms = (until_ms - length_ms) // edge_ms * edge_ms
            if since_ms < from_ms:
                break
            expectation = self._expectation.of_span(since_ms, until_ms)
            if expectation is not None:
                row = self._ledger.window_sum(since_ms, until_ms)
                found.append(_Span(until_ms - since_ms, row, expectation.row, expectation.noise))
        return found


def _last_ends(shifts: Iterable[IncidentShift]) -> dict[tuple[str, str], int]:
    """Return when the last shift of each series was over; 0: none is.

    What came before is no suspicion: for five minutes after an outage a market at twice its usual orders
    was suspected to fall, which kept its rise from being suspected.
    """
    found: dict[tuple[str, str], int] = {}
    for shift in shifts:
        name = shift.dimension, shift.member
        found[name] = max(found.get(name, 0), shift.over_ms)
    return found


def _count(span: _Span, column: int) -> SpanCount:
    noise = span.noise.get(column)
    size = BURST_SIZE if noise is None else size_of(span.length_ms, noise.watched)
    return SpanCount(span.length_ms, span.row[column], span.expected[column] / SCALE, size)


def _may_page(status: SeriesStatus) -> bool:
    return status.shift is None and status.evidence_ratio >= EVIDENCE_MIN

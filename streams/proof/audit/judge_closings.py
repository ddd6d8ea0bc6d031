"""Judges the expectations in hour closings against the vintages journaled before them.

A closing is judged as soon as it is read, because the vintage of its hour was journaled before it. Only
the expectation of the hour is recomputed here; its counts are judged with the closing itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from streams.index.demand import SCALE
from streams.index.hours import LocalHours
from streams.index.instants import parse_instant
from streams.index.learning import Factor
from streams.index.methodology import Market
from streams.index.panes import HOUR_MS, day_name
from streams.index.values import Fence, Value
from streams.proof.audit.report import EXPECTED, Report
from streams.proof.explain.explanation_types import Vintaged
from streams.proof.explain.journal_query import noise_series, series_of, span_of
from streams.proof.explain.journaled_vintages import NotKnownError, Vintages, band_of
from streams.records.factors import FactorHistory
from streams.records.journal_record import JournalRecord
from streams.records.kafka_logs import Stored

_Difference = tuple[str, str, object, object]
"""(key, field, expected, found)."""


class ClosingsJudge:
    """Judges the hour closings of one market."""

    def __init__(
        self,
        market_of: Callable[[int], Market | None],
        hours: LocalHours,
        factors: FactorHistory,
        report: Report,
    ) -> None:
        """``market_of``: the market by a version of its definitions; None for one that is not known."""
        self._market_of = market_of
        self._hours = hours
        self._factors = factors
        self._report = report

    def judge(
        self,
        record: JournalRecord,
        version: Fence,
        stored: Stored,
        vintages: Mapping[str, Vintaged],
    ) -> None:
        """Judge one part of a closing. ``vintages``: those journaled so far, by name."""
        start_ms = parse_instant(record.start or "")
        values = [each for each in record.values if each.expected is not None]
        if start_ms is None or not values:
            return
        market = self._market_of(version.definitions)
        if market is None:
            why = "closings by definitions that ecindex.definitions no longer has"
            self._report.skip(EXPECTED, why, stored.where, len(values))
            return
        day = self._hours.day_of_hour(start_ms)
        if not any(name.startswith(day_name(day)) for name in vintages):
            why = "closings of days whose vintages the journal no longer has"
            self._report.skip(EXPECTED, why, stored.where, len(values))
            return
        found: list[_Difference] = []
        for factors in self._factors.candidates(stored.timestamp_ms):
            found = self._differences(market, values, day, version, vintages, factors)
            if not found:
                break
        self._report.judge(EXPECTED, len(values))
        for key, name, expected, published in found:
            closing = f"{key} closing {record.start}"
            self._report.differs(EXPECTED, closing, name, expected, published, stored.where)

    def _differences(
        self,
        market: Market,
        values: list[Value],
        day: int,
        version: Fence,
        vintages: Mapping[str, Vintaged],
        factors: list[Factor],
    ) -> list[_Difference]:
        by_name: dict[str | None, Vintages] = {}
        found: list[_Difference] = []
        for value in values:
            known = by_name.get(value.vintage)
            if known is None:
                end = None if value.vintage is None else (day, value.vintage)
                known = Vintages(vintages, self._hours, factors, at=version, end=end)
                by_name[value.vintage] = known
            found += self._compare(market, value, day, known)
        return found

    def _compare(
        self, market: Market, value: Value, day: int, vintages: Vintages
    ) -> list[_Difference]:
        span = span_of(value, self._hours)
        if span.end_ms - span.start_ms != HOUR_MS:
            return [(value.key, "window", "1h", value.window)]
        try:
            series = series_of(value, market)
            exact = vintages.exact(series, span.covered_from_ms, span.end_ms)
            limits = band_of(exact, vintages.noise(noise_series(value, market), day), value.window)
        except NotKnownError as error:
            return [(value.key, "vintage", str(error), value.vintage)]
        pairs = (
            ("expected", exact / SCALE, value.expected),
            ("lower", limits.lower, value.lower),
            ("upper", limits.upper, value.upper),
        )
        return [
            (value.key, name, own, published) for name, own, published in pairs if own != published
        ]

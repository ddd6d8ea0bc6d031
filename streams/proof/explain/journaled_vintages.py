"""Recomputes the published E of a span from journaled vintages. No IO.

This is not the code of level 2 (``flow.market_expectation``), which reads its own tables, all columns at
once. Both share the definitions: ``index.minutes``, ``index.learning`` and ``index.band``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from streams.index.band import Band, band
from streams.index.demand import SCALE
from streams.index.expectation import OK_DAYS
from streams.index.hours import LocalHours
from streams.index.instants import parse_instant
from streams.index.learning import Factor, factor_at
from streams.index.methodology import Market
from streams.index.panes import HOUR_MS, day_name
from streams.index.spans import HourPart, hour_part, hours_of_span
from streams.index.values import DAY_WINDOW, Fence
from streams.proof.explain.explanation_types import Vintaged
from streams.proof.explain.journal_query import Series, former_ids
from streams.records.journal_record import JournaledSeries

_WHOLE_DAYS = frozenset({"24h", DAY_WINDOW})


class NotKnownError(LookupError):
    """The records no longer tell something; the text says what."""


class ExpectedHour(NamedTuple):
    """An hour of a span for one series: its vintage, its level and its part."""

    vintage: str
    level: float
    part: HourPart


class Vintages:
    """The vintages in force at one publication, by local day."""

    def __init__(
        self,
        found: Mapping[str, Vintaged],
        hours: LocalHours,
        factors: list[Factor],
        *,
        at: Fence,
        end: tuple[int, str] | None = None,
        market: Market | None = None,
    ) -> None:
        """``at``: version of the publication. ``end``: last day of the span, and name of its vintage.

        For each earlier day, the last vintage that was journaled by then counts. ``market``: its members
        may have had other ids when a vintage was learnt.
        """
        self._market = market
        self._hours = hours
        self._factors = factors
        self._days: dict[str, Vintaged] = {}
        for each in found.values():
            day = each.name[: len("2026-11-24")]
            known = self._days.get(day)
            if at.follows(each.version) and (
                known is None or _order(each.name) > _order(known.name)
            ):
                self._days[day] = each
        if end is not None:
            day_of_end, name = end
            named = found.get(name)
            if named is None:
                self._days.pop(day_name(day_of_end), None)
            else:
                self._days[day_name(day_of_end)] = named

    def of(self, day: int) -> Vintaged:
        """Return the vintage of a local day. Raises NotKnownError."""
        found = self._days.get(day_name(day))
        if found is None:
            raise NotKnownError(
                f"vintage {day_name(day)} is no longer in the journal; "
                "its records are kept for 400 days"
            )
        return found

    def hours(self, series: Series, start_ms: int, end_ms: int) -> list[ExpectedHour]:
        """Expectation of one series in each hour of ``[start_ms, end_ms)``."""
        return [
            self._hour(series, hour_ms, start_ms, end_ms)
            for hour_ms in hours_of_span(start_ms, end_ms)
        ]

    def exact(self, series: Iterable[Series], start_ms: int, end_ms: int) -> int:
        """Expectation of several series together over ``[start_ms, end_ms)``, in millionths."""
        return sum(hour.part.part for each in series for hour in self.hours(each, start_ms, end_ms))

    def _hour(self, series: Series, hour_ms: int, start_ms: int, end_ms: int) -> ExpectedHour:
        day = self._hours.day_of_hour(hour_ms)
        vintage = self.of(day)
        own = self._hours.hours_of(day)
        learnt = self._series(vintage, series)
        if learnt is None:  # nothing is expected, or nothing was known: the journal leaves both out
            return ExpectedHour(vintage.name, 0.0, HourPart(hour_ms, 0, 0, 0, None, 0, 0))
        first_ms = parse_instant(learnt.first_hour)
        assert first_ms is not None  # the contract requires an instant
        at = (hour_ms - first_ms) // HOUR_MS
        begin = (own.start - first_ms) // HOUR_MS
        whole = learnt.expected[begin : begin + len(own)]
        factor = self._factor(series, hour_ms)
        part = hour_part(learnt.expected, at, factor, hour_ms, start_ms, end_ms)
        return ExpectedHour(vintage.name, sum(whole) / len(whole) / SCALE, part)

    def _series(self, vintage: Vintaged, series: Series) -> JournaledSeries | None:
        """Return a series under its own id, else under the first one that its member had."""
        dimension, member, measure = series
        former = () if self._market is None else former_ids(self._market, dimension, member)
        found = (vintage.series.get((dimension, each, measure)) for each in (member, *former))
        return next((each for each in found if each is not None), None)

    def _factor(self, series: Series, hour_ms: int) -> int | None:
        here = [
            each
            for each in self._factors
            if each.start_ms < hour_ms + HOUR_MS and hour_ms < each.end_ms
        ]
        return factor_at(here, series[:2], hour_ms) if here else None

    def noise(self, series: Series, day: int) -> JournaledSeries | None:
        """Return the series in the vintage of a day, which holds its noise; None if it is left out."""
        return self._series(self.of(day), series)

    def warming(self, series: Series, days: Iterable[int]) -> bool | None:
        """Whether too little of the series was learnt for one of the days; None: not known.

        The journal leaves out a series for which nothing is expected.
        """
        found = [self._series(self.of(day), series) for day in days]
        if any(each is not None and each.learnt_days < OK_DAYS for each in found):
            return True
        return None if None in found else False


def noise_of(series: JournaledSeries | None, window: str) -> float:
    """Relative variance of the band of a window."""
    if series is None:
        return 0.0
    return (series.noise_day if window in _WHOLE_DAYS else series.noise_hour) / SCALE


def band_of(exact: int, series: JournaledSeries | None, window: str) -> Band:
    """Band of the expectation ``exact``, which is in millionths."""
    worth = 0.0 if series is None else series.dispersion / SCALE
    return band(exact / SCALE, noise_of(series, window), worth if worth > 0 else 1.0)


def _order(name: str) -> int:
    _, _, sequence = name.partition(".")
    return int(sequence or 1)

"""Judges journaled vintages: learns them again from the log, the seeds and the operator's factors.

The hours that a shift kept from being learnt are read from level 2's table, which is compared with the
published shifts. The arithmetic is ``index.expectation.fit``; its input is gathered here a second time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from streams.flow.history_book import HistoryBook, MarketHistory
from streams.index.expectation import fit
from streams.index.history_records import DECLARED_KIND, HistoryError, SeededRow, parse_key
from streams.index.hours import Calendar, calendar_of, local_hours
from streams.index.indices import MARKET, METHOD
from streams.index.learning import Relevel, Shifted, lessons
from streams.index.methodology import Market
from streams.index.panes import HOUR_MS, day_number, rfc3339
from streams.index.partials import Layout
from streams.index.series import Series, series_table
from streams.index.trend import Matrix
from streams.proof.audit.judge_shifts import Shifts
from streams.proof.audit.report import EXPECTED, Report
from streams.proof.recompute.slots import GONE
from streams.proof.recompute.sums import Sums
from streams.records.factors import HEARD_WITHIN_MS, FactorHistory
from streams.records.journal_record import JournaledSeries

_SHIFTED = "a shift in the six weeks before the vintage, which level 2's table no longer holds"
_SEEDED_SINCE = "seeds were published since: the earlier ones may be compacted away"
_PAID = {"payments": "captured"}
"""Measures of a method -> their other name in the sums."""


class JudgedVintage(NamedTuple):
    """A journaled vintage to be judged."""

    name: str
    where: str
    written_ms: int
    series: Mapping[tuple[str, str, str], JournaledSeries]


class VintageJudge:
    """Judges the vintages of one market."""

    def __init__(
        self,
        market: Market,
        hours: Mapping[tuple[str, int], Sums],
        history: list[tuple[int, bytes, bytes | None]],
        answers: list[tuple[int, bytes, bytes | None]],
        first_ms: tuple[int | None, int | None],
        report: Report,
    ) -> None:
        """``hours``: sums of the whole log. ``history``: (stamp, key, value) of ``ecindex.history``.

        ``answers``: those of ``ecindex.answers``. ``first_ms``: instants from which the logs of orders
        and of payments cover.
        """
        self._market = market
        self._sums = hours
        self._history = history
        self._first_ms = first_ms
        self._report = report
        self._local = local_hours(market.time_zone)
        self._table = series_table(Layout(market))
        self._former: dict[tuple[str, str], set[tuple[str, str]]] = {}
        """Of each member that had other ids: those."""
        for (dimension, former), member in market.renamed.items():
            self._former.setdefault((dimension, member), set()).add((dimension, former))
        self._factors = FactorHistory(market)
        for stamp_ms, key, value in history:
            self._factors.add_record(key, value, stamp_ms)
        self._stamps = [stamp_ms for stamp_ms, _, _ in (*history, *answers)]
        for stamp_ms, key, value in answers:
            self._factors.add_answer(key, value, stamp_ms)

    def judge(self, learnt: JudgedVintage, shifts: Shifts, blind_before_ms: int) -> None:
        """Learn a vintage again and compare."""
        calendar = calendar_of(self._local, day_number(learnt.name[: len("2026-11-24")]))
        key = f"{self._market.code} vintage {learnt.name}"
        start_ms = calendar.hours_ms[0]
        if start_ms < blind_before_ms:
            self._report.skip(EXPECTED, GONE, key)
            return
        newest_ms = max(self._stamps, default=0)
        hidden_ms = max((s for s, key, _ in self._history if self._may_hide(key)), default=0)
        found: list[tuple[str, object, object]] = []
        for until_ms in self._candidates(learnt.written_ms, newest_ms):
            shifted = shifts.lessons(
                self._market.code,
                start_ms,
                calendar.hours_ms[-1] + HOUR_MS,
                self._factors.answers_until(until_ms),
            )
            if shifted is None:
                self._report.skip(EXPECTED, _SHIFTED, key)
                return
            found = list(_differing(self._learn(calendar, until_ms, shifted), learnt.series))
            if not found:
                break
        if found and hidden_ms > learnt.written_ms:
            self._report.skip(EXPECTED, _SEEDED_SINCE, key)
            return
        self._report.judge(EXPECTED, max(1, len(learnt.series)))
        for name, expected, published in found:
            self._report.differs(EXPECTED, key, name, expected, published, learnt.where)

    def _may_hide(self, key: bytes) -> bool:
        """Whether compaction may have removed the record that one with this key replaced."""
        try:
            kind = parse_key(key).kind
        except HistoryError:
            return False
        return kind != DECLARED_KIND and key not in self._factors.lasting

    def _candidates(self, written_ms: int, newest_ms: int) -> list[int]:
        """Return the instants up to which records may have counted, likeliest first, no repeats."""
        found: dict[int, int] = {}
        for until_ms in (written_ms, written_ms - HEARD_WITHIN_MS, newest_ms):
            count = sum(stamp_ms <= until_ms for stamp_ms in self._stamps)
            found.setdefault(count, until_ms)
        return list(found.values())

    def _learn(
        self,
        calendar: Calendar,
        until_ms: int,
        shifted: tuple[list[Shifted], list[Relevel]],
    ) -> dict[tuple[str, str, str], JournaledSeries]:
        counts, known = self._hours(calendar, self._history_of(until_ms))
        learnt, factors = lessons(
            calendar,
            self._table.scopes,
            known,
            factors=self._factors.declared_until(until_ms),
            shifts=shifted[0],
            relevels=shifted[1],
        )
        vintage = fit(calendar, counts * learnt, self._table.columns, learnt, factors)
        first = rfc3339(vintage.target_ms[0])
        return {
            (*series.scope, series.measure): JournaledSeries(
                *series.scope, series.measure, first, list(hours), noise.hour, noise.day,
                noise.dispersion, days,
            )
            for series, hours, noise, days in zip(
                self._table.series, vintage.expected, vintage.noise, vintage.learnt_days,
                strict=True,
            )
            if any(hours)
        }  # fmt: skip

    def _history_of(self, until_ms: int) -> MarketHistory:
        book = HistoryBook([self._market.code])
        for stamp_ms, key, value in self._history:
            if stamp_ms <= until_ms:
                book.apply_record(key, value)
        return book.markets[self._market.code]

    def _hours(self, calendar: Calendar, history: MarketHistory) -> tuple[Matrix, Matrix]:
        """Return (counts, 1 where known), hours x series: from the log, before it from seeds."""
        shape = (len(calendar.hours_ms), len(self._table.series))
        counts, known = np.zeros(shape), np.zeros(shape)
        names = [_sum_name(series) for series in self._table.series]
        for at, hour_ms in enumerate(calendar.hours_ms):
            seed = history.seed_of(hour_ms)
            rows = {} if seed is None else seed.hours.get(hour_ms, {})
            sums = self._sums.get((self._market.code, hour_ms), Sums())
            for number, series in enumerate(self._table.series):
                first_ms = self._first_ms[series.of_payments]
                if first_ms is not None and hour_ms >= first_ms:
                    counts[at, number], known[at, number] = sums.get(names[number], 0), 1
                elif seed is not None:
                    row = rows.get(series.scope) or self._under_former(series.scope, rows)
                    counts[at, number] = getattr(row, series.measure, None) or 0
                    known[at, number] = (series.scope[0], series.measure) in seed.given
        return counts, known

    def _under_former(
        self, scope: tuple[str, str], rows: Mapping[tuple[str, str], SeededRow]
    ) -> SeededRow | None:
        """Return what a seed says of a member under an id that it had, the first there is."""
        former = self._former.get(scope, ())
        return next((row for each, row in rows.items() if each in former), None)


def _sum_name(series: Series) -> str:
    dimension, member = series.scope
    if dimension == MARKET:
        return series.measure
    if dimension == METHOD:
        return f"method/{member}/{_PAID.get(series.measure, series.measure)}"
    return f"{dimension}/{member}/{series.measure}"


def _differing(
    expected: Mapping[tuple[str, str, str], JournaledSeries],
    found: Mapping[tuple[str, str, str], JournaledSeries],
) -> Iterator[tuple[str, object, object]]:
    """Yield (series and field, expected, found) for the first differing field of each series."""
    for key in sorted(expected.keys() | found.keys()):
        name = " ".join(key)
        wanted, published = expected.get(key), found.get(key)
        if wanted is None or published is None:
            yield (
                name,
                "a series" if wanted is not None else None,
                "a series" if published is not None else None,
            )
            continue
        for field in ("first_hour", "learnt_days", "noise_hour", "noise_day", "dispersion"):
            if getattr(wanted, field) != getattr(published, field):
                yield f"{name} {field}", getattr(wanted, field), getattr(published, field)
                break
        else:
            for hour, (own, other) in enumerate(
                zip(wanted.expected, published.expected, strict=False)
            ):
                if own != other:
                    yield f"{name} hour {hour}", own, other
                    break


def first_hour(first_ms: int | None) -> int | None:
    """Start of the first hour that a log covers wholly, if it covers from ``first_ms`` on."""
    return None if first_ms is None else -(-first_ms // HOUR_MS) * HOUR_MS

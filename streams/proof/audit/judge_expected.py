"""Judges published expectations, and the values measured against them, by journaled vintages.

The log alone does not determine an expectation. But an expectation must equal what the journaled
vintage of its day says, with the factors that the operator had declared, and an index must follow from
its own E.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import partial

from streams.index.changes import AGO_DAYS
from streams.index.hours import LocalHours
from streams.index.indices import ORDERS_BASIS
from streams.index.instants import parse_instant
from streams.index.level import LEVEL
from streams.index.methodology import Methodology
from streams.index.panes import day_name, day_number
from streams.index.values import Fence, Value, decimal
from streams.proof.audit.expected_values import is_measured
from streams.proof.audit.judge_closings import ClosingsJudge
from streams.proof.audit.judge_levels import Bases
from streams.proof.audit.judge_shifts import Shifts
from streams.proof.audit.judge_vintages import JudgedVintage, VintageJudge, first_hour
from streams.proof.audit.report import EXPECTED, REDIS, Report
from streams.proof.explain.explanation import explain_value
from streams.proof.explain.explanation_types import (
    Closed,
    Explanation,
    Journal,
    Known,
    PublishedValue,
    Vintaged,
)
from streams.proof.explain.journal_query import former_ids, query_of
from streams.proof.recompute.defined_markets import DefinedMarkets
from streams.proof.recompute.sums import Sums
from streams.records.answer_record import refused_answer
from streams.records.factors import FactorHistory
from streams.records.history_record import refused_history
from streams.records.journal_record import JournalRecord
from streams.records.kafka_logs import Stored
from streams.records.redis_reader import MarketRedis
from streams.records.values_log import MarketValues

_Name = tuple[str, str]
"""(dimension, member)."""


class _Hour:
    """Orders by (dimension, member) in the last closing of an hour, and in what changed of it since."""

    def __init__(self, version: Fence, where: str, *, partial: bool = False) -> None:
        self.version = version
        self.where = where
        self.partial = partial
        """Whether its last closing of all values is not known."""
        self.orders: dict[_Name, Value | None] = {}


class ExpectedJudge:
    """Collects the records behind the expectations of all markets, then compares."""

    def __init__(
        self,
        methodology: Methodology,
        published: Mapping[str, MarketValues],
        report: Report,
        defined: DefinedMarkets,
    ) -> None:
        """``methodology``: with markets as they are published."""
        self._defined = defined
        self.shifts = Shifts()
        self._published = published
        self._history: list[tuple[int, bytes, bytes | None]] = []
        self._answers: list[tuple[int, bytes, bytes | None]] = []
        self._written_ms: dict[tuple[str, str], int] = {}
        self._methodology = methodology
        self._report = report
        self.bases = Bases(published)
        self._values: dict[str, dict[str, PublishedValue]] = {}
        self._factors = {code: FactorHistory(methodology.markets[code]) for code in published}
        self._local = {code: LocalHours(methodology.markets[code].time_zone) for code in published}
        self._closings = {
            code: ClosingsJudge(
                partial(defined.market, code), self._local[code], self._factors[code], report
            )
            for code in published
        }
        self._days: dict[str, set[str]] = defaultdict(set)
        self._wanted_hours: dict[str, set[int]] = defaultdict(set)
        self._vintages: dict[str, dict[str, Vintaged]] = defaultdict(dict)
        self._hours: dict[str, dict[int, _Hour]] = defaultdict(dict)
        for code, market in published.items():
            self._take_values(code, market)

    def _take_values(self, code: str, market: MarketValues) -> None:
        values = {
            key: PublishedValue(held.value, held.version, held.where, held.written_ms)
            for key, held in market.values.items()
            if held.value is not None and held.value.edition == self._methodology.edition
        }
        self._values[code] = values
        spec, hours = self._methodology.markets[code], self._local[code]
        vintages = {e.value.vintage for e in values.values() if e.value.index != LEVEL}
        for vintage in vintages - {None}:
            day = day_number((vintage or "")[: len("2026-11-24")])
            # A window may reach back into the day before.
            self._days[code] |= {day_name(day - 1), day_name(day)}
        for each in values.values():
            if each.value.index in AGO_DAYS and each.value.covered == 1:
                self._wanted_hours[code] |= query_of(each.value, spec, hours).hours

    # -- reading the topics ----------------------------------------------------------------------

    def take_history(self, stored: Stored) -> None:
        """Apply the next record of ``ecindex.history``."""
        refused = refused_history(stored)
        if refused is not None:
            self._report.unreadable(EXPECTED, refused)
        self._history.append((stored.timestamp_ms, stored.key or b"", stored.value))
        for factors in self._factors.values():
            factors.add_record(stored.key, stored.value, stored.timestamp_ms)

    def take_answer(self, stored: Stored) -> None:
        """Apply the next record of ``ecindex.answers``."""
        refused = refused_answer(stored)
        if refused is not None:
            self._report.unreadable(EXPECTED, refused)
        self._answers.append((stored.timestamp_ms, stored.key or b"", stored.value))
        for factors in self._factors.values():
            factors.add_answer(stored.key, stored.value, stored.timestamp_ms)

    def take_journal(self, record: JournalRecord, version: Fence, stored: Stored) -> None:
        """Apply the next journal record: one of this edition, and of no newer version than published."""
        if record.kind == "vintage":
            self._vintage(record, version, stored)
        elif record.kind == "hour":
            self._closing(record, version, stored.where)
            closings = self._closings.get(record.market)
            if closings is not None:
                closings.judge(record, version, stored, self._vintages[record.market])
        elif record.kind == "base":
            self.bases.add_bases(record, stored.where)

    def _vintage(self, record: JournalRecord, version: Fence, stored: Stored) -> None:
        name = record.vintage or ""
        if name[: len("2026-11-24")] not in self._days[record.market]:
            return
        self._written_ms.setdefault((record.market, name), stored.timestamp_ms)
        first = Vintaged(name, version, stored.where, {})
        known = self._vintages[record.market].setdefault(name, first)
        for series in record.series:
            known.series[series.dimension, series.member, series.measure] = series

    def _closing(self, record: JournalRecord, version: Fence, where: str) -> None:
        start_ms = parse_instant(record.start or "")
        if start_ms is None or start_ms not in self._wanted_hours[record.market]:
            return
        hours = self._hours[record.market]
        known = hours.get(start_ms)
        if known is not None and version.rank < known.version.rank:
            return
        if record.cause is not None:
            # What it does not name stays as it was closed, which the journal may no longer have.
            known = known or hours.setdefault(start_ms, _Hour(version, where, partial=True))
            known.version, known.where = version, where
            for name in record.gone:
                index, dimension, member = name.split(":", 2)
                if index == ORDERS_BASIS:
                    known.orders[dimension, member] = None
        elif known is None or record.part == 1:
            known = hours[start_ms] = _Hour(version, where)
        for value in record.values:
            if value.index == ORDERS_BASIS:
                known.orders[value.dimension, value.member] = value

    # -- comparing -------------------------------------------------------------------------------

    def judge(self) -> None:
        """Compare every value that is measured, or has an expectation."""
        for code, values in self._values.items():
            for held in values.values():
                if is_measured(held.value.index) or held.value.expected is not None:
                    self._judge(EXPECTED, code, held, values)

    def judge_redis(self, held: MarketRedis) -> None:
        """Compare the measured values, and those with an expectation, in Redis' snapshot and hash."""
        snapshot, code = held.snapshot, held.market
        if snapshot is None or held.version.edition != self._methodology.edition:
            return
        if code not in self._local:
            return
        if held.version.definitions != self._methodology.markets[code].definitions:
            self._report.skip(REDIS, "by other definitions than ecindex.values", code)
            return
        version = held.version
        written_ms = parse_instant(snapshot.published_at) or version.as_of_ms
        where = held.keys.snapshot
        values = {
            value.key: PublishedValue(value, version, where, written_ms)
            for value in snapshot.values
        }
        for each in values.values():
            measured = is_measured(each.value.index)
            if measured or each.value.expected is not None:
                self._judge(REDIS, code, each, values)
            if measured:
                self._judge_text(held, each.value)

    def _judge_text(self, held: MarketRedis, value: Value) -> None:
        for name, expected, found in (
            ("text", None if value.value is None else decimal(value.value), value.field),
            ("status", value.status, f"{value.field}@status"),
        ):
            published = held.values.get(found, "ok" if name == "status" else None)
            if published != expected:
                key = f"{held.market} {value.field}"
                self._report.differs(REDIS, key, name, expected, published, held.keys.values)

    def judge_vintages(
        self,
        hours: Callable[[str, int], Mapping[tuple[str, int], Sums]],
        topics: tuple[str, str],
        blind_before_ms: int,
    ) -> None:
        """Judge the vintages that current values name.

        ``hours``: sums of the whole log by a market's definitions of some version. A vintage is judged
        by those that it was learnt under.
        """
        for code, values in self._values.items():
            named = {held.value.vintage for held in values.values()}
            vintages = [each for name, each in self._vintages[code].items() if name in named]
            fence = self._published[code].fence
            if not vintages or fence is None:
                continue
            orders, payments = (first_hour(fence.first.get(topic)) for topic in topics)
            for each in vintages:
                version = each.version.definitions
                market = self._defined.market(code, version)
                if market is None:
                    why = "vintages by definitions that ecindex.definitions no longer has"
                    self._report.skip(EXPECTED, why, each.where)
                    continue
                judge = VintageJudge(
                    market, hours(code, version), self._history, self._answers,
                    (orders, payments), self._report,
                )  # fmt: skip
                written_ms = self._written_ms[code, each.name]
                learnt = JudgedVintage(each.name, each.where, written_ms, each.series)
                judge.judge(learnt, self.shifts, blind_before_ms)

    def _judge(
        self, stage: str, code: str, held: PublishedValue, values: Mapping[str, PublishedValue]
    ) -> None:
        explanation: Explanation | None = None
        for factors in self._factors[code].candidates(held.written_ms):
            known = Known(values, self._journal(code, held.value), factors)
            explanation = explain_value(
                held,
                known,
                self._methodology.markets[code],
                edition=self._methodology.edition,
                hours=self._local[code],
            )
            if not any(check.equal is False for check in explanation.checks):
                break
        assert explanation is not None  # methodology.toml is always a candidate
        key = held.value.key
        self._report.judge(stage)
        for check in explanation.checks:
            if check.equal is None:
                self._report.skip(stage, check.why, f"{key} {check.what}")
            elif not check.equal:
                self._report.differs(
                    stage, key, check.what, check.recomputed, check.published, held.where
                )

    def _journal(self, code: str, value: Value) -> Journal:
        closings: dict[tuple[str, int], Closed] = {}
        if value.index in AGO_DAYS:
            market = self._methodology.markets[code]
            own = [
                (value.dimension, each)
                for each in (value.member, *former_ids(market, value.dimension, value.member))
            ]
            closings = {
                ("hour", start_ms): Closed(
                    hour.version,
                    hour.where,
                    next((of for name in own if (of := hour.orders.get(name))), None),
                )
                for start_ms, hour in self._hours[code].items()
                if not hour.partial or any(name in hour.orders for name in own)
            }
        return Journal(self._vintages[code], closings, bases=self.bases.of(code))

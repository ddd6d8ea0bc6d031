"""Computes everything that the log decides about each value of a publication."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from streams.flow.merged import DAY_KIND
from streams.index.indices import SHOPPER_INDICES
from streams.index.level import LEVEL
from streams.index.measured import MEASURED
from streams.index.methodology import Market
from streams.index.panes import day_name, day_number
from streams.index.values import COVERED_MIN, DAY_WINDOW, WINDOWS_MS, Value
from streams.proof.audit.cuts import BUYERS_STEP_MS, Cut
from streams.proof.audit.judge_merged import MergedLog
from streams.proof.audit.report import Report
from streams.proof.recompute.defined_markets import DefinedMarkets
from streams.proof.recompute.formulas import (
    ORDERS,
    Expected,
    day_values,
    shopper_values,
    window_values,
)
from streams.proof.recompute.slots import GONE, Blind, SlotCalendar
from streams.proof.recompute.sums import Sums


def is_measured(index: str) -> bool:
    """Whether an index is measured against an expectation or a base. Its values are judged elsewhere."""
    return index in MEASURED or index == LEVEL


class ExpectedValue(NamedTuple):
    """Everything about a value that the log decides."""

    expected: Expected
    window: str
    as_of_ms: int
    covered: float | None
    """None: the log no longer tells."""
    day: str | None = None

    @property
    def status(self) -> str:
        """Status to publish: ``ok``, ``filling`` or ``no_data``."""
        if self.day is None and self.covered is not None and self.covered < COVERED_MIN:
            return "filling"
        return "no_data" if self.expected.value is None else "ok"

    @property
    def value(self) -> int | float | None:
        """Number to publish; None while the window is filling, or without data."""
        return None if self.status == "filling" else self.expected.value

    @property
    def field(self) -> str:
        """Field in the Redis hash of window values, or of day values."""
        return ":".join((*self.expected.name, self.day or self.window))

    def key(self, market: str) -> str:
        """Key in ``ecindex.values``."""
        base = "|".join((market, *self.expected.name, self.window))
        return base if self.day is None else f"{base}|{self.day}"


class Expectations:
    """Computes from a cut the values that its publication must show."""

    def __init__(
        self,
        defined: DefinedMarkets,
        topics: tuple[str, str],
        calendar: SlotCalendar,
        blind: Blind,
        merged: MergedLog,
    ) -> None:
        """``topics``: (orders, payments). ``merged``: the table, judged."""
        self._merged = merged
        self._defined = defined
        self._topics = topics
        self._calendar = calendar
        self._blind = blind

    def windows(self, cut: Cut) -> Iterator[ExpectedValue]:
        """Yield every value of the live windows. ``covered`` is None where the log has lost it."""
        market = self.market(cut)
        for window, length_ms in WINDOWS_MS.items():
            sums = [cut.windows.get((topic, window), Sums()) for topic in self._topics]
            for expected in window_values(market, *sums):
                topic = self._topics[0 if expected.basis == ORDERS else 1]
                span = cut.span_ms(topic, window)
                if span is None:
                    continue
                start_ms, end_ms = span
                first_ms = max(start_ms, cut.first_ms.get(topic, end_ms))
                covered = max(0, end_ms - first_ms) / length_ms
                known = covered >= 1 or not self._blind
                yield ExpectedValue(expected, window, end_ms, covered if known else None)
            yield from self._buyers(cut, window, length_ms)

    def _buyers(self, cut: Cut, window: str, length_ms: int) -> Iterator[ExpectedValue]:
        span = cut.buyers_span_ms(window) if window in BUYERS_STEP_MS else None
        if span is None:
            return
        start_ms, end_ms = span
        first_ms = max(start_ms, cut.first_ms.get(self._topics[0], end_ms))
        covered = max(0, end_ms - first_ms) / length_ms
        known = covered >= 1 or not self._blind
        for expected in shopper_values(cut.buyers.get(window, Sums())):
            yield ExpectedValue(expected, window, end_ms, covered if known else None)

    def market(self, cut: Cut) -> Market:
        """Return the market by the definitions of a publication."""
        market = self._defined.market(cut.market, cut.definitions)
        assert market is not None  # the audit makes no cut of a version that it does not know
        return market

    def blind_window(self, each: ExpectedValue) -> bool:
        """Whether the log has lost part of this window."""
        if not self._blind:
            return False
        topic = self._topics[0 if each.expected.basis == ORDERS else 1]
        return each.as_of_ms - WINDOWS_MS[each.window] < self._blind.before_ms(topic)

    def days(self, cut: Cut) -> Iterator[ExpectedValue]:
        """Yield every value of every local day that has a row."""
        market = self.market(cut)
        local_days = self._calendar.local_days(cut.market)
        for day, whole in sorted(cut.days.items()):
            kept = self._merged.made_of_cut(DAY_KIND, cut.market, day, cut.definitions)
            sums, end_ms = kept or whole, local_days.end_ms(day)
            for expected in day_values(market, sums):
                yield ExpectedValue(expected, DAY_WINDOW, end_ms, None, day_name(day))
        for day, sums in sorted(cut.days_of_buyers.items()):
            if not (sums.get("shopper_orders") or sums.get("new_known")):
                continue
            start_ms, end_ms = local_days.start_ms(day), local_days.end_ms(day)
            until_ms = min(cut.buyers_until_ms or end_ms, end_ms)
            covered = (until_ms - start_ms) / (end_ms - start_ms)
            for expected in shopper_values(sums):
                yield ExpectedValue(expected, DAY_WINDOW, until_ms, covered, day_name(day))

    def blind_day(self, market: str, day: str) -> bool:
        """Whether the log has lost part of this day."""
        if not self._blind:
            return False
        start_ms = self._calendar.local_days(market).start_ms(day_number(day))
        return start_ms < self._blind.before_ms()

    def source_ms(self, cut: Cut, basis: str) -> int:
        """Return ``as_of`` (ms) of the input that a value is counted from; else the newest of all."""
        topic = self._topics[0 if basis == ORDERS else 1]
        return cut.as_of_ms.get(topic, max(cut.as_of_ms.values()))

    def day_covered(self, market: str, day: str, as_of_ms: int) -> tuple[int, float]:
        """Return (as_of in ms, covered) of a day's value in a publication at ``as_of_ms``."""
        local_days = self._calendar.local_days(market)
        start_ms = local_days.start_ms(day_number(day))
        end_ms = local_days.end_ms(day_number(day))
        until_ms = min(as_of_ms, end_ms)
        return until_ms, max(0, until_ms - start_ms) / (end_ms - start_ms)


def has_own_limits(expected: Expected, found: Value) -> bool:
    """Whether ``lower`` and ``upper`` follow from the counts, not from an expectation."""
    if expected.index in SHOPPER_INDICES:
        return True
    return found.day is not None and expected.basis == ORDERS and found.expected is None


def compare(
    report: Report, stage: str, key: str, wanted: ExpectedValue, found: Value, where: str
) -> None:
    """Compare a published value with what the log decides about it."""
    expected = wanted.expected
    pairs: list[tuple[str, object, object]] = [
        ("observed", expected.observed, found.observed),
        ("n", expected.n, found.n),
        ("unit", expected.unit, found.unit),
    ]
    if wanted.covered is None and wanted.day is None:
        report.skip(stage, f"covered, status: {GONE}", key)
        if found.status != "filling":
            pairs.append(("value", expected.value, found.value))
    else:
        pairs += [("value", wanted.value, found.value), ("status", wanted.status, found.status)]
        if wanted.covered is not None:
            pairs.append(("covered", wanted.covered, found.covered))
    if has_own_limits(expected, found):
        limits = (expected.lower, expected.upper) if wanted.value is not None else (None, None)
        pairs += zip(("lower", "upper"), limits, (found.lower, found.upper), strict=True)
    report.judge(stage)
    for name, left, right in pairs:
        if left != right or type(left) is not type(right):
            report.differs(stage, key, name, left, right, where)

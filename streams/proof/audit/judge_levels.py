"""Judges the level index: every ended day has a level, and its base equals the log.

The number of a level is judged with the expectations, against the base that it names. The net sales of
its day are judged as that day's own value.
"""

from __future__ import annotations

from collections.abc import Mapping

from streams.index.indices import ALL, MARKET
from streams.index.level import LEVEL, Base
from streams.index.methodology import Market, Methodology
from streams.index.panes import day_name
from streams.index.values import DAY_WINDOW, Value
from streams.proof.audit.report import EXPECTED, Report
from streams.proof.explain.bases import FENCE_WHERE, fence_base, journaled_base
from streams.proof.explain.explanation_types import Based
from streams.proof.recompute.comparisons import level_index
from streams.proof.recompute.slots import GONE, Blind, SlotCalendar
from streams.proof.recompute.sums import Sums
from streams.records.journal_record import JournalRecord
from streams.records.values_log import FenceContent, MarketValues

_OPEN = "a base that cancels and refunds may still change: it is taken once a local day"
_STATED = "a base whose net sales methodology.toml states"
UNKNOWN = "a closing that names a base which the journal no longer has"
_NET = f"sales_net|{MARKET}|{ALL}|{DAY_WINDOW}"
_LEVEL = f"{LEVEL}|{MARKET}|{ALL}|{DAY_WINDOW}"


class Bases:
    """Bases of all markets: the current ones, and those that the journal names."""

    def __init__(self, published: Mapping[str, MarketValues]) -> None:
        self._fence_bases = {
            code: fence_base(None if market.fence is None else market.fence.level)
            for code, market in published.items()
        }
        self._journaled: dict[str, dict[str, Based]] = {code: {} for code in published}

    def add_bases(self, record: JournalRecord, where: str) -> None:
        """Apply the next journal record about a base. The last record of a name counts."""
        self._journaled.setdefault(record.market, {}).update(journaled_base(where, record))

    def of(self, market: str) -> dict[str, Based]:
        """Bases of a market, by name."""
        return {**self._journaled.get(market, {}), **self._fence_bases.get(market, {})}

    def closing_pairs(self, market: str, value: Value) -> list[tuple[str, object, object]] | None:
        """Return (field, expected, found) of a level in a day's closing; None if its base is unknown."""
        if value.vintage is None:
            return [("value", None, value.value)]
        base = self.of(market).get(value.vintage)
        if base is None:
            return None
        expected = None
        if value.status != "filling":
            expected = level_index(value.observed or 0, base.days, base.net_minor)
        return [("value", expected, value.value)]


def judge_levels(
    methodology: Methodology,
    published: Mapping[str, MarketValues],
    days: Mapping[tuple[str, int], Sums],
    calendar: SlotCalendar,
    blind: Blind,
    report: Report,
) -> None:
    """Judge each market's base, and which days have a level. ``days``: sums of the whole log."""
    for code, market in published.items():
        spec, fence = methodology.markets[code], market.fence
        if spec.base is None or fence is None or fence.edition != methodology.edition:
            continue
        _judge_days(code, market, report)
        base = None if fence.level is None else fence.level.base
        if base is not None:
            _judge_base(spec, base, fence, days, calendar, blind, report)


def _judge_days(code: str, market: MarketValues, report: Report) -> None:
    """Check that every day that was over when it was published has a level."""
    for key, held in market.values.items():
        value = held.value
        if value is None or not key.startswith(f"{code}|{_NET}|") or value.covered < 1:
            continue
        own = f"{code}|{_LEVEL}|{value.day}"
        level = market.values.get(own)
        report.judge(EXPECTED)
        if level is None or level.value is None:
            report.differs(EXPECTED, own, "record", f"one of {value.day}", None, held.where)


def _judge_base(
    market: Market,
    base: Base,
    fence: FenceContent,
    days: Mapping[tuple[str, int], Sums],
    calendar: SlotCalendar,
    blind: Blind,
    report: Report,
) -> None:
    key = f"{market.code} base {day_name(base.first)}/{day_name(base.end - 1)}"
    period = market.base
    if period is not None and period.net_minor is not None and base[:2] == period[:2]:
        report.skip(EXPECTED, _STATED, key)
        return
    if not base.final:
        report.skip(EXPECTED, _OPEN, key)
        return
    first_ms = calendar.local_days(market.code).start_ms(base.first)
    if first_ms < blind.before_ms():
        report.skip(EXPECTED, GONE, key)
        return
    report.judge(EXPECTED)
    net_minor = sum(
        _net(days.get((market.code, day), Sums())) for day in range(base.first, base.end)
    )
    if net_minor != base.net_minor:
        report.differs(EXPECTED, key, "net_minor", net_minor, base.net_minor, FENCE_WHERE)
    if base.end > fence.days_until:
        report.differs(EXPECTED, key, "final", False, True, FENCE_WHERE)


def _net(sums: Sums) -> int:
    placed, cancelled, refunded = (
        sums.get(f"{name}/sales", 0) for name in ("placed", "cancelled", "refunded")
    )
    return placed - cancelled - refunded

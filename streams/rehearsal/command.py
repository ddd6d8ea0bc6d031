"""``ecindex rehearse``: counts a history, and watches each market of it under each set of rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from streams.console.errors import OperationError, unknown_market
from streams.index.methodology import Methodology
from streams.index.panes import rfc3339
from streams.index.shift_budget import ShiftRules
from streams.rehearsal.counted_minutes import CountedMinutes
from streams.rehearsal.rehearse import (
    PAST_DAYS,
    MarketPages,
    RehearsedPage,
    alarms,
    rehearse_market,
    span_of,
)

_SHOWN_REASONS = 3


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """Results by market, then by rules. ``too_short``: markets whose history is too short."""

    rules: Sequence[ShiftRules]
    markets: dict[str, list[MarketPages]]
    too_short: list[str]


def rehearse(
    counted: CountedMinutes,
    methodology: Methodology,
    weeks: int,
    rules: Sequence[ShiftRules],
    *,
    market: str | None,
    tell: Callable[[str], None],
) -> Rehearsal:
    """Watch every market that has a history, or only ``market``. Raises OperationError."""
    if market is not None and market not in counted.markets:
        raise unknown_market(market, counted.markets)
    found: dict[str, list[MarketPages]] = {}
    too_short: list[str] = []
    for code, one in counted.markets.items():
        if not one.minutes or market not in (None, code):
            continue
        span = span_of(one, weeks)
        if span is None:
            too_short.append(code)
            continue
        for each in rules:
            tell(f"{code}: {words(each)}")
            pages = rehearse_market(code, one, methodology, each, span)
            found.setdefault(code, []).append(pages)
    if not found:
        raise OperationError(_nothing(counted, too_short))
    return Rehearsal(rules, found, too_short)


def _nothing(counted: CountedMinutes, too_short: list[str]) -> str:
    if too_short:
        return (
            f"{', '.join(too_short)}: expected more than {PAST_DAYS} days of history, since a market is "
            "judged after so many; give a longer one"
        )
    refused = sorted(counted.outcomes.items(), key=lambda each: -each[1])[:_SHOWN_REASONS]
    outcomes = ", ".join(f"{count:,} {name}" for name, count in refused) or "no event"
    return (
        f"expected events of {', '.join(counted.markets)} (methodology.toml), found {outcomes}; "
        "the methodology must have the market, and an event its currency"
    )


def words(rules: ShiftRules) -> str:
    """Rules in words: the budget, and its parts for the total and for all other series."""
    return f"{rules.budget_days:g} days, total {rules.all:g}, others {rules.members:g}"


def as_json(rehearsal: Rehearsal) -> dict[str, Any]:
    """Return what ``--json`` prints."""
    return {
        "markets": [
            {
                "market": code,
                "rules": {
                    "budget_days": one.rules.budget_days,
                    "all": one.rules.all,
                    "members": one.rules.members,
                },
                "from": rfc3339(one.from_ms),
                "until": rfc3339(one.until_ms),
                "days": round(one.days, 1),
                "pages": len(one.pages),
                "alarms": [
                    {**_page(alarm.first), "with": [_page(other) for other in alarm.others]}
                    for alarm in alarms(one.pages)
                ],
            }
            for code, results in rehearsal.markets.items()
            for one in results
        ],
        "too_short": rehearsal.too_short,
    }


def _page(page: RehearsedPage) -> dict[str, Any]:
    shift = page.shift
    return {
        "dimension": shift.dimension,
        "member": shift.member,
        "direction": "up" if shift.direction > 0 else "down",
        "start": rfc3339(page.started_ms),
        "paged": rfc3339(page.paged_ms),
        "over": None if page.over_ms is None else rfc3339(page.over_ms),
        "clock": shift.clock,
        "observed": round(shift.interval.observed),
        "expected": round(shift.interval.expected, 1),
        "ratio": round(shift.interval.ratio, 3),
        "lower": round(shift.interval.lower, 3),
        "upper": round(shift.interval.upper, 3),
        "noise": round(page.noise, 3),
    }


def settings_of_rules(
    present: ShiftRules, budgets: Iterable[float], parts: Iterable[tuple[float, float]]
) -> list[ShiftRules]:
    """Return the present rules, those with other budgets, and those with other parts, no rule twice.

    Raises OperationError for rules that methodology.toml may not have.
    """
    reserve = present.reserve
    wanted = [
        present,
        *(ShiftRules(days, present.all, present.members, reserve) for days in budgets),
        *(ShiftRules(present.budget_days, own, others, 0.0) for own, others in parts),
    ]
    found: list[ShiftRules] = []
    for each in wanted:
        mistakes = each.mistakes()
        if mistakes:
            raise OperationError(f"{words(each)}: {'; '.join(mistakes)}")
        if each not in found:
            found.append(each)
    return found

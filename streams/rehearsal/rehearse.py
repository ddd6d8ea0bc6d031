"""What would have paged: one market's counted history, watched under one or more budgets.

A rehearsal is an index that was started ``LEAD_DAYS`` before the judged weeks with the history before
them imported: until then hours teach and nothing is watched. It needs ``PAST_DAYS`` of the market's own
past before it judges; what a shorter history leaves of the weeks is what is judged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from streams.flow.shift_watch import FoundShift
from streams.index.demand import SCALE
from streams.index.hours import DRIFT_LEAD_DAYS, LEARNT_DAYS
from streams.index.methodology import Methodology
from streams.index.panes import DAY_MS, HOUR_MS, MINUTE_MS
from streams.index.partials import ORDERS
from streams.index.shift_budget import ShiftRules, market_shares
from streams.rehearsal.counted_minutes import CountedMarket, rows_of_hour
from streams.rehearsal.market_rehearsal import MarketRehearsal

PAST_DAYS = 28
"""Days of its own past before a market is judged."""
LEAD_DAYS = 7
"""Days that are watched before the judged ones: a shift that goes on is no news in them."""
_LEARNT_DAYS = LEARNT_DAYS + DRIFT_LEAD_DAYS
_WEEK_DAYS = 7


class RehearsedPage(NamedTuple):
    """A page of a rehearsal. Instants in ms."""

    shift: FoundShift
    started_ms: int
    paged_ms: int
    over_ms: int | None
    """None: it went on at the end, or until the next page of its series."""
    noise: float
    """s of the expectation of an hour; 0 where it is not known."""


class Hour(NamedTuple):
    """An hour of the market's orders. ``expected`` None: nothing was expected yet."""

    start_ms: int
    orders: int
    expected: float | None


class MarketPages(NamedTuple):
    """What one market would have paged. ``from_ms``, ``until_ms``: what was judged."""

    market: str
    rules: ShiftRules
    from_ms: int
    until_ms: int
    pages: list[RehearsedPage]
    hours: list[Hour]

    @property
    def days(self) -> float:
        """Days that were judged."""
        return (self.until_ms - self.from_ms) / DAY_MS


class RehearsalSpan(NamedTuple):
    """Instants (ms) of a rehearsal, all at whole hours."""

    known_ms: int
    watched_ms: int
    judged_ms: int
    until_ms: int


def span_of(counted: CountedMarket, weeks: int) -> RehearsalSpan | None:
    """Return what of a market's history is learnt, watched and judged; None: it is too short."""
    if not counted.minutes:
        return None
    first_ms = -(-min(counted.minutes) // HOUR_MS) * HOUR_MS
    until_ms = max(counted.minutes) // HOUR_MS * HOUR_MS
    judged_ms = max(until_ms - weeks * _WEEK_DAYS * DAY_MS, first_ms + PAST_DAYS * DAY_MS)
    if judged_ms >= until_ms:
        return None
    watched_ms = max(first_ms, judged_ms - LEAD_DAYS * DAY_MS)
    return RehearsalSpan(
        max(first_ms, watched_ms - _LEARNT_DAYS * DAY_MS), watched_ms, judged_ms, until_ms
    )


def rehearse_market(
    code: str,
    counted: CountedMarket,
    methodology: Methodology,
    rules: ShiftRules,
    span: RehearsalSpan,
    tell: Callable[[int], None] = lambda _: None,
) -> MarketPages:
    """Watch a market's history under ``rules``. ``tell`` is called with each day's end (ms)."""
    shares = market_shares({name: one.shift_weight for name, one in methodology.markets.items()})
    rehearsal = MarketRehearsal(
        methodology.markets[code],
        replace(methodology, shifts=rules),
        shares[code],
        orders=counted.sources[0],
        payments=counted.sources[1],
    )
    found: list[RehearsedPage] = []
    hours: list[Hour] = []
    for hour_ms in range(span.known_ms, span.until_ms, HOUR_MS):
        rows = rows_of_hour(counted, hour_ms)
        if hour_ms < span.watched_ms:
            rehearsal.past(hour_ms, rows)
            continue
        for shift, noise in rehearsal.hour(hour_ms, rows):
            if shift.event == "end":
                _end(found, shift)
            else:
                found.append(
                    RehearsedPage(
                        shift,
                        round(shift.start * MINUTE_MS),
                        round(shift.at * MINUTE_MS),
                        None,
                        0.0 if noise is None else (noise.hour / SCALE) ** 0.5,
                    )
                )
        if hour_ms >= span.judged_ms:
            expected = rehearsal.expectation.of_span(hour_ms, hour_ms + HOUR_MS)
            hours.append(
                Hour(
                    hour_ms,
                    sum(row[ORDERS] for row in rows.values()),
                    None if expected is None else expected.row[ORDERS] / SCALE,
                )
            )
        if (hour_ms + HOUR_MS) % DAY_MS == 0:
            tell(hour_ms + HOUR_MS)
    pages = [page for page in found if page.paged_ms > span.judged_ms]
    return MarketPages(code, rules, span.judged_ms, span.until_ms, pages, hours)


def _end(found: list[RehearsedPage], shift: FoundShift) -> None:
    """Note the end of the shift that a page found."""
    for at in range(len(found) - 1, -1, -1):
        own = found[at].shift
        if (own.dimension, own.member) == (shift.dimension, shift.member):
            found[at] = found[at]._replace(over_ms=round(shift.at * MINUTE_MS))
            return


class Alarm(NamedTuple):
    """Pages of one market and direction that came together: one reason to be woken."""

    first: RehearsedPage
    others: tuple[RehearsedPage, ...]


_TOGETHER_MS = HOUR_MS


def alarms(pages: Sequence[RehearsedPage]) -> Iterator[Alarm]:
    """Yield the pages in groups: those in one direction within an hour of the group's first.

    The market's total leads its group, else the series with the most evidence when it was found.
    """
    groups: list[list[RehearsedPage]] = []
    for page in sorted(pages, key=lambda one: one.paged_ms):
        for group in reversed(groups):
            near = page.paged_ms - group[0].paged_ms <= _TOGETHER_MS
            if near and group[0].shift.direction == page.shift.direction:
                group.append(page)
                break
        else:
            groups.append([page])
    for group in groups:
        lead = max(
            group, key=lambda one: (one.shift.dimension == "market", one.shift.evidence_ratio)
        )
        yield Alarm(lead, tuple(one for one in group if one is not lead))

"""The level index of one market: its base, and the levels of ended days against it.

A base is taken once all of its days have ended. It is checked again once a local day while cancels
and refunds may still change those days, and fixed when they are final.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from streams.flow.ledger import Ledger
from streams.flow.level_base import REBASED_KEPT, LevelRecord, Rebased
from streams.flow.market_progress import MarketProgress
from streams.index.indices import ALL, MARKET
from streams.index.ledgers import net_orders, net_sales
from streams.index.level import LEVEL, Base, BasePeriod, level
from streams.index.panes import day_name, rfc3339
from streams.index.partials import Row
from streams.index.values import COVERED_MIN, DAY_WINDOW, Value

LEVEL_NAME = f"{LEVEL}:{MARKET}:{ALL}"
"""Name of the level within its day, as the day book names values."""


class BaseRevision(NamedTuple):
    """Result of a check of the base: the record that holds from now on, and what it revises."""

    record: LevelRecord
    rebased: Rebased | None
    """None: readers see the same base as before."""


class MarketLevel:
    """Level index of one market."""

    def __init__(self, progress: MarketProgress, ledger: Ledger) -> None:
        self._progress = progress
        self._ledger = ledger

    @property
    def published(self) -> bool:
        """Whether this market has a level index; a market without a base period has none."""
        return self._progress.market.base is not None and self._progress.level is not None

    def revise_base(self) -> BaseRevision | None:
        """Check the base where that is due, else return None. Days read it: call this before them."""
        period, old = self._progress.market.base, self._progress.level
        if period is None:
            return None
        today = self._ledger.local_days.day_of(self._progress.newest_ms)
        if old is not None and old.checked_day == today and not self._due(period, old.base):
            return None
        held = None if old is None else old.base
        found = held if _settled(period, held) else self._taken(period)
        now = _following(old, found, today)
        shows = old is None or (old.sequence, old.final) != (now.sequence, now.final)
        return BaseRevision(now, Rebased(old, now) if shows else None)

    def _due(self, period: BasePeriod, held: Base | None) -> bool:
        """Whether a check on the same day may find more: another period, or that it is final."""
        if not _same(period, held):
            return self._complete(period)
        return not _settled(period, held) and self._final(period)

    def _complete(self, period: BasePeriod) -> bool:
        """Whether the log covers the period, and has reached its end."""
        if period.net_minor is not None:
            return True
        orders, _ = self._progress.topics
        local_days = self._ledger.local_days
        first_ms, as_of_ms = self._ledger.first_ms.get(orders), self._progress.as_of_ms.get(orders)
        if first_ms is None or as_of_ms is None or self._ledger.first_day > period.first:
            return False
        return first_ms <= local_days.start_ms(period.first) and (
            local_days.start_ms(period.end) <= as_of_ms
        )

    def _final(self, period: BasePeriod) -> bool:
        limit = self._progress.days_limit()
        return limit is not None and limit >= period.end

    def _taken(self, period: BasePeriod) -> Base | None:
        """Return the base as its days are now; None: some have not ended, or are not in the log."""
        if period.net_minor is not None:
            return Base(period.first, period.end, period.net_minor, final=True)
        if not self._complete(period):
            return None
        rows = (self._ledger.day_sum(day) for day in range(period.first, period.end))
        net_minor = sum(net_sales(row) for row in rows if row is not None)
        return Base(period.first, period.end, net_minor, self._final(period))

    # -- values ----------------------------------------------------------------------------------

    def number(self, day: int, row: Row, record: LevelRecord | None) -> float | None:
        """Return the level of an ended day against the base of a record; None where it has none."""
        base = None if record is None else record.base
        if base is None or not self.covers(day):
            return None
        return level(net_sales(row), base)

    def covers(self, day: int) -> bool:
        """Whether the log covers enough of an ended day for it to have a level."""
        return self._covered(day) >= COVERED_MIN

    def value(self, day: int, row: Row, *, revisions: int, closed: bool) -> Value:
        """Return an ended day's level. ``revisions``: how often the day's own row revised it."""
        record = self._progress.level
        assert record is not None  # the caller checked ``published``
        base, covered = record.base, self._covered(day)
        number = self.number(day, row, record)
        status = "ok" if number is not None else "no_data"
        if covered < COVERED_MIN:
            status = "filling"
        elif base is None:
            status = "warming"
        settled = closed and (status == "filling" or (base is not None and base.final))
        return Value(
            market=self._progress.market.code,
            index=LEVEL,
            dimension=MARKET,
            member=ALL,
            window=DAY_WINDOW,
            as_of=rfc3339(self._ledger.local_days.end_ms(day)),
            value=number,
            unit="index",
            observed=net_sales(row),
            covered=covered,
            n=net_orders(row),
            status=status,
            phase="final" if settled else "live",
            revision=revisions + (record.revisions_of(day) if self.covers(day) else 0),
            edition=self._progress.methodology.edition,
            expected=None if base is None else base.mean,
            vintage=record.name,
            day=day_name(day),
        )

    def _covered(self, day: int) -> float:
        """Return the share of an ended day that the log covers, 0 to 1."""
        start_ms, end_ms = (
            self._ledger.local_days.start_ms(day),
            self._ledger.local_days.end_ms(day),
        )
        first_ms = self._ledger.first_ms.get(self._progress.topics[0], end_ms)
        return max(0, end_ms - max(start_ms, first_ms)) / (end_ms - start_ms)


def _same(period: BasePeriod, held: Base | None) -> bool:
    """Whether the base is of this period, and has the sum that the period states, if any."""
    return (
        held is not None
        and (held.first, held.end) == (period.first, period.end)
        and period.net_minor in (None, held.net_minor)
    )


def _settled(period: BasePeriod, held: Base | None) -> bool:
    return held is not None and held.final and _same(period, held)


def _following(old: LevelRecord | None, found: Base | None, today: int) -> LevelRecord:
    """Return the record after a check; where it found no base, the old one stays."""
    known = LevelRecord(today) if old is None else old
    held = known.base
    if found is None or found == held:
        return msgspec.structs.replace(known, checked_day=today)
    changed = held is None or held[:3] != found[:3]
    rebased = known.rebased
    if changed and old is not None:
        rebased = [*rebased, known.checked_day][-REBASED_KEPT:]
    return LevelRecord(
        checked_day=today,
        sequence=known.sequence + changed,
        first=found.first,
        end=found.end,
        net_minor=str(found.net_minor),
        final=found.final,
        rebased=rebased,
    )

"""Values of one market's local days, gross, valid and net, and the revisions of ended days."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

import msgspec

from streams.flow.changed_slots import ChangedSlots, Touched
from streams.flow.daybook import DayBook, Name, ShownDay, ShownRecord, name_of
from streams.flow.entry_value import differs, value_of
from streams.flow.ledger import Ledger
from streams.flow.level_base import Rebased
from streams.flow.market_expectation import MarketExpectation
from streams.flow.market_level import LEVEL_NAME, MarketLevel
from streams.flow.market_progress import MarketProgress
from streams.flow.publication import Closing, Revision
from streams.flow.state import NEVER_MS
from streams.index.indices import ALL, MARKET, ORDERS_BASIS, SOURCES, Entry
from streams.index.ledgers import DEFINITION, book_entries, cause_of
from streams.index.measured import day_expectations
from streams.index.panes import day_name, rfc3339
from streams.index.partials import Row
from streams.index.values import DAY_WINDOW, Value

_PUBLISHED_MAX = 40_000
"""How many published values are remembered: about two months of a wide market."""
_PUBLISHED_DAYS = 64
_NET = f"sales_net:{MARKET}:{ALL}"
"""The value that a level is computed from."""


class _Ended(NamedTuple):
    """An ended day whose level is to be shown: its row, the row shown before, why that changed."""

    row: Row
    before: Row
    cause: str | None


class ShownDays(NamedTuple):
    """What a step shows of the day book."""

    values: list[Value]
    """Values that changed."""
    ended: list[ShownDay]
    """Ended days whose row is to be stored with the values."""
    revisions: list[Revision]
    gone: list[str]
    """Keys of values that other definitions have left without a member, or without an event. After a
    reset also the levels of days that have not ended."""


class MarketDays:
    """Shows the day book of one market."""

    def __init__(
        self,
        progress: MarketProgress,
        ledger: Ledger,
        expectation: MarketExpectation,
        level: MarketLevel,
    ) -> None:
        self._progress = progress
        self._ledger = ledger
        self._expectation = expectation
        self._book = DayBook(ledger.layout)
        self._level = level
        self._days_published: dict[str, Value] = {}
        self._known: frozenset[str] | None = None
        """Sources whose values the last step showed; None before the first."""
        self._withdraws = False
        """Whether the next step withdraws what an open day has not any more."""

    # -- keeping ---------------------------------------------------------------------------------

    def restore(self, day: int, record: ShownRecord) -> None:
        """Restore from the table how a day was shown."""
        self._book.restore(day, record)

    def take_over(self, old: MarketDays) -> None:
        """Go on from the same market by other definitions: with its ended days, and what was shown."""
        self._book.take_over(old._book)
        self._days_published, self._known = old._days_published, old._known
        self._withdraws = True

    def begin_generation(self) -> None:
        """Withdraw what was shown of a source that the marks do not know since a reset."""
        self._withdraws = True

    def expire(self) -> None:
        """Forget days that were closed long ago."""
        self._book.expire(self._progress.days_until)

    def of_other_definitions(self) -> list[int]:
        """Ended days that were shown last by other definitions, the newest last."""
        definitions = self._ledger.definitions
        return sorted(
            day for day, shown in self._book.days.items() if shown.definitions != definitions
        )

    def of_today(self) -> list[Value]:
        """Return the values of days that have not ended, as they were shown last."""
        ended_ms = self._ended_ms()
        today = "" if ended_ms == NEVER_MS else day_name(self._ledger.local_days.day_of(ended_ms))
        return [value for value in self._days_published.values() if (value.day or "") >= today]

    def take_expired(self) -> list[int]:
        """Days forgotten since the last call."""
        return self._book.take_expired()

    # -- showing ---------------------------------------------------------------------------------

    def step(self, changed: ChangedSlots, applied: int, rebased: Rebased | None) -> ShownDays:
        """Show the days that changed, are due, have ended, or have another base of their level."""
        found: list[Value] = []
        revisions: list[Revision] = []
        levels: dict[int, _Ended] = {}
        stored: list[ShownDay] = []
        today = self._ledger.local_days.day_of(self._ended_ms())
        ended = self._book.newly_ended(today, self._ledger.days(), self._progress.days_until)
        gone = self._levels_taken_back()
        for day in sorted(changed.days | changed.days_due | ended | self._newly_known()):
            row = self._ledger.day_sum(day)
            if row is None:
                continue
            day_values = self._day_values(day, row)
            names_shown = {name_of(entry) for entry, _ in day_values}
            revised = self._revised(day, row) if day < today else {}
            revised = {name: revised[name] for name in revised if name in names_shown}
            for entry, computed in day_values:
                value, name = computed, name_of(entry)
                if name in revised:
                    value = msgspec.structs.replace(value, revision=value.revision + 1)
                    revisions.append(Revision(value, *revised[name]))
                self._show(value, found)
            gone += (self._gone if day < today else self._gone_today)(day, names_shown)
            if day < today:
                known, names, cause = self._book.days.get(day), list(revised), None
                if _NET in revised and self._level.published:
                    names.append(LEVEL_NAME)
                    cause = revised[_NET][1]
                levels[day] = _Ended(row, row if known is None else known.row, cause)
                shown = self._book.show(day, row, names, applied)
                stored += [] if shown is None else [ShownDay(day, shown, self._ledger.layout)]
        if self._level.published:
            for day in sorted(self._ledger.days()) if rebased is not None else ():
                row = self._ledger.day_sum(day) if day < today and day not in levels else None
                if row is not None:
                    levels[day] = _Ended(row, row, None)
            self._show_levels(levels, rebased, revisions, found)
        self._withdraws = False
        self._forget_old_days()
        return ShownDays(found, stored, revisions, gone)

    def _ended_ms(self) -> int:
        """Return the instant (ms) before which days have ended: all sources are known up to it.

        An input that stands still, is behind, or is not known ends no day. Payments that went on past
        midnight gave the day's orders so far a level; and each of an ended day's payments that was
        still to be read counted as a revision.
        """
        known_ms = self._progress.known_ms()
        return min(known_ms.get(source, NEVER_MS) for source in SOURCES)

    def _newly_known(self) -> set[int]:
        """Return the open days when a source is known that was not: its values were not shown."""
        known = frozenset(self._progress.known_ms())
        before = self._progress.published_sources if self._known is None else self._known
        self._known = known
        if known <= before:
            return set()
        return {day for day in self._ledger.days() if day >= self._progress.days_until}

    def _gone(self, day: int, names: Collection[str]) -> list[str]:
        """Return the keys of the values that an ended day has not any more; ``names``: those it has."""
        return self.take_gone(day, self._book.gone(day, names))

    def _levels_taken_back(self) -> list[str]:
        """Return the keys of the levels of days that were shown as ended and have not."""
        days = sorted(self._book.take_early())
        return [key for day in days for key in self.take_gone(day, [LEVEL_NAME])]

    def take_gone(self, day: int, names: Iterable[Name]) -> list[str]:
        """Forget values that an ended day has not any more, and return their keys."""
        code, date = self._progress.market.code, day_name(day)
        keys = [f"{code}|{name.replace(':', '|')}|{DAY_WINDOW}|{date}" for name in names]
        for key in keys:
            self._days_published.pop(key, None)
        return keys

    def _gone_today(self, day: int, names: Collection[str]) -> list[str]:
        """Return the keys of the values that a day which has not ended has not any more."""
        if not self._withdraws:
            return []
        keys = [
            key
            for key, value in self._days_published.items()
            if value.day == day_name(day)
            and f"{value.index}:{value.dimension}:{value.member}" not in names
        ]
        for key in keys:
            del self._days_published[key]
        return keys

    def _show(self, value: Value, found: list[Value]) -> None:
        old = self._days_published.get(value.key)
        if old is None or differs(old, value) or old.revision != value.revision:
            self._days_published[value.key] = value
            found.append(value)

    def _show_levels(
        self,
        levels: dict[int, _Ended],
        rebased: Rebased | None,
        revisions: list[Revision],
        found: list[Value],
    ) -> None:
        """Show the levels of ended days; one that its base or its day's row changed is revised."""
        before = self._progress.level if rebased is None else rebased.before
        for day, ended in sorted(levels.items()):
            value = self._level_value(day, ended.row)
            cause = ended.cause
            if cause is None and rebased is not None and rebased.revises(day):
                cause = DEFINITION
            if cause is not None and self._level.covers(day):
                previous = self._level.number(day, ended.before, before)
                revisions.append(Revision(value, previous, cause))
            self._show(value, found)

    def _level_value(self, day: int, row: Row, *, closing: bool = False) -> Value:
        return self._level.value(
            day,
            row,
            revisions=self._book.revision(day, LEVEL_NAME),
            closed=closing or day < self._progress.days_until,
        )

    def _revised(self, day: int, row: Row) -> dict[str, tuple[int | float | None, str]]:
        """Return the values of an ended day that differ from those shown: (value shown, cause)."""
        shown = self._book.days.get(day)
        if shown is None or shown.row == row:
            return {}
        layout = self._ledger.layout
        redefined = shown.definitions != layout.market.definitions
        found: dict[str, tuple[int | float | None, str]] = {}
        for entry in book_entries(layout, row):
            was = self._book.was(day, name_of(entry))
            before = None if was is None else was.value
            if was is None or (was.value, was.observed, was.n) != (
                entry.value,
                entry.observed,
                entry.n,
            ):
                # Definitions move no total. Of a member nobody can tell what else has moved it.
                of_member = redefined and entry.dimension != MARKET
                cause = DEFINITION if of_member else cause_of(layout, entry, shown.row, row)
                found[name_of(entry)] = before, cause
        return found

    def _forget_old_days(self) -> None:
        oldest = day_name(
            self._ledger.local_days.day_of(self._progress.newest_ms) - _PUBLISHED_DAYS
        )
        if len(self._days_published) > _PUBLISHED_MAX:
            self._days_published = {
                key: value
                for key, value in self._days_published.items()
                if (value.day or "") >= oldest
            }

    def _day_values(
        self,
        day: int,
        row: Row,
        *,
        closing: bool = False,
        names: Collection[Name] | None = None,
        revision: int = 0,
    ) -> list[tuple[Entry, Value]]:
        """Return the values of a day; ``names``: these alone. ``revision``: the least that they have."""
        local_days = self._ledger.local_days
        start_ms, end_ms = local_days.start_ms(day), local_days.end_ms(day)
        # A day's orders are no fresher than orders: another input may be read far beyond them. Of a
        # source that is not known there is no value: half of its partitions looked like all of them.
        known_ms = self._progress.known_ms()
        if closing:  # what is final is known
            known_ms = dict.fromkeys(SOURCES, self._progress.headline_ms) | known_ms
        until_ms = {each: min(at_ms, end_ms) for each, at_ms in known_ms.items()}
        covered = {
            each: max(0, until - start_ms) / (end_ms - start_ms) for each, until in until_ms.items()
        }
        phase = "final" if closing or day < self._progress.days_until else "live"
        name = day_name(day)
        found = book_entries(self._ledger.layout, row)
        entries = [
            entry
            for entry in found
            if entry.basis in until_ms and (names is None or name_of(entry) in names)
        ]
        span = (
            self._expectation.of_span(start_ms, max(start_ms, until_ms[ORDERS_BASIS]))
            if self._progress.live
            and ORDERS_BASIS in until_ms
            and (names is None or self._expectation.is_of_now(day))
            else None
        )
        expectation = day_expectations(entries, self._expectation.noise_columns, span)
        return [
            (
                entry,
                value_of(
                    self._progress,
                    entry,
                    DAY_WINDOW,
                    rfc3339(until_ms[entry.basis]),
                    covered[entry.basis],
                    phase,
                    revision=max(revision, self._book.revision(day, name_of(entry))),
                    day=name,
                    expectation=own,
                ),
            )
            for entry, own in zip(entries, expectation, strict=True)
        ]

    def is_kept(self, day: int) -> bool:
        """Whether it is kept how often the values of an ended day changed."""
        return day in self._book.days

    def closing(self, day: int, touched: Touched | None = None, revision: int = 0) -> Closing:
        """Return the closing of a final day; ``touched``: of what other definitions have changed alone.

        ``revision``: how often they did, for a day of which it is not kept how often its values changed.
        """
        row = self._ledger.day_sum(day) or [0] * self._ledger.layout.day_width
        names = None if touched is None else touched.names
        least = 0 if self.is_kept(day) else revision
        found = self._day_values(day, row, closing=True, names=names, revision=least)
        values = [value for _, value in found]
        if touched is None and self._level.published:
            values.append(self._level_value(day, row, closing=True))
        for value in values:
            self._days_published.pop(value.key, None)
        local_days = self._ledger.local_days
        span = local_days.start_ms(day), local_days.end_ms(day)
        if touched is None:
            return Closing("day", *span, values)
        return Closing("day", *span, values, DEFINITION, touched.gone)

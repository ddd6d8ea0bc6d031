"""Closings of one market: hours and days that became final, and those that changed afterwards."""

from __future__ import annotations

from typing import NamedTuple

from streams.flow.changed_slots import ChangedSlots, Touched
from streams.flow.daybook import name_of
from streams.flow.entry_value import value_of
from streams.flow.ledger import Ledger
from streams.flow.market_days import MarketDays
from streams.flow.market_progress import MarketProgress
from streams.flow.market_shoppers import MarketShoppers
from streams.flow.market_windows import MarketWindows
from streams.flow.merged import DAY_KIND, HOUR, HOURS_KEPT_MS, SlotId
from streams.flow.publication import Closing
from streams.flow.state import NEVER_MS
from streams.index.indices import ORDERS_BASIS, live_entries, with_something
from streams.index.ledgers import DEFINITION
from streams.index.panes import HOUR_MS, rfc3339

EMPTY_HOURS_MAX = 48


class ClosedSlots(NamedTuple):
    """What a step closed, and how far everything is closed now."""

    closings: list[Closing]
    hours_until: int
    """Instant in ms: hours that end by it are closed."""
    days_until: int
    """Number of a local day: days before it are closed."""
    revised: int
    """How many hours and days changed after they were final."""
    gone: list[str]
    """Keys of day values that other definitions have left without a member, or without an event."""


class MarketClosings:
    """Closes hours and days once when they are final, and again when they change afterwards."""

    def __init__(
        self,
        progress: MarketProgress,
        ledger: Ledger,
        windows: MarketWindows,
        days: MarketDays,
        shoppers: MarketShoppers,
    ) -> None:
        self._progress = progress
        self._ledger = ledger
        self._windows = windows
        self._days = days
        self._shoppers = shoppers
        self._final_revisions: dict[SlotId, int] = {}

    def take_over(self, old: MarketClosings) -> None:
        """Go on from the same market by other definitions."""
        self._final_revisions = old._final_revisions

    def forget(self, slot_id: SlotId) -> None:
        """Forget the revisions of a slot that retention dropped."""
        self._final_revisions.pop(slot_id, None)

    def step(self, changed: ChangedSlots) -> ClosedSlots:
        """Close what became final, and close again what changed afterwards.

        So the journal's last record of a slot is right.
        """
        revised = self._changed_after_final(changed)
        whole = revised | changed.closings_due
        closings = [self._closing(slot_id) for slot_id in sorted(whole)]
        gone: list[str] = []
        for slot_id, touched in sorted(changed.redefined.items()):
            kind, start = slot_id
            if kind == DAY_KIND:
                gone += self._days.take_gone(start, touched.gone)
            if slot_id not in whole:
                closings.append(self._closing_of(slot_id, touched))
        hours_until, days_until = self._progress.hours_until, self._progress.days_until
        hours_limit, days_limit = self._progress.hours_limit(), self._progress.days_limit()
        if hours_limit is not None and hours_limit > hours_until:
            closings += [self._hour_closing(start) for start in self._hours_to_close(hours_limit)]
            hours_until = hours_limit
        if days_limit is not None and days_limit > days_until:
            days = sorted(self._ledger.days())
            closings += [
                self._closing((DAY_KIND, day)) for day in days if days_until <= day < days_limit
            ]
            days_until = days_limit
        return ClosedSlots(closings, hours_until, days_until, len(revised), gone)

    def _changed_after_final(self, changed: ChangedSlots) -> set[SlotId]:
        """Return the hours and days that changed after they were final, and count their revisions.

        There are none while inputs keep their arrival times.
        """
        hours = {pane - pane % HOUR_MS for pane in changed.panes}
        found: set[SlotId] = {
            (HOUR, start) for start in hours if start < self._progress.hours_until
        }
        found |= {(DAY_KIND, day) for day in changed.days if day < self._progress.days_until}
        for slot_id in found:
            self._final_revisions[slot_id] = self._final_revisions.get(slot_id, 0) + 1
        return found

    def _hours_to_close(self, limit_ms: int) -> list[int]:
        hours = {
            hour for hour in self._ledger.hours() if self._progress.hours_until <= hour < limit_ms
        }
        if self._progress.live and self._progress.hours_until > NEVER_MS:
            # In a live market an hour without an order is a finding, not a gap.
            first = max(self._progress.hours_until, limit_ms - EMPTY_HOURS_MAX * HOUR_MS)
            hours |= set(range(first, limit_ms, HOUR_MS))
        return sorted(hours)

    def _closing(self, slot_id: SlotId) -> Closing:
        kind, start = slot_id
        if kind == HOUR:
            return self._hour_closing(start)
        closing = self._days.closing(start)
        closing.values.extend(self._shoppers.day_closing(start))
        return closing

    def _closing_of(self, slot_id: SlotId, touched: Touched) -> Closing:
        """Return what other definitions have changed of a slot; all else stays as it was closed.

        Who bought is no matter of definitions, and of an hour a day ago nobody knows it any more.
        """
        kind, start = slot_id
        revision = self._final_revisions[slot_id] = self._final_revisions.get(slot_id, 0) + 1
        if kind == HOUR:
            return self._hour_closing(start, touched)
        return self._days.closing(start, touched, revision)

    def _hour_closing(self, start_ms: int, touched: Touched | None = None) -> Closing:
        row = self._ledger.hour_sum(start_ms) or [0] * self._ledger.layout.live_width
        end_ms = start_ms + HOUR_MS
        as_of = rfc3339(end_ms)
        span = self._progress.span(end_ms, HOUR_MS, HOURS_KEPT_MS)
        covers = {
            topic: self._progress.covered(topic, span, HOUR_MS) for topic in self._progress.topics
        }
        orders, payments = self._progress.topics
        entries = list(live_entries(self._ledger.layout, row, row))
        if touched is None or self._windows.expects_by_definitions_of_now(start_ms):
            expectation = self._windows.window_expectations(entries, [span, span], "1h")
        else:
            expectation = [None] * len(entries)
        kept = with_something(entries)
        revision = self._final_revisions.get((HOUR, start_ms), 0)
        values = [
            value_of(
                self._progress,
                entry,
                "1h",
                as_of,
                covers[orders if entry.basis == ORDERS_BASIS else payments],
                "final",
                revision=revision,
                expectation=own,
            )
            for entry, own in zip(entries, expectation, strict=True)
            if (
                (entry.dimension, entry.member) in kept
                if touched is None
                else name_of(entry) in touched.names
            )
        ]
        if touched is not None:
            return Closing("hour", start_ms, end_ms, values, DEFINITION, touched.gone)
        values += self._shoppers.hour(start_ms, covers[orders], revision)
        return Closing("hour", start_ms, end_ms, values)

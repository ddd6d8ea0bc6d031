"""Who bought in one market: in the last hour and day, in hours that closed, on local days.

A local day here holds the orders placed on it by their ``occurred_at``. The day book's days differ:
an event that comes later with the ``placed_at`` of a day long ago belongs to a day whose sketch is
gone. The windows of 24 hours and the day advance by quarters of an hour: sketches are kept by the
quarter.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from streams.flow.buyers import bought_in
from streams.flow.changed_slots import ChangedSlots
from streams.flow.day_buyers import DayBuyers, DayOfBuyers
from streams.flow.daybook import name_of
from streams.flow.entry_value import differs, value_of
from streams.flow.ledger import Ledger
from streams.flow.market_progress import MarketProgress, Span
from streams.flow.merged import SHOPPERS_OF_MINUTES_KEPT_MS
from streams.flow.publication import Revision
from streams.flow.state import NEVER_MS
from streams.index.indices import SHOPPER_WINDOWS, Entry, shopper_entries
from streams.index.panes import HOUR_MS, MINUTE_MS, QUARTER_MS, day_name, rfc3339
from streams.index.shoppers import Bought, estimate
from streams.index.values import DAY_WINDOW, WINDOWS_MS, Value


class ShownBuyers(NamedTuple):
    """What a step shows of who bought on local days."""

    values: list[Value]
    """Values that changed."""
    ended: list[DayOfBuyers]
    """Ended days to be stored with the values."""
    revisions: list[Revision]
    gone: list[str]
    """Keys of values that a reset has taken back."""


class MarketShoppers:
    """Shoppers of one market."""

    def __init__(self, progress: MarketProgress, ledger: Ledger) -> None:
        self._progress = progress
        self._ledger = ledger
        self._days: dict[int, DayBuyers] = {}
        """Ended days as published. They stay when their quarters are dropped after a day."""
        self._expired: list[int] = []
        self._shown: dict[int, list[Value]] = {}
        """Days that are not final yet, and those shown since this owner began."""
        self._until_ms = NEVER_MS
        """Instant, ms, up to which the days are shown."""
        self._taken_back: set[str] = set()
        """Keys of what was shown before a reset, unless the next step shows it again."""

    def restore(self, day: int, record: DayBuyers) -> None:
        """Take over a day from the table; of several records the larger ``applied`` wins."""
        known = self._days.get(day)
        if known is None or record.applied > known.applied:
            self._days[day] = record

    def take_over(self, old: MarketShoppers) -> None:
        """Go on from the same market by other definitions: who bought is a matter of none."""
        self._days, self._expired = old._days, old._expired
        self._shown, self._until_ms = old._shown, old._until_ms
        self._taken_back = old._taken_back

    def begin_generation(self) -> None:
        """Show every day anew: some were shown up to an instant ahead of time."""
        self._taken_back |= {value.key for values in self._shown.values() for value in values}
        self._shown, self._until_ms = {}, NEVER_MS

    # -- windows ---------------------------------------------------------------------------------

    def span(self, window: str) -> Span:
        """Return [start, end) of a window at the present ``as_of`` of the orders."""
        by_minute = window == "1h"
        step_ms = MINUTE_MS if by_minute else QUARTER_MS
        kept_ms = SHOPPERS_OF_MINUTES_KEPT_MS if by_minute else self._ledger.quarters_kept_ms
        as_of_ms = self._progress.as_of_ms.get(self._progress.topics[0], NEVER_MS)
        start_ms, end_ms = self._progress.span(
            as_of_ms // step_ms * step_ms, WINDOWS_MS[window], kept_ms
        )
        return -(-start_ms // step_ms) * step_ms, end_ms

    def window(self, window: str) -> list[Value]:
        """Return the values of a window; none where the window does not count shoppers."""
        if window not in SHOPPER_WINDOWS or self._progress.topics[0] not in self._progress.as_of_ms:
            return []
        span = self.span(window)
        covered = self._progress.covered(self._progress.topics[0], span, WINDOWS_MS[window])
        as_of = rfc3339(span[1])
        return [
            value_of(self._progress, entry, window, as_of, covered, "live")
            for entry in _entries(bought_in(self._ledger, *span))
        ]

    def hour(self, start_ms: int, covered: float, revision: int) -> list[Value]:
        """Return the values of an hour's closing; none when its quarters were dropped before it."""
        if not self._is_kept(start_ms):
            return []
        as_of = rfc3339(start_ms + HOUR_MS)
        return [
            value_of(self._progress, entry, "1h", as_of, covered, "final", revision=revision)
            for entry in _entries(bought_in(self._ledger, start_ms, start_ms + HOUR_MS))
        ]

    def _is_kept(self, start_ms: int) -> bool:
        return start_ms >= self._ledger.horizon_ms - self._ledger.quarters_kept_ms

    # -- days ------------------------------------------------------------------------------------

    def step(self, changed: ChangedSlots, applied: int) -> ShownBuyers:
        """Show who bought on the days that changed, were reached, have ended or became final."""
        shown = ShownBuyers([], [], [], [])
        as_of_ms = self._progress.as_of_ms.get(self._progress.topics[0])
        if as_of_ms is None:
            return shown
        until_ms = as_of_ms // QUARTER_MS * QUARTER_MS
        for day in sorted(self._to_show(changed, until_ms)):
            values, kept = self._day(day, until_ms, shown.revisions, applied)
            shown.values.extend(values)
            shown.ended.extend([] if kept is None else [DayOfBuyers(day, kept)])
        self._until_ms = until_ms
        shown.gone.extend(sorted(self._taken_back.difference(each.key for each in shown.values)))
        self._taken_back.clear()
        return shown

    def _to_show(self, changed: ChangedSlots, until_ms: int) -> set[int]:
        """Return the days that the present step may change."""
        days = self._ledger.local_days
        late = {days.day_of(pane) for pane in changed.panes if pane < until_ms}
        final = {
            day
            for day, values in self._shown.items()
            if values and values[0].phase == "live" and self._is_final(day)
        }
        if until_ms == self._until_ms:
            return late | final
        first = NEVER_MS if self._until_ms == NEVER_MS else days.day_of(self._until_ms)
        moved = {days.day_of(start) for start in self._ledger.quarters() if start < until_ms}
        return late | final | {day for day in moved if day >= first}

    def _is_final(self, day: int) -> bool:
        limit_ms = max(self._progress.hours_limit() or NEVER_MS, self._progress.hours_until)
        return self._ledger.local_days.end_ms(day) <= limit_ms

    def _day(
        self, day: int, until_ms: int, revisions: list[Revision], applied: int
    ) -> tuple[list[Value], DayBuyers | None]:
        start_ms, end_ms = (
            self._ledger.local_days.start_ms(day),
            self._ledger.local_days.end_ms(day),
        )
        if not self._is_kept(start_ms) or start_ms >= until_ms:
            return [], None
        bought = bought_in(self._ledger, start_ms, min(until_ms, end_ms))
        if not (bought.orders or bought.known):
            return [], None
        known = self._days.get(day)
        now = DayBuyers(
            applied, bought.orders, bought.known, bought.new, estimate(bought.sketch),
            {} if known is None else dict(known.revisions),
        )  # fmt: skip
        was = {} if known is None else {name_of(each): each for each in known.entries()}
        revised: list[tuple[str, int | float | None]] = []
        for entry in now.entries():
            old = was.get(name_of(entry))
            if old is not None and old != entry:
                now.revisions[name_of(entry)] = now.revisions.get(name_of(entry), 0) + 1
                revised.append((name_of(entry), old.value))
        values = self._day_values(day, now, min(until_ms, end_ms), final=self._is_final(day))
        by_name = {f"{value.index}:{value.dimension}:{value.member}": value for value in values}
        revisions += [Revision(by_name[name], before, "late") for name, before in revised]
        shown = {value.key: value for value in self._shown.get(day, ())}
        changed = [
            value
            for value in values
            if value.key not in shown
            or differs(shown[value.key], value)
            or shown[value.key].revision != value.revision
        ]
        self._shown[day] = values
        if until_ms < end_ms or (known is not None and not revised):
            return changed, None
        self._days[day] = now
        return changed, now

    def _day_values(self, day: int, now: DayBuyers, until_ms: int, *, final: bool) -> list[Value]:
        days = self._ledger.local_days
        start_ms, end_ms = days.start_ms(day), days.end_ms(day)
        covered = (until_ms - start_ms) / (end_ms - start_ms)
        return [
            value_of(
                self._progress, entry, DAY_WINDOW, rfc3339(until_ms), covered,
                "final" if final else "live",
                revision=now.revisions.get(name_of(entry), 0), day=day_name(day),
            )
            for entry in now.entries()
        ]  # fmt: skip

    def ended_day(self, day: int) -> Iterator[Entry]:
        """Return the entries of an ended day as published; none for a day that was not."""
        known = self._days.get(day)
        return iter(()) if known is None else known.entries()

    def day_closing(self, day: int) -> list[Value]:
        """Return the values of an ended day for its closing, weeks later."""
        known = self._days.get(day)
        if known is None:
            return []
        return self._day_values(day, known, self._ledger.local_days.end_ms(day), final=True)

    def expire(self) -> None:
        """Forget days whose rows were dropped, and what was shown of days that are final."""
        # Until then a day may be closed again: payments can be read months after their orders.
        for day in [day for day in self._days if day < self._ledger.first_day]:
            del self._days[day]
            self._expired.append(day)
        for day in [day for day in self._shown if not self._is_kept(self._start_ms(day))]:
            del self._shown[day]

    def _start_ms(self, day: int) -> int:
        return self._ledger.local_days.start_ms(day)

    def take_expired(self) -> list[int]:
        """Days forgotten since the last call."""
        expired, self._expired = self._expired, []
        return expired


def _entries(bought: Bought) -> Iterator[Entry]:
    return shopper_entries(bought.orders, bought.known, bought.new, estimate(bought.sketch))

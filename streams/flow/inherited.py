"""What a new owner publishes once of the values from before its first publication.

Readers' caches are filled by what is published. A day that ended before this owner began changes no
more. So no later publication would bring it to a Redis that was emptied, or whose keys expired
while every worker was down.
"""

from __future__ import annotations

from streams.flow.daybook import name_of
from streams.flow.ledger import Ledger
from streams.flow.market_level import LEVEL_NAME, MarketLevel
from streams.flow.market_progress import MarketProgress
from streams.flow.market_shoppers import MarketShoppers
from streams.flow.merged import MINUTES_KEPT_MS
from streams.flow.publication import Headline, Inherited
from streams.index.ledgers import book_entries
from streams.index.panes import MINUTE_MS, day_name
from streams.index.partials import ORDERS, SALES

INHERITED_DAYS = 35
"""Local days that are published, today included."""


class Inheriting:
    """What one market still has to publish of the time before its owner. Nothing before ``begin``."""

    def __init__(
        self, progress: MarketProgress, ledger: Ledger, level: MarketLevel, shoppers: MarketShoppers
    ) -> None:
        self._progress = progress
        self._ledger = ledger
        self._level = level
        self._shoppers = shoppers
        self._days_due = False
        self._headlines_due = False

    def begin(self, *, headlines: bool = True) -> None:
        """Make everything due: the owner has read all that there was. ``headlines``: these too."""
        self._days_due, self._headlines_due = True, headlines

    def take_inherited(self) -> Inherited | None:
        """Return what goes with the present publication; headlines wait until orders were read."""
        read = self._progress.topics[0] in self._progress.as_of_ms
        days_due, headlines_due = self._days_due, self._headlines_due and read
        if not (days_due or headlines_due):
            return None
        self._days_due, self._headlines_due = False, not read
        return Inherited(
            self._days() if days_due else {}, self._headlines() if headlines_due else []
        )

    def _days(self) -> dict[str, dict[str, int | float | None]]:
        """Return the values of the last days.

        A day that still takes rows gives only who bought: all its other values are published again.
        """
        ledger, level = self._ledger, self._level
        today, again = ledger.local_days.day_of(self._progress.newest_ms), ledger.open_days()
        found: dict[str, dict[str, int | float | None]] = {}
        for day in range(today - INHERITED_DAYS + 1, today + 1):
            values = {name_of(entry): entry.value for entry in self._shoppers.ended_day(day)}
            row = None if day in again else ledger.day_sum(day)
            if row is not None:
                values |= {name_of(each): each.value for each in book_entries(ledger.layout, row)}
                if level.published:
                    values[LEVEL_NAME] = level.number(day, row, self._progress.level)
            if values:
                found[day_name(day)] = values
        return found

    def _headlines(self) -> list[Headline]:
        """Return the market's 1m window at the end of each earlier minute, while minutes are kept."""
        orders, _ = self._progress.topics
        first_ms, as_of_ms = self._ledger.first_ms.get(orders), self._progress.as_of_ms[orders]
        if first_ms is None:
            return []
        oldest_ms = max(
            first_ms, as_of_ms - MINUTES_KEPT_MS, self._progress.horizon_ms - MINUTES_KEPT_MS
        )
        found: list[Headline] = []
        for end_ms in range(
            -(-oldest_ms // MINUTE_MS) * MINUTE_MS + MINUTE_MS,
            as_of_ms // MINUTE_MS * MINUTE_MS,
            MINUTE_MS,
        ):
            row = self._ledger.minute_total(end_ms - MINUTE_MS)
            counted = (0, 0) if row is None else (row[ORDERS], row[SALES])
            found.append(Headline(end_ms, *counted))
        return found

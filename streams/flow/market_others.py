"""What ``other`` of one market is made of, today and yesterday, from the label rows in the ledger."""

from __future__ import annotations

from streams.flow.ledger import Ledger
from streams.flow.market_progress import MarketProgress
from streams.flow.merged import DAY_KIND
from streams.flow.state import NEVER_MS
from streams.index.other_labels import OthersOfDay, other_labels
from streams.index.panes import MINUTE_MS

_DAYS = 2
"""Local days that are shown: the newest."""


class MarketOthers:
    """Reads the label rows once a minute of ``as_of``: a day's rows may have thousands of labels."""

    def __init__(self, progress: MarketProgress, ledger: Ledger) -> None:
        self._progress = progress
        self._ledger = ledger
        self._minute_ms = NEVER_MS
        self._shown: list[OthersOfDay] = []

    def step(self, *, waited: bool) -> list[OthersOfDay]:
        """Return the newest day first; the same list until it is read again.

        ``waited``: days have changed while ``as_of`` took no step, as at the end of an import.
        """
        as_of_ms = self._progress.newest_ms
        minute_ms = as_of_ms // MINUTE_MS * MINUTE_MS
        if minute_ms != self._minute_ms or waited:
            self._minute_ms = minute_ms
            ledger = self._ledger
            today = ledger.local_days.day_of(as_of_ms)
            self._shown = [
                OthersOfDay(day, as_of_ms, found)
                for day in range(today, today - _DAYS, -1)
                if (found := other_labels(ledger.label_rows((DAY_KIND, day)), ledger.members))
            ]
        return self._shown

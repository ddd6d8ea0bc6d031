"""The whole log: all source partitions together, for a market's windows and days."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from .counting import Counts, SourceReference
from .rules import Rules, day_name, local_day
from .values import Found, day_values, live_values, shopper_values

Place = tuple[str, int, int]
"""(topic, partition, offset) of a record."""


class LogReference:
    """The reference over all source partitions: feed each one's records in log order, then query."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.sources: dict[tuple[str, int], SourceReference] = {}
        self._panes: dict[tuple[str, int], Counts] = defaultdict(Counter)
        self._days: dict[tuple[str, int], Counts] = defaultdict(Counter)

    def feed(self, topic: str, partition: int, records: Iterable[tuple]) -> None:
        """``records``: (offset, value, timestamp ms) of one source partition; no stamp is doubted."""
        source = SourceReference(self.rules, payments=topic == "payments")
        assert (topic, partition) not in self.sources
        self.sources[topic, partition] = source
        for offset, value, timestamp_ms in records:
            source.add(offset, value, timestamp_ms)
        for event in source.counted:
            self._panes[event.market, event.pane].update(event.live)
        for event in (*source.counted, *source.day_only):
            if event.day_book is not None:
                self._days[event.market, event.day].update(event.day_book)

    def markets(self) -> set[str]:
        """Markets with at least one event that counts."""
        return {market for market, _ in self._panes}

    def outcomes(self, topic: str) -> Counter[str]:
        """Number of a topic's records by outcome."""
        total: Counter[str] = Counter()
        for (own, _), source in self.sources.items():
            if own == topic:
                total.update(source.outcomes.values())
        return total

    def places(self, outcome: str) -> set[Place]:
        """(topic, partition, offset) of each record with this outcome."""
        return {
            (*sp, offset)
            for sp, source in self.sources.items()
            for offset, found in source.outcomes.items()
            if found == outcome
        }

    def window(self, market: str, end_ms: int, length_ms: int) -> dict[str, Found]:
        """(value, observed, n) of the window ``[end - length, end)``, by ``index:dimension:member``."""
        total: Counts = Counter()
        for pane in range(end_ms - length_ms, end_ms, self.rules.pane_ms):
            found = self._panes.get((market, pane))
            if found:
                total.update(found)
        return live_values(total, self.rules.markets[market]) | _bought(total)

    def days(self, market: str) -> dict[str, int | float]:
        """Every value of the local days, by ``index:dimension:member:YYYY-MM-DD``."""
        return {
            f"{name}:{day_name(day)}": value
            for (code, day), counts in self._days.items()
            if code == market and any(counts.values())
            for name, (value, _, _) in day_values(counts, self.rules.markets[market]).items()
            if value is not None
        }

    def buyers(self, market: str, until_ms: int) -> dict[str, int | float]:
        """Shoppers of the local days, from panes before ``until_ms``, named as in ``days``."""
        zone = self.rules.markets[market].zone
        days: dict[int, Counts] = defaultdict(Counter)
        for (code, pane), counts in self._panes.items():
            if code == market and pane < until_ms:
                days[local_day(zone, pane)].update(counts)
        return {
            f"{name}:{day_name(day)}": value
            for day, counts in days.items()
            if counts["shopper_orders",] or counts["new_known",]
            for name, (value, _, _) in _bought(counts).items()
            if value is not None
        }


def _bought(counts: Counts) -> dict[str, Found]:
    return {name: found[:3] for name, found in shopper_values(counts).items()}

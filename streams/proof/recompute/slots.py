"""Names and times of slots, and which slots the log can no longer tell."""

from __future__ import annotations

from streams.flow.chunk import SourcePartition
from streams.flow.state import DAY, NEVER_MS, ORDERS, SlotKey
from streams.index.methodology import Methodology
from streams.index.panes import LocalDays, day_name, rfc3339

GONE = "the beginning of the log is gone"


class SlotCalendar:
    """Start and closing of slots under one methodology."""

    def __init__(self, methodology: Methodology) -> None:
        self._methodology = methodology
        self._days = {
            code: LocalDays(market.time_zone) for code, market in methodology.markets.items()
        }

    def local_days(self, market: str) -> LocalDays:
        """Local days of a market."""
        return self._days[market]

    def start_ms(self, slot: SlotKey) -> int:
        """First instant of a slot."""
        if slot.book == DAY:
            return self._days[slot.market].start_ms(slot.slot)
        return slot.slot

    def closes_ms(self, slot: SlotKey) -> int:
        """Arrival watermark from which on the slot cannot grow."""
        rules = self._methodology
        if slot.book == DAY:
            return self._days[slot.market].end_ms(slot.slot) + rules.day_grace_ms
        return slot.slot + rules.pane_ms + rules.grace_ms


class Blind:
    """Instants before which slots cannot be recomputed, because a log has lost its beginning."""

    def __init__(self, calendar: SlotCalendar) -> None:
        self._calendar = calendar
        self._before_ms: dict[SourcePartition, int] = {}

    def add(self, sp: SourcePartition, before_ms: int) -> None:
        """Note that slots of ``sp`` that begin before ``before_ms`` cannot be recomputed."""
        if before_ms > NEVER_MS:
            self._before_ms[sp] = before_ms

    def __bool__(self) -> bool:
        return bool(self._before_ms)

    def of(self, sp: SourcePartition, slot: SlotKey) -> bool:
        """Whether a slot of one source partition cannot be recomputed."""
        before_ms = self._before_ms.get(sp)
        return before_ms is not None and self._calendar.start_ms(slot) < before_ms

    def before_ms(self, topic: str | None = None) -> int:
        """Instant before which sums over all partitions (of a topic) cannot be recomputed."""
        return max(
            (
                before_ms
                for sp, before_ms in self._before_ms.items()
                if topic is None or sp.topic == topic
            ),
            default=NEVER_MS,
        )


def slot_name(slot: SlotKey) -> str:
    """Return ``PK day 2026-11-24`` or ``PK pane 2026-11-24T09:54:05.000Z``."""
    if slot.book == DAY:
        return f"{slot.market} day {day_name(slot.slot)}"
    if slot.book == ORDERS:
        return f"{slot.market} orders corrected on {day_name(slot.slot)}"
    return f"{slot.market} pane {rfc3339(slot.slot)}"

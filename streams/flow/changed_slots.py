"""The slots that one step of a market processes, taken from its ledger once and not changed after."""

from __future__ import annotations

from dataclasses import dataclass

from streams.flow.merged import SlotId


@dataclass(frozen=True, slots=True)
class ChangedSlots:
    """Slots whose rows changed since the last publication, and slots due for another reason."""

    panes: frozenset[int] = frozenset()
    """Starts of the panes whose row changed, ms."""
    days: frozenset[int] = frozenset()
    """Numbers of the local days whose row changed."""
    days_due: frozenset[int] = frozenset()
    """Days to show although none of their rows changed: this owner has not published them yet."""
    closings_due: frozenset[SlotId] = frozenset()
    """Final hours and days that an earlier owner may have changed without closing them again."""

    redefined: frozenset[SlotId] = frozenset()
    """Final hours and days that other definitions have changed: to be closed again."""

    def before(self, end_ms: int) -> bool:
        """Whether a pane changed that starts before ``end_ms``."""
        return any(pane < end_ms for pane in self.panes)

    def within(self, start_ms: int, end_ms: int) -> bool:
        """Whether a pane changed that starts in ``[start_ms, end_ms)``."""
        return any(start_ms <= pane < end_ms for pane in self.panes)

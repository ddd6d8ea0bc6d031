"""The slots that one step of a market processes, taken from its ledger once and not changed after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from streams.flow.merged import SlotId


class Touched(NamedTuple):
    """Values of a final hour or day that other definitions have changed, by ``daybook.Name``."""

    names: frozenset[str]
    gone: tuple[str, ...] = ()
    """Values that it was closed with, of members that are none any more or have nothing in it."""


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

    redefined: Mapping[SlotId, Touched] = field(default_factory=dict)
    """Final hours and days that other definitions have changed, and in which values."""

    def before(self, end_ms: int) -> bool:
        """Whether a pane changed that starts before ``end_ms``."""
        return any(pane < end_ms for pane in self.panes)

    def within(self, start_ms: int, end_ms: int) -> bool:
        """Whether a pane changed that starts in ``[start_ms, end_ms)``."""
        return any(start_ms <= pane < end_ms for pane in self.panes)

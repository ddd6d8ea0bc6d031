"""Admission: whether and how an event counts, by the log prefix alone, never by a clock.

The order of the checks is part of the exactness rules. A refused event must leave no trace: if its
id were remembered, its corrected repetition would be a duplicate. The arrival watermark moves
before lateness is judged, the event included.

``Admission.verdict`` states the rules and decides payments. Orders have copies of it inline, for speed:
``flow/fold_orders.py`` and its compiled half ``flow/plain_orders.pyx``. tests/property/test_fold.py and
tests/property/test_plain_orders.py hold all three equal. A change here changes those two as well.
"""

from __future__ import annotations

from streams.flow.state import MarketState, Pane
from streams.index.methodology import Methodology

ACCEPTED, LATE, TOO_LATE, DUPLICATE, DAY_CLOSED, DEAD = (
    "accepted",
    "late",
    "too_late",
    "duplicate",
    "day_closed",
    "dead",
)
"""Outcomes of a record. ``day_closed``: it counts in the live book only, since its day is closed."""


class Admission:
    """The rules of one methodology, as plain numbers for the hot path."""

    __slots__ = ("ahead_ms", "grace_ms", "out_of_order_ms", "pane_ms", "panes_max")

    def __init__(self, methodology: Methodology) -> None:
        self.pane_ms = methodology.pane_ms
        self.grace_ms = methodology.grace_ms
        self.ahead_ms = methodology.ahead_ms
        self.out_of_order_ms = methodology.out_of_order_ms
        self.panes_max = methodology.open_panes_max

    def verdict(self, state: MarketState, occurred_ms: int, arrived_ms: int) -> str:
        """Return ``ahead``, ``too_late``, ``late`` or ``accepted``. The caller moved the watermark."""
        if occurred_ms > arrived_ms + self.ahead_ms:
            return "ahead"
        lateness_ms = state.watermark_ms - occurred_ms
        if lateness_ms > self.grace_ms:
            return TOO_LATE
        pane_end_ms = occurred_ms - occurred_ms % self.pane_ms + self.pane_ms
        return LATE if pane_end_ms + self.out_of_order_ms <= state.watermark_ms else ACCEPTED

    def pane(self, state: MarketState, occurred_ms: int) -> Pane | None:
        """Return the open pane of the instant; None when one more would pass the limit."""
        start_ms = occurred_ms - occurred_ms % self.pane_ms
        pane = state.panes.get(start_ms)
        if pane is None and len(state.panes) < self.panes_max:
            pane = state.open_pane(start_ms)
        return pane

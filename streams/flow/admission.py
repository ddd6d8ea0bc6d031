"""Admission: whether and how an event counts, by the log prefix alone, never by a clock.

The order of the checks is part of the exactness rules. A refused event must leave no trace: if its
id were remembered, its corrected repetition would be a duplicate. The arrival watermark moves
before lateness is judged, the event included.

``Admission.verdict`` states the rules and decides payments. Orders have copies of it inline, for speed:
``flow/fold_orders.py`` and its compiled half ``flow/plain_orders.pyx``. tests/property/test_fold.py and
tests/property/test_plain_orders.py hold all three equal. A change here changes those two as well.
"""

from __future__ import annotations

from streams.flow.state import MarketState
from streams.index.methodology import Methodology

ACCEPTED, LATE, TOO_LATE, DUPLICATE, DAY_CLOSED, DEAD, IGNORED = (
    "accepted",
    "late",
    "too_late",
    "duplicate",
    "day_closed",
    "dead",
    "ignored",
)
"""Outcomes of a record. ``day_closed``: it counts in the live book only, since its day is closed.
``ignored``: it is no event of the contract and no mistake, an order.updated or a tombstone."""
DAY_ONLY = "day_only"
"""Outcome of an order event that is too late for the live book and counts in the day book."""
OF_A_RECORD = (ACCEPTED, LATE, DAY_ONLY, TOO_LATE, DUPLICATE, DEAD, IGNORED)
"""Each record has one of these; the others are said beside them."""
REPEATED, UNMATCHED, UNREMEMBERED = "repeated", "unmatched", "unremembered"
"""More that is said of a cancel or refund that counts in the live book. Repeated: its order has it
already. Unmatched: its order was placed before the log begins. Neither changes the day. Unremembered:
it counts, but a copy of it would count again, since too many are remembered."""
OUTCOMES = (*OF_A_RECORD, DAY_CLOSED, REPEATED, UNMATCHED, UNREMEMBERED)
"""Whatever is said of a record."""


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
        if state.watermark_ms - occurred_ms > self.grace_ms or self.is_below_floor(
            state, occurred_ms
        ):
            return TOO_LATE
        pane_end_ms = occurred_ms - occurred_ms % self.pane_ms + self.pane_ms
        return LATE if pane_end_ms + self.out_of_order_ms <= state.watermark_ms else ACCEPTED

    def is_below_floor(self, state: MarketState, occurred_ms: int) -> bool:
        """Whether the event's pane was given up for newer ones, or would be now.

        The latter: as many panes are open as may be, and its own would be the oldest. What is sold now
        goes first. An open pane is never below the floor: only an event that needs a new one must ask.
        """
        start_ms = occurred_ms - occurred_ms % self.pane_ms
        if start_ms in state.panes:
            return False
        full = len(state.panes) >= self.panes_max
        return start_ms < state.floor_ms or (full and start_ms < min(state.panes))

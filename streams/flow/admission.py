"""Admission: whether and how an event counts, by the log prefix alone, never by a clock.

The order of the checks is part of the exactness rules. A refused event must leave no trace: if its
id were remembered, its corrected repetition would be a duplicate. The arrival watermark moves
before lateness is judged, the event included.

A stamp that is its producer's word alone may lie in the future: one server 55 minutes fast made every
other order of its market too late for 55 minutes. So the watermark follows such a stamp by ``ahead_ms``
at once, and further only when three orders in a row agree (decision 0332).

``Admission.verdict`` states the rules. The compiled half of the orders' fold, ``flow/plain_orders.pyx``,
has a copy of them. tests/property/test_plain_orders.py holds the two equal. A change here changes that
as well.
"""

from __future__ import annotations

from streams.flow.remembered import hash_of
from streams.flow.state import NEVER_MS, MarketState
from streams.index.methodology import DOUBTED_PANES_MAX, Methodology

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
already. Unmatched: its order was placed before the log begins, or its placement was refused. Neither
changes the day; the latter does once its order is placed again and counts. Unremembered: it counts, but
a copy of it would count again, since too many are remembered; one that is unmatched too never counts.
That is said of a refused placement too: a correction of it would count."""
DOUBTED = "doubted"
"""More that is said of any event: its producer's stamp is so far ahead that the watermark stayed."""
OUTCOMES = (*OF_A_RECORD, DAY_CLOSED, REPEATED, UNMATCHED, UNREMEMBERED, DOUBTED)
"""Whatever is said of a record."""
AGREEING = 3
"""Doubted orders in a row that move the watermark."""
NO_ROOM = "no_room"
"""Verdict on a doubted event that needs a pane which is kept for what is sold now."""


class Admission:
    """The rules of one methodology, as plain numbers."""

    __slots__ = (
        "ahead_ms", "day_grace_ms", "grace_ms", "out_of_order_ms", "pane_ms", "panes_max",
    )  # fmt: skip

    def __init__(self, methodology: Methodology) -> None:
        self.pane_ms = methodology.pane_ms
        self.grace_ms = methodology.grace_ms
        self.ahead_ms = methodology.ahead_ms
        self.out_of_order_ms = methodology.out_of_order_ms
        self.panes_max = methodology.open_panes_max
        self.day_grace_ms = methodology.day_grace_ms

    def arrive(self, state: MarketState, arrived_ms: int, order: str, *, doubtful: bool) -> bool:
        """Move the market's watermark by an arrival, unless that is doubted; return whether it is.

        ``doubtful``: the stamp is its producer's word alone. ``order``: what names the record's order.
        """
        known = state.watermark_ms > NEVER_MS
        if not (doubtful and known and self.is_doubted(state, arrived_ms)):
            state.doubts = []  # the time of the watermark still goes on
            state.watermark_ms = max(state.watermark_ms, arrived_ms)
            return False
        order_hash = hash_of(order)
        if any(order_hash == doubted for doubted, _ in state.doubts):
            return True
        state.doubts.append((order_hash, arrived_ms))
        if len(state.doubts) < AGREEING:
            return True
        state.watermark_ms = min(at_ms for _, at_ms in state.doubts)
        state.doubts = [each for each in state.doubts if self.is_doubted(state, each[1])]
        return self.is_doubted(state, arrived_ms)

    def is_doubted(self, state: MarketState, arrived_ms: int) -> bool:
        """Whether a record that has arrived so is doubted: the watermark did not follow it."""
        return arrived_ms > state.watermark_ms + self.ahead_ms

    def verdict(self, state: MarketState, occurred_ms: int, arrived_ms: int) -> str:
        """Return ``ahead``, ``too_late``, ``no_room``, ``late`` or ``accepted``.

        The caller moved the watermark (``arrive``).
        """
        if occurred_ms > arrived_ms + self.ahead_ms:
            return "ahead"
        reached_ms = max(
            state.watermark_ms, arrived_ms
        )  # a doubted event is late by its own arrival
        if reached_ms - occurred_ms > self.grace_ms or self.is_below_floor(state, occurred_ms):
            return TOO_LATE
        if self.has_no_room(state, occurred_ms, arrived_ms):
            return NO_ROOM
        pane_end_ms = occurred_ms - occurred_ms % self.pane_ms + self.pane_ms
        return LATE if pane_end_ms + self.out_of_order_ms <= reached_ms else ACCEPTED

    def has_no_room(self, state: MarketState, occurred_ms: int, arrived_ms: int) -> bool:
        """Whether a doubted event needs a new pane that it may not have.

        What is sold now has as many panes as it ever needs, the others are for doubted events. None of
        these may wait for longer than a day is open, or the panes of broken clocks would stay for years.
        """
        if not self.is_doubted(state, arrived_ms):
            return False
        start_ms = occurred_ms - occurred_ms % self.pane_ms
        if start_ms in state.panes:
            return False
        if len(state.panes) >= self.panes_max:
            return True
        now_until_ms = state.watermark_ms + self.ahead_ms
        if start_ms <= now_until_ms:
            return False
        beyond = sum(each > now_until_ms for each in state.panes)
        return beyond >= DOUBTED_PANES_MAX or start_ms > state.watermark_ms + self.day_grace_ms

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

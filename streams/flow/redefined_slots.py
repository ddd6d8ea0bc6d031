"""Final hours and days that other definitions read anew: which of them are to be closed again.

A few are looked at in each step, the newest first. A slot is closed again if a value of any member
differs from what its record held, or if a row of it is still open: nobody knows what that one was read
as. Its record is written by the definitions of now only when the closing was acknowledged. So the
records say where a new owner goes on.

Those of which nobody knows any more who bought are not closed again: a closing without shoppers would
take the place of the one that has them.
"""

from __future__ import annotations

from collections.abc import Callable

from streams.flow.ledger import Ledger
from streams.flow.merged import DAY_KIND, SlotId
from streams.index.indices import live_entries
from streams.index.ledgers import book_entries
from streams.index.methodology import Market
from streams.index.partials import Layout, Row, from_wire

Values = dict[tuple[str, str, str], tuple[object, ...]]


class RedefinedSlots:
    """The slots of one market."""

    def __init__(self, ledger: Ledger, market_of: Callable[[int], Market | None]) -> None:
        """``market_of``: the market by a version of the definitions; None: nobody knows it."""
        self._ledger = ledger
        self._market_of = market_of
        self._layouts: dict[int, Layout | None] = {}
        self._waiting: list[SlotId] = []
        self._judged: list[SlotId] = []

    @property
    def waiting(self) -> bool:
        """Whether slots are left to be looked at."""
        return bool(self._waiting)

    def begin(self, is_final: Callable[[SlotId], bool]) -> None:
        """Find the final slots that other definitions had made. Others are closed in their time."""
        before = self._ledger.rows_before
        for slot_id in [each for each in before if not is_final(each)]:
            del before[slot_id]
        self._waiting = sorted(before, key=self._ledger.start_ms)

    def add_open(self, is_final: Callable[[SlotId], bool]) -> None:
        """Look at final slots that have open rows too: the records of those name no definitions."""
        found = self._ledger.open_slots() | set(self._waiting)
        self._waiting = sorted(filter(is_final, found), key=self._ledger.start_ms)

    def take_changed(self, most: int, first_day: int) -> frozenset[SlotId]:
        """Look at the next slots; return those to be closed again. All before are acknowledged.

        ``first_day``: number of the first day of which it is known who bought.
        """
        self._ledger.write_acknowledged(self._judged)
        self._judged = self._waiting[-most:]
        del self._waiting[-most:]
        return frozenset(
            each
            for each in self._judged
            if self._knows_shoppers(each, first_day) and self._differs(each)
        )

    def _knows_shoppers(self, slot_id: SlotId, first_day: int) -> bool:
        kind, start = slot_id
        if kind == DAY_KIND:
            return start >= first_day
        return start >= self._ledger.horizon_ms - self._ledger.quarters_kept_ms

    def _differs(self, slot_id: SlotId) -> bool:
        kind, _ = slot_id
        if slot_id in self._ledger.open_slots():
            return True
        held = self._ledger.rows_before.get(slot_id)
        if held is None:
            return False  # retention dropped it
        definitions, sparse = held
        layout = self._layout(definitions)
        if layout is None:
            return True
        width = layout.day_width if kind == DAY_KIND else layout.live_width
        own = self._ledger.merged[slot_id].row
        was = _values(kind, layout, from_wire(sparse, width))
        return was != _values(kind, self._ledger.layout, own)

    def _layout(self, definitions: int) -> Layout | None:
        if definitions not in self._layouts:
            market = self._market_of(definitions)
            self._layouts[definitions] = None if market is None else Layout(market)
        return self._layouts[definitions]


def _values(kind: str, layout: Layout, row: Row) -> Values:
    entries = book_entries(layout, row) if kind == DAY_KIND else live_entries(layout, row, row)
    return {
        (each.name, each.dimension, each.member): (each.value, each.observed, each.n)
        for each in entries
        if each.observed
    }

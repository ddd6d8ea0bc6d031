"""A market goes on by other definitions: it is taken over by its own owner, in slices.

To read a full market anew takes seconds, and nothing else runs meanwhile. So its merged slots are read a
few at a time, while it goes on by the definitions that it has. What changes until the last slice is
read again in that one: the table is about to get it, or has got it since.
"""

from __future__ import annotations

from collections.abc import Iterable

from streams.flow.market import MarketCompile
from streams.flow.merged import DAY_KIND, HOUR, MINUTE, QUARTER, SlotId
from streams.index.panes import HOUR_MS

READ_ANEW_MAX = 60
"""Label sums that a slice reads: 10 to 30 ms. A recent hour has as many as it has minutes."""
ROUNDS_MAX = 3
"""How often what has changed meanwhile is read in slices. In a backlog all changes, all the time."""
_KINDS = (MINUTE, QUARTER, HOUR, DAY_KIND)
"""Minutes before hours: an hour is read from its minutes."""


class SlicedTakeover:
    """One market by the definitions that it has, and by those that it will have."""

    def __init__(self, old: MarketCompile, new: MarketCompile) -> None:
        self.new = new
        self._old = old
        self._left = _in_order(old.ledger.merged)
        self._written: set[SlotId] = set()
        self._rounds = 0

    @property
    def version(self) -> int:
        """Version of the definitions that the market will have."""
        return self.new.progress.market.definitions

    def note_written(self, slots: Iterable[SlotId]) -> None:
        """Note slots that the table is given: they may have changed since they were read."""
        self._written.update(slots)

    def step(self, applied: int) -> bool:
        """Read the next slots; return whether the new market has taken over.

        ``applied``: the partials offset that the old one includes. Everything that it published is
        acknowledged.
        """
        old, new = self._old.ledger, self.new.ledger
        if self._left:
            new.take_over(old, self._next(), applied=applied)
        elif not new.read_ahead(old, READ_ANEW_MAX):
            changed = self._changed()
            if len(changed) <= READ_ANEW_MAX or self._rounds == ROUNDS_MAX:
                self.new.take_over(self._old, _in_order(changed)[::-1], applied)
                return True
            self._rounds += 1
            self._written.clear()
            self._left = _in_order(changed)
        return False

    def _next(self) -> list[SlotId]:
        found: list[SlotId] = []
        sums = 0
        while self._left and sums < READ_ANEW_MAX:
            found.append(self._left.pop())
            merged = self._old.ledger.merged.get(found[-1])
            of_minutes = found[-1][0] == HOUR and merged is not None and merged.labels is None
            sums += READ_ANEW_MAX if of_minutes else 1
        return found

    def _changed(self) -> set[SlotId]:
        """Return the slots that changed, came or went since they were read, and hours made of them."""
        old, new = self._old.ledger.merged, self.new.ledger.merged
        found = {slot_id for slot_id, merged in old.items() if not merged.written}
        found |= self._written | (old.keys() ^ new.keys())
        hours = {(HOUR, start - start % HOUR_MS) for kind, start in found if kind == MINUTE}
        return found | (hours & old.keys())


def _in_order(slots: Iterable[SlotId]) -> list[SlotId]:
    """Sort slots so that those to be read first come last."""
    return sorted(slots, key=lambda slot: (_KINDS.index(slot[0]), slot[1]), reverse=True)

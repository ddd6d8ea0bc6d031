"""Order events: the compiled half for the plain ones, the Python half for all others.

The compiled half stops at the first event that is not plain; the Python half folds that one. Where
such events come in runs, the Python half takes longer and longer stretches, because decoding them
together costs half as much as one by one, and each change of halves hands over what was added.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from streams.flow.aside import Folded
from streams.flow.chunk import Chunk
from streams.flow.fold_orders import fold_orders

if TYPE_CHECKING:
    from streams.flow.fold import SourceFold

try:
    from streams.flow.plain_orders import PlainOrders
except ImportError:  # no compiler was there at installation
    COMPILED = False
else:
    COMPILED = True

_STRETCH_MAX = 512


class OrderFold:
    """Folds the order events of one source partition."""

    def __init__(self, fold: SourceFold, *, compiled: bool = COMPILED) -> None:
        self._fold = fold
        self._plain = PlainOrders(fold) if compiled else None
        self._stretch = 1

    def fold(self, chunk: Chunk, start: int, stop: int, folded: Folded) -> None:
        """Fold the records ``start <= position < stop`` of a chunk."""
        if self._plain is None:
            fold_orders(self._fold, chunk, start, stop, folded)
            return
        position = start
        while position < stop:
            reached = self._plain.fold_plain(chunk, position, stop, folded)
            # A run of plain events as long as the last stretch: back to one by one.
            usual = reached - position < self._stretch
            self._stretch = min(2 * self._stretch, _STRETCH_MAX) if usual else 1
            position = min(reached + self._stretch, stop)
            fold_orders(self._fold, chunk, reached, position, folded)

"""Folding order events: compiled code for the plain ones, Python for all others.

The compiled half stops at the first event that is not plain, and the Python half folds that one.
Where such events come in runs, the Python half takes longer and longer stretches: decoding them
together costs half as much as one by one, and each change of halves writes back what was added.
"""

from __future__ import annotations

from streams.flow.chunk import Chunk
from streams.flow.fold_orders import fold_orders
from streams.flow.set_aside import Folded
from streams.flow.source_state import SourceState

try:
    from streams.flow.plain_orders import PlainOrders
except ImportError:  # there was no compiler at installation
    COMPILED = False
else:
    COMPILED = True

_STRETCH_MAX = 512


class OrderFold:
    """Folds the order events of one source partition."""

    def __init__(self, source: SourceState, *, compiled: bool = COMPILED) -> None:
        self._source = source
        self._plain = PlainOrders(source) if compiled else None
        self._stretch = 1
        """How many records the Python half took last time."""
        self._plain_run = _STRETCH_MAX
        """Plain records since then, over chunks: at low rates a chunk is shorter than a stretch."""

    def fold(self, chunk: Chunk, start: int, stop: int, folded: Folded) -> None:
        """Fold the records ``start <= position < stop`` of a chunk."""
        if self._plain is None:
            fold_orders(self._source, chunk, start, stop, folded)
            return
        position = start
        while position < stop:
            reached = self._plain.fold_plain(chunk, position, stop, folded)
            self._plain_run += reached - position
            if reached == stop:
                return
            # After a run of plain events as long as the last stretch: one by one again.
            calm = self._plain_run >= self._stretch
            self._stretch = 1 if calm else min(2 * self._stretch, _STRETCH_MAX)
            self._plain_run = 0
            position = min(reached + self._stretch, stop)
            fold_orders(self._source, chunk, reached, position, folded)

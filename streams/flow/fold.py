"""Level 1: one source partition's chunks -> rows of its slots."""

from __future__ import annotations

from streams.flow.admission import DEAD
from streams.flow.chunk import Chunk
from streams.flow.fold_payments import fold_payments
from streams.flow.plain import OrderFold
from streams.flow.set_aside import Folded
from streams.flow.source_state import SourceState


class SourceFold:
    """Folds the chunks of one source partition, of orders or of payments, into its state."""

    def __init__(self, source: SourceState) -> None:
        self.source = source
        self._orders = None if source.payments else OrderFold(source)

    def fold(self, chunk: Chunk, start: int = 0, stop: int | None = None) -> Folded:
        """Fold the records ``start <= position < stop`` of a chunk and move ``through``.

        The caller has checked that the chunk continues the state (exactness rule 2). When the last
        record is included, ``through`` becomes the chunk's ``last_offset``.
        """
        stop = len(chunk) if stop is None else min(stop, len(chunk))
        folded = Folded()
        if self._orders is None:
            fold_payments(self.source, chunk, start, stop, folded)
        else:
            self._orders.fold(chunk, start, stop, folded)
        folded.outcomes.update(record.reason for record in folded.late)
        if folded.dead:
            folded.outcomes[DEAD] += len(folded.dead)
        self.source.through = chunk.last_offset if stop == len(chunk) else chunk.offset_at(stop - 1)
        return folded

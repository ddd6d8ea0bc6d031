"""Which records of a fetch count, by the rules of Kafka's transactions.

https://kafka.apache.org/documentation/#controlbatch, and what the consumer of Kafka itself does.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class AbortedTransactions:
    """Which batches of one fetch belong to transactions that were aborted.

    The broker lists, for a fetch that reads committed, (producer id, first offset) of every aborted
    transaction that the fetch touches, also of those that began before it. Each reaches from there to
    its producer's next abort marker.
    """

    def __init__(self, listed: Iterable[tuple[int, int]]) -> None:
        self._ahead = deque(sorted(listed, key=lambda each: each[1]))
        self._aborting: set[int] = set()

    def includes(self, producer_id: int, last_offset: int) -> bool:
        """Whether a transactional batch is of such a transaction; ask in the order of the log."""
        while self._ahead and self._ahead[0][1] <= last_offset:
            self._aborting.add(self._ahead.popleft()[0])
        return producer_id in self._aborting

    def end(self, producer_id: int, last_offset: int) -> None:
        """Note an abort marker of the producer: its next transaction is another."""
        if self.includes(producer_id, last_offset):
            self._aborting.discard(producer_id)


def is_abort_marker(key: bytes | None) -> bool:
    """Whether the key of a control record says that its producer's transaction was aborted.

    Two big-endian 16-bit numbers: version and type (0 abort, 1 commit).
    """
    return key is not None and key[2:4] == b"\0\0"

"""The outbox's batches for one (topic, partition); only one is under way at a time.

The next batch is handed over only when this one is acknowledged. That keeps the order whatever is
retried, and it guarantees that nothing is sent after a failure.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


@dataclass(slots=True)
class Batch:
    """Records that are written together, and who waits for them."""

    builder: Any
    created_ms: int
    first_key: bytes | None
    size: int = 0
    records: int = 0
    waiters: list[tuple[int, asyncio.Future[int]]] = field(default_factory=list)
    """Futures of the records waited for, each after its record's position in the batch."""

    def acknowledge(self, base_offset: int) -> None:
        """Give each waiter its offset; -1 when the broker confirmed it and no longer knows it."""
        for position, future in self.waiters:
            if not future.done():
                future.set_result(base_offset + position if base_offset >= 0 else -1)

    def fail(self, error: Exception) -> None:
        """Fail each waiter: nothing is known of its record."""
        for _, future in self.waiters:
            if not future.done():
                future.set_exception(error)
                future.exception()  # nobody need await it: the process is ending


class Lane:
    """A queue of batches; the last one may still grow."""

    def __init__(
        self,
        topic: str,
        partition: int,
        *,
        new_builder: Callable[[], Any],
        send: Callable[[Lane, Batch], Awaitable[int]],
        on_acknowledged: Callable[[Batch], None],
        linger_s: float,
    ) -> None:
        self.topic = topic
        self.partition = partition
        self.send_at_once = False
        """Do not wait for a batch to fill."""
        self._new_builder = new_builder
        self._send = send
        self._on_acknowledged = on_acknowledged
        self._linger_s = linger_s
        self._batches: deque[Batch] = deque()
        self._filled = asyncio.Event()

    @property
    def oldest(self) -> Batch | None:
        """The batch that has waited longest for its acknowledgement; None when there is none."""
        return self._batches[0] if self._batches else None

    def append(self, record: dict[str, Any], size: int, now_ms: int) -> None:
        """Add a record to the last batch, or to a new one when that is full or under way."""
        batch = self._batches[-1] if self._batches else None
        if batch is None or batch.builder.append(**record) is None:
            batch = Batch(self._new_builder(), now_ms, record["key"])
            appended = batch.builder.append(**record)
            assert appended is not None, "an empty batch takes a record of any size"
            self._batches.append(batch)
        batch.records += 1
        batch.size += size
        self._filled.set()

    def written(self) -> asyncio.Future[int]:
        """Return a future for the offset of the record appended last.

        It resolves once that record and all before it are acknowledged.
        """
        batch = self._batches[-1]
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        batch.waiters.append((batch.records - 1, future))
        return future

    async def run(self) -> None:
        """Send batch after batch; ends with the first error."""
        while True:
            await self._filled.wait()
            batch = self._batches[0]
            if self._linger_s and len(self._batches) == 1 and not self.send_at_once:
                await asyncio.sleep(self._linger_s)
            batch.builder.close()
            base_offset = await self._send(self, batch)
            self._batches.popleft()
            if not self._batches:
                self._filled.clear()
            self._on_acknowledged(batch)
            batch.acknowledge(base_offset)

    def fail(self, error: Exception) -> None:
        """Fail every waiter of every batch."""
        for batch in self._batches:
            batch.fail(error)

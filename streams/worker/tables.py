"""A Faust Table that recovers into plain bytes per partition.

Faust assigns changelog partitions together with their source partitions and reads the changelog back;
both are used. Its store is not used: it forgets which partition a live-written key came from, so a
lost partition's keys survive and resurrect what another owner deleted. Its writes are not used: they
go through Faust's producer, which drops expired batches with a warning. The outbox writes live records
to `changelog_topic`, with the same key, value and partition.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import faust

from streams.flow.chunk import Chunk, SourcePartition
from streams.flow.own_records import OwnRecordError
from streams.worker.contiguity import offset_after
from streams.worker.transport import RawSchema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


class PartitionTable(faust.Table):  # type: ignore[misc]
    """Recovered changelog records, by partition."""

    def __init__(self, app: faust.App, *, name: str, source: str, partitions: int) -> None:
        self.source = source
        """The chunk topic whose partitions this table's records are about."""
        # The changelog comes in chunks too; a few take as much memory as a thousand events. The
        # buffer is not 1, which Faust reads as "go on reading after recovery".
        super().__init__(
            app, name=name, partitions=partitions, schema=RawSchema(), recovery_buffer_size=2
        )
        self._recovered: dict[int, dict[bytes, bytes]] = {}
        self._offsets: dict[int, dict[bytes, int]] = {}
        """Where each record that was recovered lies: one that cannot be read is named by it."""
        self._through: dict[int, int] = {}
        self._begins: dict[int, int] = {}
        self.hole: str | None = None
        """Where recovery skipped a stretch of the changelog; None when it read all."""

    def recovered(self, partition: int) -> Mapping[bytes, bytes]:
        """Return all that the changelog partition held; valid during ``on_recovered`` only."""
        return MappingProxyType(self._recovered.get(partition, {}))

    def rebuild(self, partition: int, recover: Callable[[dict[bytes, bytes]], None]) -> None:
        """Hand over all that the changelog partition held; valid during ``on_recovered`` only.

        Raises OwnRecordError, with the place of a record that ``recover`` cannot read.
        """
        try:
            recover(dict(self.recovered(partition)))
        except OwnRecordError as error:
            offset = self._offsets.get(partition, {}).get(error.key or b"", -1)
            raise error.at(SourcePartition(self.changelog_topic_name, partition), offset) from error

    def forget(self) -> None:
        """Drop all records: the states are built, or another owner may change them from now on."""
        self._recovered.clear()
        self._offsets.clear()
        self._through.clear()
        self._begins.clear()
        self.hole = None

    def begin(self, partition: int, offset: int) -> None:
        """Begin to read a changelog partition at ``offset``; drop what was read of it before."""
        self._recovered.pop(partition, None)
        self._offsets.pop(partition, None)
        self._through.pop(partition, None)
        self._begins[partition] = offset
        self.hole = None  # all partitions begin together

    def lacks(self, partition: int, last_offset: int) -> str | None:
        """Name what was not read of a partition up to ``last_offset``; None when all was read."""
        begin = self._begins.get(partition, 0)
        through = self._through.get(partition, begin - 1)
        if through >= last_offset:
            return None
        return f"{self.changelog_topic_name}-{partition}: read to {through}, not to {last_offset}"

    def apply_changelog_batch(self, batch: Iterable[Any]) -> None:
        """Apply a batch of changelog events; Faust's recovery calls it."""
        name = self.changelog_topic_name
        for event in batch:
            message = event.message
            # Recovery hands an event of an unknown partition to the table that came last.
            if message.topic != name:
                continue
            content = self._recovered.setdefault(message.partition, {})
            places = self._offsets.setdefault(message.partition, {})
            if type(message.value) is Chunk:
                chunk = message.value
                self._check_contiguous(chunk)
                keys, values = chunk.keys, chunk.values
                offsets: Iterable[int] = map(chunk.offset_at, range(len(keys)))
            else:
                keys, values, offsets = (message.key,), (message.value,), (message.offset,)
            for key, value, offset in zip(keys, values, offsets, strict=True):
                if key is None:
                    continue  # a compacted topic has none
                if value is None:
                    content.pop(key, None)
                    places.pop(key, None)
                else:
                    content[key] = value
                    places[key] = offset

    def _check_contiguous(self, chunk: Chunk) -> None:
        # Faust accepts any offset above the last one. A state with a hole in it is worse than none.
        begin = chunk.first_offset if chunk.fetch_offset is None else chunk.fetch_offset
        through = self._through.get(chunk.sp.partition)
        if through is None:
            # The first chunk must begin where the log does. One once began where an earlier recovery
            # had ended.
            whole = chunk.fetch_offset is not None and begin <= self._begins.get(
                chunk.sp.partition, -1
            )
        else:
            whole = begin <= offset_after(through)
        if not whole and self.hole is None:
            self.hole = f"{chunk.sp}: offsets {through} to {begin} were not read"
        self._through[chunk.sp.partition] = chunk.last_offset

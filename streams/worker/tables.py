"""A Faust Table that recovers into plain bytes per partition.

Faust gives the assignment of changelog partitions beside their source partitions, and reads the
changelog back; both are used. Its store is not: it forgets which partition a live-written key came
from, so a lost partition's keys survive and resurrect what another owner deleted. Nor are its
writes: they go through Faust's producer, which drops expired batches with a warning. Live records
are written by the outbox to `changelog_topic`, with the same key, value and partition.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import faust

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class PartitionTable(faust.Table):  # type: ignore[misc]
    """Recovered changelog records, by partition."""

    def __init__(self, app: faust.App, *, name: str, partitions: int) -> None:
        super().__init__(app, name=name, partitions=partitions, key_type=bytes, value_type=bytes)
        self._recovered: dict[int, dict[bytes, bytes]] = {}
        self.applied_records = 0

    def recovered(self, partition: int) -> Mapping[bytes, bytes]:
        """Everything the changelog partition held when recovery ended; empty when not ours."""
        return MappingProxyType(self._recovered.get(partition, {}))

    def forget(self) -> None:
        """Drop everything: another owner may have changed it since."""
        self._recovered.clear()

    def apply_changelog_batch(self, batch: Iterable[Any]) -> None:
        """Take a batch of changelog events; called by Faust's recovery."""
        name = self.changelog_topic_name
        for event in batch:
            message = event.message
            # Recovery hands an event of an unknown partition to whatever table came last.
            if message.topic != name:
                continue
            content = self._recovered.setdefault(message.partition, {})
            self.applied_records += 1
            if message.value is None:
                content.pop(message.key, None)
            else:
                content[message.key] = message.value

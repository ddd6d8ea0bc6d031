"""Logs, compaction, and producers that lose sends that were not acknowledged."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple


class Record(NamedTuple):
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp_ms: int


class Log:
    """The log of one partition. ``history`` holds every record that ever landed, for the oracle."""

    def __init__(self, name: str, on_land: Callable[[Log, Record], None] | None = None) -> None:
        self.name = name
        self.end = 0
        self.records: list[Record] = []
        self.history: list[Record] = []
        self._on_land = on_land

    def append(self, key: bytes | None, value: bytes | None, timestamp_ms: int) -> Record:
        record = Record(self.end, key, value, timestamp_ms)
        self.end += 1
        self.records.append(record)
        self.history.append(record)
        if self._on_land is not None:
            self._on_land(self, record)
        return record

    def marker(self) -> None:
        """Append a transaction marker: an offset that no consumer receives."""
        self.end += 1

    def read(self, start: int, limit: int) -> tuple[list[Record], int]:
        """Up to ``limit`` records from ``start``, and the last offset that the answer covers."""
        found = [record for record in self.records if record.offset >= start]
        if len(found) <= limit:
            return found, self.end - 1
        return found[:limit], found[limit].offset - 1

    def table(self) -> dict[bytes, bytes]:
        """The table that a compacted changelog gives when it is read to its end."""
        state: dict[bytes, bytes] = {}
        for record in self.records:
            assert record.key is not None
            if record.value is None:
                state.pop(record.key, None)
            else:
                state[record.key] = record.value
        return state

    def compact(self, bound: int, *, tombstones: bool) -> None:
        """Keep only the last record of each key below ``bound``; ``tombstones``: remove those too."""
        last = {record.key: record.offset for record in self.records if record.offset < bound}
        self.records = [
            record
            for record in self.records
            if record.offset >= bound
            or (
                last[record.key] == record.offset
                and not (tombstones and record.value is None and record.offset < bound)
            )
        ]


@dataclass(slots=True)
class Sent:
    """One send of a producer. ``acked`` is True once the broker acknowledged it."""

    log: Log
    key: bytes | None
    value: bytes | None
    acked: bool = False


@dataclass
class Producer:
    """An idempotent producer. The sends of a partition land in order or, from some point on, never."""

    clock: Callable[[], int]
    queues: dict[str, deque[Sent]] = field(default_factory=dict)

    def put(self, log: Log, key: bytes | None, value: bytes | None) -> Sent:
        sent = Sent(log, key, value)
        self.queues.setdefault(log.name, deque()).append(sent)
        return sent

    def land(self, name: str, count: int) -> int:
        queue = self.queues[name]
        landed = 0
        while queue and landed < count:
            sent = queue.popleft()
            sent.log.append(sent.key, sent.value, self.clock())
            sent.acked = True
            landed += 1
        if not queue:
            del self.queues[name]
        return landed

    def land_all(self) -> None:
        for name in list(self.queues):
            self.land(name, len(self.queues[name]))

    def land_some(self, choice: int) -> str:
        """Let a few sends of one queue land; ``choice`` decides which."""
        if not self.queues:
            return "nothing to land"
        picks = random.Random(choice)
        name = picks.choice(sorted(self.queues))
        return f"{self.land(name, picks.choice((1, 1, 2, 5)))} landed in {name}"

    def die(self, choice: int) -> None:
        """End the process: a prefix of each queue still lands, the rest is lost."""
        picks = random.Random(choice)
        for name in sorted(self.queues):
            size = len(self.queues[name])
            self.land(name, picks.choice((0, 0, size, picks.randint(0, size))))
        self.queues.clear()


def all_acked(sends: Iterable[Sent]) -> bool:
    return all(sent.acked for sent in sends)

"""Logs, compaction, and producers that lose sends that were not acknowledged."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from streams.worker.transactions import AbortedTransactions


class Record(NamedTuple):
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    doubtful: bool = False
    """Whether the stamp is its producer's word alone."""


class Log:
    """The log of one partition. ``history`` holds every record that ever landed, for the oracle."""

    def __init__(self, name: str, on_land: Callable[[Log, Record], None] | None = None) -> None:
        self.name = name
        self.topic_id = "id"
        self.number = 1
        """How often a topic of this name was created."""
        self.begin = 0
        """Retention deleted what lies before it."""
        self.end = 0
        self.records: list[Record] = []
        self.history: list[Record] = []
        self.open: dict[int, int] = {}
        """Producer id -> first offset of its open transaction."""
        self.aborted: list[tuple[int, int, int]] = []
        """(producer id, first offset, offset of the abort marker), as the broker's index has them."""
        self._producers: dict[int, int] = {}
        self._aborts: dict[int, int] = {}
        self._on_land = on_land

    @property
    def stable_end(self) -> int:
        """The last stable offset: nobody who reads committed gets anything from there on."""
        return min(self.open.values(), default=self.end)

    def append(
        self,
        key: bytes | None,
        value: bytes | None,
        timestamp_ms: int,
        producer: int | None = None,
        *,
        doubtful: bool = False,
    ) -> Record:
        """Append a record, in the open transaction of ``producer`` (begun by it) or in none."""
        record = Record(self.end, key, value, timestamp_ms, doubtful)
        if producer is not None:
            self.open.setdefault(producer, self.end)
            self._producers[self.end] = producer
        self.end += 1
        self.records.append(record)
        self.history.append(record)
        if self._on_land is not None:
            self._on_land(self, record)
        return record

    def recreate(self, topic_id: str) -> None:
        """Delete the topic and create it again under the same name."""
        self.topic_id = topic_id
        self.number += 1
        self.begin = self.end = 0
        for held in (self.records, self.open, self.aborted, self._producers, self._aborts):
            held.clear()

    def delete_all(self) -> None:
        """Let retention overtake every reader."""
        self.begin = self.end
        self.records.clear()

    def marker(self) -> None:
        """Append a transaction marker: an offset that no consumer receives."""
        self.end += 1

    def end_transaction(self, producer: int, *, commits: bool) -> None:
        """Append the marker that ends the producer's open transaction."""
        first = self.open.pop(producer)
        if not commits:
            self.aborted.append((producer, first, self.end))
            self._aborts[self.end] = producer
        self.end += 1

    def was_aborted(self, offset: int) -> bool:
        """Whether the record is of a transaction that was aborted."""
        producer = self._producers.get(offset)
        return any(
            producer == aborter and first <= offset < end for aborter, first, end in self.aborted
        )

    def read(self, start: int, limit: int, *, committed: bool = True) -> tuple[list[Record], int]:
        """Up to ``limit`` records from ``start``, and the last offset that the answer covers."""
        end = self.stable_end if committed else self.end
        found = [record for record in self.records if start <= record.offset < end]
        last = end - 1
        if len(found) > limit:
            found, last = found[:limit], found[limit].offset - 1
        return (self._committed(found, start, last) if committed else found), last

    def _committed(self, records: list[Record], start: int, last: int) -> list[Record]:
        """Leave out the records of aborted transactions, by the list that the broker answers with."""
        listed = [
            (producer, first)
            for producer, first, end in self.aborted
            if first <= last and end >= start
        ]
        if not listed:
            return records
        aborted = AbortedTransactions(listed)
        by_offset = {record.offset: record for record in records}
        kept = []
        for offset in range(start, last + 1):
            if offset in self._aborts:
                aborted.end(self._aborts[offset], offset)
            elif offset in by_offset:
                producer = self._producers.get(offset)
                if producer is None or not aborted.includes(producer, offset):
                    kept.append(by_offset[offset])
        return kept

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
    sent_ms: int = 0
    """What its sender's clock said."""


@dataclass
class Producer:
    """An idempotent producer. The sends of a partition land in order or, from some point on, never."""

    clock: Callable[[Log], int]
    """The clock of the broker that leads the log."""
    own: Callable[[], int]
    on_written: Callable[[str, int, int], None]
    """Called with the log's name, the broker's stamp and when the sender sent it, by its own clock."""
    queues: dict[str, deque[Sent]] = field(default_factory=dict)

    def put(self, log: Log, key: bytes | None, value: bytes | None) -> Sent:
        sent = Sent(log, key, value, sent_ms=self.own())
        self.queues.setdefault(log.name, deque()).append(sent)
        return sent

    def land(self, name: str, count: int) -> int:
        queue = self.queues[name]
        landed = 0
        while queue and landed < count:
            sent = queue.popleft()
            stamped_ms = self.clock(sent.log)
            sent.log.append(sent.key, sent.value, stamped_ms)
            sent.acked = True
            self.on_written(sent.log.name, stamped_ms, sent.sent_ms)
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

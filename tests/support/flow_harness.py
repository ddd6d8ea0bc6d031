"""The whole flow on raw bytes without a broker. Arrival, event time and clock move separately."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from support.methodologies import METHODOLOGY

from streams.flow.chain import Identity
from streams.flow.chunk import Chunk, SourcePartition
from streams.flow.compile import PartitionCompile
from streams.flow.history_book import HistoryBook
from streams.flow.publication import Publication
from streams.flow.set_aside import Folded
from streams.flow.source import SourceLevel
from streams.index.methodology import Methodology
from streams.index.panes import rfc3339

ROOT = Path(__file__).parents[2]
ORDERS, PAYMENTS = "orders", "payments"


@dataclass
class Record:
    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    doubtful: bool = False
    """Whether the stamp is the word of the record's producer alone."""


@dataclass
class Log:
    records: list[Record] = field(default_factory=list)

    def append(
        self,
        value: bytes | None,
        timestamp_ms: int,
        key: bytes | None = None,
        *,
        doubtful: bool = False,
    ) -> int:
        self.records.append(Record(key, value, timestamp_ms, doubtful))
        return len(self.records) - 1

    def chunk(self, sp: SourcePartition, start: int, stop: int | None = None) -> Chunk | None:
        part = self.records[start:stop]
        if not part:
            return None
        return Chunk(
            sp=sp,
            first_offset=start,
            last_offset=start + len(part) - 1,
            keys=[record.key for record in part],
            values=[record.value for record in part],
            timestamps_ms=[record.timestamp_ms for record in part],
            fetch_offset=start,
            doubtful=bytes(record.doubtful for record in part),
        )


class Flow:
    """Two topics of ``partitions`` each, an owner for each source partition, all partials partitions."""

    def __init__(
        self,
        methodology: Methodology = METHODOLOGY,
        partitions: int = 2,
        partials_partitions: int = 3,
        *,
        follows_definitions: bool = False,
    ) -> None:
        self.methodology = methodology
        self.partials_partitions = partials_partitions
        self.sps = {
            topic: [SourcePartition(topic, number) for number in range(partitions)]
            for topic in (ORDERS, PAYMENTS)
        }
        self.logs = {sp: Log() for sps in self.sps.values() for sp in sps}
        self.partials = [Log() for _ in range(partials_partitions)]
        self.checkpoints: dict[SourcePartition, dict[bytes, bytes]] = defaultdict(dict)
        self.tables: dict[int, dict[bytes, bytes]] = defaultdict(dict)
        self.book = HistoryBook(methodology.markets)
        self.late: list = []
        self.dead: list = []
        self.outcomes: dict[str, int] = defaultdict(int)
        self.now_ms = 0
        self.follows_definitions = follows_definitions
        self._nonces = 0
        self.levels: dict[SourcePartition, SourceLevel] = {}
        self.compiles: dict[int, PartitionCompile] = {}
        self.published: dict[str, Publication] = {}
        self.history: list[Publication] = []
        for sp in self.logs:
            self.start_source(sp)
        for partition in range(partials_partitions):
            self.start_compile(partition)

    # -- owners ------------------------------------------------------------------------------

    def nonce(self) -> str:
        self._nonces += 1
        return f"w{self._nonces}"

    def start_source(self, sp: SourcePartition) -> None:
        """Start a new owner of a source partition, which recovers from its checkpoints."""
        identity = Identity(
            self.methodology.edition,
            self.methodology.content_hash,
            f"id-{sp.topic}",
            len(self.sps[sp.topic]),
        )
        level = SourceLevel(
            sp,
            self.methodology,
            identity,
            self.nonce(),
            self.partials_partitions,
            payments=sp.topic == PAYMENTS,
        )
        for send in level.recover(dict(self.checkpoints[sp])):
            self.partials[send.partition].append(send.value, self.now_ms, send.key)
        self.levels[sp] = level

    def start_compile(self, partition: int) -> None:
        compiled = PartitionCompile(
            partition,
            self.partials_partitions,
            self.methodology,
            self.sps,
            self.nonce(),
            self.book,
            follows_definitions=self.follows_definitions,
        )
        compiled.recover(dict(self.tables[partition]))
        self.compiles[partition] = compiled
        self.apply(partition)
        compiled.replayed()

    # -- steps -------------------------------------------------------------------------------

    def produce(
        self, sp: SourcePartition, event: dict | bytes, arrived_ms: int, *, doubtful: bool = False
    ) -> int:
        value = event if isinstance(event, bytes) else json.dumps(event).encode()
        return self.logs[sp].append(value, arrived_ms, b"key", doubtful=doubtful)

    def fold(self, sp: SourcePartition, stop: int | None = None) -> Folded | None:
        level = self.levels[sp]
        chunk = self.logs[sp].chunk(sp, level.through + 1, stop)
        if chunk is None:
            return None
        folded = level.fold_chunk(chunk)
        self.late += folded.late
        self.dead += folded.dead
        for name, count in folded.outcomes.items():
            self.outcomes[name] += count
        return folded

    def send_partials(self, sp: SourcePartition, *, caught_up: bool = True) -> None:
        level = self.levels[sp]
        at_end = level.through + 1 == len(self.logs[sp].records)
        caught_up_at = self.now_ms if caught_up and at_end else None
        for send in (*level.partials(caught_up_at), *level.marks(self.now_ms, caught_up_at)):
            self.partials[send.partition].append(send.value, self.now_ms, send.key)

    def flush(self, sp: SourcePartition) -> None:
        level = self.levels[sp]
        for send in level.day_partials():
            self.partials[send.partition].append(send.value, self.now_ms, send.key)
        if not level.chain.due:
            return
        flush = level.flush()
        self.checkpoints[sp][flush.key] = flush.value
        for key in flush.delete_keys:
            self.checkpoints[sp].pop(key, None)

    def apply(self, partition: int) -> None:
        compiled = self.compiles[partition]
        sp = SourcePartition("ecindex.partials", partition)
        chunk = self.partials[partition].chunk(sp, compiled.through + 1)
        if chunk is not None:
            compiled.apply_chunk(chunk)

    def step(self, partition: int) -> list[Publication]:
        compiled = self.compiles[partition]
        publications = compiled.step(self.now_ms)
        batch = compiled.table_batch()
        self._write_table(partition, batch)
        for publication in publications:
            self._write_table(partition, compiled.fence_batch(publication))
            self.published[publication.market] = publication
            self.history.append(publication)
        return publications

    def _write_table(self, partition: int, batch) -> None:
        for key, value in batch.writes:
            if value is None:
                self.tables[partition].pop(key, None)
            else:
                self.tables[partition][key] = value
        for key in batch.deletes:
            self.tables[partition].pop(key, None)
        for key in batch.tombstones:
            for record in self.partials[partition].records:
                if record.key == key:
                    record.value = None

    def run(self, *, caught_up: bool = True) -> None:
        """Fold, send, flush, compile and publish everything produced so far."""
        for sp in self.logs:
            self.fold(sp)
            self.send_partials(sp, caught_up=caught_up)
            self.flush(sp)
        for sp in self.logs:
            self.send_partials(sp, caught_up=caught_up)
        for partition in range(self.partials_partitions):
            self.apply(partition)
            self.step(partition)
            while self.compiles[partition].behind:
                self.step(partition)

    def value(self, market: str, field_name: str):
        for value in self.published[market].values:
            if value.field == field_name:
                return value
        raise KeyError(field_name)

    def day_value(self, market: str, index: str, dimension: str, member: str, day: str):
        """Last published value of a day; None if it was never published."""
        key = f"{market}|{index}|{dimension}|{member}|day|{day}"
        found = None
        for publication in self.history:
            for value in publication.days:
                if value.key == key:
                    found = value
        return found


def order(
    event_id: str,
    occurred_ms: int,
    *,
    market: str = "PK",
    currency: str = "PKR",
    kind: str = "order.placed",
    lines: list[tuple[str, int, int]] | None = None,
    **extra,
) -> dict:
    """An order event; lines as (category, quantity, unit price in minor units)."""
    return {
        "event_id": event_id,
        "type": kind,
        "occurred_at": rfc3339(occurred_ms),
        "market": market,
        "order_id": f"order-{event_id}",
        "currency": currency,
        "lines": [
            {"sku": "sku", "category": category, "quantity": quantity, "unit_price_minor": price}
            for category, quantity, price in lines or [("Mobiles & Tablets", 1, 100)]
        ],
        **extra,
    }


def payment(
    event_id: str,
    occurred_ms: int,
    *,
    market: str = "PK",
    currency: str = "PKR",
    kind: str = "payment.captured",
    method: str = "cod",
    amount: int = 100,
    **extra,
) -> dict:
    """A payment event."""
    return {
        "event_id": event_id,
        "type": kind,
        "occurred_at": rfc3339(occurred_ms),
        "market": market,
        "order_id": f"order-{event_id}",
        "method": method,
        "amount_minor": amount,
        "currency": currency,
        **extra,
    }

"""The glue that streams/worker will have: level 1 and level 2 as generators, one effect a step.

A generator yields after every effect, so that a crash, a pause or another worker's step can come
between any two. ``yield [sends]`` waits until the producer was told that all of them landed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from streams.flow.chain import Identity
from streams.flow.chunk import Chunk, SourcePartition
from streams.flow.compile import PartitionCompile, TableBatch
from streams.flow.publication import Publication
from streams.flow.source import Send, SourceLevel
from tests.model.kafka import Log, Producer, Record, Sent

if TYPE_CHECKING:
    from tests.model.world import World

Effects = Iterator[list[Sent] | None]


@dataclass
class Worker:
    """A process: its own clock, producer and nonce. ``size`` and the flags are the schedule's."""

    world: World
    nonce: str
    skew_ms: int = 0
    size: int = 3
    wants_flush: bool = True
    wants_partials: bool = True
    waiting: list[Sent] | None = None
    effects: Effects = field(init=False)
    producer: Producer = field(init=False)
    done: str = ""
    """What the last effect was, for the script that is printed."""
    rests: int = 0
    """Turns in a row in which there was nothing to do."""

    def __post_init__(self) -> None:
        self.producer = Producer(lambda: self.world.now_ms)
        self.effects = self.run()

    def run(self) -> Effects:
        raise NotImplementedError

    def clock(self) -> int:
        return self.world.now_ms + self.skew_ms

    def off(self, rule: str) -> bool:
        return rule in self.world.off

    def step(self, *, lands: bool) -> bool:
        """One effect; False when the worker waits for acknowledgements."""
        if self.waiting:
            if lands:
                self.producer.land_all()
            if not all(sent.acked for sent in self.waiting):
                return False
        self.waiting = next(self.effects)
        return True

    def put(self, log: Log, key: bytes | None, value: bytes | None) -> Sent:
        return self.producer.put(log, key, value)

    def die(self, choice: int) -> None:
        self.producer.die(choice)
        self.effects.close()  # type: ignore[attr-defined]


def chunk_of(
    sp: SourcePartition, records: list[Record], first: int, last: int, fetch_offset: int
) -> Chunk:
    plain = all(record.offset == first + at for at, record in enumerate(records))
    return Chunk(
        sp=sp,
        first_offset=first,
        last_offset=last,
        keys=[record.key for record in records],
        values=[record.value for record in records],
        timestamps_ms=[record.timestamp_ms for record in records],
        offsets=None if plain else [record.offset for record in records],
        fetch_offset=fetch_offset,
    )


@dataclass
class Level1(Worker):
    """Owner of one source partition."""

    sp: SourcePartition = field(kw_only=True)
    level: SourceLevel | None = None
    position: int = 0
    """Where the consumer reads next; a reset or a stale buffer may put it anywhere."""
    caught_up_at: int | None = None
    unacked: list[Sent] = field(default_factory=list)
    """Partials and checkpoint of this flush."""
    asides: list[Sent] = field(default_factory=list)
    """Late and dead-letter records of this flush."""

    def run(self) -> Effects:
        world, sp = self.world, self.sp
        table = world.checkpoints[sp].table()
        self.done = f"read {len(table)} checkpoint records"
        yield None
        identity = Identity(world.methodology.edition, world.methodology.content_hash, "id", 1)
        level = SourceLevel(
            sp,
            world.methodology,
            identity,
            self.nonce,
            world.config.partials_partitions,
            payments=sp.topic == "payments",
            chain_length=world.config.chain_length,
        )
        rows = level.recover(join_ids(table))
        sent = [] if self.off("no_resend") else [self._partial(send) for send in rows]
        self.level = level
        self.position = world.committed[sp] if self.off("no_guard") else level.through + 1
        self.done = f"recovered through {level.through}, {len(sent)} rows sent again"
        yield None if self.off("flush_early") else sent
        while True:
            yield from self._cycle(level)

    def _cycle(self, level: SourceLevel) -> Effects:
        world = self.world
        log = world.sources[self.sp]
        records, last = log.read(self.position, self.size)
        start = self._accepted(level, records, last)
        if start is not None:
            self._fold(level, records, last, start)
        else:
            self.done = "nothing to fold"
        if level.through == log.end - 1 and self.position == log.end:
            self.caught_up_at = self.clock()
        yield None
        if self.wants_partials or self.wants_flush:
            rows = level.partials(self.caught_up_at)
            marks = level.marks(self.clock(), self.caught_up_at)
            order = (*marks, *rows) if self.off("mark_first") else (*rows, *marks)
            self.unacked += [self._partial(send) for send in order]
            self.done = f"sent {len(rows)} rows and marks through {level.through}"
            yield None
        flushed = self.wants_flush and level.chain.due
        if flushed:
            if not self.off("late_after"):
                self.done = "waits for late and dead records"
                yield self.asides
            yield from self._flush(level)
        busy = flushed or start is not None or level.through != log.end - 1
        self.rests = 0 if busy else self.rests + 1

    def _fold(self, level: SourceLevel, records: list[Record], last: int, start: int) -> None:
        world, sp = self.world, self.sp
        folded = level.take(chunk_of(sp, records, self.position, last, self.position), start)
        self.position = level.through + 1
        for aside in folded.late:
            key = str(aside.offset).encode()
            self.asides.append(self.put(world.late[sp], key, aside.value))
        for aside in folded.dead:
            key = str(aside.offset).encode()
            self.asides.append(self.put(world.dead[sp], key, aside.reason.encode()))
        self.done = f"folded {len(records) - start} through {level.through}"
        if folded.late or folded.dead:
            self.done += f" (late {len(folded.late)}, dead {len(folded.dead)})"

    def _flush(self, level: SourceLevel) -> Effects:
        table = self.world.checkpoints[self.sp]
        days = level.day_partials()
        self.unacked += [self._partial(send) for send in days]
        flush = level.flush()
        early = self.off("delete_early")
        if early:
            self._delete(flush.delete_keys)
        if self.off("ids_apart"):
            rows, ids = split_ids(flush.value)
            self.unacked.append(self.put(table, flush.key, rows))
            self.unacked.append(self.put(table, flush.key + b"-ids", ids))
        else:
            self.unacked.append(self.put(table, flush.key, flush.value))
        self.done = f"flush {flush.key.decode()} through {flush.through}, {len(days)} days"
        yield self.unacked
        self.unacked, self.asides = [], []
        self.world.committed[self.sp] = flush.through + 1
        if not early:
            self._delete(flush.delete_keys)
        self.done = f"committed {flush.through + 1}, deletes {len(flush.delete_keys)}"
        yield None

    def _delete(self, keys: list[bytes]) -> None:
        for key in keys:
            self.put(self.world.checkpoints[self.sp], key, None)

    def _accepted(self, level: SourceLevel, records: list[Record], last: int) -> int | None:
        """Position of the first record to fold; None: nothing, or the consumer was sent back."""
        if self.off("no_guard"):
            return 0 if last >= self.position else None
        wanted = level.through + 1
        if self.position > wanted or self.position <= last < wanted:
            self.position = wanted
            return None
        if last < self.position:
            return None
        return sum(record.offset < wanted for record in records)

    def _partial(self, send: Send) -> Sent:
        return self.put(self.world.partials[send.partition], send.key, send.value)


def split_ids(value: bytes) -> tuple[bytes, bytes]:
    """The same flush as two records that need not both land."""
    record = msgspec.msgpack.decode(value)
    ids = record["ids"]
    record["ids"] = []
    return msgspec.msgpack.encode(record), msgspec.msgpack.encode(ids)


def join_ids(table: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """Undo ``split_ids`` as far as both records are there."""
    joined = {}
    for key, value in table.items():
        ids = table.get(key + b"-ids")
        if ids is not None:
            record = msgspec.msgpack.decode(value) | {"ids": msgspec.msgpack.decode(ids)}
            joined[key] = msgspec.msgpack.encode(record)
        elif not key.endswith(b"-ids"):
            joined[key] = value
    return joined


@dataclass
class Level2(Worker):
    """Owner of one partition of ``ecindex.partials``."""

    partition: int = field(kw_only=True)
    compiled: PartitionCompile | None = None
    read_bound: int = 0
    """No compaction while this worker lives may reach beyond: takeovers are shorter than the lag."""
    as_of_floor: dict[str, int] = field(default_factory=dict)

    def run(self) -> Effects:
        world, partition = self.world, self.partition
        partials = world.partials[partition]
        highwater = partials.end
        self.read_bound = partials.end
        self.done = f"assigned partials-{partition}, highwater {highwater}"
        yield None
        table = world.tables[partition].table()
        self.as_of_floor = dict(world.redis.as_of)
        self.done = f"read {len(table)} table records"
        yield None
        compiled = PartitionCompile(
            partition,
            world.config.partials_partitions,
            world.methodology,
            world.sps_by_topic,
            self.nonce,
        )
        compiled.recover(table)
        self.compiled = compiled
        while compiled.through + 1 < highwater:
            self._apply(compiled, highwater - compiled.through - 1)
            yield None
        compiled.replayed()
        while True:
            self.read_bound = compiled.through + 1
            busy = self._apply(compiled, 2**30)
            publications = compiled.step(self.clock())
            for publication in publications:
                world.oracle.published(self, publication)
            yield None
            for publication in publications:
                yield from self._publish(compiled, publication)
            batch = compiled.table_batch()
            yield from self._tables(batch)
            busy = busy or bool(publications or batch.writes or batch.tombstones)
            self.rests = 0 if busy else self.rests + 1

    def _apply(self, compiled: PartitionCompile, limit: int) -> bool:
        log = self.world.partials[self.partition]
        start = compiled.through + 1
        if start >= log.end:
            self.done = "nothing to apply"
            return False
        records, last = log.read(start, min(limit, 3 * self.size))
        sp = SourcePartition("ecindex.partials", self.partition)
        compiled.apply(chunk_of(sp, records, start, last, start))
        self.done = f"applied {len(records)} through {compiled.through}"
        return True

    def _publish(self, compiled: PartitionCompile, publication: Publication) -> Effects:
        world, market = self.world, publication.market
        number = world.oracle.journal_number(publication)
        journal = self.put(world.journal, market.encode(), str(number).encode())
        self.done = f"journal of {market}, as_of {publication.as_of_ms}"
        yield [journal]
        steps = [self._fence, self._redis]
        if self.off("fence_late"):
            steps.reverse()
        for step in steps:
            yield from step(compiled, publication)

    def _fence(self, compiled: PartitionCompile, publication: Publication) -> Effects:
        world = self.world
        batch = compiled.fence_batch(publication)
        sent = self._writes(batch)
        values = f"{publication.market}|fence|{self.nonce}".encode()
        sent.append(self.put(world.values, values, b"fence"))
        self.done = f"fence record of {publication.market}"
        yield sent
        self._deletes(batch)

    def _redis(self, compiled: PartitionCompile, publication: Publication) -> Effects:
        taken = self.world.redis.publish(self, publication, fenced=not self.off("no_redis_fence"))
        verb = "took" if taken else "refused"
        self.done = f"redis {verb} {publication.market} {publication.fence}"
        yield None

    def _tables(self, batch: TableBatch) -> Effects:
        partials = self.world.partials[self.partition]
        if self.off("tombstone_early"):
            for key in batch.tombstones:
                self.put(partials, key, None)
        if batch.writes:
            self.done = f"writes {len(batch.writes)} table records"
            yield self._writes(batch)
        if batch.tombstones or batch.deletes:
            if not self.off("tombstone_early"):
                for key in batch.tombstones:
                    self.put(partials, key, None)
            self._deletes(batch)
            self.done = f"{len(batch.tombstones)} tombstones, {len(batch.deletes)} table deletes"
            yield None

    def _writes(self, batch: TableBatch) -> list[Sent]:
        table = self.world.tables[self.partition]
        return [self.put(table, key, value) for key, value in batch.writes]

    def _deletes(self, batch: TableBatch) -> None:
        table = self.world.tables[self.partition]
        for key in batch.deletes:
            self.put(table, key, None)

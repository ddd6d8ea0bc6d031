"""The glue of streams/worker: level 1 and level 2 as generators, one effect a step.

A lane stands for a task of streams/worker. Level 1 folds and sends; level 2 applies, publishes and keeps
its table. Any lane may go on while another waits. A generator yields after every effect, so that a
crash, a pause or another worker's step can come between any two. ``yield [sends]`` waits until all of
them are acknowledged. The order of effects is that of streams/worker/level1.py and level2.py: change
one and change the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import msgspec

from streams.flow.chain import Identity
from streams.flow.chunk import Chunk, SourcePartition
from streams.flow.compile import PartitionCompile, TableBatch
from streams.flow.history_book import HistoryBook
from streams.flow.incarnation import base_of, in_log
from streams.flow.log_change import LogChange
from streams.flow.publication import Publication
from streams.flow.source import Send, SourceLevel
from streams.flow.state import DAY, LIVE
from streams.worker.caught_up import CaughtUp
from streams.worker.log_clock import LogClock
from tests.model.kafka import Log, Producer, Record, Sent
from tests.model.topics import PARTIALS, Keeping

if TYPE_CHECKING:
    from tests.model.world import World

Effects = Iterator[list[Sent] | None]
Reached = tuple[int, int]
"""(generation, ``as_of`` in it)."""
STEADY_MS = 1_000_000_000_000
"""How far a process' steady clock is from the broker's: it begins anywhere."""


@dataclass
class Lane:
    """One task of a process."""

    name: str
    effects: Effects
    waiting: list[Sent] = field(default_factory=list)

    @property
    def blocked(self) -> bool:
        return not all(sent.acked for sent in self.waiting)

    def step(self) -> None:
        self.waiting = next(self.effects) or []


@dataclass
class Worker:
    """A process with its own clock, producer and nonce. The schedule sets ``size`` and the flags."""

    world: World
    nonce: str
    skew_ms: int = 0
    size: int = 3
    wants_flush: bool = True
    wants_partials: bool = True
    only: int | None = None
    """Number of the only lane that runs; None: all lanes, in turn."""
    lanes: list[Lane] = field(default_factory=list)
    producer: Producer = field(init=False)
    log_clock: LogClock = field(init=False)
    done: str = ""
    """Text of the last effect, for the script that is printed."""
    rests: int = 0
    """Turns in a row in which there was nothing to do."""
    keeping: Keeping | None = None
    """What it knows of the topics; None in worlds whose topics stay as they are."""
    _turn: int = 0

    def __post_init__(self) -> None:
        self.log_clock = LogClock(self.clock, lambda: self.world.now_ms - STEADY_MS)
        self.producer = Producer(self.world.stamp, self.clock, self._on_written)
        if self.world.config.knows_time:
            self.log_clock.on_written(self.world.now_ms, self.clock())
        if self.world.config.topics_change:
            self.keeping = Keeping(self)
        self.lanes = [Lane("start", self.start())]

    def _on_written(self, log: str, stamped_ms: int, sent_ms: int) -> None:
        if log.startswith("partials"):
            self.log_clock.on_written(stamped_ms, sent_ms)

    def start(self) -> Effects:
        raise NotImplementedError

    def _watching(self, keeping: Keeping) -> Effects:
        while True:
            keeping.check()
            self.done = "asked for the topics"
            yield None

    def clock(self) -> int:
        return self.world.now_ms + self.skew_ms

    def off(self, rule: str) -> bool:
        return rule in self.world.off

    def step(self, *, lands: bool) -> bool:
        """Run one effect. Return False when every lane waits for acknowledgements."""
        lanes = self.lanes
        if self.only is not None and len(lanes) > 1:
            lanes = [lanes[self.only % len(lanes)]]
        for _ in lanes:
            self._turn += 1
            lane = lanes[self._turn % len(lanes)]
            if lane.blocked and lands:
                self.producer.land_all()
            if lane.blocked:
                continue
            try:
                lane.step()
            except StopIteration:
                continue  # the start has ended; its lanes run from the next step on
            return True
        return False

    def put(self, log: Log, key: bytes | None, value: bytes | None) -> Sent:
        return self.producer.put(log, key, value)

    def die(self, choice: int) -> None:
        self.producer.die(choice)
        for lane in self.lanes:
            lane.effects.close()  # type: ignore[attr-defined]


def chunk_of(
    sp: SourcePartition,
    records: list[Record],
    first: int,
    last: int,
    fetch_offset: int,
    *,
    by_broker: bool = True,
) -> Chunk:
    plain = all(record.offset == first + place for place, record in enumerate(records))
    return Chunk(
        sp=sp,
        first_offset=first,
        last_offset=last,
        keys=[record.key for record in records],
        values=[record.value for record in records],
        timestamps_ms=[record.timestamp_ms for record in records],
        offsets=None if plain else [record.offset for record in records],
        fetch_offset=fetch_offset,
        by_broker=by_broker,
        doubtful=bytes(record.doubtful for record in records),
    )


@dataclass
class Level1(Worker):
    """Owner of one source partition."""

    sp: SourcePartition = field(kw_only=True)
    level: SourceLevel | None = None
    position: int = 0
    """Offset that the consumer reads next; a reset or a stale buffer may put it anywhere."""
    caught_up: CaughtUp = field(default_factory=CaughtUp)
    room: bool = True
    rows: list[Sent] = field(default_factory=list)
    set_aside: list[Sent] = field(default_factory=list)
    flushing: bool = False
    halted: str | None = None
    change: LogChange | None = None

    def start(self) -> Effects:
        world, sp, keeping = self.world, self.sp, self.keeping
        table = world.checkpoints[sp].table()
        self.done = f"read {len(table)} checkpoint records"
        yield None
        topic_id, partitions, partials_id = "id", 1, ""
        if keeping is not None:
            keeping.refresh()
            topic_id, partials_id = keeping.reads(sp.topic), keeping.reads(PARTIALS)
            partitions = keeping.keeper.partitions(sp.topic, 1)
        methodology = world.methodology
        if self.off("uncounted_partitions"):
            partitions = 1
        identity = Identity(methodology.edition, methodology.content_hash, topic_id, partitions)
        level = SourceLevel(
            sp,
            world.methodology,
            identity,
            self.nonce,
            world.config.partials_partitions,
            payments=sp.topic == "payments",
            chain_length=world.config.chain_length,
            partials_id=partials_id,
        )
        rows = level.recover(join_ids(table))
        if self.off("begins_at_end") and not table:
            level.source.through = world.sources[sp].end - 1
        sent = [] if self.off("no_resend") else [self._partial(send) for send in rows]
        self.level = level
        world.recovered_on[self.nonce] = world.partials[0].number
        self.position = world.committed[sp] if self.off("no_guard") else level.through + 1
        self.done = f"recovered through {level.through}, {len(sent)} rows sent again"
        self.lanes = [
            Lane("fold", self._folding(level)),
            Lane("send", self._sending(level), [] if self.off("flush_early") else sent),
        ]
        if keeping is not None:
            self.lanes.append(Lane("topics", self._watching(keeping)))
            keeping.sources[sp] = self
            keeping.judge(self)
            self.done += f", {self.halted or 'of the topic there is'}"
        yield None

    # -- changes of the topic, as the keeper asks for them ------------------------------------

    def halt(self, reason: str, detail: str, action: str | None = None) -> None:
        self.halted = reason

    def halt_for(self, change: LogChange) -> None:
        self.change = change
        self.halt(change.kind, change.detail, change.command)

    def accept(self, change: LogChange) -> None:
        assert self.level is not None
        self.change = self.halted = None
        self.level.continue_at(change.resume_at, change.topic_id)
        self.position = self.level.through + 1
        self.world.log_accepted(self.sp, change)
        self.caught_up.on_progress(self.position)

    @property
    def durable(self) -> bool:
        """Whether an acknowledged checkpoint holds all that is folded."""
        return not (self.flushing or self.level is None or self.level.chain.due)

    def release(self) -> None:
        self.halted = None

    # -- folding -----------------------------------------------------------------------------

    def _folding(self, level: SourceLevel) -> Effects:
        log = self.world.sources[self.sp]
        committed = not self.off("read_uncommitted")
        while True:
            if self.keeping is not None and self._unread(self.keeping, log):
                yield None
                continue
            base = base_of(level.through + 1)
            records, last = log.read(self.position - base, self.size, committed=committed)
            stable_end = log.stable_end if committed else log.end
            log_end = stable_end if self.off("stable_is_end") else log.end
            if base:
                records = [each._replace(offset=base + each.offset) for each in records]
                last, stable_end, log_end = last + base, stable_end + base, log_end + base
            steady_ms = self.log_clock.steady()
            self.caught_up.on_response(log_end, stable_end, steady_ms, level.through + 1)
            start = self._accepted(level, records, last) if self.room else None
            if start is not None:
                self._fold(level, records, last, start)
            else:
                self.done = "nothing to fold" if self.room else "no room to fold"
            yield None

    def _unread(self, keeping: Keeping, log: Log) -> bool:
        """Whether the partition is halted, or the topic that it reads is not there."""
        if self.halted is not None:
            self.done = f"halted: {self.halted}"
            return True
        other = keeping.reads(self.sp.topic) != log.topic_id and not self.off("by_name")
        if other:
            self.done = "no topic of the id that it reads"
            return True
        assert self.level is not None
        if log.begin <= in_log(self.level.through + 1):
            return False
        self.done = f"retention has overtaken it at {self.level.through}"
        if self.off("passes_gaps"):
            self.level.continue_at(base_of(self.level.through + 1) + log.begin, log.topic_id)
            self.position = self.level.through + 1
        else:
            keeping.keeper.on_log_moved(self.sp, log.begin, log.end)
        return True

    def _fold(self, level: SourceLevel, records: list[Record], last: int, start: int) -> None:
        world, sp = self.world, self.sp
        by_broker = not (world.config.import_market or world.config.stray_clocks)
        chunk = chunk_of(sp, records, self.position, last, self.position, by_broker=by_broker)
        folded = level.fold_chunk(chunk, start)
        self.position = level.through + 1
        stamps = chunk.timestamps_ms[start:] if chunk.by_broker else ()
        self.caught_up.on_progress(self.position, max(stamps, default=None))
        for record in folded.late:
            key = str(record.offset).encode()
            self.set_aside.append(self.put(world.late[sp], key, record.reason.encode()))
        for record in folded.dead:
            key = str(record.offset).encode()
            self.set_aside.append(self.put(world.dead[sp], key, record.reason.encode()))
        self.done = f"folded {len(records) - start} through {level.through}"
        if folded.late or folded.dead:
            self.done += f" (late {len(folded.late)}, dead {len(folded.dead)})"

    def _accepted(self, level: SourceLevel, records: list[Record], last: int) -> int | None:
        """Index of the first record to fold; None: no such record, or the consumer has to go back."""
        if self.off("no_guard"):
            return 0 if last >= self.position else None
        wanted = level.through + 1
        if self.position > wanted or self.position <= last < wanted:
            self.position = wanted
            return None
        if last < self.position:
            return None
        return sum(record.offset < wanted for record in records)

    # -- sending -----------------------------------------------------------------------------

    def _in_the_logs_time(self) -> tuple[int | None, int | None]:
        """When it was caught up, and what time it is."""
        clock = self.log_clock
        if self.halted is not None:
            return None, clock.log_ms()
        if self.off("own_clock"):
            return self.caught_up.log_ms(
                lambda at_ms: clock.own() + at_ms - clock.steady()
            ), clock.own()
        return self.caught_up.log_ms(clock.at), clock.log_ms()

    def _sending(self, level: SourceLevel) -> Effects:
        while True:
            if self.wants_partials or self.wants_flush:
                caught_up_at, now_ms = self._in_the_logs_time()
                rows = level.partials(caught_up_at)
                marks = []
                if self.keeping is None or self.keeping.fresh() or self.off("topics_not_asked"):
                    marks = level.marks(now_ms, caught_up_at, every=self.wants_flush)
                order = (*marks, *rows) if self.off("mark_first") else (*rows, *marks)
                self.rows += [self._partial(send) for send in order]
                self.done = f"sent {len(rows)} rows, {len(marks)} marks through {level.through}"
                yield None
            flushed = self.wants_flush and level.chain.due
            if flushed:
                self.room = False
                if not self.off("late_after"):
                    set_aside, self.set_aside = self.set_aside, []
                    self.done = "waits for late and dead records"
                    yield set_aside
                yield from self._flush(level)
            busy = flushed or level.chain.due or not self._has_read_all(level)
            self.rests = 0 if busy else self.rests + 1
            if not (self.wants_partials or self.wants_flush or flushed):
                self.done = "sends nothing"
                yield None

    def _has_read_all(self, level: SourceLevel) -> bool:
        """Whether it has folded all that it may."""
        log = self.world.sources[self.sp]
        keeping = self.keeping
        if keeping is None:
            return level.through == log.stable_end - 1
        if keeping.outdated:
            return False
        if self.change is not None:
            return self.change.as_accepted(keeping.keeper._accepted) is None
        if level.topic_id != log.topic_id:
            return False  # it will be told
        return level.through == base_of(level.through + 1) + log.stable_end - 1

    def _flush(self, level: SourceLevel) -> Effects:
        table = self.world.checkpoints[self.sp]
        days = [*level.partials(), *level.day_partials()]
        self.rows += [self._partial(send) for send in days]
        flush = level.flush()
        self.flushing = True
        self.rows += [self.put(table, *part) for part in flush.parts]
        early = self.off("delete_early")
        if early:
            self._delete(flush.delete_keys)
        if self.off("ids_apart"):
            rows, ids = split_ids(flush.value)
            self.rows.append(self.put(table, flush.key, rows))
            self.rows.append(self.put(table, flush.key + b"-ids", ids))
        else:
            self.rows.append(self.put(table, flush.key, flush.value))
        sent, self.rows = self.rows, []
        self.room = True
        self.done = f"flush {flush.key.decode()} through {flush.through}, {len(days)} rows"
        yield sent
        self.flushing = False
        self.world.committed[self.sp] = flush.through + 1
        if not early:
            self._delete(flush.delete_keys)
        self.done = f"committed {flush.through + 1}, deletes {len(flush.delete_keys)}"
        yield None

    def _delete(self, keys: list[bytes]) -> None:
        for key in keys:
            self.put(self.world.checkpoints[self.sp], key, None)

    def _partial(self, send: Send) -> Sent:
        return self.put(self.world.partials[send.partition], send.key, send.value)


def split_ids(value: bytes) -> tuple[bytes, bytes]:
    """Split a flush into two records, rows and ids, of which one may land without the other."""
    record = msgspec.msgpack.decode(value)
    ids = record["ids"]
    record["ids"] = []
    return msgspec.msgpack.encode(record), msgspec.msgpack.encode(ids)


def join_ids(table: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """Join the records that ``split_ids`` made, where both landed."""
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
    read_bound: int = 2**60
    """Compaction stops below this offset while the worker lives: takeovers are shorter than its lag."""
    as_of_floor: dict[str, Reached] = field(default_factory=dict)
    sources_floor: dict[tuple[str, str], Reached] = field(default_factory=dict)
    book: HistoryBook | None = None
    """What it has read of ``ecindex.history``; None in worlds without resets."""
    history_read: int = 0
    replayed: bool = False
    reads_id: str = ""
    """Id of the partials that it reads."""
    reads_number: int = 1
    known: dict[str, int] = field(default_factory=dict)
    """Partitions that each input had when it recovered."""
    quiet: dict[str, int] = field(default_factory=lambda: {"publish": 0, "keep": 0})

    def start(self) -> Effects:
        world, partition, keeping = self.world, self.partition, self.keeping
        highwater = world.partials[partition].end
        self.read_bound = highwater
        self._read_by(world.partials[partition])
        self.done = f"assigned partials-{partition}, highwater {highwater}"
        yield None
        table = world.tables[partition].table()
        if world.config.resets:
            self.book = HistoryBook(world.methodology.markets)
            self._read_history(len(world.history))
        self.as_of_floor = dict(world.redis.as_of)
        self.sources_floor = dict(world.redis.sources)
        self.done = f"read {len(table)} table records"
        yield None
        sps, partials_id = world.sps_by_topic, ""
        if keeping is not None:
            keeping.refresh()
            partials_id = keeping.reads(PARTIALS)
            sps = {
                topic: [SourcePartition(topic, number) for number in range(count)]
                for topic in sps
                for count in [keeping.keeper.partitions(topic, 1)]
            }
            if partials_id != self.reads_id:
                highwater = self.read_bound = world.partials[partition].end
                self._read_by(world.partials[partition])
        compiled = PartitionCompile(
            partition,
            world.config.partials_partitions,
            world.methodology,
            sps,
            self.nonce,
            self.book,
            topic_id=partials_id,
        )
        self.known = {topic: len(of_topic) for topic, of_topic in sps.items()}
        for market in compiled.markets.values() if world.config.redefined else ():
            layout = market.ledger.layout
            layout.market = replace(layout.market, definitions=world.next_definitions())
        compiled.recover(table)
        self.compiled = compiled
        self.lanes = [
            Lane("apply", self._applying(compiled, highwater)),
            Lane("publish", self._publishing(compiled)),
            Lane("keep", self._keeping(compiled)),
        ]
        if keeping is not None:
            self.lanes.append(Lane("topics", self._watching(keeping)))
        if self.book is not None:
            self.lanes.append(Lane("history", self._following()))
        self.done = "recovered"
        yield None

    def _read_history(self, until: int) -> None:
        assert self.book is not None
        for key, value in self.world.history[self.history_read : until]:
            self.book.apply_record(key, value)
        self.history_read = until

    def _following(self) -> Effects:
        while True:
            if self.history_read < len(self.world.history):
                self._read_history(self.history_read + 1)
                self.done = "read a record of the history"
                self._busy()
            else:
                self.done = "no history to read"
            yield None

    def _read_by(self, log: Log) -> None:
        self.reads_id, self.reads_number = log.topic_id, log.number

    def _applying(self, compiled: PartitionCompile, highwater: int) -> Effects:
        log = self.world.partials[self.partition]
        sp = SourcePartition("ecindex.partials", self.partition)
        base = compiled.base
        highwater += base
        while True:
            if log.topic_id != self.reads_id:
                self.done = "no partials of the id that it reads"
                self._busy()  # it will be told
                yield None
                continue
            start = max(base, compiled.through + 1)
            if start < base + log.end:
                records, last = log.read(start - base, round(3 * self.size))
                if base:
                    records = [each._replace(offset=base + each.offset) for each in records]
                compiled.apply_chunk(chunk_of(sp, records, start, last + base, start))
                self.done = f"applied {len(records)} through {compiled.through}"
                self._busy()
            else:
                self.done = "nothing to apply"
            if max(base, compiled.through + 1) >= highwater and not self.replayed:
                compiled.replayed()
                self.replayed = True
                if compiled.lost is not None:
                    self.world.rejoining = True
            if self.replayed:
                self.read_bound = in_log(compiled.through + 1)
            yield None

    def _busy(self) -> None:
        self.quiet = dict.fromkeys(self.quiet, 0)
        self.rests = 0

    def _idle(self, lane: str) -> None:
        self.quiet[lane] += 1
        self.rests = min(self.quiet.values())

    def _publishing(self, compiled: PartitionCompile) -> Effects:
        while True:
            publications = self._step(compiled) if self.replayed else []
            for publication in publications:
                self.world.oracle.published(self, publication)
            if publications:
                self._busy()
                self.done = f"computed {[publication.market for publication in publications]}"
            elif self.replayed:
                self.done = "nothing to publish"
                self._idle("publish")
            else:
                self.done = "replays"
            yield None
            for publication in publications:
                yield from self._publish(compiled, publication)

    def _step(self, compiled: PartitionCompile) -> list[Publication]:
        anew = compiled.anew
        closed = {
            code: {LIVE: market.progress.hours_until, DAY: market.progress.days_until}
            for code, market in compiled.markets.items()
            if market.progress.live
        }
        publications = compiled.step(self.clock())
        if anew and not compiled.anew:
            self.world.oracle.filled(self, closed)
        return publications

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
        if publication.fence_record.live:
            world.oracle.known_live.add(publication.market)
        self._deletes(batch)
        for writer in batch.retired:
            self.put(world.values, f"{publication.market}|fence|{writer}".encode(), None)

    def _redis(self, compiled: PartitionCompile, publication: Publication) -> Effects:
        taken = self.world.redis.publish(self, publication, fenced=not self.off("no_redis_fence"))
        verb = "took" if taken else "refused"
        self.done = f"redis {verb} {publication.market} {publication.fence}"
        yield None

    def _keeping(self, compiled: PartitionCompile) -> Effects:
        partials = self.world.partials[self.partition]
        while True:
            batch = compiled.table_batch() if self.replayed else TableBatch()
            if self.off("tombstone_early"):
                for key in batch.tombstones:
                    self.put(partials, key, None)
            if batch.writes or batch.tombstones:
                self._busy()
                self.done = f"writes {len(batch.writes)} table records"
                yield self._writes(batch)
                if not self.off("tombstone_early"):
                    for key in batch.tombstones:
                        self.put(partials, key, None)
                self._deletes(batch)
                self.done = f"{len(batch.tombstones)} tombstones, {len(batch.deletes)} deletes"
            else:
                self.done = "nothing to keep"
                if self.replayed:
                    self._idle("keep")
            yield None

    def _writes(self, batch: TableBatch) -> list[Sent]:
        table = self.world.tables[self.partition]
        return [self.put(table, key, value) for key, value in batch.writes]

    def _deletes(self, batch: TableBatch) -> None:
        table = self.world.tables[self.partition]
        for key in batch.deletes:
            self.put(table, key, None)

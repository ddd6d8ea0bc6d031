"""The world of one schedule: logs, workers, Redis, and what each action does to them."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from streams.flow.chunk import SourcePartition
from streams.flow.incarnation import base_of
from streams.flow.log_change import LogChange, log_moved
from streams.flow.publication import Publication
from streams.flow.wire import partition_of
from streams.index.history_records import AcceptedChange, ClockReset, reset_record
from streams.index.methodology import Methodology, parse
from streams.index.panes import DAY_MS, rfc3339
from streams.index.values import Fence
from tests.model.kafka import Log, Record
from tests.model.oracle import Oracle, Violation
from tests.model.produce import burst, event_for
from tests.model.topics import PARTIALS, Topic
from tests.model.workers import Level1, Level2, Reached, Worker

METHODOLOGY = parse(
    """
edition = 1
pane_ms = 30000
grace_ms = 60000
ahead_ms = 60000
out_of_order_ms = 10000
day_grace_days = 1
methods = { cod = { digital = false }, card = { digital = true } }
channels = { web = {} }
category_sets = { one = ["books"] }
[markets.AA]
name = "A"
currency = "AAA"
time_zone = "UTC"
categories = "one"
base = { from = 2026-09-21, to = 2026-09-22 }
[markets.BB]
name = "B"
currency = "BBB"
time_zone = "Asia/Kathmandu"
categories = "one"
"""
)
FEW_PANES = Methodology(
    **{
        name: 3 if name == "open_panes_max" else getattr(METHODOLOGY, name)
        for name in METHODOLOGY.__dataclass_fields__
    }
)
T0 = 1_790_000_000_000 // DAY_MS * DAY_MS
TURNS_TO_REST_MAX = 5_000
"""Detectors read two hours a step and each step is published: after three days of sleep level 2 rests
in 782 turns (seed 3009510), and longer than ten no vintage lasts."""

Action = tuple
"""(name, arguments..), all plain values, so that a schedule prints as a script."""


@dataclass(frozen=True)
class Config:
    """Shape of one world, a part of the schedule."""

    partitions: int = 1
    partials_partitions: int = 1
    chain_length: int = 3
    import_market: bool = False
    """Market BB is imported with CreateTime: its records carry their events' times of years ago."""
    import_back_days: int = 1_000
    import_goes_live: bool = False
    """Some events of that market arrive now."""
    stray_clocks: bool = False
    """Producers stamp the inputs, and some of their clocks are ahead."""
    few_panes: bool = False
    payments: bool = True
    bursts: bool = False
    """Bursts of plain orders come as well."""
    fast_clocks: bool = False
    """Level-1 clocks may run ahead of the broker's too, not only behind."""
    knows_time: bool = False
    """A worker knows the log's time from the start, not only when its first mark is acknowledged."""
    topics_change: bool = False
    """Topics are deleted and created again, and inputs get partitions. Workers ask for the topics."""
    resets: bool = False
    """The clock of the broker that leads the partials runs ahead, and operators set ``as_of`` back."""
    few_labels: bool = False
    """Rows have room for few labels, and orders name several and new ones."""
    small_records: bool = False
    """Checkpoint records hold so little that most flushes take several."""
    redefined: bool = False
    """Each owner of level 2 has definitions of another version, which say the same."""
    learns: bool = True
    """Whether level 2 learns expectations: six times the work of all the rest."""


@dataclass
class Redis:
    """The fenced publication of each market, as Redis holds it."""

    oracle: Oracle
    fences: dict[str, Fence] = field(default_factory=dict)
    as_of: dict[str, Reached] = field(default_factory=dict)
    """Latest headline of each market that Redis ever held."""
    sources: dict[tuple[str, str], Reached] = field(default_factory=dict)
    """Latest ``as_of`` of each (market, source) that Redis ever held."""

    def publish(self, worker: Level2, publication: Publication, *, fenced: bool) -> bool:
        market = publication.market
        held = self.fences.get(market)
        if fenced and held is not None and not publication.fence.follows(held):
            return False
        self.oracle.redis_took(worker, publication)
        self.fences[market] = publication.fence
        generation = publication.fence.generation
        reached = generation, publication.as_of_ms
        self.as_of[market] = max(reached, self.as_of.get(market, reached))
        for source, at_ms in publication.sources.items():
            reached = generation, at_ms
            self.sources[market, source] = max(reached, self.sources.get((market, source), reached))
        return True


class World:
    """Everything that exists in one schedule."""

    def __init__(self, config: Config, off: frozenset[str] = frozenset()) -> None:
        self.config = config
        self.off = off
        self.now_ms = T0
        self.methodology = FEW_PANES if config.few_panes else METHODOLOGY
        topics = ("orders", "payments")
        self.sps_by_topic = {
            topic: [SourcePartition(topic, number) for number in range(config.partitions)]
            for topic in topics
        }
        self.topics = {topic: Topic(topic, config.partitions) for topic in topics}
        self.topics[PARTIALS] = Topic(PARTIALS, config.partials_partitions)
        self.accepted: dict[tuple[str, str], AcceptedChange] = {}
        """What the operator has accepted, by (topic, change)."""
        self.rejoining = False
        self.recovered_on: dict[str, int] = {}
        """Writer -> which of the partials that were created under the name all its rows went to."""
        self.ahead_ms = 0
        """How far the clock of the partials' broker is ahead of all others."""
        self.history: list[tuple[bytes, bytes]] = []
        """Records of ``ecindex.history``."""
        self.generations: dict[str, int] = {}
        self._definitions = 0
        """Market -> latest generation that an operator declared."""
        self.reset_at: dict[tuple[str, int], tuple[int, int]] = {}
        """(market, generation) -> where the market's partials ended when it was declared."""
        self.declared: dict[str, int] = {}
        """Market -> generation that an operator declared while all clocks were right."""
        self.base: dict[SourcePartition, int | None] = {}
        """Number that the states give to offset 0 of the log there is; 0 where none is named.

        None: of a log that no state has gone on in yet.
        """
        self.uncounted: set[SourcePartition] = set()
        """Those of which no state was when their topic was created, or when they were added."""
        self.sps = [sp for sps in self.sps_by_topic.values() for sp in sps]
        self.sources_assigned = len(self.sps)
        """How many of ``sps`` have an owner; those that were added get one when the group joins anew."""
        self.created_ms: dict[SourcePartition, int] = {}
        """When each partition was created that was added."""
        self.oracle = oracle = Oracle(self)
        self.sources = {sp: Log(str(sp)) for sp in self.sps}
        self.late = {sp: Log(f"late-{sp}", oracle.late_landed) for sp in self.sps}
        self.dead = {sp: Log(f"dead-{sp}", oracle.dead_landed) for sp in self.sps}
        self.checkpoints = {
            sp: Log(f"checkpoint-{sp}", oracle.checkpoint_landed) for sp in self.sps
        }
        numbers = range(config.partials_partitions)
        self.partials = [Log(f"partials-{number}", oracle.partial_landed) for number in numbers]
        self.tables = [Log(f"table-{number}") for number in numbers]
        self.journal = Log("journal", oracle.journal_landed)
        self.values = Log("values")
        self.committed = dict.fromkeys(self.sps, 0)
        if config.topics_change:
            for sp, log in self.sources.items():
                log.topic_id = self.topics[sp.topic].topic_id
            for log in self.partials:
                log.topic_id = self.topics[PARTIALS].topic_id
        self.redis = Redis(oracle)
        self.owners: list[Worker] = []
        self.zombies: list[Worker] = []
        self._nonces = 0
        self._produced = 0
        self.import_ms: dict[SourcePartition, int] = {}
        for sp in self.sps:
            self.owners.append(self._level1(sp))
        for number in numbers:
            self.owners.append(self._level2(number))

    # -- workers -----------------------------------------------------------------------------

    def stamp(self, log: Log) -> int:
        """What the broker that leads a log stamps on its records now."""
        return self.now_ms + (self.ahead_ms if log.name.startswith("partials") else 0)

    def _nonce(self) -> str:
        self._nonces += 1
        return f"w{self._nonces}"

    def _level1(self, sp: SourcePartition) -> Level1:
        return Level1(self, self._nonce(), sp=sp)

    def _level2(self, partition: int) -> Level2:
        return Level2(self, self._nonce(), partition=partition)

    def new_owner(self, worker: Worker) -> Worker:
        return (
            self._level1(worker.sp)
            if isinstance(worker, Level1)
            else self._level2(worker.partition)
        )

    def name(self, worker: Worker) -> str:
        role = str(worker.sp) if isinstance(worker, Level1) else f"level2-{worker.partition}"
        return f"{role}@{worker.nonce}"

    def _owner(self, index: int) -> Worker:
        return self.owners[index % len(self.owners)]

    # -- actions -----------------------------------------------------------------------------

    def do(self, action: Action) -> str:
        """Carry out one action; returns what happened, for the script."""
        return getattr(self, f"_do_{action[0]}")(*action[1:])

    def _do_produce(self, index: int, choice: int) -> str:
        sp = self.sps[index % len(self.sps)]
        self._produced += 1
        value, timestamp_ms, text = event_for(self, sp, choice)
        offset = self.number(sp, self.sources[sp].end)
        self.append(sp, value, timestamp_ms, doubtful=self.config.stray_clocks)
        if self.config.bursts and sp.topic == "orders":
            for plain in burst(self, choice):
                self.append(sp, plain, self.now_ms, doubtful=self.config.stray_clocks)
        return f"{sp} {offset}: {text} -> {self.oracle.outcomes_from(sp, offset)}"

    def append(
        self,
        sp: SourcePartition,
        value: bytes | None,
        timestamp_ms: int,
        producer: int | None = None,
        *,
        doubtful: bool = False,
    ) -> None:
        """Append to a source, in the open transaction of ``producer`` or in none."""
        log = self.sources[sp]
        record = log.append(None, value, timestamp_ms, producer, doubtful=doubtful)
        self.oracle.source_appended(sp, record)

    def next_definitions(self) -> int:
        """Version of the definitions that the next owner of a market has."""
        self._definitions += 1
        return self._definitions

    def number(self, sp: SourcePartition, offset: int) -> int:
        """Number that the states give to an offset of the source's log."""
        return (self.base.get(sp, 0) or 0) + offset

    def end_transaction(self, sp: SourcePartition, producer: int, *, commits: bool) -> None:
        """End the producer's open transaction; what it held back is decided now."""
        self.sources[sp].end_transaction(producer, commits=commits)
        self.oracle.source_decided(sp)

    def _do_transact(self, index: int, choice: int) -> str:
        """Append an event in a transaction, or end one: a few producers of a source interleave."""
        sp = self.sps[index % len(self.sps)]
        picks = random.Random(f"transact {choice}")
        producer = picks.choice((1, 2))
        log = self.sources[sp]
        if producer in log.open and picks.random() < 0.6:
            commits = picks.random() < 0.5
            self.end_transaction(sp, producer, commits=commits)
            return f"{sp}: producer {producer} {'commits' if commits else 'aborts'}"
        value, timestamp_ms, text = event_for(self, sp, choice)
        offset = log.end
        self.append(sp, value, timestamp_ms, producer, doubtful=self.config.stray_clocks)
        return f"{sp} {offset}: {text}, in a transaction of producer {producer}"

    def _do_marker(self, index: int) -> str:
        sp = self.sps[index % len(self.sps)]
        self.sources[sp].marker()
        return f"{sp}: a transaction marker"

    def _do_tick(self, length_ms: int) -> str:
        self.now_ms += length_ms
        return f"now +{length_ms} ms"

    def _do_skew(self, index: int, skew_ms: int) -> str:
        worker = self._owner(index)
        if isinstance(worker, Level1) and not self.config.fast_clocks:
            skew_ms = -abs(skew_ms)
        worker.skew_ms = skew_ms
        return f"clock of {self.name(worker)} is off by {skew_ms} ms"

    def _do_go(self, index: int, effects: int, size: int, flags: int) -> str:
        return self._run(self._owner(index), effects, size, flags)

    def _do_zgo(self, index: int, effects: int, size: int, flags: int) -> str:
        if not self.zombies:
            return ""
        return self._run(self.zombies[index % len(self.zombies)], effects, size, flags)

    def _run(self, worker: Worker, effects: int, size: int, flags: int) -> str:
        worker.size = size
        worker.wants_flush, worker.wants_partials = bool(flags & 1), bool(flags & 2)
        lands = bool(flags & 4)
        worker.only = (flags >> 3) - 1 if flags >> 3 else None
        done = []
        for _ in range(effects):
            if not worker.step(lands=lands):
                done.append("waits")
                break
            done.append(worker.done)
            if self.rejoining:
                done.append(self._rejoin())
                break
        return f"{self.name(worker)}: " + "; ".join(done)

    def _do_land(self, index: int, choice: int) -> str:
        worker = self._owner(index)
        return f"{self.name(worker)}: {worker.producer.land_some(choice)}"

    def _do_zland(self, index: int, choice: int) -> str:
        if not self.zombies:
            return ""
        worker = self.zombies[index % len(self.zombies)]
        return f"{self.name(worker)}: {worker.producer.land_some(choice)}"

    def _do_crash(self, index: int, choice: int) -> str:
        at = index % len(self.owners)
        worker = self.owners[at]
        worker.die(choice)
        self.owners[at] = self.new_owner(worker)
        return f"{self.name(worker)} is killed, {self.owners[at].nonce} takes over"

    def _do_lose(self, index: int, choice: int) -> str:
        """Run the owner without acknowledgements until it is blocked, then kill it."""
        worker = self._owner(index)
        picks = random.Random(choice)
        text = self._run(worker, picks.choice((4, 8, 16)), picks.choice((1, 5)), 3)
        return f"{text}; {self._do_crash(index, choice)}"

    def _do_pause(self, index: int) -> str:
        at = index % len(self.owners)
        worker = self.owners[at]
        if worker.keeping is not None:
            worker.keeping.hear_nothing_more()
        if len(self.zombies) < 3:
            self.zombies.append(worker)
        else:
            worker.die(0)
        self.owners[at] = self.new_owner(worker)
        return f"{self.name(worker)} is paused, {self.owners[at].nonce} takes over"

    def _do_zkill(self, index: int, choice: int) -> str:
        if not self.zombies:
            return ""
        worker = self.zombies.pop(index % len(self.zombies))
        worker.die(choice)
        return f"zombie {self.name(worker)} is killed"

    def _do_reset(self, index: int, choice: int) -> str:
        """Move the consumer away from where the state is, as a rebalance or a stale buffer does."""
        worker = self._owner(index)
        if not isinstance(worker, Level1) or worker.level is None:
            return ""
        end = self.sources[worker.sp].end
        base = base_of(worker.level.through + 1)
        worker.position = base + random.Random(choice).randint(0, end)
        return f"{self.name(worker)}: position {worker.position}, state {worker.level.through}"

    def _do_compact(self, choice: int) -> str:
        picks = random.Random(choice)
        tombstones = picks.random() < 0.5
        for number, log in enumerate(self.partials):
            bounds = [
                worker.read_bound
                for worker in (*self.owners, *self.zombies)
                if isinstance(worker, Level2)
                and worker.partition == number
                and worker.reads_id in ("", log.topic_id)
            ]
            log.compact(min(bounds, default=log.end), tombstones=tombstones)
        for log in (*self.checkpoints.values(), *self.tables):
            log.compact(log.end, tombstones=tombstones)
        return "compaction" + (", tombstones too" if tombstones else "")

    def _do_broker(self, ahead_ms: int) -> str:
        self.ahead_ms = ahead_ms
        if ahead_ms > 0:
            self.declared.clear()  # a generation of today may now run ahead as well
        return f"the clock of the partials' broker is {ahead_ms} ms ahead"

    def _do_clock_reset(self, market: str) -> str:
        """Run ``ecindex clock reset``."""
        generation = self.generations.get(market, 0) + 1
        self.generations[market] = generation
        log = self.partials[partition_of(market, len(self.partials))]
        reset = ClockReset(
            market,
            generation,
            rfc3339(self.now_ms),
            "a broker was fast",
            partials_end=log.end,
            partials_id=log.topic_id if self.config.topics_change else "",
        )
        self.history.append(reset_record(reset))
        self.reset_at[market, generation] = log.number, log.end
        if self.ahead_ms == 0:
            self.declared[market] = generation
        return f"{market}: generation {generation}"

    def _do_recreate(self, index: int) -> str:
        """Delete a topic and create it again under the same name.

        What was folded of an input is durable by then, and what level 2 had of the partials is merged:
        decision 0114 says what is given up otherwise.
        """
        name = list(self.topics)[index % len(self.topics)]
        self.settle()
        for worker in self.owners:
            if isinstance(worker, Level1) and worker.sp.topic == name and worker.halted == "gap":
                return ""  # the reference has what comes after the gap already
        topic = self.topics[name]
        topic.number += 1
        if name == PARTIALS:
            for log in self.partials:
                log.recreate(topic.topic_id)
            return f"{name} is created again"
        throughs = {
            worker.sp: worker.level.through
            for worker in self.owners
            if isinstance(worker, Level1) and worker.sp.topic == name and worker.level is not None
        }
        counted = max(throughs.values()) >= 0
        for sp in self.sps_by_topic[name]:
            self.oracle.log_lost(sp, throughs[sp])
            self.sources[sp].recreate(topic.topic_id)
            (self.uncounted.add if throughs[sp] < 0 else self.uncounted.discard)(sp)
            if counted:
                self.base[sp] = None
        return f"{name} is created again"

    def _do_grow(self, index: int) -> str:
        """Give an input one more partition; producers may write to it at once."""
        name = ("orders", "payments")[index % 2]
        topic, sps = self.topics[name], self.sps_by_topic[name]
        sp = SourcePartition(name, topic.partitions)
        topic.partitions += 1
        oracle = self.oracle
        self.sources[sp] = Log(str(sp))
        self.sources[sp].topic_id = topic.topic_id
        self.late[sp] = Log(f"late-{sp}", oracle.late_landed)
        self.dead[sp] = Log(f"dead-{sp}", oracle.dead_landed)
        self.checkpoints[sp] = Log(f"checkpoint-{sp}", oracle.checkpoint_landed)
        self.committed[sp] = 0
        self.created_ms[sp] = self.now_ms
        self.uncounted.add(sp)
        accepted = (name, f"id={topic.topic_id}") in self.accepted
        if not (accepted or all(self.is_accepted(other) for other in sps)):
            self.base[sp] = None
        oracle.source_added(sp)
        sps.append(sp)
        self.sps.append(sp)
        return f"{name} has {topic.partitions} partitions"

    def _do_retention(self, index: int, choice: int) -> str:
        """Let retention delete records before they were read.

        What was folded is durable by then: else rows hold what no state has (decision 0114).
        """
        sp = self.sps[index % len(self.sps)]
        self.settle()
        log = self.sources[sp]
        owner = next(w for w in self.owners if isinstance(w, Level1) and w.sp == sp)
        assert owner.level is not None
        # It may go on while the partition is halted for it, unless the reference has what came since.
        halted_for_it = owner.halted == "gap" and not log.records
        if log.open or owner.level.through < 0 or not (owner.halted is None or halted_for_it):
            return ""
        at, picks = owner.level.through + 1, random.Random(f"retention {choice}")
        for _ in range(picks.choice((1, 2, 5))):
            value, timestamp_ms, _ = event_for(self, sp, picks.randrange(1_000_000))
            log.append(None, value, timestamp_ms)
        log.delete_all()
        change = log_moved(sp, at, log.begin, log.end, log.topic_id)
        assert change is not None
        self.oracle.gap_found(sp, self.number(sp, log.begin), change)
        return f"{sp}: {change.name} is gone, never read"

    def is_accepted(self, sp: SourcePartition) -> bool:
        """Whether the records of the log that there is may count."""
        return self.base.get(sp, 0) is not None

    def log_accepted(self, sp: SourcePartition, change: LogChange) -> None:
        """Note that an owner goes on in another log; all that do must number its records alike."""
        if change.kind != "recreated" or change.topic_id != self.sources[sp].topic_id:
            return  # the same log, or one that is gone too
        known = self.base.get(sp, 0)
        if known not in (None, change.resume_at):
            raise Violation(
                "P1", f"{sp}: begins at {change.resume_at}, for another owner at {known}"
            )
        if known is None:
            self.base[sp] = change.resume_at
            self.oracle.log_accepted(sp)

    def _do_accept(self) -> str:
        """Run the command that each halted partition names."""
        changes = [
            worker.change
            for worker in self.owners
            if isinstance(worker, Level1) and worker.change is not None
        ]
        return f"accepted: {sorted({change.name for change in changes if self.accept(change)})}"

    def accept(self, change: LogChange) -> bool:
        """Accept a change, unless the topic is another by now (`streams/operate/accepting.py`)."""
        topic_id = self.topics[change.topic].topic_id
        if change.topic_id != topic_id:
            return False
        self.accepted[change.topic, change.name] = AcceptedChange(
            change.topic, change.name, rfc3339(self.now_ms), topic_id=topic_id
        )
        self._begin_uncounted(change)
        return True

    def _begin_uncounted(self, change: LogChange) -> None:
        """Let what no state is of count from its first record on, if the topic there is accepted.

        No owner may have to say so: one that begins when all others have gone on finds nothing amiss.
        """
        if change.kind != "recreated" or change.topic_id != self.topics[change.topic].topic_id:
            return
        for sp in self.sps_by_topic[change.topic]:
            if sp in self.uncounted and not self.is_accepted(sp):
                self.base[sp] = 0
                self.oracle.log_accepted(sp)

    def _rejoin(self) -> str:
        """Have the group recover every state anew."""
        self.rejoining = False
        for sp in self.sps[self.sources_assigned :]:
            self.owners.append(self._level1(sp))
        self.sources_assigned = len(self.sps)
        for worker in self.owners:
            worker.producer.land_all()
        for at, worker in enumerate(self.owners):
            worker.die(0)
            self.owners[at] = self.new_owner(worker)
        return "the group recovers anew"

    def _do_rest(self) -> str:
        self.settle()
        return "all at rest"

    # -- the end -----------------------------------------------------------------------------

    def settle(self, worker_kinds: tuple = (Level1, Level2)) -> None:
        """Run all owners of these kinds until they have nothing left to do."""
        for kind in worker_kinds:
            for at, worker in enumerate(self.owners):
                if not isinstance(worker, kind):
                    continue
                self.rest(worker)
                if self.owners[at] is not worker:
                    self.settle()  # the group recovered anew
                    return

    def rest(self, worker: Worker) -> None:
        """Let one worker run until there is nothing left to do, or the group recovers anew."""
        worker.size, worker.rests, worker.only = 1_000, 0, None
        worker.wants_flush = worker.wants_partials = True
        if isinstance(worker, Level2):
            worker.quiet = dict.fromkeys(worker.quiet, 0)
        for _ in range(TURNS_TO_REST_MAX):
            worker.step(lands=True)
            if self.rejoining:
                self._rejoin()
                return
            if worker.rests >= 2:  # the first turn may have begun before there was work
                break
        else:
            raise Violation("P0", f"{self.name(worker)} never comes to rest")
        worker.producer.land_all()

    def replace(self, kinds: tuple) -> None:
        """End the processes at rest, compact everything that can be, and start new owners."""
        for worker in self.owners:
            worker.producer.land_all()
        for log in (*self.partials, *self.checkpoints.values(), *self.tables):
            log.compact(log.end, tombstones=True)
        for at, worker in enumerate(self.owners):
            if isinstance(worker, kinds):
                worker.die(0)
                self.owners[at] = self.new_owner(worker)

    def _complete_panes(self) -> None:
        """Let the newest pane end: level 1 holds a row until ``as_of`` can reach its pane."""
        rules = self.methodology
        self.now_ms += 10_000 + rules.ahead_ms + rules.pane_ms + rules.out_of_order_ms
        if self.config.stray_clocks:
            self.now_ms += DAY_MS  # as far as such a clock is ahead

    def finish(self) -> None:
        """Compare at rest, after takeovers on compacted topics, and after everything has closed."""
        for worker in self.zombies:
            worker.die(1)
        self.zombies.clear()
        self.ahead_ms = 0
        for worker in self.owners:
            worker.skew_ms = 0
        for sp, log in self.sources.items():
            for producer in list(log.open):
                self.end_transaction(sp, producer, commits=True)
        self._complete_panes()
        self.settle()
        if self.config.topics_change:
            # Behind a gap that has grown since its owner named it lies another one.
            for _ in range(3):
                self._do_accept()
                self.settle()
        if self.config.resets:
            for market in self.redis.fences:
                self._do_clock_reset(market)
            self.settle()
        self.oracle.compare("at rest")
        self.replace((Level2,))  # level 1 sends nothing again
        self.settle()
        self.oracle.compare("after a takeover of level 2")
        self.replace((Level1, Level2))
        self.settle()
        self.oracle.compare("after a takeover of everything")
        self._close_everything()
        self._complete_panes()
        self.settle()
        self.oracle.compare("when all is closed")
        self.oracle.compare_closings()
        self.replace((Level1, Level2))
        self.settle()
        self.oracle.compare("after the last takeover")
        self.oracle.check_bounded()

    def _close_everything(self) -> None:
        """Produce a far later event of every market in every partition: all earlier slots close."""
        self.now_ms += 40 * DAY_MS
        for sp in self.sps:
            for market in self.methodology.markets:
                value, _, _ = event_for(self, sp, 0, market=market, plain=True)
                self.append(sp, value, self.now_ms)


def record_of(log: Log, offset: int) -> Record:
    return next(record for record in log.history if record.offset == offset)

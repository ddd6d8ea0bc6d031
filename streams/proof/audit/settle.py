"""Waits until the workers have reached the end of the log, then reads what they published."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from aiokafka.structs import TopicPartition

from streams.clock import monotonic_ms
from streams.flow.chunk import SourcePartition
from streams.flow.incarnation import base_of, through_in_log
from streams.index.methodology import Methodology
from streams.index.values import Fence
from streams.proof.audit.checkpoints import CheckpointChain, CheckpointLog
from streams.proof.audit.cuts import MarketChanges, PartialsLog
from streams.proof.audit.report import PROGRESS, REDIS, VALUES, Report
from streams.proof.audit.slots_left import SlotsLeft
from streams.proof.recompute.slots import SlotCalendar
from streams.records.kafka_logs import Extent, Logs, Stored
from streams.records.redis_reader import MarketRedis, RedisReader
from streams.records.values_log import MarketValues, ValuesLog
from streams.settings import Settings
from streams.worker import names
from streams.worker.names import changelog_topic

_REDIS_BEHIND_MS = 3_000
"""How long Redis may lag: it is written right after the fence record."""
_POLL_S = 0.25


@dataclass(slots=True)
class Tail:
    """A partition that is read repeatedly, each time to its current end."""

    tp: TopicPartition
    apply: Callable[[Stored], None]
    position: int | None = None

    async def catch_up(self, logs: Logs) -> None:
        """Read to the current end."""
        extent = (await logs.extents_of([self.tp]))[self.tp]
        begin = extent.begin if self.position is None else max(self.position, extent.begin)
        async for batch in logs.read(self.tp, Extent(begin, extent.end)):
            for stored in batch:
                self.apply(stored)
        self.position = extent.end


@dataclass(slots=True)
class Settled:
    """What the system held when it reached the end of the log, or at the deadline."""

    checkpoints: dict[SourcePartition, tuple[CheckpointLog, Tail]]
    values: dict[str, MarketValues] = field(default_factory=dict)
    redis: dict[str, MarketRedis] = field(default_factory=dict)

    async def catch_up_checkpoints(self, logs: Logs) -> None:
        """Read the checkpoints to their current end."""
        for _, tail in self.checkpoints.values():
            await tail.catch_up(logs)

    def chain(self, sp: SourcePartition) -> CheckpointChain:
        """Best chain of a source partition."""
        return self.checkpoints[sp][0].chain(sp)


async def settle(
    settings: Settings,
    methodology: Methodology,
    counts: dict[str, int],
    logs: Logs,
    redis: RedisReader,
    report: Report,
    markets: Sequence[str],
    versions: Mapping[str, int],
    wait_ms: int,
) -> Settled:
    """Wait for both levels, then read what is published and what Redis holds.

    ``versions``: of each market's definitions in force, which publications must have reached.
    """
    deadline_ms = monotonic_ms() + wait_ms
    settled = Settled(_checkpoints(settings, methodology, counts, report))
    await _await_level1(settings, counts, logs, settled, report, deadline_ms)
    changes = await _changes(settings, methodology, counts, logs)
    table = changelog_topic(
        names.app_id(methodology.edition, settings.topics.prefix), names.MERGED_TABLE
    )
    values = await _await_level2(
        settings, counts, logs, changes, markets, versions, table, deadline_ms, report
    )
    report.unreadable_of(VALUES, values.unreadable)
    settled.values = {code: values.markets[code] for code in markets if code in values.markets}
    for code in markets:
        market = settled.values.get(code)
        if market is None or market.version is None:
            report.skip(VALUES, "nothing was ever published", code)
            continue
        held = await _await_redis(redis, code, market.version, report)
        for each in redis.unreadable.get(code, ()):
            report.unreadable(REDIS, each)
        if held is not None:
            settled.redis[code] = held
    return settled


def _checkpoints(
    settings: Settings, methodology: Methodology, counts: dict[str, int], report: Report
) -> dict[SourcePartition, tuple[CheckpointLog, Tail]]:
    group = names.app_id(methodology.edition, settings.topics.prefix)
    found: dict[SourcePartition, tuple[CheckpointLog, Tail]] = {}
    for topic in (settings.topics.orders, settings.topics.payments):
        changelog = changelog_topic(group, names.checkpoint_table(topic))
        for partition in range(counts[topic]):
            log = CheckpointLog(methodology, report)
            tail = Tail(TopicPartition(changelog, partition), log.apply_record)
            found[SourcePartition(topic, partition)] = (log, tail)
    return found


async def _await_level1(
    settings: Settings,
    counts: dict[str, int],
    logs: Logs,
    settled: Settled,
    report: Report,
    deadline_ms: int,
) -> None:
    topics = (settings.topics.orders, settings.topics.payments)
    extents = await logs.extents([(topic, counts[topic]) for topic in topics])
    waiting = {
        SourcePartition(tp.topic, tp.partition): extent.end - 1
        for tp, extent in extents.items()
        if extent.end > extent.begin
    }
    while True:
        for sp in list(waiting):
            log, tail = settled.checkpoints[sp]
            await tail.catch_up(logs)
            if log.through >= base_of(log.through + 1) + waiting[sp]:
                del waiting[sp]
        if not waiting:
            return
        if monotonic_ms() > deadline_ms:
            break
        await asyncio.sleep(_POLL_S)
    for sp, last in waiting.items():
        log, tail = settled.checkpoints[sp]
        changelog = f"{tail.tp.topic}-{tail.tp.partition}"
        report.differs(
            PROGRESS,
            str(sp),
            "through",
            f"at least {last}, the log's end",
            through_in_log(log.through),
            changelog,
        )


async def _changes(
    settings: Settings,
    methodology: Methodology,
    counts: dict[str, int],
    logs: Logs,
) -> dict[str, MarketChanges]:
    """Find where each market's rows last changed, which a publication must include by now."""
    topic = settings.topics.partials
    calendar = SlotCalendar(methodology)
    changes: dict[str, MarketChanges] = {}
    for tp, extent in (await logs.extents([(topic, counts[topic])])).items():
        # Faulty records are reported when the partition is read again.
        log = PartialsLog(methodology, calendar, (), Report())
        async for batch in logs.read(tp, extent):
            for stored in batch:
                log.apply_record(stored)
        changes |= log.changes
    return changes


async def _await_level2(
    settings: Settings,
    counts: dict[str, int],
    logs: Logs,
    changes: dict[str, MarketChanges],
    markets: Sequence[str],
    versions: Mapping[str, int],
    table: str,
    deadline_ms: int,
    report: Report,
) -> ValuesLog:
    topic = settings.topics.values
    values = ValuesLog()
    slots = SlotsLeft([code for code in markets if versions.get(code)])
    # The table first: it names a slot's definitions once the values are in their topic.
    read = [(table, slots.apply_record)] if any(versions.values()) else []
    tails = [
        Tail(TopicPartition(name, number), apply)
        for name, apply in (*read, (topic, values.apply_record))
        for number in range(counts[name])
    ]
    while True:
        for tail in tails:
            await tail.catch_up(logs)
        behind = [
            code
            for code, change in changes.items()
            if code in markets and not _includes(values.markets.get(code), change)
        ]
        unfinished = any(values.markets[code].unfinished for code in values.markets)
        lagging = {
            code: market.version.definitions
            for code, market in values.markets.items()
            if market.version is not None and market.version.definitions < versions.get(code, 0)
        }
        left = {
            code: found
            for code, market in values.markets.items()
            if market.version is not None
            and (found := slots.behind(code, market.version.definitions))
        }
        if not behind and not unfinished and not lagging and not left:
            return values
        if monotonic_ms() > deadline_ms:
            break
        await asyncio.sleep(_POLL_S)
    for code in behind:
        _report_behind(report, code, values.markets.get(code), changes[code], topic)
    for code, found in lagging.items():
        wanted = f"at least {versions[code]}, the version in force"
        report.differs(PROGRESS, code, "definitions", wanted, found, topic)
    for code, slots_left in left.items():
        wanted = "every final hour and day by the definitions published"
        report.differs(PROGRESS, code, "redefined", wanted, f"{slots_left} by older ones", table)
    return values


def _report_behind(
    report: Report, code: str, market: MarketValues | None, change: MarketChanges, topic: str
) -> None:
    fence = None if market is None else market.fence
    if fence is None:
        report.differs(PROGRESS, code, "published", "a publication", None, topic)
        return
    until = change.shown_until(max(fence.as_of.values(), default=0))
    expected = f"a publication that includes offset {until} of the partials"
    report.differs(PROGRESS, code, "published", expected, f"up to {fence.applied}", topic)


def _includes(market: MarketValues | None, change: MarketChanges) -> bool:
    """Whether the newest publication holds the last row that it should show."""
    fence = None if market is None else market.fence
    if fence is None:
        return False
    return fence.applied >= change.shown_until(max(fence.as_of.values(), default=0))


async def _await_redis(
    redis: RedisReader, code: str, version: Fence, report: Report
) -> MarketRedis | None:
    deadline_ms = monotonic_ms() + _REDIS_BEHIND_MS
    while True:
        held = await redis.read(code)
        if held is not None:
            found = held.version
            if found.follows(version):
                return held
        if monotonic_ms() > deadline_ms:
            break
        await asyncio.sleep(_POLL_S)
    if held is None and code in redis.unreadable:
        return None  # there are keys, but they cannot be read
    if held is None:
        report.skip(REDIS, "no keys: nobody published in the last minute", code)
        return None
    report.differs(REDIS, code, "fence", f"at least {version}", found, held.keys.fence)
    return held

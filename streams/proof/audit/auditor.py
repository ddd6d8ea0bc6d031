"""``ecindex audit``: reads what was published and what it was made of, and has it compared.

The order of reading makes the comparison exact while the stack runs. Publications are read first, then
what they were made of, and the source log last. Each of them is contained in the next, and each is
judged at its own position.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence

from aiokafka.structs import TopicPartition

from streams.clock import monotonic_ms
from streams.console.errors import OperationError, unknown_market
from streams.console.progress import ProgressFunction, no_progress
from streams.flow.chunk import SourcePartition
from streams.flow.incarnation import base_of
from streams.flow.merged import PANES_KEPT_MS, QUARTERS_KEPT_MS
from streams.flow.state import NEVER_MS
from streams.flow.wire import partition_of
from streams.index.methodology import Methodology
from streams.index.stamps import is_doubtful
from streams.proof.audit.cuts import Cut, PartialsLog
from streams.proof.audit.expected_values import Expectations
from streams.proof.audit.judge_expected import ExpectedJudge
from streams.proof.audit.judge_journal import JournalLog
from streams.proof.audit.judge_levels import judge_levels
from streams.proof.audit.judge_merged import MergedLog
from streams.proof.audit.judge_redis import RedisJudge
from streams.proof.audit.judge_set_aside import SetAsideLog
from streams.proof.audit.judge_topics import TopicsJudge
from streams.proof.audit.judge_values import ValuesJudge
from streams.proof.audit.replay import Replay
from streams.proof.audit.report import REDIS, VALUES, Report
from streams.proof.audit.settle import Settled, settle
from streams.proof.explain.bases import FENCE_WHERE
from streams.proof.recompute.batch import SourceBatch
from streams.proof.recompute.defined_markets import DefinedMarkets
from streams.proof.recompute.slots import Blind, SlotCalendar
from streams.records.kafka_logs import Extent, Logs, Stored, open_logs
from streams.records.kafka_topics import existing_partitions
from streams.records.redis_reader import MarketRedis, RedisReader
from streams.records.values_log import MarketValues
from streams.settings import Settings, load_methodology
from streams.worker import names
from streams.worker.counted_inputs import other_inputs
from streams.worker.names import changelog_topic

WAIT_MS = 60_000


async def audit(
    settings: Settings,
    *,
    markets: Sequence[str] = (),
    wait_ms: int = WAIT_MS,
    progress: ProgressFunction = no_progress,
) -> Report:
    """Audit an installation. ``markets`` empty: all of them. Raises OperationError, SettingsError.

    ``wait_ms``: how long the workers may take to reach the current end of the log.
    """
    began_ms = monotonic_ms()
    methodology = load_methodology(settings)
    unknown = sorted(set(markets) - methodology.markets.keys())
    if unknown:
        raise unknown_market(unknown[0], methodology.markets)
    counts = await existing_partitions(settings.kafka)
    other = await other_inputs(settings, methodology.edition, counts)
    if other is not None:
        raise OperationError(str(other))
    report = Report()
    redis = RedisReader(settings)
    try:
        async with open_logs(settings.kafka) as logs:
            auditor = _Auditor(settings, methodology, counts, logs, redis, report, progress)
            await auditor.run(markets or tuple(methodology.markets), wait_ms)
            report.records_read = logs.records_read
    finally:
        await redis.close()
    report.took_ms = monotonic_ms() - began_ms
    return report


class _Auditor:
    """State of one audit."""

    def __init__(
        self,
        settings: Settings,
        methodology: Methodology,
        counts: dict[str, int],
        logs: Logs,
        redis: RedisReader,
        report: Report,
        progress: ProgressFunction,
    ) -> None:
        self._settings = settings
        self._methodology = methodology
        self._counts = counts
        self._logs = logs
        self._redis = redis
        self._report = report
        self._progress = progress
        self._calendar = SlotCalendar(methodology)
        self._blind = Blind(self._calendar)
        self._defined = DefinedMarkets(methodology)
        self._merged = MergedLog(methodology, report, self._defined)
        self._cuts: dict[str, list[Cut]] = defaultdict(list)
        self._partials: list[PartialsLog] = []
        self._definitions_read = 0
        topics = settings.topics
        self._inputs = (topics.orders, topics.payments)
        bound = (*self._inputs, topics.partials)
        self._topics = TopicsJudge(settings.kafka, bound, report)
        group = names.app_id(methodology.edition, topics.prefix)
        self._merged_changelog = changelog_topic(group, names.MERGED_TABLE)
        self._check_topics()

    def _check_topics(self) -> None:
        topics = self._settings.topics
        found = {topic: self._counts.get(topic, 0) for topic in self._inputs}
        wanted = [*found, topics.partials, topics.values, topics.journal, topics.late]
        wanted += [topics.dead_letters]
        wanted += names.changelogs(self._settings, self._methodology.edition, found)
        missing = [topic for topic in wanted if not self._counts.get(topic)]
        if missing:
            raise OperationError(
                f"topics that do not exist: {', '.join(missing)}; either there is nothing to audit "
                "yet, or topics.prefix or the edition is wrong; `ecindex topics create` creates them"
            )

    async def run(self, markets: Sequence[str], wait_ms: int) -> None:
        """Read everything and compare it; the results go to the report."""
        self._report.markets = list(markets)
        await self._topics.ask()
        self._progress("waiting for the workers to reach the end of the log", 0, 0)
        await self._read_definitions()
        versions = {code: self._defined.version(code) for code in markets}
        settled = await settle(
            self._settings, self._methodology, self._counts, self._logs, self._redis,
            self._report, markets, versions, wait_ms,
        )  # fmt: skip
        await self._read_definitions()  # those of what was published meanwhile
        pairs = self._make_cuts(settled)
        published = {
            code: market.version.definitions
            for code, market in settled.values.items()
            if market.version is not None
        }
        self._published = self._defined.at(published)
        self._replay = Replay(
            self._methodology, self._inputs[1], self._calendar, self._blind, self._cuts,
            self._partials, self._merged, self._report, self._defined, published,
        )  # fmt: skip
        await self._read_merged()
        await self._read_partials()
        await settled.catch_up_checkpoints(self._logs)
        set_aside = await self._read_set_aside()
        batches = await self._run_replay(settled)
        self._judge(settled, pairs)
        set_aside[0].judge(batches, set_aside[1])
        await self._read_journal(settled)
        await self._topics.ask()

    # -- what the system holds -------------------------------------------------------------------

    async def _read_definitions(self) -> None:
        """Read ``ecindex.definitions`` to its present end, or what came since the last time."""
        topic = self._settings.topics.definitions
        if not self._counts.get(topic):
            return  # an older installation has no such topic
        for tp, extent in (await self._logs.extents([(topic, 1)])).items():
            begin = max(extent.begin, self._definitions_read)
            async for batch in self._read(tp, Extent(begin, extent.end)):
                for stored in batch:
                    refused = self._defined.apply_record(stored.key, stored.value, stored.offset)
                    if refused is not None:
                        self._report.skip(
                            VALUES, f"definitions not in force: {refused}", stored.where
                        )
            self._definitions_read = extent.end

    def _make_cuts(self, settled: Settled) -> dict[str, tuple[Cut | None, Cut | None]]:
        """Return (cut of ``ecindex.values``, cut of Redis) for each market; one object if both agree."""
        pairs: dict[str, tuple[Cut | None, Cut | None]] = {}
        for code in self._report.markets:
            published, held = settled.values.get(code), settled.redis.get(code)
            cuts: list[Cut] = []
            first = None if published is None else self._values_cut(code, published)
            second = None if held is None else self._redis_cut(held, first)
            if first is not None and second is not None and _same(first, second):
                second = first
            cuts = [cut for cut in (first, second) if cut is not None]
            self._cuts[code] = list({id(cut): cut for cut in cuts}.values())
            pairs[code] = (first, second)
        return pairs

    def _values_cut(self, code: str, market: MarketValues) -> Cut | None:
        fence = market.fence
        if fence is None:
            return None
        if fence.edition != self._methodology.edition:
            self._report.skip(VALUES, f"published under edition {fence.edition}", code)
            return None
        version = code, fence.edition, fence.applied, dict(fence.as_of)
        assert market.version is not None  # it is the fence record's
        return self._cut(*version, fence.horizon, market.version.definitions, VALUES)

    def _redis_cut(self, held: MarketRedis, published: Cut | None) -> Cut | None:
        if held.version.edition != self._methodology.edition:
            self._report.skip(REDIS, f"published under edition {held.version.edition}", held.market)
            return None
        horizon_ms = NEVER_MS if published is None else published.horizon_ms
        version = held.market, held.version.edition, held.version.applied, dict(held.as_of)
        return self._cut(*version, horizon_ms, held.version.definitions, REDIS)

    def _cut(
        self,
        code: str,
        edition: int,
        applied: int,
        as_of_ms: dict[str, int],
        horizon_ms: int,
        definitions: int,
        stage: str,
    ) -> Cut | None:
        if self._defined.market(code, definitions) is None:
            known = f"one that {self._settings.topics.definitions} has"
            self._report.differs(stage, code, "definitions", known, definitions, FENCE_WHERE)
            return None
        return Cut(
            code, edition, applied, as_of_ms, self._methodology.step_ms,
            orders_topic=self._inputs[0],
            local_days=self._calendar.local_days(code),
            quarters_kept_ms=QUARTERS_KEPT_MS + self._methodology.grace_ms,
            horizon_ms=horizon_ms,
            definitions=definitions,
        )  # fmt: skip

    async def _read_merged(self) -> None:
        for tp, extent in (await self._extents(self._merged_changelog)).items():
            async for batch in self._read(tp, extent):
                for stored in batch:
                    self._merged.apply_record(stored)
        self._merged.finish()

    async def _read_partials(self) -> None:
        topic = self._settings.topics.partials
        count = self._settings.topics.partials_partitions
        for tp, extent in (await self._extents(topic)).items():
            cuts = [
                cut
                for code, cuts in self._cuts.items()
                if partition_of(code, count) == tp.partition
                for cut in cuts
            ]
            log = PartialsLog(self._methodology, self._calendar, cuts, self._report)
            base = max((base_of(cut.applied + 1) for cut in cuts), default=0)
            async for batch in self._read(tp, extent):
                for stored in batch:
                    log.apply_record(stored._replace(offset=stored.offset + base))
            log.finish()
            self._partials.append(log)

    async def _read_set_aside(self) -> tuple[SetAsideLog, bool]:
        log, complete = SetAsideLog(self._report, self._topics.topic_ids), True
        topics = self._settings.topics
        for topic in (topics.late, topics.dead_letters):
            for tp, extent in (await self._extents(topic)).items():
                complete &= extent.begin == 0
                async for batch in self._read(tp, extent):
                    for stored in batch:
                        log.apply_record(stored)
        return log, complete

    async def _read_journal(self, settled: Settled) -> None:
        topic = self._settings.topics.journal
        expected = ExpectedJudge(self._published, settled.values, self._report, self._defined)
        await self._read_history(expected)
        expected.shifts.kept = {
            code: record for code, record in self._merged.shifts.items() if code in settled.values
        }
        log = JournalLog(
            self._methodology, settled.values, self._replay.finals, self._calendar, self._blind,
            self._report, expected, self._merged,
        )  # fmt: skip
        cut: set[str] = set()
        for tp, extent in (await self._extents(topic)).items():
            if extent.begin > 0:
                count = self._settings.topics.partials_partitions
                cut |= {m for m in settled.values if partition_of(m, count) == tp.partition}
            async for batch in self._read(tp, extent):
                for stored in batch:
                    log.apply_record(stored)
        log.finish(frozenset(cut))
        expected.judge()
        for held in settled.redis.values():
            expected.judge_redis(held)
        finals = self._replay.finals
        days = {key: sums for code in settled.values for key, sums in finals.of(code).days.items()}
        judge_levels(
            self._methodology, settled.values, days, self._calendar, self._blind, self._report
        )
        expected.shifts.judge(self._methodology.edition, self._report, self._published.markets)
        orders, payments = self._inputs
        expected.judge_vintages(
            lambda code, version: finals.of(code, version).hours,
            (orders, payments),
            self._blind.before_ms(),
        )

    async def _read_history(self, expected: ExpectedJudge) -> None:
        topics = self._settings.topics
        for topic, take in (
            (topics.history, expected.take_history),
            (topics.answers, expected.take_answer),
            (topics.shifts, expected.shifts.add_shift),
        ):
            if not self._counts.get(topic):
                continue  # an older installation has no such topic
            for tp, extent in (await self._extents(topic)).items():
                async for batch in self._read(tp, extent):
                    for stored in batch:
                        take(stored)

    # -- what the log says -----------------------------------------------------------------------

    async def _run_replay(self, settled: Settled) -> dict[SourcePartition, SourceBatch]:
        batches: dict[SourcePartition, SourceBatch] = {}
        for topic in self._inputs:
            for tp, extent in (await self._extents(topic)).items():
                sp = SourcePartition(tp.topic, tp.partition)
                chain = settled.chain(sp)
                # A log that took another's place begins in the middle of what was counted.
                base = base_of(chain.through + 1)
                counted = Extent(extent.begin + base, extent.end + base)
                batch: SourceBatch | None = None
                async for records in self._read(tp, extent):
                    if batch is None:
                        batch = self._replay.start(sp, chain, counted, records[0])
                    batch.feed(
                        [each.offset + base for each in records],
                        [each.value for each in records],
                        [each.timestamp_ms for each in records],
                        [is_doubtful(each.timestamp_type, each.headers) for each in records],
                    )
                if batch is None:
                    batch = self._replay.start(sp, chain, counted, None)
                self._replay.finish(batch, chain, counted)
                if chain.through >= 0:
                    self._topics.judge_chain(sp, chain)
                batches[sp] = batch
        return batches

    # -- comparing -------------------------------------------------------------------------------

    def _judge(self, settled: Settled, pairs: dict[str, tuple[Cut | None, Cut | None]]) -> None:
        panes_from = {
            code: market.fence.horizon - PANES_KEPT_MS
            for code, market in settled.values.items()
            if market.fence is not None
        }
        self._merged.judge(panes_from, self._blind)
        expectations = Expectations(
            self._defined, self._inputs, self._calendar, self._blind, self._merged
        )
        values = ValuesJudge(expectations, self._methodology.edition, self._report)
        redis = RedisJudge(expectations, self._report)
        for code, (in_values, in_redis) in pairs.items():
            market, held = settled.values.get(code), settled.redis.get(code)
            if market is not None and in_values is not None:
                values.judge(code, market, in_values)
            if held is not None and in_redis is not None:
                same = market is not None and in_redis is in_values
                redis.judge(held, in_redis, market.values if market and same else None)

    # -- reading ---------------------------------------------------------------------------------

    async def _extents(self, topic: str) -> dict[TopicPartition, Extent]:
        return await self._logs.extents([(topic, self._counts[topic])])

    async def _read(self, tp: TopicPartition, extent: Extent) -> AsyncIterator[list[Stored]]:
        self._progress(f"reading {tp.topic}", 0, 0)
        async for batch in self._logs.read(tp, extent):
            yield batch


def _same(left: Cut, right: Cut) -> bool:
    return (left.definitions, left.applied, left.as_of_ms) == (
        right.definitions,
        right.applied,
        right.as_of_ms,
    )

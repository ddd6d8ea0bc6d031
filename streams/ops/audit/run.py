"""``ecindex audit``: what is read in which order, and what is compared with what.

The order of reading makes the comparison exact while the stack runs: first what was published, then
what it was made of, the source log last. Each is contained in the next, and each is judged at its
own position.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence

from aiokafka.structs import TopicPartition

from streams.clock import monotonic_ms
from streams.flow.chunk import SourcePartition
from streams.flow.merged import PANES_KEPT_MS
from streams.flow.state import DAY, NEVER_MS, SlotKey
from streams.flow.wire import partition_of
from streams.index.methodology import Methodology
from streams.index.panes import HOUR_MS
from streams.index.partials import Layout
from streams.ops.audit.batch import Ask, SourceBatch, blind_before
from streams.ops.audit.checkpoints import Chain, judge_chain
from streams.ops.audit.cuts import Cut, PartialsLog, Row
from streams.ops.audit.journal_view import FinalSums, JournalLog
from streams.ops.audit.merged import MergedLog
from streams.ops.audit.published import Expectations, MarketValues, ValuesJudge
from streams.ops.audit.reading import Extent, Logs, Stored, open_logs
from streams.ops.audit.redis_view import MarketRedis, RedisJudge, RedisReader
from streams.ops.audit.report import CHECKPOINT, PARTIALS, REDIS, VALUES, Report
from streams.ops.audit.set_aside import AsideLog
from streams.ops.audit.settle import Settled, settle
from streams.ops.audit.slots import GONE, Blind, Calendar, slot_name
from streams.ops.audit.sums import Columns, Sums, add_sums, differing
from streams.ops.errors import OperationError
from streams.ops.progress import ProgressFunction, no_progress
from streams.ops.topics import existing_partitions
from streams.settings import Settings, load_methodology
from streams.worker import names
from streams.worker.names import changelog_topic

WAIT_MS = 60_000


async def audit(
    settings: Settings,
    *,
    markets: Sequence[str] = (),
    wait_ms: int = WAIT_MS,
    progress: ProgressFunction = no_progress,
) -> Report:
    """Audit an installation; ``markets`` empty: all. Raises OperationError, SettingsError.

    ``wait_ms``: how long the workers may take to reach the end that the log has now.
    """
    began_ms = monotonic_ms()
    methodology = load_methodology(settings)
    unknown = sorted(set(markets) - methodology.markets.keys())
    if unknown:
        known = ", ".join(methodology.markets)
        raise OperationError(f"market {unknown[0]!r} is not in methodology.toml; it has {known}")
    counts = await existing_partitions(settings.kafka)
    report = Report()
    redis = RedisReader(settings, report)
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
    """One audit."""

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
        self._calendar = Calendar(methodology)
        self._blind = Blind(self._calendar)
        self._columns = {
            code: Columns(Layout(market)) for code, market in methodology.markets.items()
        }
        self._merged = MergedLog(methodology, report)
        self._finals = FinalSums(methodology)
        self._cuts: dict[str, list[Cut]] = defaultdict(list)
        self._partials: list[PartialsLog] = []
        topics = settings.topics
        self._inputs = (topics.orders, topics.payments)
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
                f"topics that do not exist: {', '.join(missing)}; nothing to audit, or "
                "topics.prefix or the edition is another; `ecindex topics create` makes them"
            )

    async def run(self, markets: Sequence[str], wait_ms: int) -> None:
        """Read and compare."""
        self._report.markets = list(markets)
        self._progress("waiting for the workers to reach the end of the log", 0, 0)
        settled = await settle(
            self._settings, self._methodology, self._counts, self._logs, self._redis,
            self._report, markets, wait_ms,
        )  # fmt: skip
        pairs = self._make_cuts(settled)
        await self._read_merged()
        await self._read_partials()
        await settled.catch_up_checkpoints(self._logs)
        asides = await self._read_asides()
        batches = await self._replay(settled)
        self._judge(settled, pairs)
        asides[0].judge(batches, asides[1])
        await self._read_journal(settled)

    # -- what the system holds -------------------------------------------------------------------

    def _make_cuts(self, settled: Settled) -> dict[str, tuple[Cut | None, Cut | None]]:
        """(cut of ``ecindex.values``, cut of Redis) of each market; one object when they agree."""
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
        step_ms = self._methodology.step_ms
        return Cut(code, fence.edition, fence.applied, dict(fence.as_of), step_ms, fence.horizon)

    def _redis_cut(self, held: MarketRedis, published: Cut | None) -> Cut | None:
        if held.edition != self._methodology.edition:
            self._report.skip(REDIS, f"published under edition {held.edition}", held.market)
            return None
        step_ms = self._methodology.step_ms
        horizon_ms = NEVER_MS if published is None else published.horizon_ms
        return Cut(held.market, held.edition, held.applied, dict(held.as_of), step_ms, horizon_ms)

    async def _read_merged(self) -> None:
        for tp, extent in (await self._extents(self._merged_changelog)).items():
            async for batch in self._read(tp, extent):
                for stored in batch:
                    self._merged.apply(stored)
        self._merged.finish()

    async def _read_partials(self) -> None:
        topic = self._settings.topics.partials
        count = self._counts[topic]
        for tp, extent in (await self._extents(topic)).items():
            cuts = [
                cut
                for code, cuts in self._cuts.items()
                if partition_of(code, count) == tp.partition
                for cut in cuts
            ]
            log = PartialsLog(self._methodology, self._calendar, cuts, self._report)
            async for batch in self._read(tp, extent):
                for stored in batch:
                    log.apply(stored)
            log.finish()
            self._partials.append(log)

    async def _read_asides(self) -> tuple[AsideLog, bool]:
        log, complete = AsideLog(self._report), True
        topics = self._settings.topics
        for topic in (topics.late, topics.dead_letters):
            for tp, extent in (await self._extents(topic)).items():
                complete &= extent.begin == 0
                async for batch in self._read(tp, extent):
                    for stored in batch:
                        log.apply(stored)
        return log, complete

    async def _read_journal(self, settled: Settled) -> None:
        topic = self._settings.topics.journal
        log = JournalLog(
            self._methodology, settled.values, self._finals, self._calendar, self._blind,
            self._report,
        )  # fmt: skip
        cut: set[str] = set()
        for tp, extent in (await self._extents(topic)).items():
            if extent.begin > 0:
                count = self._counts[topic]
                cut |= {m for m in settled.values if partition_of(m, count) == tp.partition}
            async for batch in self._read(tp, extent):
                for stored in batch:
                    log.apply(stored)
        log.finish(frozenset(cut))

    # -- what the log says -----------------------------------------------------------------------

    async def _replay(self, settled: Settled) -> dict[SourcePartition, SourceBatch]:
        batches: dict[SourcePartition, SourceBatch] = {}
        for topic in self._inputs:
            for tp, extent in (await self._extents(topic)).items():
                sp = SourcePartition(tp.topic, tp.partition)
                chain = settled.chain(sp)
                batch = await self._replay_one(sp, tp, extent, self._ask(sp, chain))
                self._after_replay(batch, chain, extent)
                batches[sp] = batch
        return batches

    def _ask(self, sp: SourcePartition, chain: Chain) -> Ask:
        ask = chain.ask()
        for cuts in self._cuts.values():
            for cut in cuts:
                for (source, slot), through in cut.rows.items():
                    if source == sp:
                        ask.rows_at.setdefault(through, set()).add(slot)
        for log in self._partials:
            for (source, slot), row in log.rows.items():
                if source == sp:
                    ask.rows_at.setdefault(row.through, set()).add(slot)
        return ask

    async def _replay_one(
        self, sp: SourcePartition, tp: TopicPartition, extent: Extent, ask: Ask
    ) -> SourceBatch:
        def start(first_ms: int | None) -> SourceBatch:
            before_ms = blind_before(extent.begin, first_ms, self._methodology)
            self._blind.add(sp, before_ms)
            return SourceBatch(
                sp,
                self._methodology,
                payments=sp.topic == self._settings.topics.payments,
                sink=self._take_slot,
                ask=ask,
                blind_before_ms=before_ms,
            )

        batch: SourceBatch | None = None
        arrival = "none"
        async for records in self._read(tp, extent):
            if batch is None:
                batch = start(records[0].timestamp_ms)
                arrival = records[0].arrival
            batch.feed(
                [each.offset for each in records],
                [each.value for each in records],
                [each.timestamp_ms for each in records],
            )
        if batch is None:
            batch = start(None)
        batch.finish()
        self._report.sources[str(sp)] = {
            "begin": extent.begin,
            "end": extent.end,
            "arrival": arrival,
            "outcomes": dict(batch.outcomes),
        }
        return batch

    def _take_slot(self, sp: SourcePartition, slot: SlotKey, sums: Sums, closed: bool) -> None:  # noqa: FBT001 - the sink's signature
        if closed:
            self._merged.add(sp, slot, sums, self._blind)
            for cut in self._cuts.get(slot.market, ()):
                if cut.closed(sp, slot, self._calendar):
                    cut.add(sp, slot, sums)
        if slot.book == DAY:
            add_sums(self._finals.days.setdefault((slot.market, slot.slot), {}), sums)
        else:
            hour = slot.slot - slot.slot % HOUR_MS
            add_sums(self._finals.hours.setdefault((slot.market, hour), {}), sums)

    def _after_replay(self, batch: SourceBatch, chain: Chain, extent: Extent) -> None:
        sp, report = batch.sp, self._report
        report.sources[str(sp)]["through"] = chain.through
        if chain.through >= extent.end:
            report.differs(
                CHECKPOINT, str(sp), "through", f"below the log's end {extent.end}",
                chain.through, chain.where,
            )  # fmt: skip
        judge_chain(sp, chain, batch, self._blind, report)
        for cut in (cut for cuts in self._cuts.values() for cut in cuts):
            for (source, slot), through in cut.rows.items():
                sums = batch.rows.get((through, slot)) if source == sp else None
                if sums is not None:
                    cut.add(sp, slot, sums)
        for log in self._partials:
            for (source, slot), row in log.rows.items():
                if source == sp:
                    self._judge_row(batch, slot, row)

    def _judge_row(self, batch: SourceBatch, slot: SlotKey, row: Row) -> None:
        key = f"{batch.sp} {slot_name(slot)}"
        if self._blind.of(batch.sp, slot):
            self._report.skip(PARTIALS, GONE, key)
            return
        self._report.judge(PARTIALS)
        found = self._columns[slot.market].read(row.sparse, day=slot.book == DAY)
        for difference in differing(batch.rows.get((row.through, slot), {}), found):
            self._report.differs(PARTIALS, key, *difference, row.where)

    # -- comparing -------------------------------------------------------------------------------

    def _judge(self, settled: Settled, pairs: dict[str, tuple[Cut | None, Cut | None]]) -> None:
        panes_from = {
            code: market.fence.horizon - PANES_KEPT_MS
            for code, market in settled.values.items()
            if market.fence is not None
        }
        self._merged.judge(panes_from, self._blind)
        expectations = Expectations(self._methodology, self._inputs, self._calendar, self._blind)
        values = ValuesJudge(expectations, self._methodology.edition, self._report)
        redis = RedisJudge(expectations, self._report)
        for code, (in_values, in_redis) in pairs.items():
            market, held = settled.values.get(code), settled.redis.get(code)
            if market is not None and in_values is not None:
                values.judge(code, market, in_values)
            if held is not None and in_redis is not None:
                redis.judge(held, in_redis)

    # -- reading ---------------------------------------------------------------------------------

    async def _extents(self, topic: str) -> dict[TopicPartition, Extent]:
        return await self._logs.extents([(topic, self._counts[topic])])

    async def _read(self, tp: TopicPartition, extent: Extent) -> AsyncIterator[list[Stored]]:
        self._progress(f"reading {tp.topic}", 0, 0)
        async for batch in self._logs.read(tp, extent):
            yield batch


def _same(left: Cut, right: Cut) -> bool:
    return (left.applied, left.as_of_ms) == (right.applied, right.as_of_ms)

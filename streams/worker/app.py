"""One worker process put together: Faust app, both levels, publishers, metrics server.

``IndexWorker.create`` builds the parts inside the loop: nothing exists at import. ``ecindex worker``
calls ``run_worker``, which first asks the broker for its topics.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Collection, Coroutine
from importlib import metadata
from typing import Any

import structlog
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from streams.clock import now_ms
from streams.flow.chain import Identity, RecoveryError
from streams.flow.chunk import Chunk, SourcePartition
from streams.flow.compile import PartitionCompile
from streams.flow.history_book import HistoryBook
from streams.flow.incarnation import in_log, through_in_log
from streams.flow.own_records import OwnRecordError
from streams.flow.topic_progress import asked_within_ms
from streams.index.definitions_switch import WORKERS_APPLY_DEFINITIONS
from streams.index.methodology import Methodology
from streams.publish.http import MetricsServer, PartitionState, Released
from streams.publish.metrics import Metrics
from streams.publish.redis_state import RedisLimits
from streams.publish.redis_store import RedisStore
from streams.settings import Settings
from streams.worker import names
from streams.worker.consumer_thread import FetchSettings
from streams.worker.contiguity import offset_after
from streams.worker.definitions_metrics import show_definitions
from streams.worker.faust_app import AppSettings, ChunkApp, Hooks, create_faust_app
from streams.worker.history_reader import HistoryReader
from streams.worker.input_notes import InputNotes
from streams.worker.level1 import Level1Parts, SourceRunner
from streams.worker.level2 import Level2Parts, MarketsRunner
from streams.worker.log_clock import LogClock
from streams.worker.membership import Membership, group_members
from streams.worker.observer import Observer
from streams.worker.open_transactions import OpenTransactions
from streams.worker.outbox import Outbox, OutboxStopped
from streams.worker.runner import Worker
from streams.worker.stated_topics import stated_ids
from streams.worker.stops import ExitCode, Fatal, StopSwitch, end_for
from streams.worker.tables import PartitionTable
from streams.worker.topic_growth import grow_topics
from streams.worker.topic_ids import check_log_ends, id_of
from streams.worker.topic_keeper import TopicKeeper
from streams.worker.topic_needs import TopicNeeds, watched_topics
from streams.worker.topic_watch import EVERY_S, TopicWatch

DEFINITIONS_WITHIN_S = 5.0
"""Longest wait for the definitions before a worker joins."""
HEARTBEAT_S = 1.0

_log = structlog.get_logger(__name__)


class IndexWorker:
    """Both levels on one Faust app."""

    def __init__(
        self,
        settings: Settings,
        methodology: Methodology,
        partitions: dict[str, int],
        *,
        on_listening: Callable[[int], None] = lambda _port: None,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        """Take settings and what the broker has now.

        ``partitions``: partition count of each input topic. ``on_listening`` is called with the metrics
        port.
        """
        self.settings = settings
        self.methodology = methodology
        self._partitions = partitions
        self._places = settings.topics.partials_partitions
        """Partitions of the partials that markets are in; the topic may have more."""
        self._log_ends_checked = False
        self._on_listening = on_listening
        self.log_clock = LogClock(clock)
        self._sources: dict[SourcePartition, SourceRunner] = {}
        self._markets: dict[int, MarketsRunner] = {}
        self._unpaired: frozenset[SourcePartition] = frozenset()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ready = False

    def create(self) -> Worker:
        """Build the parts; called inside the running loop."""
        settings, topics = self.settings, self.settings.topics
        self.switch = StopSwitch()
        self.metrics = Metrics(
            markets=self.methodology.markets,
            version=metadata.version("ecindex"),
            edition=self.methodology.edition,
            methodology=self.methodology.content_hash,
            currencies={code: each.currency for code, each in self.methodology.markets.items()},
            links={
                "board": settings.links.board or "",
                "grafana": settings.links.grafana or "",
                "runbook": settings.links.runbook or "",
            },
        )
        for topic in (topics.orders, topics.payments):
            self.metrics.begin_events(topic)
        self.app = self._faust_app()
        edition = self.methodology.edition
        self._group = names.app_id(edition, topics.prefix)
        self._checkpoints: dict[str, PartitionTable] = {
            topic: self.app.partition_table(
                names.checkpoint_table(topic), source=topic, partitions=self._partitions[topic]
            )
            for topic in (topics.orders, topics.payments)
        }
        self._merged = self.app.partition_table(
            names.MERGED_TABLE, source=topics.partials, partitions=topics.partials_partitions
        )
        for topic in (topics.orders, topics.payments):
            self.app.chunk_agent(topic, self._fold, name=f"{self._group}-fold-{topic}")
        self.app.chunk_agent(topics.partials, self._compile, name=f"{self._group}-compile")
        self.outbox = Outbox(
            settings.kafka.bootstrap_servers,
            switch=self.switch,
            presence=self.app.presence,
            auth=settings.kafka.auth_options(),
            on_written=self._on_written,
            wall=self.log_clock.own,
        )
        self.store = RedisStore(
            settings.redis.url,
            self.metrics,
            prefix=settings.redis.keys_prefix,
            limits=RedisLimits(expire_ms=settings.intervals.stale_after_s * 1000),
            timeout_s=settings.redis.timeout_s,
            auth=settings.redis.auth_options(),
        )
        self._input_notes = InputNotes(self.store)
        self._observer = Observer(
            self._sources,
            self.app.intake,
            self.metrics,
            self.log_clock,
            settings.limits.dedupe_ids_max,
        )
        self.membership = Membership(
            self.store,
            self.switch,
            lambda: group_members(settings.kafka, self._group),
            lambda: self.app.member_id,
        )
        self.server = MetricsServer(
            self.metrics.registry,
            self._why_not_ready,
            before_scrape=self._before_scrape,
            partitions=self,
            host=settings.metrics.host,
            port=settings.metrics.port,
            names=settings.metrics.hosts,
        )
        self._watch = TopicWatch(self.outbox.ask, watched_topics(settings, edition))
        self._history = HistoryReader(
            settings,
            HistoryBook(self.methodology.markets),
            self._watch.topic_id,
            lambda topic: id_of(self.outbox.ask, topic),
        )
        self._needs = TopicNeeds(
            settings,
            edition,
            self._watch,
            self.metrics,
            lambda wanted: grow_topics(settings.kafka, wanted),
        )
        self._keeper = TopicKeeper(
            settings,
            self._watch,
            self._needs,
            self.app.intake,
            sources=self._sources,
            accepted=self._history.book.accepted,
            group=self.app,
            stated=self._stated,
        )
        self.outbox.explain = self._needs.advice
        fresh_ms = asked_within_ms(self.methodology.out_of_order_ms)
        self._level1 = Level1Parts(
            settings,
            self.methodology,
            self.outbox,
            self.app.intake,
            self.metrics,
            self.log_clock,
            lambda: self._watch.fresh(fresh_ms),
            lambda: self.server.release_url,
        )
        self._level2 = Level2Parts(
            settings,
            self.outbox,
            self.app.intake,
            self.metrics,
            self.store,
            self.log_clock.now_ms,
            self._history,
            lambda: self.app.may_publish,
            lambda: self.app.ask_anew(rejoin=True),
        )
        return Worker(self.app, self.outbox, self._drain, self._started, self._may_join)

    def _faust_app(self) -> ChunkApp:
        kafka, topics = self.settings.kafka, self.settings.topics
        datadir = self.settings.data_dir / "workers"
        datadir.mkdir(parents=True, exist_ok=True)  # Faust creates only the last directory
        return create_faust_app(
            AppSettings(
                app_id=names.app_id(self.methodology.edition, topics.prefix),
                bootstrap=kafka.bootstrap_servers,
                auth=kafka.auth_options(),
                datadir=datadir,
                session_timeout_ms=kafka.session_timeout_ms,
                heartbeat_ms=kafka.heartbeat_ms,
                request_timeout_ms=kafka.request_timeout_ms,
                fetch=FetchSettings(
                    min_bytes=kafka.fetch_min_bytes,
                    max_wait_ms=kafka.fetch_max_wait_ms,
                    partition_bytes=kafka.fetch_max_bytes,
                ),
            ),
            chunk_topics=frozenset({topics.orders, topics.payments, topics.partials}),
            positions=self,
            hooks=Hooks(
                self._on_revoked,
                self._on_recovered,
                on_log_moved=self._on_log_moved,
                on_topics_gone=self._on_topics_gone,
                on_unpaired=self._on_unpaired,
            ),
            switch=self.switch,
            monotonic=self.log_clock.steady,
            to_log=self.log_clock.at,
        )

    # -- agents ----------------------------------------------------------------------------------

    async def _fold(self, chunk: Chunk) -> None:
        await self.outbox.room()
        part = self.app.intake.accept(chunk)
        if part is not None:
            await self._sources[part.sp].fold_chunk(part)

    async def _compile(self, chunk: Chunk) -> None:
        part = self.app.intake.accept(chunk)
        if part is not None:
            self._markets[part.sp.partition].apply_chunk(part)

    # -- partitions come and go ------------------------------------------------------------------

    def next_offset(self, sp: SourcePartition) -> int | None:
        """Return the first offset not in the recovered state; None: read from the beginning.

        Partials are always read from their beginning.
        """
        runner = self._sources.get(sp)
        if runner is None or runner.level.through < 0:
            return None
        return offset_after(runner.level.through)

    def base(self, sp: SourcePartition) -> int:
        """Return what to add to the offsets of partials, which are read from their beginning."""
        runner = (
            self._markets.get(sp.partition) if sp.topic == self.settings.topics.partials else None
        )
        return 0 if runner is None else runner.compiled.base

    def _on_log_moved(self, sp: SourcePartition, begin: int, end: int) -> None:
        self._keeper.on_log_moved(sp, begin, end)

    def _on_topics_gone(self, topics: frozenset[str]) -> None:
        for topic in sorted(topics):
            _log.error("topic_missing", topic=topic, action=self._needs.advice(topic))

    def _on_unpaired(self, sps: frozenset[SourcePartition]) -> None:
        self._unpaired = sps
        for sp in sps:
            self.app.intake.pause(sp)
            self.metrics.partition_halted.labels(sp.topic, str(sp.partition)).set(1)

    def _say_unpaired(self) -> None:
        """Name what mends them, by the topics as they are: before it asks, a start knows of none."""
        for sp in self._unpaired:
            _log.error(
                "partition_halted",
                topic=sp.topic,
                partition=sp.partition,
                reason="unpaired",
                detail="its changelog is missing or has another partition count",
                action=self._needs.advice_unpaired(sp),
            )

    def _on_revoked(self, _sps: frozenset[SourcePartition]) -> None:
        # Faust's consumer is eager: every rebalance first revokes all partitions. Those that come
        # back are rebuilt from the changelogs: another worker may have owned them in between.
        self._close_runners()
        for sp in self._unpaired:
            self.metrics.drop_partition(sp.topic, sp.partition)
        self._unpaired = frozenset()

    def _close_runners(self) -> None:
        self._ready = False
        for runner in self._runners():
            runner.close()
        for sp in self._sources:
            self.metrics.drop_partition(sp.topic, sp.partition)
        self._sources.clear()
        self._markets.clear()

    async def _on_recovered(self, sps: frozenset[SourcePartition]) -> None:
        # Those without a changelog were named just before this: their gauges page.
        self._close_runners()
        self._unpaired -= sps
        self.metrics.rebalances.inc()
        closings = self.app.intake.closings
        nonce = secrets.token_hex(6)
        await self._keeper.refresh()
        if self.app.intake.closings != closings:
            return
        self._say_unpaired()
        for topic, before in self._partitions.items():
            self._partitions[topic] = self._keeper.partitions(topic, before)
        try:
            for sp in sorted(sps):
                self._own(sp, nonce)
                await asyncio.sleep(0)  # a large recovery must let heartbeats run
                if self.app.intake.closings != closings:
                    return  # revoked meanwhile: what was built is closed already
            await self._keeper.judge_new()
            if self.app.intake.closings != closings:
                return
            await self._check_log_ends()
        except RecoveryError as error:
            raise Fatal(ExitCode.USAGE, str(error)) from error
        except OwnRecordError as error:
            raise end_for(error, "recovery") from error
        if self.app.intake.closings != closings:
            return
        for runner in self._runners():
            runner.start(self._on_task_done)
        self._ready = True
        _log.info("partitions_owned", sources=len(self._sources), partials=len(self._markets))

    async def _stated(self, changelog: str, owned: Collection[int]) -> set[str]:
        """Return the ids of the topics that checkpoints are of which others' partitions hold."""
        count = self._keeper.partitions(changelog, 0)
        tps = [TopicPartition(changelog, number) for number in set(range(count)) - set(owned)]
        # Faust's consumer is connected already; at a first start there is nothing more to ask.
        ends = await self.app.consumer.highwaters(*tps) if tps else {}
        return await stated_ids(self.settings.kafka, ends)

    async def _check_log_ends(self) -> None:
        """Refuse to start when the partials end before the table; of inputs the seek notices it."""
        if self._log_ends_checked:
            return
        partials = self.settings.topics.partials
        throughs = {
            SourcePartition(partials, partition): in_log(runner.compiled.replay_through)
            for partition, runner in self._markets.items()
            if runner.compiled.replay_through >= runner.compiled.base
        }
        try:
            await check_log_ends(self.settings.kafka, throughs)
        except KafkaError as error:
            raise Fatal(ExitCode.NO_BROKER, f"cannot ask where the logs end: {error!r}") from error
        self._log_ends_checked = True

    def _runners(self) -> list[SourceRunner | MarketsRunner]:
        return [*self._sources.values(), *self._markets.values()]

    def _own(self, sp: SourcePartition, nonce: str) -> None:
        if sp.topic != self.settings.topics.partials:
            self._own_source(sp, nonce)
        elif sp.partition < self._places:
            self._own_markets(sp, nonce)
        else:
            self.app.intake.pause(sp)  # the topic was created with more; no market is in it

    def _own_source(self, sp: SourcePartition, nonce: str) -> None:
        table = self._checkpoints[sp.topic]
        identity = Identity(
            self.methodology.edition,
            self.methodology.content_hash,
            topic_id=self._keeper.topic_id(sp.topic),
            partitions=self._partitions[sp.topic],
            places=self._places,
        )
        runner = SourceRunner(
            self._level1,
            sp,
            identity=identity,
            changelog=table.changelog_topic_name,
            nonce=nonce,
            partials_id=self._keeper.topic_id(self.settings.topics.partials),
        )
        table.rebuild(sp.partition, runner.recover)
        self._sources[sp] = runner
        self._keeper.judge(runner)

    def _own_markets(self, sp: SourcePartition, nonce: str) -> None:
        compiled = PartitionCompile(
            sp.partition,
            self._places,
            self.methodology,
            {
                topic: [
                    SourcePartition(topic, number)
                    for number in range(self._needs.awaited(topic, count))
                ]
                for topic, count in self._partitions.items()
            },
            nonce,
            self._history.book,
            topic_id=self._keeper.topic_id(sp.topic),
            follows_definitions=WORKERS_APPLY_DEFINITIONS,
        )
        self._merged.rebuild(sp.partition, compiled.recover)
        self._markets[sp.partition] = MarketsRunner(
            self._level2, sp, compiled, self._merged.changelog_topic_name
        )

    # -- what the metrics server shows and does ---------------------------------------------------

    def states(self) -> list[PartitionState]:
        """Return the state of each source partition owned."""
        return [
            PartitionState(
                sp.topic,
                sp.partition,
                through_in_log(runner.level.through),
                None if (end := self.app.intake.log_end(sp)) is None else in_log(end),
                runner.halted,
                self.app.intake.open_transaction_ms(sp),
                runner.releasable,
            )
            for sp, runner in sorted(self._sources.items())
        ]

    def release(self, topic: str, partition: int) -> Released:
        """Resume a halted source partition."""
        runner = self._sources.get(SourcePartition(topic, partition))
        if runner is None:
            return Released.NOT_OWNED
        if runner.halted is None:
            return Released.NOT_HALTED
        if not runner.releasable:
            return Released.NOT_ACCEPTED
        runner.release()
        _log.info("partition_released", topic=topic, partition=partition)
        return Released.RELEASED

    # -- life ------------------------------------------------------------------------------------

    async def _started(self) -> None:
        try:
            port = await self.server.start()
        except OSError as error:
            address = f"{self.settings.metrics.host}:{self.settings.metrics.port}"
            raise Fatal(ExitCode.USAGE, f"metrics.port: cannot bind {address}: {error}") from error
        self._on_listening(port)
        for work, name in (
            (self._beat(), "heartbeat"),
            (self._guard(), "membership"),
            (self._history.run(), "history"),
            (self._check_topics(), "topics"),
            (OpenTransactions(self.settings.kafka, self.app.intake).run(), "transactions"),
        ):
            self._own_task(work, name)

    async def _may_join(self) -> None:
        if WORKERS_APPLY_DEFINITIONS:
            # What a table holds of members is read by the definitions that it was written by. A market
            # that is assigned before they are known is read twice.
            await self._history.read_within(DEFINITIONS_WITHIN_S)
        await self.membership.join()

    def _own_task(self, work: Coroutine[Any, Any, Any], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._on_task_done)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            if self._needs.publishing_stands:
                # Without a heartbeat readers see that nobody publishes; the values would else look
                # renewed for as long as the topic is away.
                self.metrics.publish_failures.labels("journal").inc()
            elif self.app.may_publish:
                # Not awaited: a market whose call waits keeps no other from being renewed.
                self._own_task(self.store.heartbeat(self.log_clock.now_ms()), "renewal")
            self.metrics.can_publish.set(self.membership.why_not is None)
            self._observer.observe()
            owned = [runner.compiled for runner in self._markets.values()]
            show_definitions(self.metrics, self._history.book.definitions, owned)

    async def _guard(self) -> None:
        # A loop of its own: what it asks Redis and Kafka may take seconds.
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            if self.app.started:
                await self.membership.check()
            if self.app.may_publish:
                await self._input_notes.write(self._sources.values())

    async def _check_topics(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            if self._ready:
                await self._keeper.check()

    def _on_written(self, topic: str, sent_ms: int, stamped_ms: int) -> None:
        """Tell the log's time by an acknowledged batch of partials."""
        if topic != self.settings.topics.partials:
            return
        if stamped_ms < 0:
            reason = (
                f"{topic}: message.timestamp.type must be LogAppendTime: its stamps say what time it "
                "is; `ecindex topics check` prints the command that sets it"
            )
            self.switch.trip(Fatal(ExitCode.USAGE, reason))
            return
        self.log_clock.on_written(stamped_ms, sent_ms)

    async def _drain(self) -> None:
        await asyncio.gather(*(runner.drain() for runner in self._sources.values()))

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and not isinstance(error, OutboxStopped):
            self.switch.trip(end_for(error, f"{task.get_name()} crashed"))

    def _before_scrape(self) -> None:
        # After a suspension this process answers the scrapes that waited before anything else
        # runs. By then another worker owns its markets and shows them.
        if not self.app.may_publish:
            for market in self.methodology.markets:
                self.metrics.drop_market(market)

    def _why_not_ready(self) -> str | None:
        if self.switch.reason is not None:
            return f"ending: {self.switch.reason.reason}"
        if (why := self.membership.why_not) is not None:
            return why
        return self.log_clock.disagrees if self._ready else "recovering or waiting for partitions"

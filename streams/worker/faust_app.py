"""The Faust app, with every setting that matters and the reason for it.

Nothing here happens at import: no global app, no autodiscovery, no web server.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import faust
from faust.app.base import BootStrategy
from faust.auth import SASLCredentials, SSLCredentials
from mode import CrashingSupervisor, get_logger

from streams.clock import monotonic_ms
from streams.flow.chunk import Chunk, SourcePartition
from streams.flow.incarnation import in_log
from streams.worker import batches, packing, unpacking
from streams.worker.answers import Answers
from streams.worker.assignor import ExistingAssignor
from streams.worker.consumer import Listeners
from streams.worker.consumer_thread import FetchSettings
from streams.worker.intake import Intake, Positions
from streams.worker.recovery import LoudTableManager
from streams.worker.stops import ExitCode, Fatal, Presence, StopSwitch
from streams.worker.tables import PartitionTable
from streams.worker.transport import ChunkTransport, chunk_topic, require_compiled_streams
from streams.worker.watchdog import Watchdog, WatchdogSettings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from streams.worker.outbox import Outbox

logger = get_logger(__name__)

SourcePartitions = frozenset[SourcePartition]


@dataclass(frozen=True, slots=True)
class Hooks:
    """Callbacks of the flow half for partitions that come and go; all run on the main loop."""

    on_revoked: Callable[[SourcePartitions], None]
    """Drop the state of these partitions and stop publishing. Synchronous: the new owner starts
    once it returns. Also called before the process leaves the group for good."""
    on_recovered: Callable[[SourcePartitions], Awaitable[None]]
    """Build the states of these partitions; the tables hold what the changelogs held. The next
    rebalance may cancel it. Right after it ``positions`` is asked for each partition."""
    on_assigned: Callable[[SourcePartitions], None] = lambda _sps: None
    """These partitions will be ours once they are recovered."""
    on_log_moved: Callable[[SourcePartition, int, int], None] | None = None
    """A log no longer holds the next offset, but [begin, end). Without it the process ends."""
    on_topics_gone: Callable[[frozenset[str]], None] | None = None
    """Topics to read that are not in the cluster at a rebalance. Without it the process ends."""
    on_unpaired: Callable[[SourcePartitions], None] | None = None
    """Partitions that are ours while their changelogs are not: the topics have different counts, or the
    changelog is gone. They are not read. Without it the process ends."""


@dataclass(frozen=True, slots=True)
class AppSettings:
    """Broker, identity and time limits of a Faust app."""

    app_id: str
    bootstrap: str
    datadir: Path
    session_timeout_ms: int
    heartbeat_ms: int
    """At most a third of the session: after three missed heartbeats the group expels the worker."""
    request_timeout_ms: int
    """Longer than the rebalance timeout, since a join may take that long. Not much longer: a half-open
    connection is noticed only after it, and a recovery call that takes longer ends the process."""
    fetch: FetchSettings
    auth: Mapping[str, Any] = field(default_factory=dict)
    """Credentials for the broker, as aiokafka's keyword arguments."""
    rebalance_timeout_s: float = 30.0
    watchdog: WatchdogSettings = field(default_factory=WatchdogSettings)


class _NoFaustProducer(BootStrategy):  # type: ignore[misc]
    """Starts all of Faust but its producer: every write goes through the outbox."""

    enable_kafka_producer = False


class ChunkApp(faust.App):  # type: ignore[misc]
    """A Faust app on the chunk transport. Make one with `create_faust_app`."""

    BootStrategy = _NoFaustProducer

    intake: Intake
    positions: Positions
    presence: Presence
    answers: Answers
    switch: StopSwitch
    watchdog: Watchdog
    outbox: Outbox | None = None
    """Set by the runner; recovery waits until its records are acknowledged."""
    _fetch: FetchSettings
    _hooks: Hooks
    _monotonic: Callable[[], int]

    def _new_transport(self) -> ChunkTransport:
        return ChunkTransport(
            self.conf.broker_consumer,
            self,
            intake=self.intake,
            fetch=self._fetch,
            listeners=Listeners(
                self._on_assigned, self._on_revoked, self._drain, self._on_log_moved
            ),
            presence=self.presence,
            answers=self.answers,
            switch=self.switch,
            monotonic=self._monotonic,
        )

    def _on_rebalance_when_stopped(self) -> None:
        """Do nothing: the consumer's thread stops its consumer, and leaves the group.

        Faust would close it here, on the main loop, which is not the consumer's. The connections would
        be gone before the group is left, so the new owner would wait for the session to end. And
        uvloop crashes when a second thread uses its handles.
        """

    def _on_assigned(self, sps: SourcePartitions) -> None:
        self.watchdog.on_recovery_started()
        self._hooks.on_assigned(sps)

    def _on_revoked(self, sps: SourcePartitions) -> None:
        self.watchdog.on_recovery_started()
        self._hooks.on_revoked(sps)

    def _on_log_moved(self, sp: SourcePartition, begin: int, end: int) -> None:
        if self._hooks.on_log_moved is not None:
            self._hooks.on_log_moved(sp, begin, end)
            return
        at = in_log(self.intake.position(sp) or 0)
        reason = (
            f"{sp}: the state continues at offset {at}, the log holds {begin} to {end}: cut by "
            "retention, or a recreated topic"
        )
        self.switch.trip(Fatal(ExitCode.LOG_CHANGED, reason))

    def on_topics_gone(self, topics: frozenset[str]) -> None:
        """Note that topics to read are gone; recovery calls it. Raises Fatal without a hook."""
        if self._hooks.on_topics_gone is None:
            raise Fatal(
                ExitCode.LOG_CHANGED, f"topic {', '.join(sorted(topics))} is gone from the cluster"
            )
        self._hooks.on_topics_gone(topics)

    def ask_anew(self, *, rejoin: bool) -> None:
        """Ask for metadata at once; with ``rejoin`` join the group anew, so that all is recovered."""
        if self._consumer is not None:
            self._consumer.ask_anew(rejoin=rejoin)

    def on_unpaired(self, sps: SourcePartitions) -> None:
        """Note partitions that cannot be recovered now. Raises Fatal without a hook."""
        if self._hooks.on_unpaired is None:
            raise Fatal(ExitCode.USAGE, f"{', '.join(map(str, sorted(sps)))}: no changelog")
        self._hooks.on_unpaired(sps)

    @property
    def may_publish(self) -> bool:
        """True while this process may write; False once it was away or is ending.

        Writes that bypass the outbox (Redis) check it; the outbox checks for itself.
        """
        return self.switch.reason is None and self.presence.away_ms() is None

    @property
    def member_id(self) -> str | None:
        """Id of this worker in its group; None before it has joined."""
        consumer = self._consumer and self._consumer._thread._consumer
        return None if consumer is None else str(consumer._coordinator.member_id)

    async def _drain(self, deadline_s: float) -> bool:
        return self.outbox is None or await self.outbox.drain(deadline_s)

    async def drain_outbox(self) -> None:
        """Wait until all that was put is acknowledged; recovery calls it first."""
        if not await self._drain(self.conf.broker_request_timeout):
            raise Fatal(ExitCode.RECOVERY_STUCK, "recovery: earlier records were not acknowledged")

    async def on_recovered(self, sps: SourcePartitions) -> None:
        """Let the flow half build its states; recovery calls it when the tables are complete."""
        await self._hooks.on_recovered(sps)

    def on_ready(self) -> None:
        """Note that the sources are resumed; recovery calls it last."""
        self.intake.on_ready()
        self.watchdog.on_ready()

    def chunk_agent(
        self, topic: str, fold: Callable[[Chunk], Awaitable[None]], *, name: str
    ) -> Any:
        """Call ``fold`` with each chunk of ``topic``. An exception in it ends the process.

        ``name`` is part of the group's state. It is explicit, so that moving code does not change it.
        """
        assert topic in self.intake.chunk_topics, f"{topic} is not a chunk topic of this app"

        async def run(stream: Any) -> None:
            async for chunk in stream:
                await fold(chunk)

        return self.agent(
            chunk_topic(self, topic, self._fetch.queue_chunks),
            name=name,
            concurrency=1,  # order within a partition is the point
            # The default restarts an agent that raised and loses the batch it had in hand.
            supervisor_strategy=CrashingSupervisor,
        )(run)

    def partition_table(self, name: str, *, source: str, partitions: int) -> PartitionTable:
        """Add a table whose changelog is recovered per partition of ``source``.

        ``partitions`` is the count of both. Faust assigns topics with equal counts together, so the
        owner of a source partition gets its changelog partition too.
        """
        assert source in self.intake.chunk_topics, f"{source} is not a chunk topic of this app"
        table: PartitionTable = self.tables.add(
            PartitionTable(self, name=name, source=source, partitions=partitions)
        )
        return table


def create_faust_app(
    settings: AppSettings,
    *,
    chunk_topics: frozenset[str],
    positions: Positions,
    hooks: Hooks,
    switch: StopSwitch | None = None,
    presence: Presence | None = None,
    monotonic: Callable[[], int] = monotonic_ms,
    to_log: Callable[[int], int | None] = lambda steady_ms: steady_ms,
) -> ChunkApp:
    """Create the app; the caller adds agents and tables before it starts.

    ``to_log``: an instant of ``monotonic`` -> of the log (`LogClock.at`).
    """
    require_compiled_streams()
    packing.install()
    unpacking.install()
    batches.install()
    worker = uuid.uuid4().hex[:12]
    app = ChunkApp(
        settings.app_id,
        broker=f"kafka://{settings.bootstrap}",
        broker_credentials=_credentials(settings.auth),
        autodiscover=False,
        # Positions in the state make it exact; Faust's exactly_once crashes with two workers.
        processing_guarantee="at_least_once",
        # -- group membership
        broker_session_timeout=settings.session_timeout_ms / 1000,
        broker_heartbeat_interval=settings.heartbeat_ms / 1000,
        broker_rebalance_timeout=settings.rebalance_timeout_s,
        broker_request_timeout=settings.request_timeout_ms / 1000,
        # A spare worker without partitions does not poll. After this interval it would leave the
        # group and still report "Ready".
        broker_max_poll_interval=1e6,
        broker_commit_interval=1.0,
        # -- reading
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=settings.fetch.partition_bytes,
        # Bounds the changelog queue, which holds chunks too; chunk topics have their own bound.
        stream_buffer_maxsize=settings.fetch.queue_chunks,
        stream_recovery_delay=0.0,  # it only delays every failover
        stream_wait_empty=False,  # no chunk is acknowledged, so there is nothing to wait for
        # A topic that was repartitioned or came back goes unnoticed this long; 5 min by default.
        consumer_metadata_max_age_ms=30_000,
        # -- tables
        store="memory://",
        table_standby_replicas=0,  # the default of 1 reads every changelog twice
        TableManager=LoudTableManager,
        PartitionAssignor=ExistingAssignor,
        topic_allow_declare=False,  # topics are created by `topics create`, with their configs
        topic_disable_leader=True,  # one topic less that nobody reads
        # -- what would open a port or capture output
        web_enabled=False,
        worker_redirect_stdouts=False,
        # Faust keys its maps of owners by it: two workers of one host must differ.
        canonical_url=f"http://{worker}.invalid:1",
        datadir=settings.datadir,  # two empty folders: nothing is stored
    )
    app.intake = Intake(chunk_topics, monotonic=monotonic, to_log=to_log)
    app.positions = positions
    app.switch = switch or StopSwitch()
    half_session_ms = settings.session_timeout_ms // 2
    app.presence = presence or Presence(half_session_ms, monotonic)
    app.answers = Answers(half_session_ms, monotonic)  # heartbeats come each third
    app.watchdog = Watchdog(
        app.intake,
        switch=app.switch,
        presence=app.presence,
        settings=settings.watchdog,
        clock=monotonic,
    )
    app._fetch = settings.fetch
    app._hooks = hooks
    app._monotonic = monotonic
    return app


def _credentials(auth: Mapping[str, Any]) -> Any:
    """Convert aiokafka's keyword arguments into Faust's credentials; None when there are none."""
    context = auth.get("ssl_context")
    if "sasl_mechanism" in auth:
        return SASLCredentials(
            username=auth["sasl_plain_username"],
            password=auth["sasl_plain_password"],
            ssl_context=context,
            mechanism=auth["sasl_mechanism"],
        )
    return None if context is None else SSLCredentials(context)

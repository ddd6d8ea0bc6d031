"""Faust's recovery, made to fail loudly.

Faust itself reports any broker call slower than `broker_request_timeout` during recovery as "the
service was stopped": the recovery loop ends with a debug line, and no later assignment is resumed,
while the worker heartbeats on. Here a late call raises, which ends the process.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiokafka.errors import IllegalStateError
from faust.tables import TableManager
from faust.tables.recovery import RebalanceAgain, Recovery, ServiceStopped
from mode import Service, get_logger

from streams.flow.chunk import SourcePartition
from streams.worker.contiguity import offset_after
from streams.worker.stops import ExitCode, Fatal
from streams.worker.tables import PartitionTable

if TYPE_CHECKING:
    from streams.worker.intake import Intake

logger = get_logger(__name__)


class LoudRecovery(Recovery):  # type: ignore[misc]
    """Recovery that raises on timeouts and opens source partitions only with known positions."""

    async def on_rebalance(self, *args: Any, **kwargs: Any) -> None:
        """Read every changelog from its beginning.

        Faust would continue from what it read for the last assignment. That content is dropped with
        the state, since another owner may have held the partition in between.
        """
        self.active_offsets.clear()
        self._forget_tables()
        await super().on_rebalance(*args, **kwargs)

    @Service.task  # type: ignore[untyped-decorator]
    async def _end_when_deaf(self) -> None:
        """End the process when no changelog record comes although the broker answers heartbeats.

        Faust only warns and waits on: nobody served the partitions, and the group thought them owned.
        Time before the flow is resumed does not count, since nothing is requested yet. Records sent
        for the last assignment may take longer than this limit to be acknowledged, and those calls
        have limits of their own.
        """
        app = self.app
        deaf_s = app.watchdog.settings.deaf_ms // 1000
        silent_s, seen = 0, None
        while not self.should_stop:
            await self.sleep(1.0)
            newest = max(
                self._active_events_received_at.values(), default=self._recovery_started_at
            )
            reading = self.in_recovery and app.consumer.flow_active
            if not reading or newest != seen or not app.answers.lately:
                silent_s, seen = 0, newest
                continue
            silent_s += 1  # counted by this loop: while it is busy, nothing can be received
            if silent_s >= deaf_s:
                reason = f"recovery: no changelog record in {silent_s} s, yet the broker answers"
                app.switch.trip(Fatal(ExitCode.RECOVERY_STUCK, reason))
                return

    def _forget_tables(self) -> None:
        for table in self.tables.values():
            if isinstance(table, PartitionTable):
                table.forget()

    async def _build_highwaters(self, *args: Any, **kwargs: Any) -> None:
        # What we wrote for our last assignment must be in the changelogs before their ends are
        # read. Otherwise a state is rebuilt without its own latest record, which lands after it.
        await self.app.drain_outbox()
        await super()._build_highwaters(*args, **kwargs)

    async def _build_offsets(self, consumer: Any, tps: Any, destination: Any, title: str) -> None:
        # Read from the log's beginning, whatever was read of a changelog since `on_rebalance`.
        for tp in tps:
            destination[tp] = None
        await super()._build_offsets(consumer, tps, destination, title)
        if destination is not self.active_offsets:
            return
        for tp in tps:
            table = self.tp_to_table[tp]
            if isinstance(table, PartitionTable):
                table.begin(tp.partition, offset_after(destination[tp]))

    async def _wait(self, coro: Any, timeout: float | None = None) -> None:  # noqa: ASYNC109 - Faust's signature
        work = asyncio.ensure_future(coro)
        again = asyncio.ensure_future(self.signal_recovery_start.wait())
        stopped = asyncio.ensure_future(self._stopped.wait())
        try:
            await asyncio.wait(
                {work, again, stopped}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED
            )
            if self.should_stop:
                raise ServiceStopped
            if work.done() and not work.cancelled() and work.exception() is not None:
                work.result()
            if again.done():
                raise RebalanceAgain
            if work.cancelled():
                # Nobody cancelled us, so a call below leaked a cancellation of its own. If it were
                # passed on, mode would end the recovery task with only a line at info level.
                raise Fatal(ExitCode.CRASHED, f"recovery: cancelled from within ({coro!r})")
            if not work.done():
                reason = f"recovery: a broker call took longer than {timeout} s ({coro!r})"
                raise Fatal(ExitCode.RECOVERY_STUCK, reason)
        finally:
            for task in (work, again, stopped):
                task.cancel()

    async def _resume_streams(self, generation_id: int = 0) -> None:
        if await self._open_sources(generation_id):
            await super()._resume_streams(generation_id)
            self._on_ready()

    async def on_recovery_completed(self, generation_id: int = 0) -> None:
        """Build the states, seek to their positions, and only then let Faust resume the sources."""
        # Faust swallows "rebalance again" while it waits for the changelogs to be read, and would
        # continue with tables that are half recovered.
        if self.signal_recovery_start.is_set() or self.need_recovery():
            raise RebalanceAgain
        self._set_recovery_ended()
        if await self._open_sources(generation_id):
            await super().on_recovery_completed(generation_id)
            self._on_ready()

    async def _open_sources(self, generation_id: int) -> bool:
        app = self.app
        if app.consumer_generation_id != generation_id:
            return False
        assigned = app.consumer.assignment()
        intake: Intake = app.intake
        sps = frozenset(
            SourcePartition(tp.topic, tp.partition)
            for tp in assigned
            if tp.topic in intake.chunk_topics
        )
        self._check_topics()
        sps -= self._check_tables(sps, assigned)
        closings = intake.closings
        await app.on_recovered(sps)
        # The generation changes when partitions are assigned, not when they are revoked before it.
        if (
            intake.closings != closings
            or app.consumer_generation_id != generation_id
            or self.signal_recovery_start.is_set()
        ):
            raise RebalanceAgain
        for sp in sps:
            intake.open(sp, app.positions.next_offset(sp), app.positions.base(sp))
        self._forget_tables()
        if assigned:
            # Faust resumes the sources before it seeks them: without this seek it would read from
            # the committed offset in between.
            try:
                await app.consumer.perform_seek()
            except IllegalStateError as error:
                raise RebalanceAgain from error
        if intake.closings != closings:
            raise RebalanceAgain
        return True

    def _check_topics(self) -> None:
        consumer = self.app.consumer._thread._ensure_consumer()
        gone = {
            topic
            for topic in self.app.intake.chunk_topics
            if not consumer.partitions_for_topic(topic)
        }
        if gone:
            # Faust continues without it ("ignoring missing topic"), idle and seemingly healthy.
            self.app.on_topics_gone(frozenset(gone))

    def _check_tables(
        self, sps: frozenset[SourcePartition], assigned: Any
    ) -> frozenset[SourcePartition]:
        """Return the partitions whose changelog is not ours: nothing of them may be read."""
        unpaired: set[SourcePartition] = set()
        for table in self.tables.values():
            if not isinstance(table, PartitionTable):
                continue
            if table.hole is not None:
                raise Fatal(ExitCode.RECOVERY_STUCK, f"recovery left a hole: {table.hole}")
            changelog = table.changelog_topic_name
            for tp, last_offset in self.active_highwaters.items():
                lacks = table.lacks(tp.partition, last_offset) if tp.topic == changelog else None
                if lacks is not None:
                    raise Fatal(ExitCode.RECOVERY_STUCK, f"recovery ended early: {lacks}")
            for sp in sps:
                if sp.topic == table.source and (changelog, sp.partition) not in assigned:
                    unpaired.add(sp)
        if unpaired:
            self.app.on_unpaired(frozenset(unpaired))
        return frozenset(unpaired)

    def _on_ready(self) -> None:
        self.app.on_ready()


class LoudTableManager(TableManager):  # type: ignore[misc]
    """Faust's table manager with `LoudRecovery`."""

    _recovery: Recovery | None

    async def on_start(self) -> None:
        """Start without the second in which Faust waits for modules that add tables late.

        There are none here, and every failover would pay for that second.
        """
        if not self.should_stop:
            await self._update_channels()
            await self.recovery.start()

    @property
    def recovery(self) -> Recovery:
        """The recovery service, made on first use."""
        if self._recovery is None:
            self._recovery = LoudRecovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery

"""The thread that owns the aiokafka consumer: fetch hook, state-seek, advisory commits.

Only this thread touches the aiokafka consumer. A call from the main loop races Faust's drain
(KeyError in fetched_records, dead worker), so the main loop asks through `call_thread`.
"""

from __future__ import annotations

import asyncio
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from mode import Service, get_logger

from streams.flow.chunk import SourcePartition
from streams.flow.incarnation import in_log
from streams.worker.broken_connections import reopen_broken
from streams.worker.fetch import chunk_records
from streams.worker.fetch_by_id import fetch_by_id
from streams.worker.stops import ExitCode, Fatal, end_for

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from streams.worker.answers import Answers
    from streams.worker.intake import Intake
    from streams.worker.stops import Presence, StopSwitch

logger = get_logger(__name__)

_BEAT_S = 0.2
_LEAVE_LIMIT_S = 5.0
"""Longest wait to leave the group at a stop. A rebalance must end first; other members may take long."""
_COMMIT_LIMIT_S = 2.0
"""A commit is advisory; one that hangs must not delay a rebalance or a stop."""
_ENDS_EVERY_S = 2.0
"""How often the logs of held partitions are asked for their ends: nothing is fetched of them."""


@dataclass(frozen=True, slots=True)
class FetchSettings:
    """How chunk topics are fetched. The settings hold the defaults of what an operator may set."""

    min_bytes: int
    max_wait_ms: int
    """How long the broker may wait for ``min_bytes``; also how stale `caught_up_at` can get."""
    partition_bytes: int
    chunk_records: int = 4000
    queue_chunks: int = 8
    """Most chunks that wait for an agent. Beyond them the fetch waits: that is the back-pressure."""


class ChunkConsumerThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    """Owns the aiokafka consumer; every method here runs on its loop unless it says otherwise."""

    def __post_init__(self) -> None:
        """Keep references to what is shared with the main thread."""
        super().__post_init__()
        self._fetch: FetchSettings = self.transport.fetch
        self._intake: Intake = self.transport.intake
        self._presence: Presence = self.transport.presence
        self._answers: Answers = self.transport.answers
        self._switch: StopSwitch = self.transport.switch
        self._monotonic: Callable[[], int] = self.transport.monotonic
        self._fetching: set[asyncio.Future[Any]] = set()
        self._revoked = False
        self.moved: dict[SourcePartition, tuple[int, int]] = {}
        """Partitions whose log no longer holds the next offset, and [begin, end) of that log."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # Faust has no settings for these; aiokafka reads them when its consumer starts.
        consumer._fetch_min_bytes = self._fetch.min_bytes
        consumer._fetch_max_wait_ms = self._fetch.max_wait_ms
        # Faust would read committed only in its own transactional mode.
        consumer._isolation_level = "read_committed"
        reopen_broken(consumer._client)
        return consumer

    async def on_start(self) -> None:
        """Start the consumer and hook its fetcher before anything can be fetched."""
        await super().on_start()
        coordinator = self._ensure_consumer()._coordinator
        coordinator._do_heartbeat = functools.partial(
            self._answers.heard, coordinator._do_heartbeat
        )
        client = self._ensure_consumer()._client
        client.send = fetch_by_id(client.send, self._intake.topic_ids)
        # Tables recover from chunks too: record by record Faust reads at a tenth of the speed.
        self._chunked = self._intake.chunk_topics | self.app.tables.changelog_topics
        fetcher = self._ensure_consumer()._fetcher
        fetcher._proc_fetch_request = functools.partial(
            self._on_fetch, fetcher, fetcher._proc_fetch_request
        )

    async def on_thread_stop(self) -> None:
        """Stop the consumer and leave the group, so that the new owner need not wait."""
        try:
            await asyncio.wait_for(super().on_thread_stop(), _LEAVE_LIMIT_S)
        except TimeoutError:
            logger.warning("Stopped without leaving the group: a rebalance took too long")

    @Service.task  # type: ignore[untyped-decorator]
    async def _beat(self) -> None:
        while not self.should_stop:
            self._presence.beat()
            self._check_background_tasks()
            await self.sleep(_BEAT_S)

    @Service.task  # type: ignore[untyped-decorator]
    async def _ask_ends_of_held(self) -> None:
        while not self.should_stop:
            await self.sleep(_ENDS_EVERY_S)
            consumer = self._ensure_consumer()
            held = [TopicPartition(*sp) for sp in self._intake.paused]
            held = [tp for tp in held if tp in consumer.assignment()]
            if not held:
                continue
            try:
                ends = await asyncio.wait_for(consumer.end_offsets(held), _ENDS_EVERY_S)
            except (KafkaError, TimeoutError):
                continue  # the lag stays what it was; the broker's absence shows elsewhere
            for tp, end in ends.items():
                self._intake.on_log_end(SourcePartition(tp.topic, tp.partition), end)

    def _check_background_tasks(self) -> None:
        # aiokafka's getmany checks the first two, and Faust bypasses it: a fetcher or coordinator that
        # had died went unnoticed, and the worker waited for records for ever. Nobody checks the third:
        # without it whoever looks for the coordinator waits for ever, and no heartbeat is sent.
        consumer = self._ensure_consumer()
        try:
            consumer._coordinator.check_errors()
        except KafkaError as error:
            what = f"membership of the group {self.app.conf.id} has ended"
            self._switch.trip(end_for(error, what))
        fetching = consumer._fetcher.error_future
        if fetching.done() and not consumer._closed:
            cause = None if fetching.cancelled() else fetching.exception()
            self._switch.trip(end_for(cause, "fetching has ended"))
        asking = consumer._client._sync_task
        if asking is not None and asking.done() and not consumer._closed:
            cause = None if asking.cancelled() else asking.exception()
            self._switch.trip(end_for(cause, "asking for metadata has ended"))
        if (unheard_ms := self._answers.unheard_ms) is not None:
            reason = (
                f"no heartbeat was answered for {unheard_ms} ms, while fetches were: the partitions are "
                "another's by now, so their state is dropped"
            )
            self._switch.trip(Fatal(ExitCode.AWAY, reason))

    async def _on_fetch(
        self, fetcher: Any, proceed: Any, assignment: Any, node_id: int, request: Any
    ) -> bool:
        asked = [
            (tp, assignment.state_value(tp))
            for topic, partitions in request.topics
            if topic in self._chunked
            for tp in (TopicPartition(topic, partition) for partition, _, _ in partitions)
        ]
        stamps = [state.timestamp for _, state in asked]
        sent_at = self._monotonic()
        woken: bool = await proceed(assignment, node_id, request)
        # The leader read its log after it got the request and, since it waits for data at most
        # max_wait, not much later than that. A response that lay in the socket while this process
        # was suspended must not count as fresh.
        seen_at = min(self._monotonic(), sent_at + self._fetch.max_wait_ms)
        for (tp, state), stamp in zip(asked, stamps, strict=True):
            # aiokafka stamps a partition's state with a new int on each response it accepts.
            if state.timestamp is stamp:
                continue
            if not self._revoked:
                self._answers.fetched(seen_at)
            sp = SourcePartition(tp.topic, tp.partition)
            base = self._intake.base(sp)
            chunk_records(fetcher._records.get(tp), self._fetch.chunk_records, base)
            if tp.topic in self._intake.chunk_topics and state.highwater is not None:
                # Brokers before 0.11 know no transactions and send no last stable offset.
                stable_end = state.highwater if state.lso is None else state.lso
                self._intake.on_response(sp, state.highwater + base, stable_end + base, seen_at)
        return woken

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Seek chunk topics to their state's position (runs on the main loop)."""
        found = await self.call_thread(self._seek_to_state)
        return {TP(*tp): offset for tp, offset in found.items()}

    async def _seek_to_state(self) -> dict[TopicPartition, int]:
        consumer = self._ensure_consumer()
        changelogs = self.app.tables.changelog_topics
        ours: list[TopicPartition] = []
        others: list[TopicPartition] = []
        for tp in consumer.assignment():
            if tp.topic in self._intake.chunk_topics:
                # One that is not open is not recovered yet. Nothing of it may be read: no seek.
                if self._intake.is_open(SourcePartition(tp.topic, tp.partition)):
                    ours.append(tp)
            elif tp.topic not in changelogs:
                others.append(tp)
        found: dict[TopicPartition, int] = await self._seek_open(ours) if ours else {}
        if others:
            # With no arguments aiokafka would seek every assigned partition.
            committed = await consumer.seek_to_committed(*others)
            found |= {tp: offset for tp, offset in committed.items() if offset is not None}
        return found

    async def _seek_open(self, tps: list[TopicPartition]) -> dict[TopicPartition, int]:
        consumer = self._ensure_consumer()
        begins = await consumer.beginning_offsets(tps)
        ends = await consumer.end_offsets(tps)
        found: dict[TopicPartition, int] = {}
        for tp in tps:
            # Asked now, not before the two requests: an agent may have folded more meanwhile.
            sp = SourcePartition(tp.topic, tp.partition)
            position = self._intake.position(sp)
            target = begins[tp] if position is None else in_log(position)
            if not begins[tp] <= target <= ends[tp]:
                self.moved[sp] = begins[tp], ends[tp]
                target = begins[tp]  # the guard takes nothing from there; see ChunkConsumer
            elif position is None and begins[tp] > 0:
                committed = await consumer.committed(tp)
                if committed or sp in self._intake.lost:
                    self._intake.counted[sp] = committed or 0
                    self.moved[sp] = begins[tp], ends[tp]
            consumer.seek(tp, target)
            found[tp] = target
        return found

    async def ask_anew(self, *, rejoin: bool) -> None:
        """Ask for metadata at once; aiokafka joins anew when counts differ (runs on the main loop)."""
        await self.on_loop(self._ask_anew(rejoin=rejoin))

    async def _ask_anew(self, *, rejoin: bool) -> None:
        consumer = self._ensure_consumer()
        await consumer._client.force_metadata_update()
        if rejoin:
            consumer._coordinator.request_rejoin()

    async def reseek(self, sp: SourcePartition) -> None:
        """Read ``sp`` again from the offset that its guard expects (runs on the main loop)."""
        await self.call_thread(self._reseek, TopicPartition(sp.topic, sp.partition))

    async def _reseek(self, tp: TopicPartition) -> None:
        if tp in self._ensure_consumer().assignment() and self._intake.is_open(
            SourcePartition(*tp)
        ):
            await self._seek_open([tp])

    async def _fetch_records(
        self,
        consumer: Any,
        active_partitions: Any,
        timeout: float | None = None,  # noqa: ASYNC109 - Faust's signature
        **kwargs: Any,
    ) -> Any:
        # Faust keeps changing the set that it passed, and aiokafka reads an empty one as "all".
        active_partitions = frozenset(active_partitions)
        if self._revoked or not active_partitions:
            await asyncio.sleep(_BEAT_S)
            return {}
        return await self._until_revoked(
            super()._fetch_records(consumer, active_partitions, timeout, **kwargs)
        )

    async def _until_revoked(self, fetch: Coroutine[Any, Any, Any]) -> Any:
        """Await a fetch; return nothing once partitions are revoked.

        aiokafka's fetch waits for the next assignment and takes some of its records, although Faust
        has given up on the call: those records were lost. A recovery then got only the rest of a
        changelog or, where there was no rest, waited for ever.
        """
        fetching = asyncio.ensure_future(fetch)
        self._fetching.add(fetching)
        try:
            await asyncio.wait({fetching})
        finally:
            self._fetching.discard(fetching)
            fetching.cancel()
        return {} if fetching.cancelled() else fetching.result()

    async def on_partitions_revoked(self, revoked: Any) -> None:
        """Cancel the fetches of this assignment before the next one begins."""
        self._revoked = True
        self._answers.on_revoked()
        for fetching in self._fetching:
            fetching.cancel()
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: Any, generation_id: int = 0) -> None:
        """Fetch again. Faust has suspended its flow, so its earlier requests return nothing."""
        self._revoked = False
        await super().on_partitions_assigned(assigned, generation_id)

    async def commit_done(self, offsets: Mapping[SourcePartition, int]) -> bool:
        """Commit offsets for lag monitors; return False when it failed. Nothing depends on it."""
        consumer = self._ensure_consumer()
        assigned = consumer.assignment()
        wanted = {
            TopicPartition(*sp): OffsetAndMetadata(in_log(offset), "")
            for sp, offset in offsets.items()
            if sp in assigned
        }
        if not wanted:
            return True
        try:
            await asyncio.wait_for(consumer.commit(wanted), _COMMIT_LIMIT_S)
        except (KafkaError, TimeoutError) as error:
            logger.info("Offsets not committed (advisory): %r", error)
            return False
        return True

    def on_loop(self, work: Coroutine[Any, Any, Any]) -> asyncio.Future[Any]:
        """Run ``work`` on this thread's loop, past its method queue; called on the main loop.

        The queue has two workers; a commit that waits for a broker would occupy one of them.
        """
        return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.thread_loop))

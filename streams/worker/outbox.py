"""The one producer: idempotent, ordered per partition, and fail-stop.

Every record that a worker writes goes through here. `put` is synchronous, so that a fold and what it
writes are one step. Batches of one (topic, partition) are sent one after another, so that order holds
whatever is retried. A record that is refused for good, or not acknowledged within the limit, ends the
process. No later record may be written: a later checkpoint would claim to include the lost record.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError
from aiokafka.protocol.produce import ProduceRequest
from mode import get_logger

from streams.clock import monotonic_ms, now_ms
from streams.worker.broken_connections import reopen_broken
from streams.worker.lane import Batch, Lane
from streams.worker.stops import ExitCode, Fatal, Presence, StopSwitch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

logger = get_logger(__name__)

_RECORD_OVERHEAD = 64
"""Most bytes that a record takes beside key, value and headers; counted in the memory bound."""
_RETRY_S = 0.1
_PARTITION_TRIES = 20
_MONITOR_S = 0.25


class OutboxStopped(KafkaError):  # type: ignore[misc]  # noqa: N818 - a state, as in Faust's own
    """The outbox sends nothing more; the message gives the reason."""


@dataclass(frozen=True, slots=True)
class OutboxSettings:
    """How records are batched, bounded and given up on."""

    compression: str | None = "lz4"
    linger_ms: int = 5
    batch_bytes: int = 256 * 1024
    record_bytes: int = 1_900_000
    """Largest record. It is below the topics' max.message.bytes: a larger one fails here, by name.

    The largest are those of a market's detectors: 1.27 MB at most, packed
    (tests/unit/flow/test_detectors_record.py).
    """
    pending_bytes: int = 32 * 1024 * 1024
    ack_limit_ms: int = 120_000
    """Longer than a broker's restart or an election; shorter than anyone would wait for a value."""
    request_timeout_ms: int = 15_000


class Outbox:
    """Writes records as the module describes. Call its methods on the main loop."""

    def __init__(
        self,
        bootstrap: str,
        *,
        switch: StopSwitch,
        presence: Presence,
        client_id: str = "ecindex-outbox",
        auth: Mapping[str, Any] | None = None,
        settings: OutboxSettings | None = None,
        clock: Callable[[], int] = monotonic_ms,
        on_written: Callable[[str, int, int], None] = lambda _topic, _sent_ms, _stamped_ms: None,
        wall: Callable[[], int] = now_ms,
    ) -> None:
        """Take where to write, and whom to tell.

        ``on_written``: called for each acknowledged batch with its topic, when it was sent by ``wall``,
        and the broker's stamp; -1 where the broker stamps none.
        """
        self._bootstrap = bootstrap
        self._client_id = client_id
        self._auth = auth or {}
        self._settings = settings or OutboxSettings()
        self._switch = switch
        self._presence = presence
        self._clock = clock
        self._wall = wall
        self._on_written = on_written
        self._producer: Any = None
        self._lanes: dict[tuple[str, int], Lane] = {}
        self._pending_bytes = 0
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._dead: Fatal | None = None
        self.explain: Callable[[str], str] = lambda _topic: ""
        """Returns what is known of a topic that takes no records; empty: nothing."""

    # -- life

    async def start(self) -> None:
        """Connect and get a producer id."""
        settings = self._settings
        producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap,
            **self._auth,
            client_id=self._client_id,
            acks="all",
            enable_idempotence=True,
            compression_type=settings.compression,
            linger_ms=0,  # the lanes linger
            max_batch_size=settings.batch_bytes,
            max_request_size=settings.record_bytes,
            request_timeout_ms=settings.request_timeout_ms,
        )
        # While a partition has no leader, aiokafka fails batches older than their time to live even
        # for an idempotent producer, which leaves a hole in its sequence numbers. A broker back
        # after 100 s answers "no leader" for a moment: the batch must outlive that.
        producer._message_accumulator._batch_ttl = settings.ack_limit_ms / 1000
        # This is the last gate before the network, for retries too: the zombie must not send again
        # a batch that was in flight when the process was suspended.
        reopen_broken(producer.client)
        send = producer.client.send

        async def gated(node_id: int, request: Any, **kwargs: Any) -> Any:
            if isinstance(request, ProduceRequest):
                self._refuse_if_dead()
            return await send(node_id, request, **kwargs)

        producer.client.send = gated
        await producer.start()
        self._producer = producer
        self._switch.listen(self._on_stop)
        self._tasks.append(asyncio.get_running_loop().create_task(self._watch_age()))

    async def partitions(self, topic: str) -> int:
        """Count a topic's partitions; raises UnknownTopicOrPartitionError when there is none."""
        return len(await self._producer.partitions_for(topic))

    async def ask(self, request: Any) -> Any:
        """Send a request to any broker over a connection that there is; raises KafkaError."""
        client = self._producer.client
        return await client.send(client.get_random_node(), request)

    async def close(self) -> None:
        """Stop. Records that are not sent by now are never sent."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._fail_pending(OutboxStopped("the outbox was closed"))
        if self._producer is not None:
            await self._producer.stop()

    # -- for the flow half

    def put(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
        timestamp_ms: int | None = None,
    ) -> asyncio.Future[int]:
        """Queue a record; the future resolves to its offset once it is acknowledged.

        The offset is -1 when the broker confirmed the record and no longer knows its offset. Raises
        OutboxStopped when nothing may be written any more.
        """
        return self.put_all(topic, partition, ((key, value),), headers, timestamp_ms)

    def put_all(
        self,
        topic: str,
        partition: int,
        records: Iterable[tuple[bytes | None, bytes | None]],
        headers: Sequence[tuple[str, bytes]] = (),
        timestamp_ms: int | None = None,
    ) -> asyncio.Future[int]:
        """Queue one or more records in order; return the future of the last one's offset.

        A partition's batches are written one after another and the first failure ends the process.
        So once the last record is acknowledged all are: a thousand records need one future.
        """
        self._refuse_if_dead()
        lane, now_ms = self._lane(topic, partition), self._clock()
        shared = list(headers)
        overhead = _RECORD_OVERHEAD + sum(len(name) + len(content) + 10 for name, content in shared)
        for key, value in records:
            size = len(key or b"") + len(value or b"") + overhead
            if size > self._settings.record_bytes:
                self._stop_too_large(topic, partition, key, size)
            record = {"timestamp": timestamp_ms, "key": key, "value": value, "headers": shared}
            self._pending_bytes += size
            lane.append(record, size, now_ms)
        return lane.written()

    async def room(self) -> None:
        """Wait until fewer bytes than the limit are unacknowledged. Raises OutboxStopped."""
        self._refuse_if_dead()
        while self._pending_bytes >= self._settings.pending_bytes:
            self._changed.clear()
            await self._changed.wait()
            self._refuse_if_dead()

    async def drain(self, deadline_s: float) -> bool:
        """Wait until everything is acknowledged; return False when the deadline came first."""
        for lane in self._lanes.values():
            lane.send_at_once = True
        try:
            async with asyncio.timeout(deadline_s):
                while self._pending_bytes and self._dead is None:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        finally:
            for lane in self._lanes.values():
                lane.send_at_once = False
        return self._dead is None

    def oldest_unacked_age_ms(self) -> int:
        """Return how long, in ms, the oldest unacknowledged record has waited; 0 when none waits."""
        found = self._oldest()
        return 0 if found is None else self._clock() - found[1].created_ms

    @property
    def pending_bytes(self) -> int:
        """Bytes not yet acknowledged."""
        return self._pending_bytes

    # -- inside

    def _stop_too_large(self, topic: str, partition: int, key: bytes | None, size: int) -> NoReturn:
        reason = (
            f"{topic}-{partition}: record {key!r} of {size} bytes is larger than the limit of "
            f"{self._settings.record_bytes}"
        )
        self._stop(Fatal(ExitCode.SEND_FAILED, reason))
        raise OutboxStopped(reason)

    def _oldest(self) -> tuple[Lane, Batch] | None:
        waiting = [
            (lane, batch) for lane in self._lanes.values() if (batch := lane.oldest) is not None
        ]
        return min(waiting, key=lambda found: found[1].created_ms, default=None)

    def _lane(self, topic: str, partition: int) -> Lane:
        lane = self._lanes.get((topic, partition))
        if lane is None:
            assert partition >= 0, (topic, partition)
            lane = self._lanes[topic, partition] = Lane(
                topic,
                partition,
                new_builder=self._producer.create_batch,
                send=self._send,
                on_acknowledged=self._on_acknowledged,
                linger_s=self._settings.linger_ms / 1000,
            )
            pump = asyncio.get_running_loop().create_task(lane.run())
            pump.add_done_callback(self._on_pump_done)
            self._tasks.append(pump)
        return lane

    def _on_acknowledged(self, batch: Batch) -> None:
        self._pending_bytes -= batch.size
        self._changed.set()

    def _on_pump_done(self, pump: asyncio.Task[None]) -> None:
        if not pump.cancelled() and (error := pump.exception()) is not None:
            self._stop(Fatal(ExitCode.CRASHED, f"the outbox crashed: {error!r}"))

    async def _send(self, lane: Lane, batch: Batch) -> int:
        try:
            return await self._deliver(lane, batch)
        except KafkaError as error:
            self._on_send_error(lane, batch, error)
            raise

    async def _deliver(self, lane: Lane, batch: Batch) -> int:
        while True:
            self._refuse_if_dead()
            sent_ms = self._wall()
            try:
                await self._require_partition(lane)
                delivery = await self._producer.send_batch(
                    batch.builder, lane.topic, partition=lane.partition
                )
            except KafkaError as error:
                # Nothing is handed over yet (no metadata, say), so another try cannot reorder.
                if not error.retriable:
                    raise
                await asyncio.sleep(_RETRY_S)
                continue
            # From here on aiokafka retries by itself. A batch that it gives up on is lost and leaves
            # a hole in the partition's sequence numbers: its error is final, retriable or not.
            metadata = await delivery
            if metadata.offset >= 0:  # else a repetition, of which the broker knows no more
                self._on_written(lane.topic, sent_ms, metadata.timestamp)
            return int(metadata.offset)

    async def _require_partition(self, lane: Lane) -> None:
        """Raise UnknownTopicOrPartitionError where the topic has no such partition, asked anew too.

        It may have been created again with fewer, and get them before records are given up.
        """
        for _ in range(_PARTITION_TRIES):
            known = await self._producer.partitions_for(lane.topic)
            if lane.partition in known:
                return
            # It may have been added since aiokafka asked, or the broker that answers may lag.
            await self._producer.client.force_metadata_update()
            await asyncio.sleep(_RETRY_S)
        raise UnknownTopicOrPartitionError(f"the topic has partitions {sorted(known)}")

    async def _watch_age(self) -> None:
        while True:
            await asyncio.sleep(_MONITOR_S)
            found, age_ms = self._oldest(), self.oldest_unacked_age_ms()
            if found is not None and age_ms > self._settings.ack_limit_ms:
                self._on_send_error(*found, KafkaError(f"not acknowledged for {age_ms} ms"))
                return

    def _on_send_error(self, lane: Lane, batch: Batch, error: BaseException) -> None:
        reason = (
            f"{lane.topic}-{lane.partition}: {batch.records} records from key "
            f"{batch.first_key!r} on were not written: {error!r}"
        )
        if known := self.explain(lane.topic):
            reason = f"{known} ({reason})"
        self._stop(Fatal(ExitCode.SEND_FAILED, reason))

    def _refuse_if_dead(self) -> None:
        away_ms = self._presence.away_ms()
        if away_ms is not None:
            reason = f"the process was away for {away_ms} ms; its partitions may be another's"
            self._stop(Fatal(ExitCode.AWAY, reason))
        stopped = self._dead or self._switch.reason
        if stopped is not None:
            raise OutboxStopped(stopped.reason)

    def _stop(self, reason: Fatal) -> None:
        if self._dead is None:
            self._dead = reason
            self._switch.trip(reason)
            self._fail_pending(OutboxStopped(reason.reason))

    def _on_stop(self, reason: Fatal) -> None:
        # This may run in another thread. The gate reads the switch itself; this only wakes whoever
        # waits for room or an acknowledgement.
        if self._dead is None:
            self._dead = reason
        self._producer._loop.call_soon_threadsafe(self._fail_pending, OutboxStopped(reason.reason))

    def _fail_pending(self, error: OutboxStopped) -> None:
        for lane in self._lanes.values():
            lane.fail(error)
        self._changed.set()

"""Keeps events: in Kafka, or while it does not answer on disk, until it does.

Events go to Kafka directly while none waits on disk. When an acknowledgement is not there in time, the
request's events are written to the spool, and so is everything that comes after them. One task takes
the spool's events to Kafka, in their order; once none waits, events go directly again. While it takes
the last of them, new requests wait for it: a shop that goes on selling would else write the next frame
before this one is acknowledged, and stay on disk for hours after Kafka was back.

What the producer was given before it fell silent is on disk too, in case the process ends. It is not
given twice: the task waits for the acknowledgements that are still to come. So only a door that ended
meanwhile sends a record twice, and its id then counts once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TypeVar

import structlog
from aiokafka.errors import KafkaError, KafkaTimeoutError, UnknownTopicOrPartitionError

from streams import clock
from streams.door.door_answers import Kept
from streams.door.kafka_link import RETRY_S, Connected, EventDelivery, KafkaLink
from streams.door.spool import Spool, SpoolFrame, SpoolFullError
from streams.sources.outgoing import Outgoing

READ_BYTES = 512 * 1024
"""What is given to Kafka at a time of what waits; it is repeated if the process ends meanwhile."""

T = TypeVar("T")
_log = structlog.get_logger(__name__)


class EventKeeper:
    """Keeps what requests bring. ``wait_ms``: how long Kafka may take."""

    def __init__(self, link: KafkaLink, spool: Spool, wait_ms: int) -> None:
        self._link = link
        self._spool = spool
        self._wait_s = wait_ms / 1_000
        self._files = ThreadPoolExecutor(1, thread_name_prefix="spool")
        self._handed: dict[int, list[EventDelivery]] = {}
        """By number of the frame: what the producer was given before it was written there."""
        self._queue: list[tuple[list[EventDelivery], asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None
        self._waiting = asyncio.Event()
        self._may_enter = asyncio.Event()
        """Cleared while the last of the spool is taken to Kafka."""
        self._may_enter.set()
        self._kept: Kept = "kafka"
        if spool.waiting_bytes:
            self._kept = "spool"
            self._waiting.set()

    @property
    def kept(self) -> Kept:
        """Where events go now."""
        return self._kept

    async def keep(self, events: Sequence[Outgoing]) -> Kept:
        """Return once the events cannot be lost, and where they are. Raises SpoolFullError."""
        deliveries = [EventDelivery(event) for event in events]
        until = asyncio.get_running_loop().time() + self._wait_s
        if not self._may_enter.is_set():
            await self._enter(until)
        connected = self._link.connected
        if (
            self._kept == "kafka"
            and connected is not None
            and await self._acknowledged(connected, deliveries, until)
        ):
            return "kafka"
        if self._kept == "kafka":
            self._kept = "spool"
            _log.warning("kafka_away", detail="events wait on disk, in data_dir, until it answers")
        try:
            await self._append(deliveries)
        finally:
            # Also where there was no room: whether events go to Kafka again is decided there.
            self._waiting.set()
        return "spool"

    async def run(self) -> None:
        """Take to Kafka what waits on disk, until cancelled."""
        while True:
            await self._waiting.wait()
            begun_ms = clock.monotonic_ms()
            self._waiting.clear()
            events = 0
            while frames := await self._in_thread(partial(self._spool.read, READ_BYTES)):
                await self._send(frames)
                left = await self._in_thread(partial(self._spool.take_frames, frames[-1]))
                if left <= READ_BYTES:
                    self._may_enter.clear()
                for frame in frames:
                    self._handed.pop(frame.number, None)
                    events += len(frame.events)
            if not self._queue and self._writing is None:
                self._kept = "kafka"
                self._may_enter.set()
                _log.info("spool_empty", events=events, took_ms=clock.monotonic_ms() - begun_ms)

    async def _enter(self, until: float) -> None:
        """Wait until the spool is empty, or for as long as Kafka may take: then it is away again."""
        try:
            async with asyncio.timeout_at(until):
                await self._may_enter.wait()
        except TimeoutError:
            self._may_enter.set()

    async def close(self) -> None:
        """Return once no file is written any more. What waits on disk stays there."""
        if self._writing is not None:
            await asyncio.wait({self._writing})
        self._files.shutdown()
        self._spool.close()

    # -- Kafka ---------------------------------------------------------------------------------------

    async def _acknowledged(
        self, connected: Connected, deliveries: Sequence[EventDelivery], until: float
    ) -> bool:
        """Whether Kafka acknowledges all of them by an instant of the event loop."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self._deliver(connected, deliveries)
        return all(each.is_acknowledged for each in deliveries)

    async def _deliver(self, connected: Connected, deliveries: Sequence[EventDelivery]) -> None:
        """Give events to the producer and wait. One that has failed is given up."""
        try:
            await self._link.hand_over(connected, deliveries)
        except (KafkaTimeoutError, UnknownTopicOrPartitionError) as error:
            _log.warning("event_not_taken", detail=f"{type(error).__name__}: {error}")
            return
        except KafkaError as error:
            self._link.give_up(connected, error)
            return
        for each in deliveries:
            if each.failure is not None:
                self._link.give_up(connected, each.failure)
                return

    async def _send(self, frames: Sequence[SpoolFrame]) -> None:
        """Return once Kafka has acknowledged every event of some frames."""
        left = [
            delivery
            for frame in frames
            for delivery in self._handed.get(frame.number) or map(EventDelivery, frame.events)
        ]
        while left:
            await self._deliver(await self._link.wait_connected(), left)
            left = [each for each in left if not each.is_acknowledged]
            if left:
                await asyncio.sleep(RETRY_S)

    # -- disk ----------------------------------------------------------------------------------------

    async def _append(self, deliveries: list[EventDelivery]) -> None:
        """Keep a request's events on disk, together with those of others. Raises SpoolFullError."""
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((deliveries, written))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_queue())
        await written

    async def _write_queue(self) -> None:
        try:
            while self._queue:
                queue, self._queue = self._queue, []
                requests = [[each.event for each in deliveries] for deliveries, _ in queue]
                try:
                    numbers = await self._in_thread(partial(self._spool.append, requests))
                except OSError as error:
                    _log.error(
                        "spool_not_written", detail=str(error), action="make room in data_dir"
                    )
                    numbers = [None] * len(queue)
                for (deliveries, written), number in zip(queue, numbers, strict=True):
                    if number is not None and deliveries[0].acknowledgement is not None:
                        # Here and not by who waits: the frame may be read before that one goes on.
                        self._handed[number] = deliveries
                    if written.done():  # who waited has been cancelled
                        continue
                    if number is None:
                        written.set_exception(SpoolFullError())
                    else:
                        written.set_result(None)
        finally:
            self._writing = None

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._files, work)

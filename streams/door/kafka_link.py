"""The door's producer: connected for as long as the door runs, and made anew when it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from streams.console.errors import OperationError
from streams.door.kept_record import KeptRecord
from streams.records.kafka_words import in_words
from streams.settings import Settings
from streams.worker import packing

RETRY_S = 1.0
CONNECT_S = 30.0
CLOSE_S = 5.0
"""Longest wait for a broker that no longer answers; no event waits for it."""
LINGER_MS = 5
BATCH_BYTES = 256 * 1024

_log = structlog.get_logger(__name__)


class Connected(NamedTuple):
    """A producer, and what is done once it is given up: its acknowledgements may never come then."""

    producer: AIOKafkaProducer
    given_up: asyncio.Future[None]


@dataclass(slots=True)
class EventDelivery:
    """One event on its way to Kafka. ``connected``: the producer that it was given to."""

    event: KeptRecord
    connected: Connected | None = None
    acknowledgement: asyncio.Future[Any] | None = None

    @property
    def is_acknowledged(self) -> bool:
        """Whether Kafka has it."""
        future = self.acknowledgement
        return (
            future is not None
            and future.done()
            and not future.cancelled()
            and future.exception() is None
        )

    @property
    def failure(self) -> BaseException | None:
        """Why Kafka refused it; None too while the acknowledgement may still come."""
        future = self.acknowledgement
        return None if future is None or not future.done() else future.exception()

    def is_open(self, connected: Connected) -> bool:
        """Whether it must be given to this producer: Kafka has it not, and will not get it so."""
        if self.acknowledgement is None or self.is_acknowledged:
            return self.acknowledgement is None
        return self.acknowledgement.done() or self.connected is not connected


class KafkaLink:
    """An idempotent producer.

    While Kafka is away it goes on trying with what it was given: Kafka then knows a record that it
    already has, since the producer and the record's number are the same. So it is made anew only when
    it has failed for good.
    """

    def __init__(self, settings: Settings) -> None:
        """Make one that is not connected yet. Raises OperationError."""
        self._kafka = settings.kafka
        try:
            self._options = settings.kafka.client_options()
        except OSError as error:
            raise OperationError(f"cannot read kafka.tls_*: {error}") from error
        self._connected: Connected | None = None
        self._changed = asyncio.Event()

    @property
    def connected(self) -> Connected | None:
        """The producer; None until Kafka has answered once."""
        return self._connected

    async def run(self) -> None:
        """Connect, and again whenever a producer was given up, until cancelled."""
        packing.install()
        while True:
            producer = self._producer()
            try:
                async with asyncio.timeout(CONNECT_S):
                    await producer.start()
                self._connected = Connected(producer, asyncio.get_running_loop().create_future())
                self._changed.set()
                await asyncio.wait({self._connected.given_up})
            except (KafkaError, TimeoutError) as error:
                words = in_words(error) if isinstance(error, KafkaError) else "no answer"
                where = self._kafka.bootstrap_servers
                _log.warning("kafka_not_reached", servers=where, detail=words)
            finally:
                self._connected = None
                self._changed.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(CLOSE_S):
                        await producer.stop()
            await asyncio.sleep(RETRY_S)

    async def wait_connected(self) -> Connected:
        """The producer, once there is one."""
        while self._connected is None:
            await self._changed.wait()
        return self._connected

    def give_up(self, connected: Connected, error: BaseException) -> None:
        """Make the producer anew: it has failed, and would fail again."""
        if not connected.given_up.done():
            _log.error("producer_failed", detail=f"{type(error).__name__}: {error}")
            connected.given_up.set_result(None)

    async def hand_over(self, connected: Connected, deliveries: Sequence[EventDelivery]) -> None:
        """Give the producer what it has not got, and return once all of it is settled.

        That is: acknowledged, or failed, or the producer was given up. Whoever stops waiting loses
        nothing: what was given to the producer stays so. Raises KafkaError for what it does not take.
        """
        for delivery in deliveries:
            if delivery.is_open(connected):
                event = delivery.event
                delivery.acknowledgement = await connected.producer.send(
                    event.topic,
                    event.value,
                    key=event.key,
                    timestamp_ms=event.timestamp_ms,
                    headers=list(event.headers),
                )
                delivery.connected = connected
        await _settled(connected, deliveries)

    def _producer(self) -> AIOKafkaProducer:
        return AIOKafkaProducer(
            **self._options,
            acks="all",
            enable_idempotence=True,
            compression_type="lz4",
            linger_ms=LINGER_MS,
            max_batch_size=BATCH_BYTES,
            request_timeout_ms=self._kafka.request_timeout_ms,
        )


async def _settled(connected: Connected, deliveries: Iterable[EventDelivery]) -> None:
    waiting = [
        each.acknowledgement
        for each in deliveries
        if each.acknowledgement is not None and not each.acknowledgement.done()
    ]
    if not waiting:
        return
    every: asyncio.Future[Any] = asyncio.ensure_future(asyncio.wait(waiting))
    try:
        await asyncio.wait({every, connected.given_up}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        every.cancel()

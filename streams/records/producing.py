"""Sends events to the inputs, in order and counted; none is lost while the broker is away."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, KafkaTimeoutError
from aiokafka.partitioner import DefaultPartitioner

from streams import clock
from streams.console.errors import OperationError
from streams.index.stamps import IMPORTED
from streams.records.kafka_words import in_words
from streams.settings import Settings
from streams.sources.outgoing import Outgoing, head
from streams.worker import packing

GIVE_UP_MS = 300_000
"""A broker that accepted nothing for this long does not come back by itself."""
CLOSE_S = 5
"""Longest wait to close the connection to a broker that no longer answers; no record waits for it."""
LINGER_MS = 5
BATCH_BYTES = 256 * 1024
YIELD_EVERY = 200
"""Records between two chances for the sender and the signal handlers to run."""


class ProduceError(OperationError):
    """A record could not be sent; what was sent before it is in the log."""


@dataclass(slots=True)
class Sent:
    """What was handed to the producer: counts by type and market, the span of record timestamps."""

    by_type: Counter[str] = field(default_factory=Counter)
    by_market: Counter[str] = field(default_factory=Counter)
    first_ms: int | None = None
    """Smallest record timestamp; ``last_ms``: the largest."""
    last_ms: int | None = None

    @property
    def events(self) -> int:
        """Number of events, duplicates included."""
        return self.by_type.total()

    def add(self, event: Outgoing) -> None:
        """Count one event."""
        kind, market = head(event)
        self.by_type[kind] += 1
        self.by_market[market] += 1
        at = event.timestamp_ms
        self.first_ms = at if self.first_ms is None else min(self.first_ms, at)
        self.last_ms = at if self.last_ms is None else max(self.last_ms, at)


class EventSender:
    """An idempotent producer for the two inputs; make one with ``event_sender``."""

    def __init__(self, producer: AIOKafkaProducer, settings: Settings) -> None:
        self._producer = producer
        self._topics = {"orders": settings.topics.orders, "payments": settings.topics.payments}
        self._failure: BaseException | None = None
        self._unyielded = 0
        self.sent = Sent()

    async def send(self, event: Outgoing, *, imported: bool = False) -> None:
        """Hand over one event, waiting while the broker is slow. Raises ProduceError.

        ``imported``: the record says that its own time is to be believed, however old it is.
        """
        headers = list(IMPORTED) if imported else []
        await self._taken(
            lambda: self._producer.send(
                self._topics[event.topic],
                event.value,
                key=event.key,
                timestamp_ms=event.timestamp_ms,
                headers=headers,
            )
        )
        self.sent.add(event)
        self._unyielded += 1
        if self._unyielded >= YIELD_EVERY:
            self._unyielded = 0
            await asyncio.sleep(0)

    async def send_history(self, events: Iterable[Outgoing]) -> None:
        """Hand over many old events, in order, as whole batches, at half the cost of ``send`` for each.

        Their records say that they are imported. They go to the partitions that ``send`` would choose.
        Raises ProduceError.
        """
        try:
            partitions = {
                name: sorted(await self._producer.partitions_for(topic))
                for name, topic in self._topics.items()
            }
        except KafkaError as error:
            raise _refused(error) from error
        choose = DefaultPartitioner()
        chosen: dict[tuple[str, bytes], list[Outgoing]] = {}
        batches: dict[tuple[str, int], list[Outgoing]] = {}
        for event in events:
            key = (event.topic, event.key)
            batch = chosen.get(key)
            if batch is None:
                number = choose(event.key, partitions[event.topic], partitions[event.topic])
                batch = batches.setdefault((self._topics[event.topic], number), [])
                chosen[key] = batch
            batch.append(event)
        await asyncio.gather(*(self._send_batches(*each) for each in batches.items()))
        for event in chain.from_iterable(batches.values()):
            self.sent.add(event)

    async def _send_batches(self, target: tuple[str, int], events: Sequence[Outgoing]) -> None:
        topic, partition = target
        at = 0
        while at < len(events):
            batch = self._producer.create_batch()
            while at < len(events):
                event = events[at]
                taken = batch.append(
                    timestamp=event.timestamp_ms,
                    key=event.key,
                    value=event.value,
                    headers=list(IMPORTED),
                )
                if not taken:
                    break
                at += 1
            await self._taken(partial(self._producer.send_batch, batch, topic, partition=partition))

    async def _taken(self, offer: Callable[[], Awaitable[asyncio.Future[Any]]]) -> None:
        """Call ``offer`` until the producer has room. Raises ProduceError."""
        begun_ms = clock.monotonic_ms()
        while True:
            self._raise_failure()
            try:
                future = await offer()
                break
            except KafkaTimeoutError as error:  # its buffer stayed full: the event was not accepted
                if clock.monotonic_ms() - begun_ms > GIVE_UP_MS:
                    text = f"the broker accepted nothing for {GIVE_UP_MS} ms"
                    raise ProduceError(text) from error
            except KafkaError as error:
                raise _refused(error) from error
        future.add_done_callback(self._done)

    async def flush(self) -> None:
        """Return once everything sent is acknowledged. Raises ProduceError."""
        try:
            async with asyncio.timeout(GIVE_UP_MS / 1_000):
                await self._producer.flush()
        except TimeoutError as error:
            raise ProduceError(f"the broker acknowledged nothing for {GIVE_UP_MS} ms") from error
        await asyncio.sleep(0)  # the callbacks of the last acknowledgements
        self._raise_failure()

    def _done(self, future: asyncio.Future[Any]) -> None:
        if not future.cancelled() and (error := future.exception()) is not None:
            self._failure = self._failure or error

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise _refused(self._failure) from self._failure


def _refused(error: BaseException) -> ProduceError:
    return ProduceError(f"the broker refused a record: {type(error).__name__}: {error}")


@asynccontextmanager
async def event_sender(settings: Settings) -> AsyncIterator[EventSender]:
    """Connect a sender; flush it at the end, unless an error ended its use. Raises ProduceError."""
    packing.install()
    producer = AIOKafkaProducer(
        **settings.kafka.client_options(),
        acks="all",
        enable_idempotence=True,  # without it expired batches are dropped and records reorder
        compression_type="lz4",
        linger_ms=LINGER_MS,
        max_batch_size=BATCH_BYTES,
        request_timeout_ms=settings.kafka.request_timeout_ms,
    )
    try:
        await producer.start()
    except KafkaError as error:
        await producer.stop()
        where = settings.kafka.bootstrap_servers
        raise ProduceError(
            f"Kafka at {where} (kafka.bootstrap_servers): {in_words(error)}"
        ) from error
    try:
        sender = EventSender(producer, settings)
        yield sender
        await sender.flush()
    finally:
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await producer.stop()

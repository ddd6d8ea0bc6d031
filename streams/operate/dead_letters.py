"""Lists dead letters and late events, and sends dead letters again.

A replay sends the original bytes under the original key to the same source partition, so that the
event id still detects a duplicate. It leaves a marker in the dead-letter topic. If the copy becomes a
dead letter too, the marker shows that both are one, and lists count it once.

What is of an earlier log (an input that was deleted and created again, or is no input now) is left out
unless it is asked for: the log that is there never held it.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from streams.console.errors import OperationError
from streams.operate.dead_letter import DeadLetter, DeadLettersOnce
from streams.records.kafka_logs import Extent, Logs, open_logs
from streams.records.kafka_topics import connected, existing_partitions
from streams.records.kafka_words import in_words
from streams.records.set_aside_record import (
    REPLAYED_AS,
    REPLAYED_AS_TOPIC_ID,
    SOURCE_TOPIC_ID,
    SourceRecord,
    read_set_aside,
)
from streams.records.unreadable import UnreadableRecord, UnreadableRecords
from streams.settings import Settings, load_sources
from streams.worker.topic_ids import topic_identities

LIMIT = 50


@dataclass(frozen=True, slots=True)
class DeadLetterSelection:
    """Which dead letters are wanted. ``topic``: of the source; ``limit``: how many, the newest.

    ``earlier``: also those of an earlier log.
    """

    since_ms: int | None = None
    reason: str | None = None
    topic: str | None = None
    limit: int = LIMIT
    earlier: bool = False

    def takes(self, dead_letter: DeadLetter) -> bool:
        """Return whether a dead letter is wanted, in whichever log its record is."""
        return (
            (self.since_ms is None or dead_letter.set_aside_ms >= self.since_ms)
            and self.reason in (None, dead_letter.reason)
            and self.topic in (None, dead_letter.source.topic)
        )


@dataclass(slots=True)
class Listing:
    """The newest dead letters selected, oldest first, and the number of all selected, by reason."""

    dead_letters: list[DeadLetter] = field(default_factory=list)
    by_reason: Counter[str] = field(default_factory=Counter)
    unreadable: UnreadableRecords = field(default_factory=UnreadableRecords)
    """Records of the topic that are no dead letters, of any time, reason or input."""
    with_earlier: bool = False
    earlier: int = 0
    """How many are of an earlier log, and not among the others unless ``with_earlier``."""
    passed_over: Counter[str] = field(default_factory=Counter)
    """Number of those that are not selected, by reason and input."""

    def count(self, dead_letter: DeadLetter) -> None:
        """Count one that is selected."""
        self.earlier += dead_letter.earlier
        if self.with_earlier or not dead_letter.earlier:
            self.by_reason[dead_letter.reason] += 1

    def pass_over(self, dead_letter: DeadLetter) -> None:
        """Count one that is not selected."""
        self.passed_over[f"{dead_letter.reason} of {dead_letter.source.topic}"] += 1

    def count_as_earlier(self, dead_letter: DeadLetter) -> None:
        """Count one anew that proved to be of an earlier log."""
        self.earlier += 1
        if not self.with_earlier:
            self.by_reason[dead_letter.reason] -= 1

    def as_json(self) -> dict[str, Any]:
        """Return the listing for machines."""
        return {
            "total": self.by_reason.total(),
            "by_reason": dict(sorted((+self.by_reason).items())),
            "earlier": self.earlier,
            "letters": [dead_letter.as_json() for dead_letter in self.dead_letters],
            "unreadable": self.unreadable.summary(),
        }

    def lines(self) -> list[str]:
        """Return the listing for people."""
        reasons = ", ".join(
            f"{count} {reason}" for reason, count in (+self.by_reason).most_common()
        )
        shown = len(self.dead_letters)
        return [dead_letter.line() for dead_letter in self.dead_letters] + [
            f"{self.by_reason.total()} in all, {shown} shown{': ' + reasons if reasons else ''}",
            *self.others_lines(),
            *self.earlier_lines(),
            *self.unreadable.summary().lines(),
        ]

    def others_lines(self) -> list[str]:
        """Say what there is where nothing was selected: a mistyped reason or input selects nothing."""
        if not self.passed_over or self.by_reason.total():
            return []
        there = ", ".join(f"{count} {what}" for what, count in self.passed_over.most_common())
        return [f"none is as selected; there are {there}"]

    def earlier_lines(self) -> list[str]:
        """Say how many are of an earlier log, for people."""
        if not self.earlier:
            return []
        where = "they are among these" if self.with_earlier else "--earlier shows them"
        return [f"{self.earlier} of an earlier log of their input, or of what is none now: {where}"]


async def list_set_aside(settings: Settings, topic: str, selection: DeadLetterSelection) -> Listing:
    """List records of a topic (``topics.late`` or ``topics.dead_letters``). Raises OperationError."""
    counts = await existing_partitions(settings.kafka)
    if topic not in counts:
        raise OperationError(f"topic {topic} does not exist; run `ecindex topics create`")
    topic_ids = await _topic_ids(settings)
    newest: list[DeadLetter] = []
    listing = Listing(with_earlier=selection.earlier)
    async with open_logs(settings.kafka) as logs:
        for tp, extent in (await logs.extents([(topic, counts[topic])])).items():
            once = DeadLettersOnce(topic_ids)
            found: deque[DeadLetter] = deque(maxlen=selection.limit)
            async for dead_letter in _dead_letters(logs, tp, extent, listing.unreadable, once):
                if selection.takes(dead_letter):
                    listing.count(dead_letter)
                    if selection.earlier or not dead_letter.earlier:
                        found.append(dead_letter)
                else:
                    listing.pass_over(dead_letter)
            for dead_letter in filter(selection.takes, once.outdated):
                listing.count_as_earlier(dead_letter)
            left = (each for each in found if selection.earlier or not each.earlier)
            newest = sorted([*newest, *left], key=lambda each: (each.set_aside_ms, each.source))
            newest = newest[-selection.limit :]
    listing.dead_letters = newest
    return listing


async def _topic_ids(settings: Settings) -> dict[str, str]:
    """Return the id of each topic that is read, as it is now; empty where the broker tells none."""
    sources = load_sources(settings)
    inputs = [settings.topics.orders, settings.topics.payments]
    inputs += [topic for source in sources for topic in source.topics]
    async with connected(settings.kafka) as admin:
        found = await topic_identities(admin, inputs)
    return {topic: identity.topic_id for topic, identity in found.items()}


async def _dead_letters(
    logs: Logs,
    tp: TopicPartition,
    extent: Extent,
    unreadable: UnreadableRecords,
    once: DeadLettersOnce,
) -> AsyncIterator[DeadLetter]:
    """Yield the dead letters of a partition, each once, in the order in which they were set aside."""
    async for batch in logs.read(tp, extent):
        for stored in batch:
            read = read_set_aside(stored)
            if isinstance(read, UnreadableRecord):
                unreadable.add(read)
                continue
            dead_letter = DeadLetter.of(stored, read)
            if read.source.is_delivery or once.take_record(dead_letter):
                yield dead_letter


# -- replay --------------------------------------------------------------------------------------


@dataclass(slots=True)
class Replayed:
    """Outcome of a replay."""

    sent: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    """Number of dead letters not sent, by cause."""


def replayable(dead_letters: Sequence[DeadLetter], *, again: bool = False) -> list[DeadLetter]:
    """Return those not replayed yet; with ``again`` also those whose copy is a dead letter too."""
    return [
        dead_letter
        for dead_letter in dead_letters
        if dead_letter.replayed_as is None or (again and dead_letter.again is not None)
    ]


async def replay(
    settings: Settings,
    dead_letters: Sequence[DeadLetter],
    on_sent: Callable[[int], None] = lambda _: None,
) -> Replayed:
    """Send dead letters to their topics again, and write a marker for each. Raises OperationError."""
    done = Replayed()
    counts = await existing_partitions(settings.kafka)
    topic_ids = await _topic_ids(settings)
    async with open_logs(settings.kafka) as logs, _producer(settings) as producer:
        for dead_letter in dead_letters:
            source = dead_letter.source
            if source.is_delivery:
                done.left_out["deliveries to the door, whose originals are not kept"] += 1
                continue
            if source.topic not in counts:
                done.left_out[f"topic {source.topic} does not exist"] += 1
                continue
            original = await _original(logs, dead_letter)
            if original is None:
                done.left_out["larger than a dead letter can be, and no longer in its topic"] += 1
                continue
            partition = source.partition if source.partition < counts[source.topic] else None
            sent = await producer.send_and_wait(
                source.topic,
                original[1],
                key=original[0],
                partition=partition,
                # Where producers stamp records, the copy arrives when the original did. A record
                # that was ahead of its arrival needs a new one, or it would be ahead for ever.
                timestamp_ms=None
                if dead_letter.reason == "ahead"
                else dead_letter.source_timestamp_ms,
                headers=dead_letter.copy_headers(),
            )
            copy_id = topic_ids.get(sent.topic, "")
            copy = SourceRecord(sent.topic, sent.partition, sent.offset, copy_id)
            await producer.send_and_wait(
                dead_letter.lies.topic,
                None,
                key=dead_letter.key or b"",  # no record is without both
                partition=dead_letter.lies.partition,
                headers=[
                    ("source_topic", source.topic.encode()),
                    ("source_partition", str(source.partition).encode()),
                    ("source_offset", str(source.offset).encode()),
                    (SOURCE_TOPIC_ID, source.topic_id.encode()),
                    (REPLAYED_AS, str(copy).encode()),
                    (REPLAYED_AS_TOPIC_ID, copy_id.encode()),
                ],
            )
            done.sent += 1
            on_sent(done.sent)
    return done


@asynccontextmanager
async def _producer(settings: Settings) -> AsyncIterator[AIOKafkaProducer]:
    kafka = settings.kafka
    producer = AIOKafkaProducer(**kafka.client_options(), acks="all", enable_idempotence=True)
    try:
        await producer.start()
        yield producer
    except KafkaError as error:
        raise OperationError(
            f"Kafka at {kafka.bootstrap_servers} (kafka.bootstrap_servers): {in_words(error)}"
        ) from error
    finally:
        await producer.stop()


async def _original(
    logs: Logs, dead_letter: DeadLetter
) -> tuple[bytes | None, bytes | None] | None:
    if not dead_letter.cut:
        return dead_letter.key, dead_letter.value
    if dead_letter.earlier:
        return None  # another record stands at its offset
    tp = TopicPartition(dead_letter.source.topic, dead_letter.source.partition)
    extent = (await logs.extents_of([tp]))[tp]
    if not extent.begin <= dead_letter.source.offset < extent.end:
        return None
    async for batch in logs.read(
        tp, Extent(dead_letter.source.offset, dead_letter.source.offset + 1)
    ):
        for stored in batch:
            return stored.key, stored.value
    return None

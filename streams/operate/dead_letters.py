"""Lists dead letters and late events, and sends dead letters again.

A replay sends the original bytes under the original key to the same source partition, so that the
event id still detects a duplicate. It leaves a marker in the dead-letter topic. If the copy becomes a
dead letter too, the marker shows that both are one, and lists count it once.
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
from streams.index.panes import rfc3339
from streams.index.stamps import IMPORTED
from streams.records.kafka_logs import Extent, Logs, Stored, open_logs
from streams.records.kafka_topics import existing_partitions
from streams.records.set_aside_record import (
    REPLAYED_AS,
    SetAsideHeaders,
    SourceRecord,
    read_set_aside,
)
from streams.records.unreadable import UnreadableRecord, UnreadableRecords
from streams.settings import Settings

LIMIT = 50
SEEN_MAX = 2_000_000
"""Source offsets remembered to drop repeats; beyond that number a repeat may be listed again."""
PREVIEW_BYTES = 200
REPLAY_OF = "ecindex_replay_of"
"""Header of the copy: where the original lies."""


@dataclass(slots=True)
class DeadLetter:
    """One record that was set aside."""

    source: SourceRecord
    reason: str
    detail: str
    set_aside_ms: int
    source_timestamp_ms: int
    key: bytes | None
    value: bytes | None
    cut: bool
    """Too large to be set aside whole; the source topic holds the rest."""
    lies: TopicPartition
    replayed_as: SourceRecord | None = None
    again: str | None = None
    """Why the copy became a dead letter too; None when it did not."""
    imported: bool = False
    """Its stamp is believed, and so must that of the copy be, which without the header is doubted."""

    def copy_headers(self) -> list[tuple[str, bytes]]:
        """Return the headers of the copy that a replay sends."""
        # One that was ahead gets a new stamp, which is that of any producer.
        believed = IMPORTED if self.imported and self.reason != "ahead" else ()
        return [(REPLAY_OF, str(self.source).encode()), *believed]

    def as_json(self) -> dict[str, Any]:
        """Return the dead letter for machines."""
        return {
            "source": str(self.source),
            "reason": self.reason,
            "detail": self.detail,
            "set_aside_at": rfc3339(self.set_aside_ms),
            "key": _shown(self.key),
            "value": _shown(self.value),
            "replayed_as": None if self.replayed_as is None else str(self.replayed_as),
            "again": self.again,
        }

    def line(self) -> str:
        """Return the dead letter for people, on two lines."""
        replayed = "" if self.replayed_as is None else f" [replayed as {self.replayed_as}]"
        again = "" if self.again is None else f" [dead again: {self.again}]"
        return (
            f"{rfc3339(self.set_aside_ms)} {self.source} {self.reason}: {self.detail}"
            f"{replayed}{again}\n    {_shown(self.value) or '(no value)'}"
        )


@dataclass(frozen=True, slots=True)
class DeadLetterSelection:
    """Which dead letters are wanted. ``topic``: of the source; ``limit``: how many, the newest."""

    since_ms: int | None = None
    reason: str | None = None
    topic: str | None = None
    limit: int = LIMIT

    def takes(self, dead_letter: DeadLetter) -> bool:
        """Return whether a dead letter is wanted."""
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

    def as_json(self) -> dict[str, Any]:
        """Return the listing for machines."""
        return {
            "total": self.by_reason.total(),
            "by_reason": dict(sorted(self.by_reason.items())),
            "letters": [dead_letter.as_json() for dead_letter in self.dead_letters],
            "unreadable": self.unreadable.summary(),
        }

    def lines(self) -> list[str]:
        """Return the listing for people."""
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.by_reason.most_common())
        shown = len(self.dead_letters)
        return [dead_letter.line() for dead_letter in self.dead_letters] + [
            f"{self.by_reason.total()} in all, {shown} shown{': ' + reasons if reasons else ''}",
            *self.unreadable.summary().lines(),
        ]


async def list_set_aside(settings: Settings, topic: str, selection: DeadLetterSelection) -> Listing:
    """List records of a topic (``topics.late`` or ``topics.dead_letters``). Raises OperationError."""
    counts = await existing_partitions(settings.kafka)
    if topic not in counts:
        raise OperationError(f"topic {topic} does not exist; run `ecindex topics create`")
    newest: deque[DeadLetter] = deque(maxlen=2 * selection.limit)
    listing = Listing()
    async with open_logs(settings.kafka) as logs:
        for tp, extent in (await logs.extents([(topic, counts[topic])])).items():
            found: deque[DeadLetter] = deque(maxlen=selection.limit)
            async for dead_letter in _dead_letters(logs, tp, extent, listing.unreadable):
                if selection.takes(dead_letter):
                    listing.by_reason[dead_letter.reason] += 1
                    found.append(dead_letter)
            newest = deque(
                sorted([*newest, *found], key=lambda each: (each.set_aside_ms, each.source))[
                    -selection.limit :
                ],
                maxlen=2 * selection.limit,
            )
    listing.dead_letters = list(newest)
    return listing


async def _dead_letters(
    logs: Logs, tp: TopicPartition, extent: Extent, unreadable: UnreadableRecords
) -> AsyncIterator[DeadLetter]:
    """Yield the dead letters of a partition, each once, in the order in which they were set aside."""
    seen: dict[SourceRecord, DeadLetter | None] = {}
    copies: dict[SourceRecord, DeadLetter] = {}
    async for batch in logs.read(tp, extent):
        for stored in batch:
            read = read_set_aside(stored)
            if isinstance(read, UnreadableRecord):
                unreadable.add(read)
                continue
            dead_letter = _dead_letter(stored, read)
            if dead_letter.replayed_as is not None:
                original = seen.get(dead_letter.source)
                if original is not None:
                    original.replayed_as, original.again = dead_letter.replayed_as, None
                    copies[dead_letter.replayed_as] = original
            elif dead_letter.source in copies:
                copies[dead_letter.source].again = dead_letter.reason
            elif dead_letter.source not in seen:
                if len(seen) < SEEN_MAX:
                    seen[dead_letter.source] = dead_letter
                yield dead_letter


def _dead_letter(stored: Stored, read: SetAsideHeaders) -> DeadLetter:
    """Return the dead letter, or the replay marker, that a record holds."""
    return DeadLetter(
        source=read.source,
        reason=read.reason,
        detail=read.detail,
        set_aside_ms=stored.timestamp_ms,
        source_timestamp_ms=read.source_timestamp_ms,
        key=stored.key,
        value=stored.value,
        cut=read.cut,
        lies=TopicPartition(stored.topic, stored.partition),
        replayed_as=read.replayed_as,
        imported=read.imported,
    )


def _shown(content: bytes | None) -> str | None:
    if content is None:
        return None
    cut = ".." if len(content) > PREVIEW_BYTES else ""
    return content[:PREVIEW_BYTES].decode(errors="backslashreplace") + cut


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
    async with open_logs(settings.kafka) as logs, _producer(settings) as producer:
        for dead_letter in dead_letters:
            source = dead_letter.source
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
            copy = SourceRecord(sent.topic, sent.partition, sent.offset)
            await producer.send_and_wait(
                dead_letter.lies.topic,
                None,
                key=dead_letter.key,
                partition=dead_letter.lies.partition,
                headers=[
                    ("source_topic", source.topic.encode()),
                    ("source_partition", str(source.partition).encode()),
                    ("source_offset", str(source.offset).encode()),
                    (REPLAYED_AS, str(copy).encode()),
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
            f"Kafka at {kafka.bootstrap_servers} (kafka.bootstrap_servers): {error!r}"
        ) from error
    finally:
        await producer.stop()


async def _original(
    logs: Logs, dead_letter: DeadLetter
) -> tuple[bytes | None, bytes | None] | None:
    if not dead_letter.cut:
        return dead_letter.key, dead_letter.value
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

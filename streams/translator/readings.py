"""What translators read: the topics of sources, and those in which orders are brought together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from streams.console.errors import WrongTopicsError
from streams.settings import DeclaredSource, Settings
from streams.translate.order_book import DAY_MS, BookLimits, OrderBook
from streams.translate.translating import (
    ByOrder,
    ReadingAndStating,
    RecordPlace,
    RecordReader,
    Stating,
    Step,
)
from streams.worker import names

Kind = Literal["whole", "read", "state"]


class SourceReading(NamedTuple):
    """A topic that is translated. ``kind``: both steps, or the first, or the second."""

    source: DeclaredSource
    topic: str
    kind: Kind

    def step(self, settings: Settings, place: RecordPlace) -> tuple[Step, OrderBook]:
        """Return what translates the batches of one partition, and its orders."""
        limits = settings.sources
        book = OrderBook(
            self.source.name,
            BookLimits(limits.orders_kept_days * DAY_MS, limits.orders_max, limits.waiting_max),
        )
        compiled = self.source.compiled
        if self.kind == "state":
            return Stating(compiled, book), book
        reader = RecordReader(compiled, place, limits.hash_key())
        if self.kind == "read":
            return ByOrder(reader), book
        return ReadingAndStating(compiled, reader, book), book


def readings_of(settings: Settings, sources: Iterable[DeclaredSource]) -> list[SourceReading]:
    """Return what is read of some sources."""
    found: list[SourceReading] = []
    for source in sources:
        if source.is_keyed:
            found.append(SourceReading(source, source.topics[0], "whole"))
        elif source.topics:
            found += [SourceReading(source, topic, "read") for topic in source.topics]
            by_order = names.by_order_topic(settings.topics.prefix, source.name)
            found.append(SourceReading(source, by_order, "state"))
    return found


def check_topics_of(
    settings: Settings, readings: Iterable[SourceReading], counts: Mapping[str, int]
) -> None:
    """Raise WrongTopicsError, which names each topic that is missing or has too few partitions."""
    topics = settings.topics
    wrong = [
        f"topic {topic} does not exist; run `ecindex topics create`"
        for topic in (topics.orders, topics.payments, topics.dead_letters)
        if topic not in counts
    ]
    for reading in readings:
        if reading.topic not in counts:
            fix = (
                "run `ecindex topics create`"
                if reading.kind == "state"
                else f"create it, or mend where.topics of source {reading.source.name}"
            )
            wrong.append(f"topic {reading.topic} does not exist; {fix}")
            continue
        changelog, needs = (
            names.translated_topic(topics.prefix, reading.topic),
            counts[reading.topic],
        )
        has = counts.get(changelog, 0)
        if not has:
            wrong.append(f"topic {changelog} does not exist; run `ecindex topics create`")
        elif has < needs:
            fix = (
                f"an order of {reading.source.name}, which is keyed_by_order, would be sought where its "
                f"state is not: write to a new topic"
                if reading.kind == "whole"
                else "run `ecindex topics migrate`"
            )
            wrong.append(f"topic {changelog} has {has} partitions and needs {needs}; {fix}")
    if wrong:
        raise WrongTopicsError("; ".join(wrong))

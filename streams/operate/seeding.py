"""``seed`` and ``expect``: send the records of ``ecindex.history``, which level 2 reads."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from streams.clock import now_ms
from streams.console.errors import OperationError, unknown_market
from streams.index.history_records import (
    DeclaredFactor,
    declaration_records,
    is_plausible,
)
from streams.index.instants import typed_instant
from streams.index.methodology import FACTOR_MAX, FACTOR_MIN, Market
from streams.index.panes import HOUR_MS, LocalDays, day_number, rfc3339
from streams.index.stamps import LOG_APPEND_TIME
from streams.records.kafka_topics import connected
from streams.records.kafka_words import in_words
from streams.settings import Settings, load_methodology
from streams.sources.imports import SourceError
from streams.sources.seed_rows import COLUMNS, DIMENSIONS, MarketSeed, seed_of
from streams.worker import packing
from streams.worker.topic_ids import topic_identities

UNKNOWN, NONE = "unknown", "none"
"""Words in place of a factor: the event has an unknown size; the declared factor is taken back."""
_IN_FLIGHT = 500
_BATCH_BYTES = 900_000
"""Largest batch, less than a broker accepts by default. An hour of a market takes some KB."""


@dataclass(frozen=True, slots=True)
class Seeded:
    """Summary of what was sent for one market.

    ``given``: each 'dimension measure' that the seed states. ``unknown``: labels counted as `other`.
    """

    market: str
    hours: int
    start: str
    end: str
    given: list[str]
    unknown: list[str]


def read_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield (line number, row) of a .csv, .csv.gz or .parquet file. Raises OperationError."""
    if not path.is_file():
        raise OperationError(f"{path}: expected a file (.csv, .csv.gz or .parquet)")
    if path.suffix == ".parquet":
        yield from enumerate(_parquet(path), 1)
        return
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8-sig", newline="") as handle:
        reader = csv.DictReader(handle, strict=True)
        names = set(reader.fieldnames or ())
        if not {"market", "hour"} <= names or not names & set(COLUMNS.values()):
            raise OperationError(
                f"{path}: expected columns market, hour and at least one of "
                f"{', '.join(COLUMNS.values())}; found {reader.fieldnames}"
            )
        for row in reader:
            yield reader.line_num, row


def _parquet(path: Path) -> Iterator[Mapping[str, Any]]:
    try:
        import polars as pl  # noqa: PLC0415 - an extra: most installations never read parquet
    except ImportError as error:
        raise OperationError(
            "reading parquet needs polars: pip install 'ecindex[import]'"
        ) from error
    try:
        frame = pl.read_parquet(path)
    except pl.exceptions.PolarsError as error:
        raise OperationError(f"{path}: {error}") from error
    return frame.iter_rows(named=True)


async def seed(settings: Settings, path: Path) -> list[Seeded]:
    """Send the hours of a file. Raises OperationError.

    A market uses its hours once its last record is in the log.
    """
    markets = load_methodology(settings).markets
    try:
        seeds = seed_of(read_rows(path), markets)
    except (SourceError, csv.Error, OSError, UnicodeDecodeError) as error:
        raise OperationError(f"{path}: {error}") from error
    records = {code: found.records(code) for code, found in sorted(seeds.items())}
    await send_history(settings, [record for each in records.values() for record in each])
    return [_seeded(code, seeds[code]) for code in records]


def _seeded(code: str, found: MarketSeed) -> Seeded:
    hours = {hour_ms for hour_ms, _, _ in found.cells}
    given = [f"{dimension} {measure}" for dimension, measure in found.given()]
    start, end = rfc3339(min(hours)), rfc3339(max(hours) + HOUR_MS)
    return Seeded(code, len(hours), start, end, given, sorted(found.unknown))


async def expect(
    settings: Settings, code: str, member: str, start: str, end: str, factor: str
) -> DeclaredFactor:
    """Declare the factor by which an event multiplies demand. Raises OperationError.

    ``member``: ``all`` or ``dimension:member``. ``start`` and ``end``: whole hours in RFC 3339, or local
    dates; the end is exclusive. ``factor``: a number, ``unknown`` or ``none``.
    """
    markets = load_methodology(settings).markets
    market = markets.get(code)
    if market is None:
        raise unknown_market(code, markets)
    dimension, name = _member(market, member)
    declared = DeclaredFactor(
        code,
        dimension,
        name,
        rfc3339(_instant(market, start)),
        rfc3339(_instant(market, end)),
        None if factor in (UNKNOWN, NONE) else _factor(factor),
    )
    if declared.start >= declared.end:
        raise OperationError(f"{start} to {end}: expected the end after the start")
    await send_history(settings, declaration_records(declared, now_ms(), taken_back=factor == NONE))
    return declared


def _member(market: Market, text: str) -> tuple[str, str]:
    scope = market.scope_of(text)
    if scope is None:
        known = (market.categories, market.methods, market.regions, market.channels)
        members = dict(zip(DIMENSIONS[1:], known, strict=True))
        dimension = text.partition(":")[0]
        named = f"; {dimension} has {', '.join(members[dimension])}" if dimension in members else ""
        raise OperationError(
            f"member {text!r}: expected `all` or dimension:member of {market.code}, "
            f"the dimension one of {', '.join(members)}{named}"
        )
    return scope


def _instant(market: Market, text: str) -> int:
    try:
        day = day_number(text)
    except ValueError:
        typed_ms = typed_instant(text)
        if typed_ms is None or typed_ms % HOUR_MS:
            raise OperationError(
                f"{text!r}: expected a whole hour such as 2026-11-30T20:00+05:00, or a local date"
            ) from None
        instant_ms = typed_ms
    else:
        instant_ms = LocalDays(market.time_zone).start_ms(day) // HOUR_MS * HOUR_MS
    if not is_plausible(instant_ms):
        raise OperationError(f"{text!r}: expected a time from 1970 to 2099")
    return instant_ms


def _factor(text: str) -> float:
    try:
        factor = float(text)
    except ValueError:
        factor = -1.0
    if factor and not FACTOR_MIN <= factor <= FACTOR_MAX:
        raise OperationError(
            f"factor {text!r}: expected 0, or a number from {FACTOR_MIN:g} to {FACTOR_MAX:g}, "
            f"`{UNKNOWN}` or `{NONE}`"
        )
    return factor


async def send_history(settings: Settings, records: list[tuple[bytes, bytes | None]]) -> None:
    """Send records to ``ecindex.history``, as ``send_to`` does. Raises OperationError."""
    await send_to(settings, settings.topics.history, records)


async def send_to(
    settings: Settings, topic: str, records: list[tuple[bytes, bytes | None]]
) -> list[int | None]:
    """Send records to the one partition of a topic that all workers read, in order.

    Returns the broker's timestamps when all are acknowledged; None: the topic has the producer's. Raises
    OperationError, also when the topic is missing or was
    created anew meanwhile: a broker that creates topics by itself would have taken them for nobody.
    """
    async with connected(settings.kafka) as admin:
        before = (await topic_identities(admin, [topic])).get(topic)
        if before is None:
            raise OperationError(
                f"no topic {topic}: nothing is declared; run `ecindex topics create`, then this again"
            )
        stamps_ms = await _send(settings, topic, records)
        after = (await topic_identities(admin, [topic])).get(topic)
    if after is None or after.topic_id != before.topic_id:
        raise OperationError(
            f"topic {topic} was deleted while records were sent; see that it is there "
            "(`ecindex topics check`), then run this again"
        )
    return stamps_ms


async def _send(
    settings: Settings, topic: str, records: list[tuple[bytes, bytes | None]]
) -> list[int | None]:
    stamps_ms: list[int | None] = []
    packing.install()
    producer = AIOKafkaProducer(
        **settings.kafka.client_options(),
        acks="all",
        enable_idempotence=True,
        linger_ms=20,
        compression_type="lz4",
        max_batch_size=_BATCH_BYTES,
    )
    try:
        await producer.start()
        for at in range(0, len(records), _IN_FLIGHT):
            batch = records[at : at + _IN_FLIGHT]
            sent = [await producer.send(topic, value, key=key, partition=0) for key, value in batch]
            for future in sent:
                stored = await future
                by_broker = stored.timestamp_type == LOG_APPEND_TIME
                stamps_ms.append(stored.timestamp if by_broker else None)
    except KafkaError as error:
        where = settings.kafka.bootstrap_servers
        raise OperationError(
            f"{topic} at {where} (kafka.bootstrap_servers): {in_words(error)}"
        ) from error
    finally:
        await producer.stop()
    return stamps_ms

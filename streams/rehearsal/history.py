"""Where a rehearsal's history comes from: the files of an import, or the input topics themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from streams.console.errors import OperationError
from streams.flow.chunk import Chunk, SourcePartition
from streams.index.methodology import Methodology
from streams.index.stamps import is_doubtful
from streams.operate.import_files import Source, open_source
from streams.records.kafka_logs import open_logs
from streams.records.kafka_topics import existing_partitions
from streams.rehearsal.counted_minutes import CHUNK_RECORDS, CountedMinutes, chunks
from streams.settings import Settings, require_markets

_RETAIL, _OLIST = "online_retail.parquet", ("order_items", "olist_order_items_dataset")


def source_of(path: Path) -> tuple[Source, Path]:
    """Return the kind of an import's files, and their directory; ``path`` may be one of them.

    Olist's orders.csv has another meaning than the contract's, so its order items tell them apart.
    """
    directory = path if path.is_dir() else path.parent
    if not path.exists():
        raise OperationError(f"{path}: no such file; expected what `ecindex import` reads")
    if (directory / _RETAIL).exists():
        return "online-retail", directory
    items = [directory / f"{name}{end}" for name in _OLIST for end in (".csv", ".csv.gz")]
    return ("olist" if any(one.exists() for one in items) else "csv"), directory


def count_files(settings: Settings, path: Path, methodology: Methodology) -> CountedMinutes:
    """Count the events of files that ``ecindex import`` reads.

    Raises OperationError; SettingsError if the settings' methodology has none of their markets.
    """
    source, directory = source_of(path)
    imported = open_source(source, directory)
    if imported.markets.isdisjoint(methodology.markets):
        require_markets(settings, imported.markets, str(path))
    counted = CountedMinutes(methodology)
    inputs = {
        name: (sp := SourcePartition(name, 0), counted.source(sp, payments=name == "payments"))
        for name in ("orders", "payments")
    }
    held: dict[str, list[tuple[bytes, bytes, int]]] = {name: [] for name in inputs}
    offsets = dict.fromkeys(inputs, 0)

    def count(name: str) -> None:
        sp, counter = inputs[name]
        for chunk in chunks(sp, held[name], offsets[name]):
            counter.count(chunk)
        offsets[name] += len(held[name])
        held[name].clear()

    for event in imported.events:
        held[event.topic].append((event.key, event.value, event.timestamp_ms))
        if len(held[event.topic]) == CHUNK_RECORDS:
            count(event.topic)
    for name, (_, counter) in inputs.items():
        count(name)
        counter.finish()
    return counted


async def count_log(
    settings: Settings, methodology: Methodology, tell: Callable[[str], None]
) -> CountedMinutes:
    """Count what the input topics still hold. Raises OperationError."""
    counted = CountedMinutes(methodology)
    names = (settings.topics.orders, settings.topics.payments)
    known = await existing_partitions(settings.kafka)
    if not any(name in known for name in names):
        raise OperationError(
            f"Kafka at {settings.kafka.bootstrap_servers} has neither topic {names[0]!r} nor "
            f"{names[1]!r} (topics.orders, topics.payments); the operator must name them"
        )
    async with open_logs(settings.kafka) as logs:
        extents = await logs.extents([(name, known[name]) for name in names if name in known])
        for tp, extent in extents.items():
            tell(f"{tp.topic}-{tp.partition}: {extent.end - extent.begin:,} offsets")
            sp = SourcePartition(tp.topic, tp.partition)
            counter = counted.source(sp, payments=tp.topic == names[1])
            async for records in logs.read(tp, extent):
                counter.count(
                    Chunk(
                        sp=sp,
                        first_offset=records[0].offset,
                        last_offset=records[-1].offset,
                        keys=[each.key for each in records],
                        values=[each.value for each in records],
                        timestamps_ms=[each.timestamp_ms for each in records],
                        offsets=[each.offset for each in records],
                        doubtful=bytes(
                            is_doubtful(each.timestamp_type, each.headers) for each in records
                        ),
                    )
                )
            counter.finish()
    return counted

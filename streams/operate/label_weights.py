"""How many orders of the last days name each label: read from the day rows in ``ecindex.partials``."""

from __future__ import annotations

import msgspec
from aiokafka.structs import TopicPartition

from streams.console.errors import OperationError
from streams.flow.state import DAY
from streams.flow.wire import PartialKey, PartialRecord, decode_partial, parsed_key, partition_of
from streams.index.methodology import Market, Methodology
from streams.index.other_labels import LabelCounts
from streams.index.panes import LocalDays
from streams.records.kafka_logs import Logs
from streams.settings import Settings

WEIGHED_DAYS = 28
"""Local days, today included."""


async def read_label_counts(
    settings: Settings, logs: Logs, methodology: Methodology, market: Market, now_ms: int
) -> LabelCounts:
    """Sum up the newest row of each source partition and day. Raises OperationError."""
    topics = settings.topics
    tp = TopicPartition(topics.partials, partition_of(market.code, topics.partials_partitions))
    first_day = LocalDays(market.time_zone).day_of(now_ms) - WEIGHED_DAYS + 1
    rows: dict[tuple[str, int], dict[str, PartialRecord]] = {}
    async for batch in logs.read_on(tp):
        for stored in batch:
            key = parsed_key(stored.key or b"")
            if not isinstance(key, PartialKey) or key.slot[:2] != (market.code, DAY):
                continue
            if key.slot.slot < first_day:
                continue
            by_writer = rows.setdefault((str(key.sp), key.slot.slot), {})
            if stored.value is None:
                by_writer.pop(key.writer, None)
                continue
            try:
                record = decode_partial(stored.value)
            except msgspec.DecodeError as error:
                raise OperationError(f"{stored.where}: {error}") from error
            if record.edition == methodology.edition:
                by_writer[key.writer] = record
    counts = LabelCounts()
    for by_writer in rows.values():
        if by_writer:
            counts.add(max(by_writer.values(), key=lambda record: record.through).row)
    return counts

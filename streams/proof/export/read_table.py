"""``ecindex export``: reads what is published, and why it was revised, from Kafka."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
from aiokafka.structs import TopicPartition

from streams.clock import now_ms
from streams.console.errors import OperationError
from streams.console.progress import ProgressFunction, no_progress
from streams.flow.wire import partition_of
from streams.index.instants import parse_instant
from streams.index.panes import rfc3339
from streams.index.values import Value
from streams.proof.audit.expected_values import ValuesLog
from streams.proof.audit.report import Report
from streams.proof.export.table_files import save_csv, save_parquet, write_csv
from streams.proof.export.table_rows import (
    Citation,
    RevisionKey,
    TableRow,
    cite,
    revision_key,
    rows_of,
)
from streams.records.journal_record import decode_journal
from streams.records.kafka_logs import Logs, open_logs
from streams.records.kafka_topics import existing_partitions
from streams.settings import Settings, load_methodology

DAYS, VALUES = "days", "values"
What = Literal["days", "values"]
STDOUT = Path("-")
_HASH_SHOWN = 12


@dataclass(frozen=True, slots=True)
class ExportSelection:
    """What to export. ``markets`` empty: all. ``first``, ``last``: local days, both included."""

    what: What
    markets: tuple[str, ...] = ()
    first: str | None = None
    last: str | None = None

    def takes(self, value: Value) -> bool:
        """Whether a value is among them."""
        if (value.day is not None) != (self.what == DAYS):
            return False
        if self.markets and value.market not in self.markets:
            return False
        return value.day is None or (
            (self.first is None or value.day >= self.first)
            and (self.last is None or value.day <= self.last)
        )


@dataclass(frozen=True, slots=True)
class Exported:
    """A table read at one publication of each market."""

    rows: list[TableRow]
    citation: Citation

    def summary(self, files: Sequence[Path]) -> dict[str, Any]:
        """For machines."""
        return {
            "rows": len(self.rows),
            "revised": sum(row.value.revision > 0 for row in self.rows),
            "files": [str(each) for each in files],
            "cite": self.citation.line,
            **self.citation._asdict(),
        }


async def read(
    settings: Settings, selection: ExportSelection, progress: ProgressFunction = no_progress
) -> Exported:
    """Read the table. Raises OperationError, SettingsError."""
    methodology = load_methodology(settings)
    unknown = sorted(set(selection.markets) - methodology.markets.keys())
    if unknown:
        known = ", ".join(methodology.markets)
        raise OperationError(f"market {unknown[0]!r} is not in methodology.toml; it has {known}")
    topics = settings.topics
    counts = await existing_partitions(settings.kafka)
    missing = [topic for topic in (topics.values, topics.journal) if not counts.get(topic)]
    if missing:
        raise OperationError(
            f"topics that do not exist: {', '.join(missing)}; nothing to export, or "
            "topics.prefix is another"
        )
    async with open_logs(settings.kafka) as logs:
        progress("reading what was published", 0, 0)
        values = await _values(logs, topics.values, counts[topics.values], selection)
        progress("reading the journal", 0, 0)
        causes = await _causes(logs, topics.journal, counts[topics.journal], values)
    rows = rows_of(values, causes)
    citation = cite(
        "day values" if selection.what == DAYS else "values of the newest windows",
        rows,
        methodology=methodology.content_hash[:_HASH_SHOWN],
        exported_at=rfc3339(now_ms()),
        source=f"topic {topics.values}",
    )
    return Exported(rows, citation)


async def _values(logs: Logs, topic: str, count: int, selection: ExportSelection) -> list[Value]:
    log = ValuesLog(Report())
    for tp, extent in (await logs.extents([(topic, count)])).items():
        async for batch in logs.read(tp, extent):
            for stored in batch:
                log.apply(stored)
    return [
        held.value
        for market in log.markets.values()
        for held in market.values.values()
        if held.value is not None and selection.takes(held.value)
    ]


async def _causes(
    logs: Logs, topic: str, count: int, values: Sequence[Value]
) -> dict[RevisionKey, str]:
    """Why the revised ones among the values were: from the time on that the oldest is about."""
    revised = [value for value in values if value.revision]
    wanted = {revision_key(value) for value in revised}
    since: dict[TopicPartition, int] = {}
    for value in revised:
        tp = TopicPartition(topic, partition_of(value.market, count))
        since[tp] = min(parse_instant(value.as_of) or 0, since.get(tp, sys.maxsize))
    found: dict[RevisionKey, str] = {}
    for tp, since_ms in since.items():
        async for batch in logs.read(tp, await logs.since(tp, since_ms)):
            for stored in batch:
                try:
                    record = decode_journal(stored.value or b"")
                except msgspec.DecodeError as error:
                    raise OperationError(
                        f"{stored.where}: expected a journal record: {error}; "
                        "`ecindex audit` says what else"
                    ) from error
                for each in record.revisions:
                    key = revision_key(each.value)
                    if key in wanted:
                        found[key] = each.cause
    return found


def export(exported: Exported, *, csv: Path | None, parquet: Path | None) -> list[Path]:
    """Write the files asked for; ``-``: the CSV goes to standard output. Raises OperationError."""
    written: list[Path] = []
    if csv is not None and csv != STDOUT:
        save_csv(exported.rows, exported.citation, csv)
        written.append(csv)
    if parquet is not None:
        save_parquet(exported.rows, exported.citation, parquet)
        written.append(parquet)
    if csv == STDOUT:
        write_csv(exported.rows, exported.citation, sys.stdout)
    return written

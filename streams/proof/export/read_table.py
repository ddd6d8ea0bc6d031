"""``ecindex export``: reads published values, and why they were revised, from Kafka."""

from __future__ import annotations

import sys
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from aiokafka.structs import TopicPartition

from streams.clock import now_ms
from streams.console.errors import OperationError, unknown_market
from streams.console.progress import ProgressFunction, no_progress
from streams.flow.wire import partition_of
from streams.index.instants import parse_instant
from streams.index.panes import rfc3339
from streams.index.values import DAY_WINDOW, WINDOWS_MS, Value
from streams.proof.export.table_files import save_csv, save_parquet, write_csv
from streams.proof.export.table_rows import (
    Citation,
    RevisionKey,
    TableRow,
    cite,
    revision_key,
    rows_of,
)
from streams.records.journal_record import read_journaled
from streams.records.kafka_logs import Logs, Stored, open_logs
from streams.records.kafka_topics import existing_partitions
from streams.records.unreadable import (
    NOTHING_UNREADABLE,
    UnreadableRecord,
    UnreadableRecords,
    UnreadableSummary,
)
from streams.records.values_log import ValuesLog, read_values
from streams.settings import Settings, load_methodology
from streams.worker.names import shortfalls

DAYS, VALUES = "days", "values"
What = Literal["days", "values"]
STDOUT = Path("-")
_HASH_SHOWN = 12
_WINDOW_AT = 4
"""Place of the window in a key after the market: index, dimension, member, window, day."""


@dataclass(frozen=True, slots=True)
class ExportSelection:
    """What to export. ``markets`` empty: all. ``first``, ``last``: local days, both included."""

    what: What
    markets: tuple[str, ...] = ()
    first: str | None = None
    last: str | None = None

    def takes(self, value: Value) -> bool:
        """Whether a value is selected."""
        if (value.day is not None) != (self.what == DAYS):
            return False
        if self.markets and value.market not in self.markets:
            return False
        return value.day is None or (
            (self.first is None or value.day >= self.first)
            and (self.last is None or value.day <= self.last)
        )

    def may_miss(self, record: UnreadableRecord, markets: Container[str]) -> bool:
        """Whether an unreadable record may have held a selected value.

        It has not if its key names a market, window or day that we know and that is not selected.
        """
        market, *rest = record.key.split("|")
        if self.markets and market in markets and market not in self.markets:
            return False
        if len(rest) < _WINDOW_AT:
            return True  # a fence record, a journal record, or something unknown
        window, *day = rest[_WINDOW_AT - 1 :]
        if window not in (DAY_WINDOW, *WINDOWS_MS):
            return True
        if (window == DAY_WINDOW) != (self.what == DAYS):
            return False
        return not day or (
            (self.first is None or day[0] >= self.first)
            and (self.last is None or day[0] <= self.last)
        )


@dataclass(frozen=True, slots=True)
class Exported:
    """A table read at one publication of each market."""

    rows: list[TableRow]
    citation: Citation
    unreadable: UnreadableSummary = NOTHING_UNREADABLE
    """Records of its markets and days that are left out because they could not be read."""

    @property
    def complete(self) -> bool:
        """Whether nothing is left out. A record that was written well since is in the table."""
        return not self.unreadable.not_replaced

    def summary(self, files: Sequence[Path]) -> dict[str, Any]:
        """Return the result as JSON data, for programs."""
        return {
            "rows": len(self.rows),
            "revised": sum(row.value.revision > 0 for row in self.rows),
            "files": [str(each) for each in files],
            "complete": self.complete,
            "unreadable": self.unreadable,
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
        raise unknown_market(unknown[0], methodology.markets)
    topics = settings.topics
    counts = await existing_partitions(settings.kafka)
    missing = [topic for topic in (topics.values, topics.journal) if not counts.get(topic)]
    if missing:
        raise OperationError(
            f"topics that do not exist: {', '.join(missing)}; either there is "
            "nothing to export yet, or topics.prefix is wrong"
        )
    needed = topics.partials_partitions
    if short := shortfalls({topics.journal: needed}, counts):
        raise OperationError(short)
    async with open_logs(settings.kafka) as logs:
        progress("reading what was published", 0, 0)
        log = await read_values(logs, topics.values, counts[topics.values])
        values = selected(log, selection)
        progress("reading the journal", 0, 0)
        causes = CausesLog(values)
        await causes.read(logs, topics.journal, needed)
    unreadable = left_out(selection, methodology.markets, log.unreadable, causes.unreadable)
    rows = rows_of(values, causes.found)
    citation = cite(
        "day values" if selection.what == DAYS else "values of the newest windows",
        rows,
        methodology=methodology.content_hash[:_HASH_SHOWN],
        exported_at=rfc3339(now_ms()),
        source=f"topic {topics.values}",
        left_out=unreadable.not_replaced,
    )
    return Exported(rows, citation, unreadable)


def left_out(
    selection: ExportSelection, markets: Container[str], *found: UnreadableRecords
) -> UnreadableSummary:
    """Summarise the unreadable records that the table may miss."""
    total = UnreadableRecords()
    for each in found:
        total.add_all(each.chosen(lambda record: selection.may_miss(record, markets)))
    return total.summary()


def selected(log: ValuesLog, selection: ExportSelection) -> list[Value]:
    """Return the published values that are selected."""
    return [
        held.value
        for market in log.markets.values()
        for held in market.values.values()
        if held.value is not None and selection.takes(held.value)
    ]


class CausesLog:
    """Finds in the journal why the revised values were revised."""

    def __init__(self, values: Sequence[Value]) -> None:
        self.found: dict[RevisionKey, str] = {}
        self.unreadable = UnreadableRecords()
        self._revised = [value for value in values if value.revision]
        self._wanted = {revision_key(value) for value in self._revised}

    async def read(self, logs: Logs, topic: str, count: int) -> None:
        """Read the journal from the ``as_of`` of the oldest revised value on."""
        since: dict[TopicPartition, int] = {}
        for value in self._revised:
            tp = TopicPartition(topic, partition_of(value.market, count))
            since[tp] = min(parse_instant(value.as_of) or 0, since.get(tp, sys.maxsize))
        for tp, since_ms in since.items():
            async for batch in logs.read(tp, await logs.since(tp, since_ms)):
                for stored in batch:
                    self.apply_record(stored)

    def apply_record(self, stored: Stored) -> None:
        """Apply the next record of the journal."""
        read = read_journaled(stored)
        if isinstance(read, UnreadableRecord):
            self.unreadable.add(read)
            return
        for each in read.record.revisions:
            key = revision_key(each.value)
            if key in self._wanted:
                self.found[key] = each.cause
        # Of a day long ago a closing alone says why it changed.
        for value in read.record.values if read.record.cause is not None else ():
            key = revision_key(value)
            if key in self._wanted:
                self.found.setdefault(key, read.record.cause or "")


def export(exported: Exported, *, csv: Path | None, parquet: Path | None) -> list[Path]:
    """Write the files asked for, and return their paths; ``csv=-``: to standard output.

    Raises OperationError.
    """
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

"""Every kind of record that the service stores: what cannot be read of it, what follows, what to do.

A record that is skipped in silence is worse than one that ends a command: a factor that was declared
is not in force, a market cannot be taken over, and nothing looks wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import NamedTuple

from aiokafka.structs import TopicPartition

from streams import clock
from streams.index.panes import HOUR_MS
from streams.proof.doctor.findings import Finding, Level
from streams.records.answer_record import refused_answer
from streams.records.definitions_log import refused_definitions
from streams.records.history_record import refused_history
from streams.records.journal_record import read_journaled
from streams.records.kafka_logs import Extent, Logs, Stored
from streams.records.set_aside_record import read_set_aside
from streams.records.shift_record import read_shift
from streams.records.state_records import read_checkpoint, refused_partial, refused_table_record
from streams.records.unreadable import UnreadableRecord, UnreadableRecords, key_text
from streams.settings import Settings
from streams.worker import names

NEWEST_RECORDS = 50_000
"""Records of a partition that are read where a log is long: of a busy one, reading all takes minutes."""

_WRITER = "find who else writes to the topic, and take that right away (docs/security.md)"
_TOMBSTONE = (
    f"{_WRITER}; then write a tombstone for each key, without headers, into its partition: compaction "
    "then removes the record"
)
_RETENTION = f"{_WRITER}; retention deletes the record"
_ALL_LISTED = "`ecindex audit` lists all"
_NEWER = "install the version of ecindex that wrote it, here too, and run `ecindex doctor` again"


class ReadPart(Enum):
    """Which part of a topic is read."""

    ALL = "records"
    LAST_HOUR = "records of the last hour"
    NEWEST = f"the newest {NEWEST_RECORDS:,} records of each partition"


class StoredKind(NamedTuple):
    """How the records of one topic are checked.

    ``effect``: what a record that cannot be read does. ``by_key``: whether a later record of its key,
    a tombstone too, takes its effect away, though it is in the log until compaction.
    """

    check: str
    refused: Callable[[Stored], object]
    """Returns an UnreadableRecord for what breaks the contract; what else it returns says nothing."""
    part: ReadPart
    effect: str
    fix: str
    by_key: bool = False


VALUES = StoredKind(
    "values",
    lambda _: None,
    ReadPart.ALL,
    "readers leave it out, and say so",
    _TOMBSTONE,
    by_key=True,
)
CHECKPOINTS = StoredKind(
    "checkpoints", read_checkpoint, ReadPart.ALL,
    "a worker that takes the source partition over ends at it", _TOMBSTONE, by_key=True,
)  # fmt: skip
_MERGED = StoredKind(
    "merged table", refused_table_record, ReadPart.ALL,
    "a worker that takes its markets over ends at it", _TOMBSTONE, by_key=True,
)  # fmt: skip
_PARTIALS = StoredKind(
    "partials", refused_partial, ReadPart.NEWEST,
    "workers pass over a key that is none of ours; at any other one they end, also those that take the "
    "markets over",
    f"{_WRITER}; then delete the topic and run `ecindex topics create`: workers write their rows again "
    "(docs/guarantees.md, Partials deleted)",
)  # fmt: skip
_HISTORY = StoredKind(
    "history", refused_history, ReadPart.ALL,
    "workers skip it: what it was to declare is not in force",
    f"{_TOMBSTONE}. Declare again what was lost (`ecindex expect`, `ecindex seed`)", by_key=True,
)  # fmt: skip
_ANSWERS = StoredKind(
    "answers", refused_answer, ReadPart.ALL,
    "workers skip it: what was said is not in force",
    f"{_TOMBSTONE}. Answer again (`ecindex answer`)", by_key=True,
)  # fmt: skip
_DEFINITIONS = StoredKind(
    "definitions", refused_definitions, ReadPart.ALL,
    "workers skip it: the definitions before it stay in force", _TOMBSTONE, by_key=True,
)  # fmt: skip
_SHIFTS = StoredKind(
    "shifts", read_shift, ReadPart.ALL,
    "`ecindex audit` cannot judge expectations that may have been learnt beside it", _RETENTION,
)  # fmt: skip
_JOURNAL = StoredKind(
    "journal", read_journaled, ReadPart.LAST_HOUR, "readers leave it out, and say so", _RETENTION
)
_LATE = StoredKind(
    "late", read_set_aside, ReadPart.LAST_HOUR, "`ecindex late list` leaves it out", _RETENTION
)
_DEAD_LETTERS = _LATE._replace(
    check="dead letters", effect="`ecindex dead-letters list` and `replay` leave it out"
)


def stored_kinds(settings: Settings, edition: int) -> dict[str, StoredKind]:
    """Return every topic that the service writes, and how its records are checked."""
    topics = settings.topics
    group = names.app_id(edition, topics.prefix)
    changelogs = {
        names.changelog_topic(group, names.checkpoint_table(topic)): CHECKPOINTS
        for topic in (topics.orders, topics.payments)
    }
    return {
        topics.partials: _PARTIALS,
        **changelogs,
        names.changelog_topic(group, names.MERGED_TABLE): _MERGED,
        topics.values: VALUES,
        topics.journal: _JOURNAL,
        topics.shifts: _SHIFTS,
        topics.history: _HISTORY,
        topics.answers: _ANSWERS,
        topics.definitions: _DEFINITIONS,
        topics.late: _LATE,
        topics.dead_letters: _DEAD_LETTERS,
    }


READ_ELSEWHERE = (VALUES, CHECKPOINTS)
"""Kinds that other checks need as well: their readers hand out what they could not read."""


def check_stored(kind: StoredKind, topic: str, found: UnreadableRecords) -> Finding:
    """Check that the records of a topic can be read; the first that cannot be is named."""
    wanted = f"{kind.part.value} that can be read"
    if not found:
        return Finding(kind.check, Level.OK, topic, wanted, "all can")
    first = next((each for each in found.records if not each.replaced), found.records[0])
    stands = not kind.by_key or found.not_replaced
    more = f" (one of {found.total})" if found.total > 1 else ""
    effect = f"; {kind.effect}" if stands else ""
    fix = _NEWER if first.newer else f"{kind.fix}. {_ALL_LISTED}"
    level = Level.WRONG if stands else Level.WARNING
    return Finding(
        kind.check, level, topic, wanted, f"{first.line()}{more}{effect}", fix, cause=first.where
    )


class StoredScan:
    """Reads the topics for what cannot be read, and goes on where it was when it is asked again.

    Asked a second time, a log says the same. To read all of it again for each round of a diagnosis
    would cost a busy installation minutes.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._found: dict[str, UnreadableRecords] = {}
        self._next: dict[TopicPartition, int] = {}

    async def findings(self, logs: Logs, counts: Mapping[str, int], edition: int) -> list[Finding]:
        """Read what came since the last call. ``counts``: partitions of the topics that exist."""
        found: list[Finding] = []
        for topic, kind in stored_kinds(self._settings, edition).items():
            if kind in READ_ELSEWHERE or not counts.get(topic):
                continue  # a topic that is missing is reported by the topics check
            extents = await logs.extents([(topic, counts[topic])])
            if any(self._next.get(tp, 0) > extent.end for tp, extent in extents.items()):
                self._forget(topic)  # the topic was deleted and created again
            for tp, extent in extents.items():
                begin = await self._begin(logs, kind, tp, extent)
                async for batch in logs.read(tp, Extent(begin, extent.end)):
                    for stored in batch:
                        self._take(topic, kind, stored)
                self._next[tp] = extent.end
            found.append(check_stored(kind, topic, self._of(topic)))
        return found

    def _forget(self, topic: str) -> None:
        self._found.pop(topic, None)
        self._next = {tp: offset for tp, offset in self._next.items() if tp.topic != topic}

    async def _begin(self, logs: Logs, kind: StoredKind, tp: TopicPartition, extent: Extent) -> int:
        known = self._next.get(tp)
        if known is not None:
            return max(known, extent.begin)
        if kind.part is ReadPart.LAST_HOUR:
            return (await logs.since(tp, clock.now_ms() - HOUR_MS)).begin
        if kind.part is ReadPart.NEWEST:
            return max(extent.begin, extent.end - NEWEST_RECORDS)
        return extent.begin

    def _of(self, topic: str) -> UnreadableRecords:
        return self._found.setdefault(topic, UnreadableRecords())

    def _take(self, topic: str, kind: StoredKind, stored: Stored) -> None:
        refused = None if kind.by_key and stored.value is None else kind.refused(stored)
        if isinstance(refused, UnreadableRecord):
            self._of(topic).add(refused)
        elif kind.by_key:
            self._of(topic).replace(key_text(stored.key))

"""Checks of published records: whether each one matches our contract."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from streams.index.input_reports import InputNote
from streams.index.panes import HOUR_MS
from streams.proof.doctor.findings import Finding, Level
from streams.records.unreadable import UnreadableRecord, UnreadableRecords

JOURNAL_CHECKED_MS = HOUR_MS
"""How far back the journal is read. Reading all of it takes minutes, and `ecindex audit` does."""
_WRITER = "find who else writes to the topic, and take that right away (docs/security.md)"


def check_values(topic: str, found: UnreadableRecords) -> Finding:
    """Check that the values topic can be read. Compaction keeps an unreadable record for ever."""
    if not found:
        return Finding("values", Level.OK, topic, "records that can be read", "all can")
    fix = (
        f"{_WRITER}; then write a tombstone for each key, without headers, into its partition: "
        "compaction then removes the record. `ecindex audit` lists all"
    )
    level = Level.WRONG if found.not_replaced else Level.WARNING
    return Finding("values", level, topic, "records that can be read", _text(found), fix)


def check_journal(topic: str, found: UnreadableRecords) -> Finding:
    """Check that every record of the journal's last hour can be read."""
    wanted = "records of the last hour that can be read"
    if not found:
        return Finding("journal", Level.OK, topic, wanted, "all can")
    fix = f"{_WRITER}; `ecindex audit` reads the whole journal and lists all"
    return Finding("journal", Level.WRONG, topic, wanted, _text(found), fix)


def check_inputs(notes: Iterable[InputNote]) -> list[Finding]:
    """Check that events of the inputs count."""
    found = [
        Finding(
            "events",
            Level.WRONG if note.severe else Level.WARNING,
            note.topic,
            "events as docs/contract.md describes them",
            note.text,
            "mend the producer; what was refused is in `ecindex dead-letters list`",
            cause="refused" if note.refused else "not counted",
        )
        for note in notes
    ]
    return found or [Finding("events", Level.OK, "inputs", "events that count", "they do")]


def check_redis_records(found: Iterable[Sequence[UnreadableRecord]]) -> list[Finding]:
    """Check that everything Redis holds of each market can be read."""
    fix = "it is rewritten within 30 s; if it stays unreadable, find who else writes to these keys"
    return [
        Finding("redis", Level.WRONG, each.where, each.expected, each.found, fix)
        for records in found
        for each in records
    ]


def _text(found: UnreadableRecords) -> str:
    more = f" (the first of {found.total})" if found.total > 1 else ""
    return f"{found.records[0].line()}{more}"

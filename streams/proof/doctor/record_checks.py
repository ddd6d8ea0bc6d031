"""Checks of what Redis holds: whether it matches our contract, and what it says of the inputs."""

from __future__ import annotations

from collections.abc import Iterable

from streams.index.input_reports import InputNote
from streams.proof.doctor.findings import Finding, Level
from streams.records.unreadable import UnreadableRecord


def check_inputs(notes: Iterable[InputNote]) -> list[Finding]:
    """Check that events of the inputs count."""
    found = [
        Finding(
            "events",
            Level.WRONG if note.severe else Level.WARNING,
            note.topic,
            "events as docs/contract.md describes them",
            note.text,
            "mend the producer; what was refused is in `ecindex dead-letters list`"
            if note.refused
            else "mend the producer, or read docs/faults.md: what it says need not be wrong",
            cause="refused" if note.refused else "not counted",
        )
        for note in notes
    ]
    return found or [Finding("events", Level.OK, "inputs", "events that count", "they do")]


def check_redis_records(found: Iterable[UnreadableRecord]) -> list[Finding]:
    """Check that everything Redis holds can be read."""
    fix = (
        "find who else writes to these keys, and take that right away (docs/security.md); values are "
        "rewritten within 30 s, and what then stays unreadable is to be deleted: the key, or the field"
    )
    return [
        Finding("redis", Level.WRONG, each.where, each.expected, each.found, fix) for each in found
    ]

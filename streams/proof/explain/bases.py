"""Bases of the level index, as the journal and a market's fence record name them. No IO."""

from __future__ import annotations

from streams.flow.level_base import LevelRecord
from streams.proof.explain.explanation_types import Based
from streams.records.journal_record import JournalRecord

FENCE_WHERE = "the market's fence record in the values topic"


def journaled_base(where: str, record: JournalRecord) -> dict[str, Based]:
    """Return {name: base} of a journal record about a base; empty if it states none."""
    name = record.base or ""
    found = [Based(name, each.days, each.net_minor, where) for each in record.bases]
    return {name: found[-1]} if found else {}


def fence_base(level: LevelRecord | None) -> dict[str, Based]:
    """Return {name: base} of the newest fence record, which outlives the journal; empty without one."""
    if level is None or level.base is None or level.name is None:
        return {}
    return {level.name: Based(level.name, level.base.days, level.base.net_minor, FENCE_WHERE)}

"""What an audit found: how much was judged, what differs, what could not be judged and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from streams.records.unreadable import UnreadableRecord, UnreadableRecords

DIFFERENCES_KEPT = 1_000

CHECKPOINT, PARTIALS, MERGED, VALUES, JOURNAL, EXPECTED, REDIS, SET_ASIDE, PROGRESS = (
    "checkpoint",
    "partials",
    "merged",
    "values",
    "journal",
    "expected",
    "redis",
    "set_aside",
    "progress",
)
STAGES = (CHECKPOINT, PARTIALS, MERGED, VALUES, JOURNAL, EXPECTED, REDIS, SET_ASIDE, PROGRESS)
"""What is compared, in the order of the data's way: the first that differs is where it began."""

_REFOLD = (
    "keep the topics and report this table; another edition (raise `edition` in methodology.toml, "
    "`ecindex topics create`, restart) folds everything anew from the log"
)
ACTS = {
    CHECKPOINT: f"the operator: level 1 holds what the log does not say; {_REFOLD}",
    PARTIALS: "the operator: restart the worker that owns the source partition: it sends every open "
    f"row again; if this comes back, {_REFOLD}",
    MERGED: f"the operator: level 2 holds what the log does not say; {_REFOLD}",
    VALUES: "the operator: restart the worker that owns the market: a new owner publishes every "
    f"value that is open again; for a closed day {_REFOLD}",
    JOURNAL: "the analyst: trust the recomputation, which is printed here; the operator: find who "
    "else writes to the journal",
    EXPECTED: "the analyst: trust what is printed here as expected, it follows from the journal; the "
    "operator: find who else writes to the values, `ecindex explain` shows one step by step",
    REDIS: "the operator: nothing is lost, Redis is rewritten within 30 s while its owner runs; if "
    "it stays, restart the worker that owns the market",
    SET_ASIDE: "the operator: a record was neither counted nor set aside, or both; keep the topics and "
    "report this table",
    PROGRESS: "the operator: look at `ecindex doctor`: a worker is missing, halted or behind",
}


class Difference(NamedTuple):
    """One thing that is not as the log says."""

    stage: str
    key: str
    field: str
    expected: str
    found: str
    where: str

    @property
    def act(self) -> str:
        """Who must do what."""
        return ACTS[self.stage]


class NotJudged(NamedTuple):
    """Values of a stage that were not compared, and why."""

    stage: str
    reason: str
    values: int
    example: str


@dataclass(slots=True)
class Report:
    """Outcome of an audit."""

    markets: list[str] = field(default_factory=list)
    judged: Counter[str] = field(default_factory=Counter)
    """Compared values by stage."""
    differences: list[Difference] = field(default_factory=list)
    differences_total: int = 0
    sources: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Per source partition: what was read and what came of it."""
    records_read: int = 0
    took_ms: int = 0
    _not_judged: dict[tuple[str, str], tuple[int, str]] = field(default_factory=dict)

    @property
    def equal(self) -> bool:
        """Whether everything that was judged equals the recomputation."""
        return self.differences_total == 0

    @property
    def not_judged(self) -> list[NotJudged]:
        """What was not compared."""
        return [
            NotJudged(stage, reason, count, example)
            for (stage, reason), (count, example) in self._not_judged.items()
        ]

    def judge(self, stage: str, values: int = 1) -> None:
        """Count values that were compared."""
        self.judged[stage] += values

    def differs(
        self, stage: str, key: str, name: str, expected: Any, found: Any, where: str
    ) -> None:
        """Note a difference; beyond a thousand they are only counted."""
        self.differences_total += 1
        if len(self.differences) < DIFFERENCES_KEPT:
            self.differences.append(
                Difference(stage, key, name, _text(expected), _text(found), where)
            )

    def unreadable(self, stage: str, record: UnreadableRecord) -> None:
        """Note a record that is not what its topic's contract says."""
        self.differs(stage, record.key, "record", record.expected, record.found, record.where)

    def unreadable_of(self, stage: str, found: UnreadableRecords) -> None:
        """Note every record that a reader could not read, those beyond what it kept in number."""
        for each in found.records:
            self.unreadable(stage, each)
        self.differences_total += found.total - len(found.records)

    def skip(self, stage: str, reason: str, example: str, count: int = 1) -> None:
        """Note values that cannot be compared."""
        known, first = self._not_judged.get((stage, reason), (0, example))
        self._not_judged[stage, reason] = (known + count, first)

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "equal": self.equal,
            "markets": self.markets,
            "judged": {stage: self.judged[stage] for stage in STAGES},
            "differences_total": self.differences_total,
            "differences": [{**each._asdict(), "act": each.act} for each in self.differences],
            "not_judged": [each._asdict() for each in self.not_judged],
            "sources": self.sources,
            "records_read": self.records_read,
            "took_ms": self.took_ms,
        }

    def lines(self) -> Iterable[str]:
        """For people."""
        counted = ", ".join(f"{self.judged[stage]} {stage}" for stage in STAGES)
        yield f"compared {counted}"
        yield f"read {self.records_read} records in {self.took_ms / 1000:.1f} s"
        for left in self.not_judged:
            yield f"not judged: {left.values} {left.stage}: {left.reason} (e.g. {left.example})"
        if self.equal:
            yield "equal: all of it is what the log says, to the last digit"
            return
        yield f"{self.differences_total} differences"
        for stage in STAGES:
            found = [each for each in self.differences if each.stage == stage]
            if not found:
                continue
            yield f"{stage}: {ACTS[stage]}"
            for each in found:
                yield (
                    f"  {each.key}: {each.field}: expected {each.expected}, "
                    f"found {each.found} ({each.where})"
                )


def _text(value: Any) -> str:
    return "nothing" if value is None else str(value)

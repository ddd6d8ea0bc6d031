"""The report of an audit: how much was judged, what differs, what could not be judged and why."""

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
"""What is compared, in the order in which data flows. The fault began at the first that differs."""

_REFOLD = (
    "keep the topics and report this table; another edition (raise `edition` in methodology.toml, "
    "`ecindex topics create`, restart) folds everything anew from the log"
)
ACTS = {
    CHECKPOINT: f"the operator: level 1 differs from the log; {_REFOLD}",
    PARTIALS: "the operator: restart the worker that owns the source partition: it sends every open "
    f"row again; if this comes back, {_REFOLD}",
    MERGED: f"the operator: level 2 differs from the log; {_REFOLD}",
    VALUES: "the operator: restart the worker that owns the market: a new owner publishes every "
    f"value that is open again; for a closed day {_REFOLD}",
    JOURNAL: "the analyst: trust the recomputation, which is printed here; the operator: find who "
    "else writes to the journal",
    EXPECTED: "the analyst: trust the expected number printed here, it follows from the journal; the "
    "operator: find who else writes to the values; `ecindex explain` shows one step by step",
    REDIS: "the operator: nothing is lost, Redis is rewritten within 30 s while its owner runs; if "
    "the difference stays, restart the worker that owns the market",
    SET_ASIDE: "the operator: a record was neither counted nor set aside, or both; keep the topics and "
    "report this table",
    PROGRESS: "the operator: run `ecindex doctor`: a worker is missing, halted or behind",
}


class Difference(NamedTuple):
    """One field that differs from what the log says."""

    stage: str
    key: str
    field: str
    expected: str
    found: str
    where: str

    @property
    def act(self) -> str:
        """Who must act, and how."""
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
    """What was read of each source partition, and the outcomes of its events."""
    records_read: int = 0
    took_ms: int = 0
    _not_judged: dict[tuple[str, str], tuple[int, str]] = field(default_factory=dict)

    @property
    def equal(self) -> bool:
        """Whether everything that was judged equals the recomputation."""
        return self.differences_total == 0

    @property
    def not_judged(self) -> list[NotJudged]:
        """Values that were not compared, with the reason of each."""
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
        """Note a difference. Beyond a thousand, differences are only counted."""
        self.differences_total += 1
        if len(self.differences) < DIFFERENCES_KEPT:
            self.differences.append(
                Difference(stage, key, name, _text(expected), _text(found), where)
            )

    def unreadable(self, stage: str, record: UnreadableRecord) -> None:
        """Note a record that breaks its topic's contract."""
        self.differs(stage, record.key, "record", record.expected, record.found, record.where)

    def unreadable_of(self, stage: str, found: UnreadableRecords) -> None:
        """Note every record that a reader could not read; those it did not keep are only counted."""
        for each in found.records:
            self.unreadable(stage, each)
        self.differences_total += found.total - len(found.records)

    def skip(self, stage: str, reason: str, example: str, count: int = 1) -> None:
        """Note values that cannot be compared."""
        known, first = self._not_judged.get((stage, reason), (0, example))
        self._not_judged[stage, reason] = (known + count, first)

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON data, for programs."""
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
        """Yield the report as lines of text, for people."""
        counted = ", ".join(f"{self.judged[stage]} {stage}" for stage in STAGES)
        yield f"compared {counted}"
        yield f"read {self.records_read} records in {self.took_ms / 1000:.1f} s"
        for left in self.not_judged:
            yield f"not judged: {left.values} {left.stage}: {left.reason} (e.g. {left.example})"
        if self.equal:
            yield "equal: everything matches the log, to the last digit"
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

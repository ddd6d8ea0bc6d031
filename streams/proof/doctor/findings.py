"""Findings of the checks, and the diagnosis that collects them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from streams.settings import Described


class Level(StrEnum):
    """Severity of a finding. Only ``wrong`` makes the command fail."""

    OK = "ok"
    UNKNOWN = "unknown"
    """It could not be checked; the text says what is missing."""
    WARNING = "warning"
    """A risk that was taken, knowingly or not."""
    WRONG = "wrong"


class Finding(NamedTuple):
    """Result of one check. ``fix``: the command, or who must do what; empty when all is well.

    ``cause``: what must be the same when it is asked again; `found`, where empty. ``rounds``: how often
    it must come in a row before it is told (``confirming``).
    """

    check: str
    level: Level
    where: str
    expected: str
    found: str
    fix: str = ""
    cause: str = ""
    rounds: int = 2

    def line(self) -> str:
        """Return the finding as text, for people; one line when all is well, else three."""
        head = f"{self.level.upper():7} {self.check}: {self.where}: {self.found}"
        if self.level is Level.OK:
            return head
        return f"{head}\n        expected {self.expected}\n        {self.fix}"


_PUBLISHED = ("check", "level", "where", "expected", "found", "fix")


@dataclass(slots=True)
class Diagnosis:
    """All settings, and all findings."""

    settings: list[Described]
    findings: list[Finding] = field(default_factory=list)

    @property
    def wrong(self) -> bool:
        """Whether any finding is ``wrong``."""
        return any(finding.level is Level.WRONG for finding in self.findings)

    def add(self, findings: Iterable[Finding]) -> None:
        """Add findings."""
        self.findings.extend(findings)

    def as_json(self) -> dict[str, Any]:
        """Return the diagnosis as JSON data, for programs."""
        return {
            "wrong": self.wrong,
            "settings": [each._asdict() for each in self.settings],
            "findings": [dict(zip(_PUBLISHED, each, strict=False)) for each in self.findings],
        }

    def lines(self) -> Iterator[str]:
        """Yield lines for people: each setting and its origin, then the findings and their counts."""
        for each in self.settings:
            yield f"{each.setting} = {each.value} ({each.origin})"
        for finding in self.findings:
            yield finding.line()
        counts = {level: sum(each.level is level for each in self.findings) for level in Level}
        yield ", ".join(f"{count} {level}" for level, count in counts.items() if count)

"""What a check found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from streams.settings import Described


class Level(StrEnum):
    """How bad it is. Only ``wrong`` makes the command fail."""

    OK = "ok"
    UNKNOWN = "unknown"
    """Could not be looked at; the text says what is missing for it."""
    WARNING = "warning"
    """A risk that was taken, knowingly or not."""
    WRONG = "wrong"


class Finding(NamedTuple):
    """One check. ``fix``: the command, or who must do what; empty when all is well."""

    check: str
    level: Level
    where: str
    expected: str
    found: str
    fix: str = ""

    def line(self) -> str:
        """For people."""
        head = f"{self.level.upper():7} {self.check}: {self.where}: {self.found}"
        if self.level is Level.OK:
            return head
        return f"{head}\n        expected {self.expected}\n        {self.fix}"


@dataclass(slots=True)
class Diagnosis:
    """Everything that was looked at."""

    settings: list[Described]
    findings: list[Finding] = field(default_factory=list)

    @property
    def wrong(self) -> bool:
        """Whether anything is."""
        return any(finding.level is Level.WRONG for finding in self.findings)

    def add(self, findings: Iterable[Finding]) -> None:
        """Take findings in."""
        self.findings.extend(findings)

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "wrong": self.wrong,
            "settings": [each._asdict() for each in self.settings],
            "findings": [each._asdict() for each in self.findings],
        }

    def lines(self) -> Iterator[str]:
        """For people: what is set and by what, then what was found."""
        for each in self.settings:
            yield f"{each.setting} = {each.value} ({each.origin})"
        for finding in self.findings:
            yield finding.line()
        counts = {level: sum(each.level is level for each in self.findings) for level in Level}
        yield ", ".join(f"{count} {level}" for level, count in counts.items() if count)

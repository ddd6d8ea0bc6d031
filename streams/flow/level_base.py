"""The base of the level index as level 2 keeps it: part of the market's fence record.

The base is stored with the publication that shows it, after its journal was acknowledged. So a new
owner has it even when the days that it was taken from are no longer kept.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Any, NamedTuple

import msgspec

from streams.index.level import Base, link
from streams.index.panes import day_name

REBASED_KEPT = 400
"""How many changes of base are remembered, to count the revisions of a day."""


class LevelRecord(
    msgspec.Struct, frozen=True, omit_defaults=True, rename={"checked_day": "looked"}
):
    """State of a market's level index. Days are local, numbers since 1970."""

    checked_day: int
    """Days before it were published, with or without a base."""
    sequence: int = 0
    """How many bases there were; 0: none yet."""
    first: int = 0
    end: int = 0
    net_minor: str = "0"
    """Decimal text: it may exceed 64 bits."""
    final: bool = False
    rebased: list[int] = []
    """For each change of base, ``checked_day`` at that time: days before it had been published."""

    @property
    def base(self) -> Base | None:
        """The base; None: there is none yet."""
        if not self.sequence:
            return None
        return Base(self.first, self.end, int(self.net_minor), self.final)

    @property
    def name(self) -> str | None:
        """Name that values carry: first and last day, and the sequence unless it is the first."""
        if not self.sequence:
            return None
        days = f"{day_name(self.first)}/{day_name(self.end - 1)}"
        return days if self.sequence == 1 else f"{days}.{self.sequence}"

    def revisions_of(self, day: int) -> int:
        """How often a change of base has revised a day."""
        return len(self.rebased) - bisect_right(self.rebased, day)


class Rebased(NamedTuple):
    """The base before and after a step that changed it: every ended day is shown anew."""

    before: LevelRecord | None
    now: LevelRecord

    def revises(self, day: int) -> bool:
        """Whether this ended day was published before, by another base or without one."""
        old = self.before
        return old is not None and old.sequence != self.now.sequence and day < old.checked_day

    def journal_bases(self) -> list[dict[str, Any]]:
        """Return the journal's entry for the new base; nothing while there is no base."""
        new = self.now.base
        if new is None:
            return []
        old = None if self.before is None else self.before.base
        return [
            {
                "cause": "definition",
                "first": day_name(new.first),
                "last": day_name(new.end - 1),
                "days": new.days,
                "net_minor": new.net_minor,
                "final": new.final,
                "previous": None if self.before is None else self.before.name,
                "link": None if old is None else link(old, new),
            }
        ]

"""The base of the level index as level 2 keeps it: part of the market's fence record.

So it is stored with the publication that shows it, after its journal was acknowledged, and is there
for whoever takes the market over, when the days that it is made of are no longer kept as well.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Any, NamedTuple

import msgspec

from streams.index.level import Base, link
from streams.index.panes import day_name

REBASED_KEPT = 400
"""Changes of base that revisions are counted by."""


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
    """Of each change: days before it had been published by then."""

    @property
    def base(self) -> Base | None:
        """The base; None: there is none yet."""
        if not self.sequence:
            return None
        return Base(self.first, self.end, int(self.net_minor), self.final)

    @property
    def name(self) -> str | None:
        """As values name it: first and last day, then the sequence if it is not the first."""
        if not self.sequence:
            return None
        days = f"{day_name(self.first)}/{day_name(self.end - 1)}"
        return days if self.sequence == 1 else f"{days}.{self.sequence}"

    def revisions_of(self, day: int) -> int:
        """How often a change of base has revised a day."""
        return len(self.rebased) - bisect_right(self.rebased, day)


class Rebased(NamedTuple):
    """What a step has made of the base: every ended day is to be shown by it."""

    before: LevelRecord | None
    now: LevelRecord

    def revises(self, day: int) -> bool:
        """Whether an ended day had been published by another base, or without one."""
        old = self.before
        return old is not None and old.sequence != self.now.sequence and day < old.checked_day

    def journal_bases(self) -> list[dict[str, Any]]:
        """What the journal says; nothing where there is no base yet."""
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

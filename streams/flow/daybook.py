"""Ended days as they were shown, so that a revision counts once, whoever publishes it.

When a day has ended, the row behind its values is stored beside the publication that shows them. A
cancel or refund days later is then a difference from that row, also for an owner that was not there
when the day ended: kill -9 between the event and its publication loses nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import msgspec

from streams.index.formats import numbered_decoder, numbered_encoder
from streams.index.indices import CATEGORY, METHOD, Entry
from streams.index.kept_members import called_now, carried, scope_of_text, text_of
from streams.index.learning import WHOLE, Scope
from streams.index.ledgers import book_entries
from streams.index.methodology import OTHER
from streams.index.partials import DAY_TOTALS, Layout, Row, from_wire, to_wire

SHOWN_DAYS_KEPT = 120
"""Closed days whose revisions are remembered; they change only where inputs carry no arrival time."""


class ShownRecord(msgspec.Struct, omit_defaults=True):
    """Table record: the row behind a day's values as published, and how often each was revised.

    ``row``: ``dimension:member`` -> its columns in ``partials.to_wire``'s form, counted from its first
    one. A member without events is left out. ``definitions``: version that the members are of.
    """

    applied: int
    row: dict[str, list[int | str]]
    revisions: dict[str, int] = {}
    definitions: int = 0
    v: int = 0

    @property
    def rank(self) -> tuple[int, int]:
        """Of several records of a day the one of the largest rank counts."""
        return self.definitions, self.applied


encode_shown = numbered_encoder()
decode_shown = numbered_decoder(ShownRecord, "a shown day of the merged table")
Name = str
"""``index:dimension:member``."""


def name_of(entry: Entry) -> Name:
    """Name of a value within its day."""
    return f"{entry.name}:{entry.dimension}:{entry.member}"


@dataclass(slots=True)
class Shown:
    """One day as published. ``definitions``: version that the members of its row are of."""

    applied: int
    row: Row
    revisions: dict[Name, int] = field(default_factory=dict)
    definitions: int = 0
    gone: frozenset[Name] = frozenset()
    """Values of members that were shown with it and are none any more."""

    @property
    def rank(self) -> tuple[int, int]:
        """As of its record."""
        return self.definitions, self.applied

    def record(self, layout: Layout) -> ShownRecord:
        """Table record; ``layout``: of its row."""
        stretches = day_stretches(layout).items()
        row = {text_of(scope): to_wire(self.row[span]) for scope, span in stretches}
        sold = {name: sparse for name, sparse in row.items() if sparse}
        return ShownRecord(self.applied, sold, self.revisions, self.definitions)


class ShownDay(NamedTuple):
    """An ended day as a publication shows it, to be stored with that publication."""

    day: int
    shown: Shown
    layout: Layout

    def record(self) -> ShownRecord:
        """Table record."""
        return self.shown.record(self.layout)


def day_stretches(layout: Layout) -> dict[Scope, slice]:
    """Return the columns of each member in a day's row; ``WHOLE``: its totals."""
    found = {WHOLE: slice(0, DAY_TOTALS)}
    for dimension, block in ((CATEGORY, layout.day_category), (METHOD, layout.day_method)):
        for member, at in zip(
            block.members, range(block.base, block.end, block.width), strict=True
        ):
            found[dimension, member] = slice(at, at + block.width)
    return found


def shown_of(record: ShownRecord, layout: Layout) -> Shown:
    """Return the day that a table record holds, by the members of now."""
    stretches, renamed = day_stretches(layout), layout.market.renamed
    kept = {scope_of_text(name): sparse for name, sparse in record.row.items()}
    row = [0] * layout.day_width
    found = carried(list(kept), stretches, renamed)
    for now, scope in found.items():
        span = stretches[now]
        row[span] = from_wire(kept[scope], span.stop - span.start)
    gone = {scope: kept[scope] for scope in kept.keys() - {s for n, s in found.items() if n == s}}
    revisions: dict[Name, int] = {}
    for name, revised in record.revisions.items():
        index, _, text = name.partition(":")
        own = scope_of_text(text)
        own = called_now(own, stretches, renamed) or own
        revisions[f"{index}:{text_of(own)}"] = revised
    return Shown(record.applied, row, revisions, record.definitions, _names(gone, layout))


def _names(members: Mapping[Scope, list[int | str]], layout: Layout) -> frozenset[Name]:
    """Return the values that a day shows of members that the layout does not have."""
    if not members:
        return frozenset()
    of = {
        dimension: (*(member for own, member in members if own == dimension), OTHER)
        for dimension in (CATEGORY, METHOD)
    }
    before = Layout(replace(layout.market, categories=of[CATEGORY], methods=of[METHOD]))
    stretches, row = day_stretches(before), [0] * before.day_width
    for scope, sparse in members.items():
        span = stretches[scope]
        row[span] = from_wire(sparse, span.stop - span.start)
    entries = book_entries(before, row)
    return frozenset(name_of(each) for each in entries if (each.dimension, each.member) in members)


class DayBook:
    """The ended days of one market."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.days: dict[int, Shown] = {}
        self._ended_before: int | None = None
        self._early: set[int] = set()
        """Days that were shown as ended and have not."""
        self._early_found: set[int] = set()
        """Those of them that ``take_early`` is to return."""
        self._expired: list[int] = []
        self._entries: tuple[int, dict[Name, Entry]] | None = None

    def restore(self, day: int, record: ShownRecord) -> None:
        """Take over a day from the table."""
        known = self.days.get(day)
        if known is None or record.rank > known.rank:
            self.days[day] = shown_of(record, self.layout)

    def take_over(self, old: DayBook) -> None:
        """Restore the days of a book by other definitions, as from its table records."""
        for day, shown in old.days.items():
            self.restore(day, decode_shown(encode_shown(shown.record(old.layout))))
            self.days[day].gone |= shown.gone  # a record that was read anew has them no more
        self._expired += old._expired

    def newly_ended(self, today: int, days: set[int], first_open: int) -> set[int]:
        """Return the ended days that were not shown yet; empty when ``today`` was asked for before.

        Days that were shown as ended too early, by a clock that an operator has set back, end again. No
        day had a level until ``as_of`` was where it had been.
        """
        if today == self._ended_before:
            return set()
        if self._ended_before is None or today < self._ended_before:
            self._early = {day for day in self.days if day >= today}
            self._early_found |= self._early
        self._ended_before = today
        known = self.days.keys() - self._early
        ended = {day for day in days if first_open <= day < today and day not in known}
        self._early -= ended
        return ended

    def take_early(self) -> set[int]:
        """Days that were shown as ended and have not, found since the last call."""
        found, self._early_found = self._early_found, set()
        return found

    def revision(self, day: int, name: Name) -> int:
        """How often a value of a day was revised."""
        shown = self.days.get(day)
        return 0 if shown is None else shown.revisions.get(name, 0)

    def gone(self, day: int, names: Collection[Name]) -> list[Name]:
        """Return the values that a day was shown with and has not any more, by other definitions.

        ``names``: those that it has.
        """
        shown = self.days.get(day)
        if shown is None or shown.definitions == self.layout.market.definitions:
            return []
        had = {name_of(entry) for entry in book_entries(self.layout, shown.row)} | shown.gone
        return sorted(had.difference(names))

    def was(self, day: int, name: Name) -> Entry | None:
        """Return a value as it was shown; None where it was not."""
        if self._entries is None or self._entries[0] != day:
            entries = book_entries(self.layout, self.days[day].row)
            self._entries = day, {name_of(entry): entry for entry in entries}
        return self._entries[1].get(name)

    def show(self, day: int, row: Row, revised: list[Name], applied: int) -> Shown | None:
        """Note how an ended day is shown from now on; return what to store, None if nothing is new."""
        known = self.days.get(day)
        definitions = self.layout.market.definitions
        if known is not None and (known.row, known.definitions) == (row, definitions):
            return None
        revisions = {} if known is None else dict(known.revisions)
        for name in revised:
            revisions[name] = revisions.get(name, 0) + 1
        self._entries = None
        self.days[day] = Shown(applied, row[:], revisions, definitions)
        return self.days[day]

    def expire(self, first_open: int) -> None:
        """Forget days that were closed long ago."""
        limit = first_open - SHOWN_DAYS_KEPT
        for day in [day for day in self.days if day < limit]:
            del self.days[day]
            self._expired.append(day)

    def take_expired(self) -> list[int]:
        """Days forgotten since the last call."""
        expired, self._expired = self._expired, []
        return expired

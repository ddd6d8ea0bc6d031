"""Final hours and days that other definitions read anew: what of them is to be closed again.

A few are looked at in each step, the newest first. What was closed of a slot is what its record held,
and its open rows read by the same definitions. Of a slot without a record it is not known which ones
these were: then all that came before are asked.

The record of a slot is written by the definitions of now only when its closing was acknowledged, or
with what it held before. So the records say where a new owner goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import NamedTuple

from streams.flow.changed_slots import Touched
from streams.flow.daybook import Name, name_of
from streams.flow.ledger import Ledger
from streams.flow.merged import DAY_KIND, SlotId
from streams.index.indices import Entry, live_entries, with_something
from streams.index.ledgers import book_entries
from streams.index.member_rows import MemberRows
from streams.index.methodology import Market
from streams.index.partials import Layout, Row, from_wire, sum_rows

_Seen = tuple[object, ...]
"""What a reader sees of a value."""


class _VersionRows(NamedTuple):
    """The rows of one version of the definitions, and how it reads them."""

    layout: Layout
    members: MemberRows


class RedefinedSlots:
    """The slots of one market."""

    def __init__(self, ledger: Ledger, market_of: Callable[[int], Market | None]) -> None:
        """``market_of``: the market by a version of the definitions; None: nobody knows it."""
        self._ledger = ledger
        self._market_of = market_of
        self._readings: dict[int, _VersionRows | None] = {}
        self._waiting: list[SlotId] = []
        self._judged: list[SlotId] = []
        self._versions: set[int] = set()
        """Other definitions by which a slot without a record may have been closed."""

    @property
    def waiting(self) -> bool:
        """Whether slots are left to be looked at."""
        return bool(self._waiting)

    def note_version(self, definitions: int) -> None:
        """Note definitions by which something was published."""
        if definitions != self._ledger.definitions:
            self._versions.add(definitions)

    def take_over(self, old: RedefinedSlots) -> None:
        """Go on from the same market by other definitions."""
        for definitions in (old._ledger.definitions, *old._versions):
            self.note_version(definitions)

    def begin(self, is_final: Callable[[SlotId], bool]) -> None:
        """Find the final slots that other definitions had made. Others are closed in their time."""
        before = self._ledger.rows_before
        for slot_id in [each for each in before if not is_final(each)]:
            del before[slot_id]
        for definitions, _ in before.values():
            self.note_version(definitions)
        self._waiting = sorted(before, key=self._ledger.start_ms)

    def add_open(self, is_final: Callable[[SlotId], bool]) -> None:
        """Look at final slots that have open rows too, and first: no record says what they were."""
        if not self._versions:
            return
        opened = {each for each in self._ledger.open_slots() if is_final(each)}
        left = [each for each in self._waiting if each not in opened]
        self._waiting = left + sorted(opened, key=self._ledger.start_ms)

    def take_changed(self, most: int, days_left: Collection[int]) -> dict[SlotId, Touched]:
        """Look at the next slots; return what changed in each. All before are acknowledged.

        ``days_left``: ended days that are to be shown by these definitions before they are closed.
        """
        self._ledger.write_acknowledged(self._judged)
        self._judged = []
        while self._waiting and len(self._judged) < most:
            kind, start = self._waiting[-1]
            if kind == DAY_KIND and start in days_left:
                break
            self._judged.append(self._waiting.pop())
        found = ((each, self._touched(each)) for each in self._judged)
        changed = {slot_id: touched for slot_id, touched in found if touched is not None}
        if not self._waiting:
            self._versions.clear()
        return changed

    def _touched(self, slot_id: SlotId) -> Touched | None:
        """Return the values of a slot that are others than it was closed with; None: none is."""
        kind, start = slot_id
        row = self._ledger.day_sum(start) if kind == DAY_KIND else self._ledger.hour_sum(start)
        if row is None:
            return None  # retention dropped it
        now = list(_entries(kind, self._ledger.layout, row))
        shown = _seen(kind, now)
        # A member that has lost everything is said with 0, where it still is one.
        own = {name_of(each): _seen_of(each) for each in now}
        names: set[Name] = set()
        gone: set[Name] = set()
        for was in self._before(slot_id):
            if was is None:
                names |= shown.keys()
                continue
            names |= {name for name in own.keys() & was.keys() if own[name] != was[name]}
            names |= shown.keys() - was.keys()
            gone |= was.keys() - own.keys()
        return Touched(frozenset(names), tuple(sorted(gone))) if names or gone else None

    def _before(self, slot_id: SlotId) -> Iterator[dict[Name, _Seen] | None]:
        """Yield what a slot may have been closed with; None: by definitions that nobody knows."""
        kind, _ = slot_id
        held = self._ledger.rows_before.get(slot_id)
        if held is None:
            labels = self._ledger.label_rows(slot_id)
            versions = self._versions
        else:
            labels = self._ledger.open_labels(slot_id)
            versions = {held[0]}
        for version in sorted(versions):
            reading = self._reading(version)
            if reading is None:
                yield None
                continue
            layout, members = reading
            width = layout.day_width if kind == DAY_KIND else layout.live_width
            read = members.day if kind == DAY_KIND else members.live
            rows = [read(each) for each in labels]
            if held is not None:
                rows.append(from_wire(held[1], width))
            yield _seen(kind, _entries(kind, layout, sum_rows(rows, width)))

    def _reading(self, version: int) -> _VersionRows | None:
        if version not in self._readings:
            market = self._market_of(version)
            layout = None if market is None else Layout(market)
            self._readings[version] = (
                None if layout is None else _VersionRows(layout, MemberRows(layout))
            )
        return self._readings[version]


def _entries(kind: str, layout: Layout, row: Row) -> Iterator[Entry]:
    return book_entries(layout, row) if kind == DAY_KIND else live_entries(layout, row, row)


def _seen(kind: str, entries: Iterable[Entry]) -> dict[Name, _Seen]:
    """Return what a closing of the whole slot says of these entries."""
    found = list(entries)
    kept = None if kind == DAY_KIND else with_something(found)
    return {
        name_of(each): _seen_of(each)
        for each in found
        if kept is None or (each.dimension, each.member) in kept
    }


def _seen_of(entry: Entry) -> _Seen:
    return entry.value, entry.observed, entry.n, entry.lower, entry.upper

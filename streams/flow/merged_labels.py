"""Labels of the merged slots of one market: when they are cut, and how other definitions read them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from streams.flow.held_labels import HeldLabels
from streams.flow.merged import (
    DAY_KIND,
    HOUR,
    MINUTE,
    Merged,
    SlotId,
)
from streams.index import partials as col
from streams.index.label_rows import DAY_BOOK, LIVE_BOOK, PackedRow
from streams.index.member_rows import MemberRows
from streams.index.methodology import Market
from streams.index.panes import HOUR_MS, MINUTE_MS
from streams.index.partials import Layout, Row, add_into, sum_rows
from streams.index.summed_labels import LargestLabels


class MergedLabels:
    """Reads and cuts the labels of ``merged``, the slots of a ledger."""

    def __init__(
        self,
        merged: dict[SlotId, Merged],
        layout: Layout,
        members: MemberRows,
        pane_ms: int,
        market_of: Callable[[int], Market | None],
    ) -> None:
        """``market_of``: the market by a version of the definitions; None: nobody knows it."""
        self._merged = merged
        self._members = members
        self._layout = layout
        self._pane_ms = pane_ms
        self._market_of = market_of
        self._members_of: dict[int, MemberRows] = {}
        """By version, of others by which slots were cut."""

    @property
    def _version(self) -> int:
        return self._layout.market.definitions

    # -- cut -------------------------------------------------------------------------------------

    def cutting_hour(
        self, start_ms: int, open_rows: Callable[[], Iterable[PackedRow]]
    ) -> Iterator[int]:
        """Give an hour labels of its own: the sum of its minutes', cut to the largest.

        An hour of junk has 600,000 labels, so it yields after each row how many it has read. No
        minute may change before the end. ``open_rows``: rows of the hour that are not merged yet. They
        are counted to find the largest.
        """
        minutes = self._minutes(start_ms)
        largest = LargestLabels(LIVE_BOOK)
        for row in self._rows_of(minutes):
            largest.add(row)
            yield len(row.labels)
        for row in open_rows():
            largest.add(row)
        kept = largest.kept()
        del largest
        labels = HeldLabels(LIVE_BOOK)
        rows = self._rows_of(minutes)
        yield from labels.cutting(kept, rows, self._members.cut, self._version)
        hour = self._merged[HOUR, start_ms]
        hour.labels, hour.labelled = labels, self._bits_of_minutes(start_ms)
        hour.written = False

    def of_minutes(self, hour_ms: int) -> list[PackedRow]:
        """Return label rows that add up to the minutes of an hour."""
        return list(self._rows_of(self._minutes(hour_ms)))

    def cut_day(self, day: int, open_rows: Iterable[PackedRow]) -> None:
        """Cut the labels of a merged day to the largest."""
        merged = self._merged[DAY_KIND, day]
        if merged.labels is not None:
            rows, largest = merged.label_rows(), LargestLabels(DAY_BOOK)
            for row in chain(rows, open_rows):
                largest.add(row)
            for _ in merged.labels.cutting(largest.kept(), rows, self._members.cut, self._version):
                pass
            merged.written = False

    def as_held(self, merged: Merged, row: bytes) -> bytes:
        """Return an encoded row as a slot holds it: what that has cut is of the members of then."""
        version, labels = merged.cut_by, merged.labels
        if version is None or labels is None:
            return row
        return labels.as_cut(row, self._by(version).cut)

    def is_read_otherwise(self, merged: Merged) -> bool:
        """Whether a row may count as other members in a slot than alone: other definitions cut that."""
        return merged.cut_by not in (None, self._version)

    def _by(self, version: int) -> MemberRows:
        """Return what reads labels by a version; by that of now if nobody knows it any more."""
        found = self._members_of.get(version)
        if found is None:
            market = None if version == self._version else self._market_of(version)
            if market is None:
                return self._members
            found = self._members_of[version] = MemberRows(Layout(market))
        return found

    def _minutes(self, hour_ms: int) -> dict[int, Merged]:
        """Merged minutes of an hour, by their place in it."""
        starts = range(hour_ms, hour_ms + HOUR_MS, MINUTE_MS)
        found = {at: self._merged.get((MINUTE, start)) for at, start in enumerate(starts)}
        return {at: minute for at, minute in found.items() if minute is not None}

    def _bits_of_minutes(self, hour_ms: int) -> dict[str, int]:
        """Name the rows that the minutes of an hour contain, as the hour names them."""
        folded: dict[str, int] = {}
        for at, minute in self._minutes(hour_ms).items():
            first = at * (MINUTE_MS // self._pane_ms)
            for sp, bits in minute.folded.items():
                folded[sp] = folded.get(sp, 0) | bits << first
        return folded

    @staticmethod
    def _rows_of(slots: dict[int, Merged]) -> Iterator[PackedRow]:
        """Yield the label rows of slots one by one: all at once are decoded half a million labels."""
        for slot in slots.values():
            yield from slot.label_rows()

    # -- read by other definitions ---------------------------------------------------------------

    def project_anew(self, slots: Iterable[SlotId]) -> None:
        """Read slots whose rows were made by other definitions anew, from what was said.

        An hour without labels of its own is what its minutes are, and names the rows that they name.
        A row that one of them contains and the hour did not comes again, and counts no more.
        """
        found = sorted(slots, key=lambda slot: slot[0] == HOUR)  # minutes before their hours
        for kind, start in found:
            merged = self._merged[kind, start]
            if kind == MINUTE:
                panes = {at: self._sum([of.packed()]) for at, of in merged.pane_labels.items()}
                merged.panes = panes
                merged.row = self._sum(merged.label_rows())
            elif kind == DAY_KIND:
                rows = [self._members.day(row) for row in merged.label_rows()]
                merged.row = sum_rows(rows, len(merged.row))
            elif merged.labels is None:
                bits = self._bits_of_minutes(start)
                self._project_hour(merged, self.of_minutes(start), bits)
            else:
                bits = (merged.labelled or {}).copy()
                self._project_hour(merged, merged.label_rows(), bits)

    def _project_hour(self, hour: Merged, rows: list[PackedRow], labelled: dict[str, int]) -> None:
        """Read an hour from label rows, which contain ``labelled``: at least what it names itself.

        Minutes are written before their hours. So the labels lack a row of the hour only where a
        zombie wrote it after another owner had dropped the minutes.
        """
        row = self._sum(rows)
        if all(bits & ~labelled.get(sp, 0) == 0 for sp, bits in hour.folded.items()):
            if hour.folded != labelled:
                hour.folded = labelled
                hour.written = False  # the record must say so before those rows are deleted
        else:
            totals = hour.row[: col.LIVE_TOTALS]
            unsaid = [held - known for held, known in zip(totals, row, strict=False)]
            add_into(row, self._members.unsaid(unsaid))
        hour.row = row

    def _sum(self, rows: Iterable[PackedRow]) -> Row:
        return sum_rows([self._members.live(row) for row in rows], self._members.live_width)

"""Judges what level 2's table keeps of labels: the sum of exactly the rows that a slot names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import msgspec

from streams.flow.held_labels import decode_labels, decode_labels_part
from streams.flow.merged import BOOKS, DAY_KIND, HOUR, MergedRecord
from streams.index.label_text import CUT, MORE
from streams.proof.recompute.label_columns import read_row
from streams.proof.recompute.label_sums import WHOLE, LabelSums, differences
from streams.proof.recompute.member_sums import MemberSums
from streams.records.kafka_logs import Stored


@dataclass(slots=True)
class SlotLabels:
    """Labels that a merged record holds, and those that it must hold."""

    found: LabelSums
    cut_by: int | None
    """Version of the definitions by which they were cut; None: they were not."""
    named: dict[str, int]
    """Rows whose labels are in it, as bits by source partition."""
    expected: LabelSums = field(default_factory=LabelSums)

    def add(self, sp: str, bit: int, by_label: LabelSums) -> None:
        """Add a closed row, if its labels are in the record."""
        if self.named.get(sp, 0) >> bit & 1:
            add_labels(self.expected, by_label)

    def differing(self, members: Mapping[int, MemberSums]) -> Iterator[tuple[str, object, object]]:
        """Yield (name, expected, found). ``members``: by version of the market's definitions.

        Labels that were cut by a version that nobody knows any more are not judged.
        """
        if self.cut_by is None:
            return differences(self.expected, self.found)
        kept = {place for place in self.found.labels if not place[1].startswith((MORE, CUT))}
        kept.add(WHOLE)
        by = members.get(self.cut_by)
        if by is None:
            return differences(_of(self.expected, kept), _of(self.found, kept))
        expected = by.cut(self.expected, kept)
        expected.labels = self.found.labels  # a row that is not merged yet may have had some kept
        return differences(expected, self.found)


def labels_of(
    kind: str, record: MergedRecord, records: Mapping[bytes, Stored]
) -> SlotLabels | None:
    """Return the labels of a merged record; None: it has none. ValueError for what cannot be any."""
    encoded = record.labels
    if record.parts:
        parts = [records.get(key.encode()) for key in record.parts]
        if None in parts:
            raise ValueError(f"parts of its labels are missing: {record.parts}")
        encoded = b"".join(decode_labels_part(part.value or b"").part for part in parts if part)
    if not encoded:
        return None
    try:
        rest, panes, labelled = decode_labels(encoded, BOOKS[kind])
        rows = [rest.packed(), *(each.packed() for each in panes.values())]
    except (msgspec.DecodeError, LookupError) as error:
        raise ValueError(f"labels that cannot be read: {error}") from error
    found = LabelSums()
    for row in rows:
        add_labels(found, read_row(row, day=kind == DAY_KIND))
    named = record.folded if labelled is None or kind != HOUR else labelled
    bits = {sp: int.from_bytes(each, "little") for sp, each in named.items()}
    return SlotLabels(found, rest.cut_by, bits)


def add_labels(total: LabelSums, row: LabelSums) -> None:
    """Add a row by label to a sum."""
    for name, value in row.numbers.items():
        total.numbers[name] += value
    total.labels |= row.labels
    for each, orders in row.sets.items():
        total.sets[each] = total.sets.get(each, 0) + orders


def _of(sums: LabelSums, kept: set[tuple[str, str]]) -> LabelSums:
    found = LabelSums()
    own = {name: value for name, value in sums.numbers.items() if name.place in kept}
    found.numbers = Counter(own)
    return found

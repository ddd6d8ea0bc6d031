"""Merged minutes, quarters, hours and days of a market in level 2; each names what it contains.

A merged slot is the sum over source partitions of their closed rows. ``folded`` says which slots
are in the sum: one bit set for each source partition. Every slot is named, not only the last one.
So no row is lost or counted twice, in whatever order compaction and takeovers replay the rows
(sequences V6 and V7).

Minutes and days keep their labels too (``held_labels``). An hour's are those of its minutes, until
these are about to be dropped; then it gets labels of its own, cut to the largest.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from streams.flow.held_labels import HeldLabels, decode_labels, encode_labels
from streams.index.formats import numbered_decoder, numbered_encoder
from streams.index.label_rows import DAY_BOOK, LIVE_BOOK, Book, PackedRow
from streams.index.panes import HOUR_MS, MINUTE_MS, QUARTER_MS
from streams.index.partials import Row, add_into, from_wire, to_wire
from streams.index.shoppers import NOBODY, union

SlotId = tuple[str, int]
"""(kind, start ms or day number) of a merged slot."""
MINUTE, QUARTER, HOUR, DAY_KIND = "m", "q", "h", "d"
"""Kinds of merged slots. A quarter of an hour keeps only who bought: ``partials.BOUGHT``, a sketch."""
LENGTH_MS = {MINUTE: MINUTE_MS, QUARTER: QUARTER_MS, HOUR: HOUR_MS}
BOOKS: dict[str, Book] = {MINUTE: LIVE_BOOK, HOUR: LIVE_BOOK, DAY_KIND: DAY_BOOK}
"""By kind: of which book its labels are. A quarter has none."""

MINUTES_KEPT_MS = 25 * HOUR_MS
HOURS_LABELLED_MS = 24 * HOUR_MS
"""An hour that starts so long before the horizon has labels of its own. Its minutes outlast that."""
HOURS_KEPT_MS = 9 * 7 * 24 * HOUR_MS
DAYS_KEPT = 1_200
DAYS_UNCUT = 2
"""Days after the day grace for which a merged day takes new labels, of partitions that close it late."""
QUARTERS_KEPT_MS = 26 * HOUR_MS
"""Quarters are kept this long plus the grace: a local day of 25 hours needs them until it is final,
and a window of 24 hours reads them."""
SHOPPERS_OF_MINUTES_KEPT_MS = HOUR_MS
"""Minutes keep their sketches this long, for the 1h window; further back, quarters say who bought."""
PANES_KEPT_MS = 8 * MINUTE_MS
"""Pane resolution is needed at the edges of the 5m window only; older minutes keep their sum."""


class MergedRecord(msgspec.Struct, omit_defaults=True):
    """Table record of a merged slot; ``applied`` is the partials offset that it includes.

    ``changed``: partials offset of the last row in it. None: the record is older than this field.
    ``definitions``: version by which ``row`` and ``panes`` were read from labels.
    """

    applied: int
    row: list[int | str]
    folded: dict[str, bytes]
    panes: dict[int, list[int | str]] = {}
    shoppers: bytes = b""
    changed: int | None = None
    definitions: int = 0
    labels: bytes = b""
    """Encoded ``LabelsRecord``; empty where the slot has none, and where ``parts`` hold it."""
    parts: list[str] = []
    """Keys of the records that hold ``labels``, in order."""
    before: tuple[int, list[int | str]] | None = None
    """Of a final hour or day that was read anew: definitions and row by which it was closed, until it is
    said what that changed."""
    v: int = 0


encode_merged = numbered_encoder()
decode_merged = numbered_decoder(MergedRecord, "a merged slot")


class Merged:
    """One merged minute, quarter, hour or day in memory."""

    __slots__ = (
        "applied", "changed", "folded", "labelled", "labels", "pane_labels", "panes", "row", "sketch",
        "written",
    )  # fmt: skip

    def __init__(self, width: int, kind: str) -> None:
        self.row: Row = [0] * width
        self.folded: dict[str, int] = {}
        self.panes: dict[int, Row] = {}
        """Only in a recent minute: start of a pane -> the pane's part of ``row``."""
        self.labels = HeldLabels(BOOKS[kind]) if kind in (MINUTE, DAY_KIND) else None
        """Of the rows whose pane is not kept apart. None: a quarter has none, nor a recent hour."""
        self.pane_labels: dict[int, HeldLabels] = {}
        """Of the panes in ``panes``."""
        self.labelled: dict[str, int] | None = None
        """Rows whose labels are in ``labels``, where these need not be those of ``folded``: in hours."""
        self.sketch = NOBODY
        """Shoppers of a quarter, and of a minute of the last hour."""
        self.applied = -1
        self.changed = -1
        self.written = True

    def contains(self, sp: str, bit: int) -> bool:
        """Whether the slot number ``bit`` of this source partition is in the sum."""
        return bool(self.folded.get(sp, 0) >> bit & 1)

    @property
    def cut_by(self) -> int | None:
        """Version of the definitions by which the labels of the slot are cut; None: they are not."""
        return None if self.labels is None else self.labels.cut_by

    def lacks_labels(self, sp: str, bit: int) -> bool:
        """Whether this hour has labels of its own, and not those of the slot number ``bit``."""
        return self.labelled is not None and not self.labelled.get(sp, 0) >> bit & 1

    def fold(
        self,
        sp: str,
        bit: int,
        row: Row,
        pane_start_ms: int | None,
        sketch: bytes = NOBODY,
        *,
        offset: int,
    ) -> None:
        """Add a closed row of a source partition; the caller has checked ``contains``.

        ``offset``: offset of the partials record that first held the row.
        """
        add_into(self.row, row)
        self.changed = max(self.changed, offset)
        self.sketch = union((self.sketch, sketch))
        self.folded[sp] = self.folded.get(sp, 0) | 1 << bit
        if pane_start_ms is not None:
            pane = self.panes.get(pane_start_ms)
            if pane is None:
                self.panes[pane_start_ms] = row[:]
            else:
                add_into(pane, row)
        self.written = False

    def fold_labels(
        self, sp: str, bit: int, labels: bytes, pane_start_ms: int | None = None
    ) -> None:
        """Add the labels of a row that is folded; in an hour the caller has checked ``lacks_labels``.

        ``labels``: the encoded row; in a slot that is cut as its labels have it (``HeldLabels.as_cut``).
        """
        held = self.labels
        if held is None:
            return
        if pane_start_ms is not None:
            held = self.pane_labels.get(pane_start_ms)
            if held is None:
                held = self.pane_labels[pane_start_ms] = HeldLabels(LIVE_BOOK)
        held.add(labels)
        if self.labelled is not None:
            self.labelled[sp] = self.labelled.get(sp, 0) | 1 << bit
        self.written = False

    def drop_panes(self) -> None:
        """Keep the sum of the panes alone."""
        # Its record has them still: each new owner had to add them up again, 1,500 minutes at once.
        self.written = False
        self.panes.clear()
        if self.labels is not None:
            for of_pane in self.pane_labels.values():
                self.labels.add(of_pane.encoded())
            self.labels.encoded()
        self.pane_labels.clear()

    def label_rows(self) -> list[PackedRow]:
        """Return label rows that add up to the slot; none where it has no labels of its own."""
        held = [] if self.labels is None else [self.labels, *self.pane_labels.values()]
        return [each.packed() for each in held]

    def record(
        self,
        applied: int,
        definitions: int,
        before: tuple[int, list[int | str]] | None = None,
    ) -> MergedRecord:
        """Return the table record of the present state."""
        labelled = self.labelled
        if labelled == self.folded:
            labelled = None
        return MergedRecord(
            applied=applied,
            row=to_wire(self.row),
            folded=_to_bytes(self.folded),
            panes={start: to_wire(row) for start, row in self.panes.items()},
            shoppers=self.sketch,
            changed=self.changed,
            definitions=definitions,
            before=before,
            labels=b""
            if self.labels is None
            else encode_labels(
                self.labels, self.pane_labels, None if labelled is None else _to_bytes(labelled)
            ),
        )


def restore(record: MergedRecord, width: int, kind: str, totals: int | None = None) -> Merged:
    """Return the merged slot that a table record holds.

    ``totals``: only so many columns of its rows are read, as of a record under other definitions.
    """
    merged = Merged(width, kind)
    merged.row = _row_of(record.row, width, totals)
    merged.folded = _from_bytes(record.folded)
    merged.panes = {start: _row_of(row, width, totals) for start, row in record.panes.items()}
    if record.labels:
        merged.labels, merged.pane_labels, labelled = decode_labels(record.labels, BOOKS[kind])
        if kind == HOUR:
            merged.labelled = merged.folded.copy() if labelled is None else _from_bytes(labelled)
    merged.sketch = record.shoppers
    merged.applied = record.applied
    merged.changed = record.applied if record.changed is None else record.changed
    return merged


def _row_of(sparse: list[int | str], width: int, totals: int | None) -> Row:
    if totals is None:
        return from_wire(sparse, width)
    pairs = iter(sparse)
    kept = [
        (column, value) for column, value in zip(pairs, pairs, strict=True) if int(column) < totals
    ]
    return from_wire([each for pair in kept for each in pair], width)


def _to_bytes(folded: Mapping[str, int]) -> dict[str, bytes]:
    return {
        sp: bits.to_bytes((bits.bit_length() + 7) // 8, "little") for sp, bits in folded.items()
    }


def _from_bytes(folded: Mapping[str, bytes]) -> dict[str, int]:
    return {sp: int.from_bytes(bits, "little") for sp, bits in folded.items()}

"""Merged minutes, quarters, hours and days of a market in level 2; each names what it contains.

A merged slot is the sum over source partitions of their closed rows. ``folded`` says which slots
are in the sum: one bit set for each source partition. Every slot is named, not only the last one.
So no row is lost or counted twice, in whatever order compaction and takeovers replay the rows
(sequences V6 and V7).
"""

from __future__ import annotations

import msgspec

from streams.index.formats import numbered_decoder, numbered_encoder
from streams.index.panes import HOUR_MS, MINUTE_MS, QUARTER_MS
from streams.index.partials import Row, add_into, from_wire, to_wire
from streams.index.shoppers import NOBODY, union

SlotId = tuple[str, int]
"""(kind, start ms or day number) of a merged slot."""
MINUTE, QUARTER, HOUR, DAY_KIND = "m", "q", "h", "d"
"""Kinds of merged slots. A quarter of an hour keeps only who bought: ``partials.BOUGHT``, a sketch."""
LENGTH_MS = {MINUTE: MINUTE_MS, QUARTER: QUARTER_MS, HOUR: HOUR_MS}

MINUTES_KEPT_MS = 25 * HOUR_MS
HOURS_KEPT_MS = 9 * 7 * 24 * HOUR_MS
DAYS_KEPT = 1_200
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
    """

    applied: int
    row: list[int | str]
    folded: dict[str, bytes]
    panes: dict[int, list[int | str]] = {}
    shoppers: bytes = b""
    changed: int | None = None
    v: int = 0


encode_merged = numbered_encoder()
decode_merged = numbered_decoder(MergedRecord, "a merged slot")


class Merged:
    """One merged minute, quarter, hour or day in memory."""

    __slots__ = ("applied", "changed", "folded", "panes", "row", "sketch", "written")

    def __init__(self, width: int) -> None:
        self.row: Row = [0] * width
        self.folded: dict[str, int] = {}
        self.panes: dict[int, Row] = {}
        """Only in a recent minute: start of a pane -> the pane's part of ``row``."""
        self.sketch = NOBODY
        """Shoppers of a quarter, and of a minute of the last hour."""
        self.applied = -1
        self.changed = -1
        self.written = True

    def contains(self, sp: str, bit: int) -> bool:
        """Whether the slot number ``bit`` of this source partition is in the sum."""
        return bool(self.folded.get(sp, 0) >> bit & 1)

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

    def record(self, applied: int) -> MergedRecord:
        """Return the table record of the present state."""
        return MergedRecord(
            applied=applied,
            row=to_wire(self.row),
            folded={
                sp: bits.to_bytes((bits.bit_length() + 7) // 8, "little")
                for sp, bits in self.folded.items()
            },
            panes={start: to_wire(row) for start, row in self.panes.items()},
            shoppers=self.sketch,
            changed=self.changed,
        )


def restore(record: MergedRecord, width: int) -> Merged:
    """Return the merged slot that a table record holds."""
    merged = Merged(width)
    merged.row = from_wire(record.row, width)
    merged.folded = {sp: int.from_bytes(bits, "little") for sp, bits in record.folded.items()}
    merged.panes = {start: from_wire(row, width) for start, row in record.panes.items()}
    merged.sketch = record.shoppers
    merged.applied = record.applied
    merged.changed = record.applied if record.changed is None else record.changed
    return merged

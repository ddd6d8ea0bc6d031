"""What level 2 has kept of labels, against what the log says; and read anew, as a takeover would."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

from streams.flow.ledger import Ledger
from streams.flow.merged import DAY_KIND, HOUR, MINUTE, decode_merged, encode_merged
from streams.flow.state import DAY, LIVE
from streams.index.label_rows import DAY_BOOK, LIVE_BOOK, PackedRow
from streams.index.label_text import CUT, MORE
from streams.index.methodology import Market, Methodology
from streams.index.summed_labels import LabelSum
from tests.support.by_name import said_row, without_zeros

_DIMENSIONS = ("category", "payment_method", "region", "channel")

Said = Mapping[int, Counter]
"""Start of a slot -> its nonzero counts by label, and its label sets."""


def differing(ledger: Ledger, minutes: Said, hours: Said, days: Said) -> Iterator[str]:
    """What is not as the log says. Of what was cut, the labels that were kept and the totals are."""
    for kind, expected in ((MINUTE, minutes), (HOUR, hours), (DAY_KIND, days)):
        for start, wanted in expected.items():
            merged = ledger.merged.get((kind, start))
            rows = ledger.label_rows((kind, start))
            found = _said(kind, rows)
            right = dict(without_zeros(wanted))
            right.pop(("shoppers",), None)
            if merged is not None and merged.cut_by is not None:
                # Rows that are still open may name labels that were cut.
                texts = merged.labels.packed().labels
                kept = {("", ""), *((_DIMENSIONS[int(text[0])], text[1:]) for text in texts)}
                kept = {place for place in kept if not place[1].startswith((MORE, CUT))}
                found, right = (_kept(counts, kept) for counts in (found, right))
            if found != right:
                yield f"labels of {kind} {start}: {found}, expected {right}"


def read_anew(ledger: Ledger, market: Market, methodology: Methodology) -> Iterator[str]:
    """What another version of the same definitions makes of the records: the same."""
    other = Ledger(replace(market, definitions=ledger.definitions + 1), methodology)
    for slot_id, merged in ledger.merged.items():
        record = decode_merged(encode_merged(merged.record(0, ledger.definitions)))
        other.restore(slot_id, record)
    other.project_anew()
    for slot_id, merged in ledger.merged.items():
        found = other.merged[slot_id]
        if found.row != merged.row or found.folded != merged.folded:
            yield f"{slot_id} anew: {found.row} of {found.folded}, was {merged.row} of {merged.folded}"
        if found.panes != merged.panes:
            yield f"panes of {slot_id} anew: {found.panes}, were {merged.panes}"


def _said(kind: str, rows: list[PackedRow]) -> dict[tuple, int]:
    book, name = (DAY_BOOK, DAY) if kind == DAY_KIND else (LIVE_BOOK, LIVE)
    total = LabelSum(book)
    for row in rows:
        total.add(row)
    return dict(said_row(name, total.packed())[0])


def _kept(counts: Mapping[tuple, int], kept: set) -> dict[tuple, int]:
    return {
        name: count
        for name, count in counts.items()
        if name[0] != "set" and (name[1:] or ("", "")) in kept
    }

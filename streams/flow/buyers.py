"""Who bought in a span: what the rows of a market say, and the union of their sketches.

Minutes have sketches for an hour only, then quarters of an hour stand for them: 96 unions make a day,
and four kilobytes a quarter hold what 1,440 minutes would need six megabytes for.
"""

from __future__ import annotations

from collections.abc import Sequence

from streams.flow.ledger import Ledger
from streams.flow.merged import LENGTH_MS, MINUTE, QUARTER, SlotId
from streams.index.panes import MINUTE_MS, QUARTER_MS
from streams.index.partials import BOUGHT
from streams.index.shoppers import Bought, union


def bought_in(ledger: Ledger, start_ms: int, end_ms: int) -> Bought:
    """Who bought in ``[start, end)``, both whole minutes, further back whole quarters."""
    parts: list[Bought] = []
    at = start_ms
    while at < end_ms:
        whole = at % QUARTER_MS == 0 and at + QUARTER_MS <= end_ms
        parts += _parts(ledger, (QUARTER if whole else MINUTE, at))
        at += QUARTER_MS if whole else MINUTE_MS
    return together(parts)


def _parts(ledger: Ledger, slot_id: SlotId) -> list[Bought]:
    kind = slot_id[0]
    parts: list[Bought] = []
    merged = ledger.merged.get(slot_id)
    if merged is not None:
        orders, known, new = merged.row if kind == QUARTER else merged.row[BOUGHT]
        parts.append(Bought(orders, known, new, merged.sketch))
    for open_row in ledger.open_rows(slot_id, LENGTH_MS[kind]):
        orders, known, new = open_row.row[BOUGHT]
        parts.append(Bought(orders, known, new, open_row.sketch))
    return parts


def together(parts: Sequence[Bought]) -> Bought:
    """All of them: orders add up, shoppers are met once."""
    return Bought(
        sum(part.orders for part in parts),
        sum(part.known for part in parts),
        sum(part.new for part in parts),
        union(part.sketch for part in parts),
    )

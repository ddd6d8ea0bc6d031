"""Who bought in a span: the counts in a market's rows, and the union of their sketches.

Minutes keep sketches for an hour only; further back, quarters of an hour replace them. A day is
then 96 unions, and a quarter takes four kilobytes; sketches of 1,440 minutes would take six
megabytes.
"""

from __future__ import annotations

from collections.abc import Sequence

from streams.flow.ledger import Ledger
from streams.flow.merged import LENGTH_MS, MINUTE, QUARTER, SlotId
from streams.index.panes import MINUTE_MS, QUARTER_MS
from streams.index.partials import BOUGHT
from streams.index.shoppers import Bought, union


def bought_in(ledger: Ledger, start_ms: int, end_ms: int) -> Bought:
    """Return who bought in ``[start, end)``, both on whole minutes, further back on whole quarters."""
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
    """Return the union of the parts: counts add up, and a shopper of several parts counts once."""
    return Bought(
        sum(part.orders for part in parts),
        sum(part.known for part in parts),
        sum(part.new for part in parts),
        union(part.sketch for part in parts),
    )

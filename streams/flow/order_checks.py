"""Checks of an order event that the careful paths share: when it was placed, and its sums."""

from __future__ import annotations

from streams.flow.set_aside import placed
from streams.flow.source_state import SourceState
from streams.flow.state import MarketState, Pane
from streams.index import partials as col
from streams.index.event_types import SUM_MAX, OrderEvent, Rejected

_DAY_LEDGERS = range(0, 2 * col.LATE_AT, 3)


def placed_instant(event: OrderEvent, occurred_ms: int, ahead_ms: int) -> int | Rejected:
    """Return when (ms) the event's order was placed, or why nobody knows."""
    if event.placed_at is not None:
        return placed(event.placed_at, occurred_ms, ahead_ms)
    if event.type == "order.placed":
        return occurred_ms
    return Rejected("placed_at_missing", f"{event.type} without placed_at")


def overflows(
    source: SourceState,
    state: MarketState,
    pane: Pane | None,
    day_number: int,
    units: int,
    sales: int,
) -> bool:
    """Whether the units or sales of the pane, or of any ledger of the day, would pass 63 bits."""
    if source.volume + units + sales <= SUM_MAX:
        return False
    day = state.days.get(day_number)
    held = [(0, 0)]
    if pane is not None:
        held.append((pane.row.numbers[col.UNITS], pane.row.numbers[col.SALES]))
    if day is not None:
        row = day.row.numbers
        held += [(row[ledger + 1], row[ledger + 2]) for ledger in _DAY_LEDGERS]
    return any(
        held_units + units > SUM_MAX or held_sales + sales > SUM_MAX
        for held_units, held_sales in held
    )

"""Records that are not counted (too late, or dead with a reason), and what a fold reports."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from streams.flow.admission import TOO_LATE
from streams.flow.chunk import Chunk
from streams.flow.state import MarketState
from streams.index.events import OrderEvent, PaymentEvent, Rejected


@dataclass(frozen=True, slots=True)
class SetAside:
    """A record that was not counted, too late or dead with its reason, in its original bytes."""

    offset: int
    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    reason: str
    detail: str


@dataclass(slots=True)
class Folded:
    """Result of folding part of a chunk. ``outcomes`` counts records by admission outcome."""

    outcomes: Counter[str] = field(default_factory=Counter)
    late: list[SetAside] = field(default_factory=list)
    dead: list[SetAside] = field(default_factory=list)

    def add_dead_letter(self, chunk: Chunk, position: int, rejected: Rejected) -> None:
        """Set a record aside as a dead letter."""
        self.dead.append(_set_aside(chunk, position, rejected.reason, rejected.detail))

    def add_late(self, chunk: Chunk, position: int, lateness_ms: int) -> None:
        """Set a record aside as too late."""
        self.late.append(_set_aside(chunk, position, TOO_LATE, f"lateness {lateness_ms} ms"))


def _set_aside(chunk: Chunk, position: int, reason: str, detail: str) -> SetAside:
    return SetAside(
        offset=chunk.offset_at(position),
        key=chunk.keys[position],
        value=chunk.values[position],
        timestamp_ms=chunk.timestamps_ms[position],
        reason=reason,
        detail=detail,
    )


OVERFLOW = Rejected("overflow", "a sum would pass 63 bits")


def refused(
    event: OrderEvent | PaymentEvent, state: MarketState | None, occurred_ms: int | None
) -> Rejected:
    """Return why a decoded event is refused: its market, its time or its currency."""
    if state is None:
        return Rejected(
            "unknown_market", f"market {event.market[:40]!r} is not in methodology.toml"
        )
    if occurred_ms is None:
        return Rejected("invalid_time", f"occurred_at {event.occurred_at!r} is not RFC 3339")
    return Rejected("wrong_currency", f"{event.currency[:16]!r}, expected {state.currency}")


def ahead(occurred_ms: int, arrived_ms: int) -> Rejected:
    """Return the rejection of an event from the future."""
    return Rejected("ahead", f"{occurred_ms - arrived_ms} ms after its arrival")


def bad_placed(placed_ms: int | None) -> Rejected:
    """Return the rejection of a placed_at that is no time, or lies after the event."""
    if placed_ms is None:
        return Rejected("invalid_time", "placed_at is not RFC 3339")
    return Rejected("placed_after_occurred", "placed_at lies after occurred_at")


def pane_limit(panes_max: int) -> Rejected:
    """Return the rejection of an event that needs one pane too many."""
    return Rejected("pane_limit", f"{panes_max} panes are open in this partition and market")

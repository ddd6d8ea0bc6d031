"""Records that are set aside (late, or dead with a reason), and what a fold reports."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from streams.flow.admission import IGNORED, TOO_LATE
from streams.flow.chunk import Chunk
from streams.index.event_types import Ignored, OrderEvent, Parts, PaymentEvent, Rejected
from streams.index.instants import parse_instant

_CODE_MAX = 3
"""Letters and digits of a code that says nothing of a person: those of ISO 3166 and 4217."""


@dataclass(frozen=True, slots=True)
class SetAside:
    """A record in its original bytes: dead with its reason, or too late for the live book.

    Reason ``day_only``: it counts in the day book, and sent again it would be a copy.
    """

    offset: int
    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    reason: str
    detail: str
    imported: bool = False
    """Its producer's stamp is believed (index/stamps.py), and that of a copy must be too."""


class LostParts(NamedTuple):
    """Parts of counted events that are not counted, for one reason: how many, and where the last is."""

    lost: int
    offset: int
    detail: str


@dataclass(slots=True)
class Folded:
    """Result of folding part of a chunk. ``outcomes`` counts records by admission outcome."""

    outcomes: Counter[str] = field(default_factory=Counter)
    ignored: Counter[str] = field(default_factory=Counter)
    """Records that are no events of the contract, by reason; all of them are in ``outcomes`` too."""
    parts: dict[str, LostParts] = field(default_factory=dict)
    """By reason; see ``event_types.PART_REASONS``."""
    late: list[SetAside] = field(default_factory=list)
    dead: list[SetAside] = field(default_factory=list)

    def add_dead_letter(self, chunk: Chunk, position: int, rejected: Rejected) -> None:
        """Set a record aside as a dead letter."""
        self.dead.append(_set_aside(chunk, position, rejected.reason, rejected.detail))

    def set_aside_undecoded(self, chunk: Chunk, position: int, found: Rejected | Ignored) -> None:
        """Note a record that is no event."""
        if isinstance(found, Rejected):
            self.add_dead_letter(chunk, position, found)
        else:
            self.ignored[found.reason] += 1
            self.outcomes[IGNORED] += 1

    def add_parts(self, chunk: Chunk, position: int, parts: Parts) -> None:
        """Note the parts of an accepted event that are not counted."""
        offset = chunk.offset_at(position)
        for reason, part in parts.items():
            known = self.parts.get(reason)
            lost = part.lost if known is None else known.lost + part.lost
            self.parts[reason] = LostParts(lost, offset, part.detail)

    def add_late(
        self, chunk: Chunk, position: int, lateness_ms: int, outcome: str = TOO_LATE
    ) -> None:
        """Set a record aside as too late, or as one that counts in the day only."""
        self.late.append(_set_aside(chunk, position, outcome, f"lateness {lateness_ms} ms"))


def _set_aside(chunk: Chunk, position: int, reason: str, detail: str) -> SetAside:
    return SetAside(
        offset=chunk.offset_at(position),
        key=chunk.keys[position],
        value=chunk.values[position],
        timestamp_ms=chunk.timestamps_ms[position],
        reason=reason,
        detail=detail,
        imported=not chunk.by_broker and not chunk.is_doubtful(position),
    )


OVERFLOW = Rejected("overflow", "a sum would pass 63 bits")
BAD_STAMP = Rejected(
    "invalid_time", "the record's timestamp is not of 1970 to 2099: is it in milliseconds?"
)


class Priced(Protocol):
    """A market, as far as an event is held against it."""

    @property
    def currency(self) -> str:
        """Its one currency."""
        ...


def refused(
    event: OrderEvent | PaymentEvent, market: Priced | None, occurred_ms: int | None
) -> Rejected:
    """Return why a decoded event is refused: its market, its time or its currency."""
    if market is None:
        return Rejected(
            "unknown_market", f"market {_shown(event.market)} is not in methodology.toml"
        )
    if occurred_ms is None:
        return Rejected("invalid_time", "occurred_at is not RFC 3339")
    return Rejected("wrong_currency", f"{_shown(event.currency)}, expected {market.currency}")


def _shown(code: str) -> str:
    """Show a code of a market or a currency; of a longer text only how long it is.

    The detail stands on the page, in Redis and in logs, and a shop may write anything into a field.
    """
    short = len(code) <= _CODE_MAX and code.isascii() and code.isalnum()
    return repr(code) if short else f"of {len(code)} characters"


def ahead(occurred_ms: int, arrived_ms: int) -> Rejected:
    """Return the rejection of an event from the future."""
    return Rejected("ahead", f"{occurred_ms - arrived_ms} ms after its arrival")


def no_room(arrived_ms: int, watermark_ms: int) -> Rejected:
    """Return the rejection of an event whose arrival is doubted, and whose pane may not open."""
    ahead_of = arrived_ms - watermark_ms
    return Rejected(
        "ahead", f"arrived {ahead_of} ms after its market's others, by its producer's stamp"
    )


def placed(text: str, occurred_ms: int, ahead_ms: int) -> int | Rejected:
    """Return when the order was placed (ms), or why that is no time or too far after the event.

    Two services have two clocks: a payment may be captured before its order was placed, by theirs. What
    ``ahead_ms`` allows between a producer and the broker is allowed between two producers.
    """
    placed_ms = parse_instant(text)
    if placed_ms is None:
        return Rejected("invalid_time", "placed_at is not RFC 3339")
    if placed_ms > occurred_ms + ahead_ms:
        after = f"placed_at lies {placed_ms - occurred_ms} ms after occurred_at, at most {ahead_ms}"
        return Rejected("placed_after_occurred", after)
    return placed_ms

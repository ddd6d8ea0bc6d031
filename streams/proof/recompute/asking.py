"""What a replay is asked to keep, what it answers, and from which instant on it can tell."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

from streams.flow.state import NEVER_MS, SlotKey
from streams.index.methodology import Methodology
from streams.proof.recompute.label_sums import LabelSums

FOREVER_MS = 2**62


@dataclass(slots=True)
class Ask:
    """What to keep of the replay of one source partition."""

    state_at: int | None = None
    """Offset at which the whole state is wanted (the checkpoint's ``through``)."""
    rows_at: dict[int, set[SlotKey]] = field(default_factory=dict)
    """Offset -> slots whose row is wanted as of that offset, included."""
    keep: set[SlotKey] = field(default_factory=set)
    """Slots wanted in the state even if they are closed by then."""
    watermarks_at: set[int] = field(default_factory=set)
    """Offsets after which the watermarks of the markets are wanted."""


@dataclass(slots=True)
class PrefixState:
    """The state after some offset: what a checkpoint must hold."""

    watermarks: dict[str, int]
    rows: dict[SlotKey, LabelSums]
    """Rows of every open slot, and of the closed slots that were asked for."""
    open: frozenset[SlotKey]
    ids: dict[SlotKey, array[int]]
    """Hashed ids of each open pane, sorted."""
    floors: dict[str, int]
    """By market, where panes gave way to newer ones: start (ms) of the first pane that may open."""
    notes: dict[SlotKey, list[tuple[int, int]]] = field(default_factory=dict)
    """(hash of the order, kind) of each correction that is remembered, by its UTC day of arrival."""
    doubts: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    """By market: (hash of the order, arrival in ms) of the doubted records."""


def blind_before(begins_at: int, first_ms: int | None, methodology: Methodology) -> int:
    """Return the instant before which slots cannot be recomputed, as the log has lost its beginning.

    Lost events arrived before the first remaining record (``first_ms``), except for disorder of up to
    the grace. An event occurs at most ``ahead_ms`` after its arrival.
    """
    if begins_at == 0:
        return NEVER_MS
    if first_ms is None:
        return FOREVER_MS
    return first_ms + methodology.ahead_ms + methodology.grace_ms

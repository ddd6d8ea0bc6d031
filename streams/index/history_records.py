"""Records of ``ecindex.history``: seeded hours, and what the operator declares.

A record is JSON of one of six kinds. The key names the kind:

- ``market|hour|START|SEED``: what a warehouse counted in an hour.
- ``market|seed|SEED``: the seed is complete and may be used.
- ``market|factor|DIMENSION|MEMBER|FROM|TO``: a ``learning.Factor``; a tombstone takes it back.
- ``market|said|INSTANT|DIMENSION|MEMBER|FROM|TO``: the factor was declared or taken back at that
  instant. One record for each time: the topic is compacted, so without them nobody could find out later
  which factor applied when a value was made.
- ``*|accepted|TOPIC|CHANGE``: the operator accepts a change of an input's log, and the partitions that
  were halted by it go on.
- ``market|reset|GENERATION``: the operator has set the market's ``as_of`` back.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from streams.index.demand import SCALE
from streams.index.formats import json_decoder
from streams.index.instants import parse_instant
from streams.index.learning import Factor
from streams.index.methodology import FACTOR_MAX
from streams.index.panes import HOUR_MS, rfc3339
from streams.index.values import VERSION

HOUR_KIND, SEED_KIND, FACTOR_KIND, DECLARED_KIND = "hour", "seed", "factor", "said"
ACCEPTED_KIND = "accepted"
ALL_MARKETS = "*"
"""In place of the market in the key of a record that is about all of them."""
RESET_KIND = "reset"
_IMPLAUSIBLE_FROM_MS = 4_102_444_800_000
"""2100-01-01T00:00:00Z."""


class SeededRow(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What was counted for a member in an hour; a measure is None where the seed does not state it."""

    dimension: str
    member: str
    orders: int | None = None
    units: int | None = None
    sales: int | None = None
    payments: int | None = None
    amount: int | None = None
    failed: int | None = None


class SeededHour(msgspec.Struct, frozen=True):
    """All rows of the hour that starts at ``hour`` (RFC 3339)."""

    seed: str
    market: str
    hour: str
    rows: list[SeededRow]
    v: int = 1


class SeedComplete(msgspec.Struct, frozen=True):
    """The last record of a seed. An hour of ``[start, end)`` without a record had no events.

    ``given``: every (dimension, measure) that the seed states. It says nothing about others.
    """

    seed: str
    market: str
    start: str
    end: str
    given: list[tuple[str, str]]
    v: int = 1


class DeclaredFactor(msgspec.Struct, frozen=True):
    """The operator's factor for hours. ``factor`` None: an event of unknown size."""

    market: str
    dimension: str
    member: str
    start: str
    end: str
    factor: float | None
    v: int = 1

    def as_factor(self) -> Factor:
        """The factor with times in epoch ms and its size in units of 1 / SCALE."""
        start_ms, end_ms = hour_of(self.start), hour_of(self.end)
        factor = None if self.factor is None else round(self.factor * SCALE)
        return Factor((self.dimension, self.member), start_ms, end_ms, factor)

    @property
    def key(self) -> bytes:
        """Key of the record in the topic."""
        parts = (self.market, FACTOR_KIND, self.dimension, self.member, self.start, self.end)
        return "|".join(parts).encode()


class FactorDeclaration(
    msgspec.Struct, frozen=True, rename={"declared_at": "at", "declared": "said"}
):
    """One time that a factor was declared. ``declared`` None: it was taken back."""

    market: str
    declared_at: str
    key: str
    """Key of the factor's own record."""
    declared: DeclaredFactor | None
    v: int = 1


class AcceptedChange(msgspec.Struct, frozen=True, rename={"accepted_at": "at"}):
    """The operator lets the partitions go on that ``change`` of the topic's log has halted.

    ``change``: as the halt named it (``flow.log_change``). ``topic_id``: of the topic that there
    was then; empty: not known.
    """

    topic: str
    change: str
    accepted_at: str
    reason: str = ""
    v: int = 1
    topic_id: str = ""

    @property
    def key(self) -> bytes:
        """Key of the record in the topic."""
        return f"{ALL_MARKETS}|{ACCEPTED_KIND}|{self.topic}|{self.change}".encode()


class ClockReset(msgspec.Struct, frozen=True, rename={"declared_at": "at"}):
    """The market's ``as_of`` may go back, once: from here on it counts in this generation.

    ``partials_end``: where the market's partition of ``ecindex.partials`` ended, in the topic of id
    ``partials_id``. Marks before it may be what was false; -1: not known, so all count.
    """

    market: str
    generation: int
    declared_at: str
    reason: str
    v: int = 1
    partials_end: int = -1
    partials_id: str = ""

    @property
    def key(self) -> bytes:
        """Key of the record in the topic: one for each generation, so none is lost."""
        return f"{self.market}|{RESET_KIND}|{self.generation}".encode()


class HistoryError(ValueError):
    """A record of the topic is not one of ours. Whoever wrote it must act."""


class Key(NamedTuple):
    """Market and kind, parsed from a record's key."""

    market: str
    kind: str


Content = (
    SeededHour | SeedComplete | DeclaredFactor | FactorDeclaration | AcceptedChange | ClockReset
)
_KINDS: dict[str, type[Content]] = {
    HOUR_KIND: SeededHour,
    SEED_KIND: SeedComplete,
    FACTOR_KIND: DeclaredFactor,
    DECLARED_KIND: FactorDeclaration,
    ACCEPTED_KIND: AcceptedChange,
    RESET_KIND: ClockReset,
}
_DECODERS = {
    kind: json_decoder(type_, f"a record ({kind}) of the history", VERSION)
    for kind, type_ in _KINDS.items()
}
_encode = msgspec.json.Encoder().encode


def parse_key(key: bytes) -> Key:
    """Market and kind of a record's key; HistoryError when it is no key of the topic."""
    parts = key.decode(errors="replace").split("|")
    if len(parts) < 3 or parts[1] not in _KINDS:  # noqa: PLR2004 - market, kind, the kind's own parts
        raise HistoryError(f"key {key!r}: expected market|{'/'.join(_KINDS)}|..")
    return Key(parts[0], parts[1])


def decode_content(kind: str, value: bytes) -> Content:
    """Content of a record; HistoryError unless it fits its kind and its instants are whole hours."""
    try:
        content = _DECODERS[kind](value)
    except msgspec.DecodeError as error:
        raise HistoryError(f"{kind}: {error}") from error
    if isinstance(content, AcceptedChange):
        return content
    entry = content.declared if isinstance(content, FactorDeclaration) else content
    if isinstance(entry, SeededHour):
        hour_of(entry.hour)
    elif isinstance(entry, ClockReset):
        if entry.generation < 1:
            raise HistoryError(f"{kind}: generation {entry.generation}; expected 1 or more")
    elif entry is not None:
        if isinstance(entry, DeclaredFactor) and not 0 <= (entry.factor or 0) <= FACTOR_MAX:
            raise HistoryError(f"{kind}: factor {entry.factor}; expected 0 to {FACTOR_MAX:g}")
        hour_of(entry.start)
        hour_of(entry.end)
    return content


def hour_of(text: str) -> int:
    """UTC epoch ms of an RFC 3339 text; HistoryError unless it is a whole hour."""
    instant_ms = parse_instant(text)
    if instant_ms is None or instant_ms % HOUR_MS:
        raise HistoryError(f"{text!r}: expected a whole hour, RFC 3339")
    return instant_ms


def is_plausible(hour_ms: int) -> bool:
    """Whether an hour may be one of a shop's history or plans: from 1970 until the end of 2099.

    The year 26 or 9999 is a slip of the hand. Commands refuse it; records are read as they are.
    """
    return 0 <= hour_ms < _IMPLAUSIBLE_FROM_MS


def seed_records(
    market: str,
    seed: str,
    hours: dict[int, list[SeededRow]],
    given: list[tuple[str, str]],
) -> list[tuple[bytes, bytes]]:
    """(key, value) of every record of a seed; the ``SeedComplete`` comes last."""
    records = [
        (
            f"{market}|{HOUR_KIND}|{rfc3339(hour_ms)}|{seed}".encode(),
            _encode(SeededHour(seed, market, rfc3339(hour_ms), rows)),
        )
        for hour_ms, rows in sorted(hours.items())
    ]
    start, end = rfc3339(min(hours)), rfc3339(max(hours) + HOUR_MS)
    complete = SeedComplete(seed, market, start, end, sorted(given))
    records.append((f"{market}|{SEED_KIND}|{seed}".encode(), _encode(complete)))
    return records


def accepted_record(accepted: AcceptedChange) -> tuple[bytes, bytes]:
    """(key, value) of a change of a log that the operator accepts."""
    return accepted.key, _encode(accepted)


def factor_record(declared: DeclaredFactor) -> tuple[bytes, bytes]:
    """(key, value) of an operator's factor."""
    return declared.key, _encode(declared)


def reset_record(reset: ClockReset) -> tuple[bytes, bytes]:
    """(key, value) of an operator's reset."""
    return reset.key, _encode(reset)


def declaration_records(
    declared: DeclaredFactor, at_ms: int, *, taken_back: bool = False
) -> list[tuple[bytes, bytes | None]]:
    """Records that declare a factor, or take it back, at ``at_ms``; the declaration comes first."""
    key, value = factor_record(declared)
    at = rfc3339(at_ms)
    market, _, rest = key.decode().split("|", 2)
    once = FactorDeclaration(market, at, key.decode(), None if taken_back else declared)
    lasting = f"{market}|{DECLARED_KIND}|{at}|{rest}".encode()
    return [(lasting, _encode(once)), (key, None if taken_back else value)]

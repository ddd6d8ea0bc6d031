"""A record of the journal (docs/contract.md), as whoever reads it back decodes it."""

from __future__ import annotations

import msgspec

from streams.index.values import Value


class JournaledRevision(msgspec.Struct):
    """A value that changed, what it was before, and why."""

    cause: str
    value: Value
    previous: int | float | None = None


class JournaledSeries(msgspec.Struct):
    """One series of a vintage. All but the days are integers in millionths."""

    dimension: str
    member: str
    measure: str
    first_hour: str
    expected: list[int]
    noise_hour: int
    noise_day: int
    dispersion: int
    learnt_days: int


class JournaledBase(msgspec.Struct):
    """A base of the level index. ``net_minor``: net sales of its days; ``link``: from the one before."""

    cause: str
    first: str
    last: str
    days: int
    net_minor: int
    final: bool
    previous: str | None = None
    link: float | None = None


class JournalRecord(msgspec.Struct):
    """Any record of the journal; what its kind does not have is empty."""

    kind: str
    market: str
    as_of: str
    edition: int
    part: int
    parts: int
    start: str | None = None
    end: str | None = None
    vintage: str | None = None
    values: list[Value] = []
    revisions: list[JournaledRevision] = []
    series: list[JournaledSeries] = []
    base: str | None = None
    bases: list[JournaledBase] = []


decode_journal = msgspec.json.Decoder(JournalRecord).decode

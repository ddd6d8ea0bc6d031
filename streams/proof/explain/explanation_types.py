"""Types of what is read to explain a value, and of the explanation. No IO."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from streams.index.learning import Factor
from streams.index.values import Fence, Value
from streams.records.journal_record import JournaledRevision, JournaledSeries
from streams.records.unreadable import UnreadableSummary

Number = int | float


@dataclass(frozen=True, slots=True)
class Asked:
    """The value to explain. ``at_ms`` None: its newest publication."""

    market: str
    index: str
    member: str
    window: str
    dimension: str | None = None
    at_ms: int | None = None
    day: str | None = None


class PublishedValue(NamedTuple):
    """A published value, and the record that holds it."""

    value: Value
    version: Fence
    where: str
    written_ms: int


class Vintaged(NamedTuple):
    """A journaled vintage, with those of its series that were asked for."""

    name: str
    version: Fence
    where: str
    series: dict[tuple[str, str, str], JournaledSeries]
    """By (dimension, member, measure)."""


@dataclass(slots=True)
class Closed:
    """A journaled closing and its entry for one value. A member that counted nothing has none."""

    version: Fence
    where: str
    value: Value | None = None

    @property
    def observed(self) -> int:
        """Count of the value; 0 without an entry."""
        return 0 if self.value is None else self.value.observed or 0


class Revised(NamedTuple):
    """A journaled revision of the value."""

    revision: JournaledRevision
    where: str


class Based(NamedTuple):
    """A base of the level index, and the record that states it."""

    name: str
    days: int
    net_minor: int
    where: str


@dataclass(slots=True)
class Journal:
    """Journal records needed to explain one value."""

    vintages: dict[str, Vintaged] = field(default_factory=dict)
    closings: dict[tuple[str, int], Closed] = field(default_factory=dict)
    """By kind and start in ms."""
    revisions: list[Revised] = field(default_factory=list)
    bases: dict[str, Based] = field(default_factory=dict)
    """By name."""
    cut: bool = False
    """Whether reading began after the first record of the journal."""


class Known(NamedTuple):
    """Everything that an explanation is made from."""

    values: Mapping[str, PublishedValue]
    """The market's values at one publication, by key."""
    journal: Journal
    factors: list[Factor]
    """Those of methodology.toml, then of the operator, as declared when the value was written."""
    rows: CountedRows | None = None
    """Rows that the count is made of; None: they were not read."""
    applied: Mapping[int, str] = {}
    """By version of the definitions: who applied it, and why."""


class MadeOf(msgspec.Struct, frozen=True):
    """A part of what was counted, and where its rows lie."""

    source: str
    """The source partition that counted them, or what merged slots they are in."""
    observed: int
    slots: int
    """How many panes, or days; of merged slots: how many of these."""
    through: int | None
    """Last offset of the input that is counted; None for merged slots, which are final."""
    where: str
    """``topic-partition@first..last`` of the records."""


class CountedRows(NamedTuple):
    """What a count is made of, as ``made_of`` reads it."""

    parts: list[MadeOf]
    observed: int | None
    """Their sum; None: it cannot be told, see ``why``."""
    why: str
    """Why the sum need not be what was published, or cannot be told; empty if it must."""

    def make(self, value: Value) -> bool:
        """Return whether the sum is what the value counted."""
        return self.observed == (value.observed or 0)


class Term(msgspec.Struct, frozen=True):
    """A number that enters the formula, and where it was read."""

    name: str
    value: Number | None
    where: str


class Check(msgspec.Struct, frozen=True):
    """A published number beside the one recomputed here. ``equal`` None: not known, see ``why``."""

    what: str
    published: Number | str | None
    recomputed: Number | str | None
    equal: bool | None
    why: str = ""


class ExplainedHour(msgspec.Struct, frozen=True):
    """An hour of the window: what it had counted when it closed, and what was expected of its part."""

    hour: str
    seconds: int
    """How much of the hour is within the window."""
    closed_observed: int | None
    """Count of the whole hour, once final; None: not closed, or no longer in the journal."""
    vintage: str | None = None
    level: float | None = None
    """Mean expectation of the hours of the local day, in the vintage."""
    season: float | None = None
    """Expectation of the hour, divided by ``level``."""
    factor: float | None = None
    expected: int | None = None
    """Expectation of the part within the window, in millionths."""
    where: str | None = None


class Expectation(msgspec.Struct, frozen=True):
    """How the published expectation is made. ``exact`` is in millionths."""

    of: str
    """Which series: dimension, member, measure."""
    exact: int
    expected: float
    vintage: str
    vintage_where: str
    learnt_days: int
    noise: float
    lower: float
    upper: float


class Counted(msgspec.Struct, frozen=True):
    """What was counted, and over which span."""

    what: str
    observed: int | None
    n: int
    start: str
    end: str
    slices: str
    covered: float
    covered_from: str


class Explanation(msgspec.Struct, frozen=True):
    """Explanation of a value, step by step."""

    key: str
    where: str
    value: Value
    formula: str
    methodology: str
    counted: Counted
    hours: list[ExplainedHour]
    expectation: Expectation | None
    terms: list[Term]
    calculation: str
    revisions: list[dict[str, Any]]
    closing: dict[str, Any] | None
    notes: list[str]
    checks: list[Check]
    published: Number | None
    recomputed: Number | None
    equal: bool
    made_of: list[MadeOf] = []
    """Parts of what was counted, by source partition and merged slots; empty: the checks say why."""
    definitions: int = 0
    """Version of the definitions by which the value was published."""
    time_zone: str = "UTC"
    """Of the market, in which hours are printed."""
    unreadable: UnreadableSummary = UnreadableSummary()
    """Unreadable records that may concern the value. The explanation is made without them."""

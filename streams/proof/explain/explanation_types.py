"""What was read to explain a value, and the explanation itself. No IO."""

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
    """What is to be explained; ``at_ms`` None: the newest."""

    market: str
    index: str
    member: str
    window: str
    dimension: str | None = None
    at_ms: int | None = None
    day: str | None = None


class PublishedValue(NamedTuple):
    """A published value, and the record that says so."""

    value: Value
    version: Fence
    where: str
    written_ms: int


class Vintaged(NamedTuple):
    """A journaled vintage: of its series those that were asked for."""

    name: str
    version: Fence
    where: str
    series: dict[tuple[str, str, str], JournaledSeries]
    """By (dimension, member, measure)."""


@dataclass(slots=True)
class Closed:
    """A journaled closing: what it says of one value; of a member with nothing it says nothing."""

    version: Fence
    where: str
    value: Value | None = None

    @property
    def observed(self) -> int:
        """What was counted."""
        return 0 if self.value is None else self.value.observed or 0


class Revised(NamedTuple):
    """A journaled revision of the value."""

    revision: JournaledRevision
    where: str


class Based(NamedTuple):
    """A base of the level index, and the record that says so."""

    name: str
    days: int
    net_minor: int
    where: str


@dataclass(slots=True)
class Journal:
    """What the journal says that bears on one value."""

    vintages: dict[str, Vintaged] = field(default_factory=dict)
    closings: dict[tuple[str, int], Closed] = field(default_factory=dict)
    """By kind and start in ms."""
    revisions: list[Revised] = field(default_factory=list)
    bases: dict[str, Based] = field(default_factory=dict)
    """By name."""
    cut: bool = False
    """Whether what was read does not begin where the journal began."""


class Known(NamedTuple):
    """Everything that an explanation is made from."""

    values: Mapping[str, PublishedValue]
    """The market's values at one publication, by key."""
    journal: Journal
    factors: list[Factor]
    """Of methodology.toml and the operator, the last word last, as said when the value was written."""


class Term(msgspec.Struct, frozen=True):
    """A number that the formula is put in motion with, and where it was read."""

    name: str
    value: Number | None
    where: str


class Check(msgspec.Struct, frozen=True):
    """A published number beside the one recomputed here. ``equal`` None: cannot be told, see ``why``."""

    what: str
    published: Number | str | None
    recomputed: Number | str | None
    equal: bool | None
    why: str = ""


class ExplainedHour(msgspec.Struct, frozen=True):
    """An hour within the window: what was counted when it closed, what was expected of its part."""

    hour: str
    seconds: int
    """How much of the hour is within."""
    closed_observed: int | None
    """Of the whole hour, once it is final; None: not closed, or not in what the journal still has."""
    vintage: str | None = None
    level: float | None = None
    """Mean of the hours of the local day, of the vintage."""
    season: float | None = None
    """The hour by that mean."""
    factor: float | None = None
    expected: int | None = None
    """Of the part within the window, millionths."""
    where: str | None = None


class Expectation(msgspec.Struct, frozen=True):
    """How the published expectation comes about. ``exact`` in millionths."""

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
    """What was counted, of which span."""

    what: str
    observed: int | None
    n: int
    start: str
    end: str
    slices: str
    covered: float
    covered_from: str


class Explanation(msgspec.Struct, frozen=True):
    """A value, step by step."""

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
    unreadable: UnreadableSummary = UnreadableSummary()
    """Records that bear, or may bear, on the value and could not be read: it is made without them."""

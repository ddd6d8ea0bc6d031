"""What level 2 hands to the publishers: one market's values at one version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from streams.flow.day_buyers import DayOfBuyers
from streams.flow.daybook import ShownDay
from streams.flow.fence_record import FenceRecord
from streams.flow.level_base import Rebased
from streams.flow.market_answers import GivenAnswers
from streams.flow.market_members import AppliedDefinitions
from streams.flow.shift_watch import FoundShift, SeriesStatus
from streams.flow.vintages import LearntVintage
from streams.index.history_records import ClockReset
from streams.index.incidents import Incident
from streams.index.member_lists import MemberList
from streams.index.other_labels import OthersOfDay
from streams.index.page_budget import PageCount
from streams.index.suspicions import Suspicion
from streams.index.values import Fence, Value


@dataclass(frozen=True, slots=True)
class Revision:
    """A value that changed at an ``as_of`` (or a day's value after the day ended), and why."""

    value: Value
    previous: int | float | None
    cause: str
    """late | cancel | refund | definition"""


@dataclass(frozen=True, slots=True)
class Closing:
    """An hour or a day that became final, or changed since. ``values`` are those of that slot alone."""

    kind: str
    """hour | day"""
    start_ms: int
    end_ms: int
    values: list[Value]
    cause: str | None = None
    """``definition``: these values alone are others than it was closed with; the rest of it stands."""
    gone: tuple[str, ...] = ()
    """``index:dimension:member`` of values that it was closed with and has not any more."""


class Headline(NamedTuple):
    """Orders and sales of the minute that ended at ``as_of_ms``."""

    as_of_ms: int
    orders: int
    sales_minor: int


class Inherited(NamedTuple):
    """Values from before an owner's first publication."""

    days: dict[str, dict[str, int | float | None]]
    """Day -> ``index:dimension:member`` -> value."""
    headlines: list[Headline]
    """Headlines, oldest first."""


@dataclass(frozen=True, slots=True)
class Publication:
    """One market's state after a step.

    ``values`` holds every current window value, ``changed`` those of them that differ from the
    previous publication, ``days`` the day values that changed. The journal gets ``journal_changed``
    (what changed since its last record of this market) once a minute of ``as_of``.
    """

    market: str
    fence: Fence
    fence_record: FenceRecord
    """What the next owner must not fall behind; readers take ``as_of`` of each topic from it too."""
    as_of_ms: int
    """The market's headline: the least ``as_of`` of the sources that joined (``MarketProgress``)."""
    phase: str
    values: list[Value]
    changed: list[Value]
    days: list[Value]
    revisions: list[Revision] = field(default_factory=list)
    closings: list[Closing] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    """Keys of values that are no more since definitions changed; ``ecindex.values`` drops them."""
    journal_changed: list[Value] | None = None
    """None: no journal record is due at this step."""
    sources: dict[str, int] = field(default_factory=dict)
    """``as_of`` (ms) of each source that the log has shown: orders, payments."""
    vintages: list[LearntVintage] = field(default_factory=list)
    """Expectations that this step learnt: journaled and stored before a value shows them."""
    shifts: list[FoundShift] = field(default_factory=list)
    """Shifts that this step found, and ends of shifts: published before their state is stored."""
    watched: list[SeriesStatus] = field(default_factory=list)
    """What every watched series shows; empty where detection has not begun."""
    incidents: list[Incident] = field(default_factory=list)
    """Incidents of the market: those that are over first. They do not change any more."""
    suspicions: list[Suspicion] = field(default_factory=list)
    """What does not look as expected and does not page yet, the foremost first."""
    answers: Mapping[str, GivenAnswers] = field(default_factory=dict)
    """What operators said of these incidents, by id."""
    members: MemberList | None = None
    """Which members there are. An owner says it with its first publication, and with the first one by
    other definitions; None: as it said before."""
    lists_gone: list[int] = field(default_factory=list)
    """Versions whose lists of members go, once the fence record of this publication is acknowledged."""
    applied: list[AppliedDefinitions] = field(default_factory=list)
    """Versions of the definitions that were applied since the publication before: journaled with it."""
    others: list[OthersOfDay] = field(default_factory=list)
    """What `other` is made of on the newest local day and the one before; at most as old as a minute."""
    pages: list[PageCount] = field(default_factory=list)
    """Pages of the last 30 and 365 days against the budget; empty where detection has not begun."""
    detectors: bytes | None = None
    """Table record of the market's detectors, where final minutes moved them."""
    shown: list[ShownDay] = field(default_factory=list)
    """Ended days as this publication shows them: stored with it, so that a revision counts once."""
    buyers: list[DayOfBuyers] = field(default_factory=list)
    """Who bought on ended days, as this publication shows it: stored with it."""
    rebased: Rebased | None = None
    """A new base of the level index: journaled and stored before a level shows it."""
    reset: ClockReset | None = None
    """The operator's reset with which the publication's generation begins."""
    inherited: Inherited | None = None
    """For caches, with an owner's first publication; no later record repeats it."""

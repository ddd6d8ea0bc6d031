"""Incidents and suspicions of a market as the page shows them, and how bad all of it is: the level."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

import msgspec

from streams.board.shown_shifts import ShownShift
from streams.index.answer_records import INCIDENT_ID
from streams.index.incident_measures import AFFECTED_DOWN, AFFECTED_UP
from streams.index.incidents import INCIDENTS_MAX
from streams.index.indices import MARKET
from streams.index.labels import label
from streams.index.operator_answers import EXPECTED
from streams.publish.incident_records import PublishedAnswer, PublishedIncident, read_incidents
from streams.publish.incident_words import (
    STAYS_IN_PAGERDUTY,
    MarketNaming,
    clock_time,
    say_answers,
    say_incident,
    say_silence,
    say_suspicion,
    say_verdict_again,
    series_name,
    timeline_of,
    weight_of,
)
from streams.publish.sent_records import PublishedSent, read_sent
from streams.publish.suspicion_records import PublishedSuspicion, read_suspicions


class PageLevel(StrEnum):
    """How bad what a market shows is, the worst first. Page, title and icon follow it."""

    OUTAGE = "outage"
    SHIFT = "shift"
    SUSPICION = "suspicion"
    STALE = "stale"
    FILLING = "filling"
    FINE = "fine"


class ShownSuspicion(msgspec.Struct, frozen=True):
    """A suspicion: its line, its way (1 or -1) and its evidence as a part of what pages."""

    name: str
    direction: int
    line: str
    evidence: float


class ShownMember(msgspec.Struct, frozen=True):
    """A shifted series of an incident, as a card lists it."""

    dimension: str
    label: str
    ratio: float
    over: bool
    withdrawn: bool


class ShownIncident(msgspec.Struct, frozen=True, omit_defaults=True):
    """A card. ``timeline``: [what, RFC 3339 instant] of what is known, in order."""

    id: str
    state: str
    kind: str
    direction: int
    name: str
    began: str
    since: str
    """When the series that the title names began to shift; another one may have begun before."""
    title: str
    headline: str
    """The title with the market's name, for other markets' pages."""
    now: str
    size: str
    timeline: list[tuple[str, str]]
    sent: bool = False
    """True when it is known that people were told; else the page says that it is not known."""
    whole: bool = False
    """True when the market's own total leads it."""
    missed: str = ""
    affected: str = ""
    evidence: str = ""
    over: str | None = None
    command: str = ""
    shifts: list[ShownMember] = []
    answers: list[str] = []
    """What operators said of it, a line each."""
    silenced: str = ""
    """By whose answer it does not page, a line; empty where it pages."""
    as_answered: bool = False
    """True for an event that was said to be expected, while it is no larger than was said."""
    acknowledged: PublishedAnswer | None = None
    verdict: PublishedAnswer | None = None
    """These two are in force, and can be taken back."""


class IncidentsOfMarket(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is wrong with a market now, and what was."""

    open: list[ShownIncident] = []
    past: list[ShownIncident] = []
    suspicions: list[ShownSuspicion] = []


def incidents_of(
    incidents: Mapping[str, str],
    suspicions: Mapping[str, str],
    naming: MarketNaming,
    sent: Mapping[str, str] | None = None,
) -> IncidentsOfMarket:
    """Return the incidents and suspicions of the HASHes ``:incidents`` and ``:suspicions``.

    ``sent``: the HASH ``:sent``, when people were told.
    """
    found, known_sent = read_incidents(incidents), read_sent(sent or {})
    suspected = read_suspicions(suspicions)
    going = [each for each in found if each.over is None]
    past = [each for each in found if each.over is not None][:INCIDENTS_MAX]
    verdicts = {each.id: each.verdict for each in found}
    return IncidentsOfMarket(
        open=[
            _shown(
                each,
                naming,
                known_sent.get(each.id),
                suspected,
                as_answered=_is_as_answered(each, verdicts.get(each.silenced_by or "")),
            )
            for each in sorted(going, key=weight_of, reverse=True)
        ],
        past=[_shown(each, naming, known_sent.get(each.id)) for each in past],
        suspicions=[_suspicion(each, naming) for each in suspected],
    )


def level_of(
    incidents: IncidentsOfMarket, shifts: Sequence[ShownShift], *, fresh: bool, known: bool
) -> PageLevel:
    """The worst that a market shows.

    ``shifts``: active shifts; ``fresh``: its values are current; ``known``: the last 5 minutes are
    covered, and what is usual in them is known.
    """
    open_incidents = _unanswered(incidents)
    if any(each.kind == "outage" for each in open_incidents):
        return PageLevel.OUTAGE
    if open_incidents or shifts:
        return PageLevel.SHIFT
    if incidents.suspicions:
        return PageLevel.SUSPICION
    if not fresh:
        return PageLevel.STALE
    if _answered(incidents):
        return PageLevel.SUSPICION
    return PageLevel.FINE if known else PageLevel.FILLING


def headline_of(incidents: IncidentsOfMarket) -> str:
    """The line that matters most of what is wrong now; empty when nothing is."""
    for each in _unanswered(incidents):
        return each.headline
    for suspicion in incidents.suspicions:
        return suspicion.line
    for each in _answered(incidents):
        return f"{each.headline}. {each.silenced}"
    return ""


def _unanswered(incidents: IncidentsOfMarket) -> list[ShownIncident]:
    """Return the incidents that page: nobody said that they are expected, or no incidents at all."""
    return [each for each in incidents.open if not each.silenced]


def _answered(incidents: IncidentsOfMarket) -> list[ShownIncident]:
    """Return those that do not page by an answer, and are far from usual and from what was said."""
    return [
        each
        for each in incidents.open
        if each.silenced and each.state != "returning" and not each.as_answered
    ]


def _is_as_answered(incident: PublishedIncident, given: PublishedAnswer | None) -> bool:
    """Whether an incident is an event that was said to be expected, and no larger than that.

    ``given``: the answer that silences it. No outage is: 0 orders stand beside no green dot, whoever
    expects them. Nor is a false alarm: it says nothing of what is to come.
    """
    if given is None or given.kind != EXPECTED or incident.kind == "outage":
        return False
    if given.factor is None or (given.dimension, given.member) != (
        incident.dimension,
        incident.member,
    ):
        return True
    size = incident.now or incident.size
    if incident.direction == "up":
        return size.lower <= given.factor * AFFECTED_UP
    return size.upper >= given.factor * AFFECTED_DOWN


def _undone(
    incident: PublishedIncident, naming: MarketNaming, sent: PublishedSent | None
) -> list[str]:
    """What to know before an acknowledgement or a verdict is taken back here."""
    found = []
    paged = sent is not None and "pagerduty" in sent.receivers and incident.over is None
    if paged and incident.acknowledged is not None:
        found.append(f"If it is undone here: {STAYS_IN_PAGERDUTY}")
    if incident.earlier_verdict is not None and incident.verdict is not None:
        kind = incident.verdict.kind.replace("_", " ")
        again = say_verdict_again(incident, incident.earlier_verdict, naming)
        found.append(f"If “{kind}” is undone, this is in force again: {again}.")
    return found


def _shown(
    incident: PublishedIncident,
    naming: MarketNaming,
    sent: PublishedSent | None,
    suspected: Sequence[PublishedSuspicion] = (),
    *,
    as_answered: bool = False,
) -> ShownIncident:
    words = say_incident(incident, naming, suspected)
    return ShownIncident(
        id=incident.id,
        state=incident.state,
        kind=incident.kind,
        direction=_way(incident.direction),
        name=series_name(incident.dimension, incident.member, naming.name),
        began=incident.began,
        since=incident.size.since,
        title=words.title,
        headline=words.headline,
        now=f"{words.now}{_counted_until(incident, naming)}",
        size=words.size,
        timeline=timeline_of(incident, sent),
        sent=sent is not None,
        whole=incident.dimension == MARKET,
        missed=words.missed,
        affected=words.affected,
        evidence=words.evidence,
        over=incident.over,
        command="" if incident.over is not None else _command(incident.id),
        shifts=_members(incident),
        answers=say_answers(incident, naming) + _undone(incident, naming, sent),
        silenced=say_silence(incident, naming),
        as_answered=as_answered,
        acknowledged=incident.acknowledged,
        verdict=incident.verdict,
    )


def _counted_until(incident: PublishedIncident, naming: MarketNaming) -> str:
    """Say until when a card counts: by whole minutes, where the tiles beside it count by panes."""
    if incident.over is not None:
        return ""
    return (
        f" Counted until {clock_time(incident.size.until, naming.time_zone, incident.size.until)}."
    )


def _command(incident: str) -> str:
    """Return the command that says that an incident is expected, for a page that is read-only.

    It is accepted whenever it is typed: without an end and a factor, it lasts some hours from then on,
    by the factor that was measured.
    """
    return f"ecindex answer {incident} expected" if INCIDENT_ID.fullmatch(incident) else ""


def _members(incident: PublishedIncident) -> list[ShownMember]:
    shifts = sorted(incident.shifts, key=lambda each: (each.dimension, each.member))
    return [
        ShownMember(
            each.dimension.replace("_", " "),
            label(each.member),
            each.ratio,
            each.over is not None,
            each.withdrawn,
        )
        for each in shifts
    ]


def _suspicion(suspicion: PublishedSuspicion, naming: MarketNaming) -> ShownSuspicion:
    return ShownSuspicion(
        f"{suspicion.dimension}:{suspicion.member}",
        _way(suspicion.direction),
        say_suspicion(suspicion, naming),
        suspicion.evidence,
    )


def _way(direction: str) -> int:
    return 1 if direction == "up" else -1


def without_incident(
    shifts: Iterable[ShownShift], incidents: IncidentsOfMarket
) -> list[ShownShift]:
    """Active shifts that no shown incident names, as those that an earlier release publishes."""
    known = {each.id for each in incidents.open}
    return [shift for shift in shifts if shift.incident not in known]

"""Incidents as Redis holds them, in the HASH ``:incidents``: id -> JSON (docs/contract.md).

One structure for those who write it and those who read it. Instants are RFC 3339.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from streams.flow.market_answers import NOT_ANSWERED, GivenAnswers
from streams.index.demand import SCALE
from streams.index.formats import json_reader
from streams.index.incident_measures import STOPPED_RATIO, Affected, Measures, State
from streams.index.incidents import WAYS, Direction, Incident, IncidentShift, Kind, market_again
from streams.index.operator_answers import EXPECTED, Answer
from streams.index.panes import rfc3339
from streams.index.shift_ratio import RatioInterval
from streams.index.values import VERSION


class IncidentSize(msgspec.Struct, frozen=True):
    """Events counted and expected from one instant to another, and their ratio with a 95 % interval."""

    since: str
    until: str
    observed: float
    expected: float
    ratio: float
    lower: float
    upper: float


class IncidentCount(msgspec.Struct, frozen=True):
    """Events counted from one instant to another."""

    since: str
    until: str
    observed: int


class IncidentDifference(msgspec.Struct, frozen=True):
    """Events counted minus expected since the start: below 0 is missed. Money is in minor units."""

    events: float
    lower: float
    upper: float
    amount_minor: int | None = None
    lower_minor: int | None = None
    upper_minor: int | None = None


class IncidentMember(msgspec.Struct, frozen=True):
    """A member that an incident affects: events counted and expected since the incident began."""

    member: str
    observed: float
    expected: float
    excess: float


class AffectedMembers(msgspec.Struct, frozen=True):
    """``affected`` of the ``of`` members of a dimension are affected; ``members``: the largest."""

    dimension: str
    affected: int
    of: int
    members: list[IncidentMember] = []


class ShiftOfIncident(msgspec.Struct, frozen=True):
    """One shift of an incident: a record of ``ecindex.shifts`` has its name, number and details."""

    dimension: str
    member: str
    number: int
    direction: str
    clock: str
    start: str
    found: str
    evidence: float
    observed: float
    expected: float
    ratio: float
    lower: float
    upper: float
    over: str | None = None
    withdrawn: bool = False


class PublishedAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """An answer in force. ``until``, ``dimension``, ``member`` and ``factor``: of an expected event."""

    kind: str
    by: str
    at: str
    text: str = ""
    until: str | None = None
    dimension: str | None = None
    member: str | None = None
    factor: float | None = None


class TakenAnswer(PublishedAnswer, frozen=True, omit_defaults=True):
    """An answer as its giver gets it back. ``taken_back``: the one in force no longer is."""

    taken_back: bool = False


class PublishedIncident(msgspec.Struct, frozen=True):
    """One incident. ``dimension`` and ``member``: its leading series, which explains the others."""

    id: str
    market: str
    state: State
    kind: Kind
    direction: str
    dimension: str
    member: str
    began: str
    found: str
    over: str | None
    evidence: float
    shifts: list[ShiftOfIncident]
    size: IncidentSize
    """Size since it began; of one that is over, until its end."""
    now: IncidentSize | None = None
    """Size over the last minutes. Absent once it is over."""
    difference: IncidentDifference | None = None
    affected: list[AffectedMembers] = []
    left_out: int = 0
    """Weaker shifts of an incident that is over, which ``shifts`` does not list any more."""
    acknowledged: PublishedAnswer | None = None
    verdict: PublishedAnswer | None = None
    """``expected`` or ``false_alarm``, where an operator said so."""
    notes: list[PublishedAnswer] = []
    silenced_by: str | None = None
    """Incident whose answer keeps this one from paging. None: it pages, or it is over."""
    now_counted: IncidentCount | None = None
    """Count of the last minutes where nothing is expected of them, and ``now`` has no ratio to say."""
    earlier_verdict: PublishedAnswer | None = None
    """Verdict that holds again if ``verdict`` is taken back."""
    worsened: str | None = None
    """When it last became worse in kind. None: it is what it was when it was found."""
    acknowledged_before: PublishedAnswer | None = None
    """Acknowledgement of before ``worsened``, which holds no more."""
    stopped: str | None = None
    """Since when the leading series had all but stopped, also where it comes back by now."""
    beyond_verdict: bool = False
    """True where ``verdict`` is a false alarm, and not of all that was found: the rest has paged."""
    market_now: IncidentSize | None = None
    """``now`` of the market's own total, where its shift is over and another series leads."""
    market_again: Direction | None = None
    """Way in which the market's own total is shifted or suspected although its shift here is over."""
    v: int = VERSION


decode_incident = json_reader(PublishedIncident)
_encode = msgspec.json.Encoder().encode


def incident_fields(
    incidents: Sequence[Incident], answers: Mapping[str, GivenAnswers], suspected: int = 0
) -> dict[str, str]:
    """Fields of ``:incidents``: id -> JSON of the incident.

    ``answers``: what is said of them, by id; ``suspected``: direction of the suspicion of the market's
    own total, 0 without one.
    """
    return {
        each.id: _encode(
            published_incident(
                each,
                answers.get(each.id, NOT_ANSWERED),
                WAYS.get(market_again(each, incidents) or (suspected if _may_return(each) else 0)),
            )
        ).decode()
        for each in incidents
    }


def _may_return(incident: Incident) -> bool:
    """Whether the shift of the market's own total is over, and another goes on."""
    whole = incident.whole
    return not incident.over_ms and whole is not None and bool(whole.over_ms)


def read_incidents(fields: Mapping[str, str]) -> list[PublishedIncident]:
    """Incidents of the HASH: the open ones first, each group newest first.

    A field that is no incident of a known shape is left out.
    """
    found = []
    for text in fields.values():
        try:
            found.append(decode_incident(text))
        except msgspec.DecodeError:
            continue
    found.sort(key=lambda each: (each.over is None, each.over or each.found, each.id), reverse=True)
    return found


def published_incident(
    incident: Incident, given: GivenAnswers = NOT_ANSWERED, again: Direction | None = None
) -> PublishedIncident:
    """Return an incident as it is published. ``again``: its ``market_again``."""
    lead, measures = incident.lead, incident.measures
    until_ms = lead.over_ms or incident.over_ms
    if not until_ms:
        until_ms = incident.found_ms if measures is None else measures.until_ms
    return PublishedIncident(
        id=incident.id,
        market=incident.market,
        state=incident.state,
        kind=_kind(incident),
        direction=WAYS[incident.direction],
        dimension=lead.dimension,
        member=lead.member,
        began=rfc3339(incident.start_ms),
        found=rfc3339(incident.found_ms),
        over=rfc3339(incident.over_ms) if incident.over_ms else None,
        evidence=lead.evidence_ratio,
        shifts=[_shift(each) for each in incident.shifts],
        size=_size(lead.interval, lead.start_ms, until_ms),
        now=None if incident.over_ms else _now(measures),
        difference=None if measures is None else _difference(measures),
        affected=[] if measures is None else [_affected(each) for each in measures.affected],
        left_out=incident.left_out,
        acknowledged=given.acknowledged and published_answer(given.acknowledged),
        verdict=given.verdict and published_answer(given.verdict),
        notes=[published_answer(each) for each in given.notes],
        silenced_by=given.silenced_by,
        now_counted=None if incident.over_ms else _now_counted(measures),
        earlier_verdict=given.earlier_verdict and published_answer(given.earlier_verdict),
        worsened=rfc3339(incident.worsened_ms) if incident.worsened_ms else None,
        acknowledged_before=given.acknowledged_before
        and published_answer(given.acknowledged_before),
        stopped=rfc3339(incident.stopped_ms) if incident.stopped_ms else None,
        beyond_verdict=given.beyond_verdict,
        market_now=_market_now(incident),
        market_again=again,
    )


def _kind(incident: Incident) -> Kind:
    """Return what happened; of an outage that goes on, whether it still is one."""
    measures = incident.measures
    now = None if incident.over_ms or measures is None else measures.now
    if incident.kind != "outage" or measures is None or now is None:
        return incident.kind
    # Minutes that began before it stopped say nothing of how it is.
    returns = now.ratio > STOPPED_RATIO and measures.now_since_ms >= incident.stopped_ms
    return "drop" if returns else "outage"


def published_answer(answer: Answer) -> PublishedAnswer:
    """Return an answer as it is published."""
    expected = answer.kind == EXPECTED and not answer.taken_back
    return PublishedAnswer(
        answer.kind,
        answer.by,
        rfc3339(answer.at_ms),
        answer.text,
        rfc3339(answer.until_ms) if expected else None,
        answer.scope[0] if expected else None,
        answer.scope[1] if expected else None,
        None if answer.factor is None else answer.factor / SCALE,
    )


def taken_answer(answer: Answer) -> TakenAnswer:
    """Return an answer as its giver gets it back."""
    published = msgspec.structs.asdict(published_answer(answer))
    return TakenAnswer(**published, taken_back=answer.taken_back)


def _shift(shift: IncidentShift) -> ShiftOfIncident:
    return ShiftOfIncident(
        dimension=shift.dimension,
        member=shift.member,
        number=shift.number,
        direction=WAYS[shift.direction],
        clock=shift.clock,
        start=rfc3339(shift.start_ms),
        found=rfc3339(shift.found_ms),
        evidence=shift.evidence_ratio,
        observed=shift.interval.observed,
        expected=shift.interval.expected,
        ratio=shift.interval.ratio,
        lower=shift.interval.lower,
        upper=shift.interval.upper,
        over=rfc3339(shift.over_ms) if shift.over_ms else None,
        withdrawn=shift.withdrawn,
    )


def _size(interval: RatioInterval, since_ms: int, until_ms: int) -> IncidentSize:
    numbers = msgspec.structs.astuple(interval)
    return IncidentSize(rfc3339(since_ms), rfc3339(max(since_ms, until_ms)), *numbers)


def _now(measures: Measures | None) -> IncidentSize | None:
    if measures is None or measures.now is None:
        return None
    return _size(measures.now, measures.now_since_ms, measures.until_ms)


def _market_now(incident: Incident) -> IncidentSize | None:
    now = incident.market_now
    return None if now is None else _size(now.size, now.since_ms, now.until_ms)


def _now_counted(measures: Measures | None) -> IncidentCount | None:
    if measures is None or measures.now is not None:
        return None
    since_ms, until_ms = measures.now_since_ms, measures.until_ms
    return IncidentCount(rfc3339(since_ms), rfc3339(until_ms), measures.now_observed)


def _difference(measures: Measures) -> IncidentDifference:
    return IncidentDifference(*msgspec.structs.astuple(measures.difference))


def _affected(affected: Affected) -> AffectedMembers:
    members = [IncidentMember(*msgspec.structs.astuple(each)) for each in affected.members]
    return AffectedMembers(affected.dimension, affected.affected, affected.of, members)

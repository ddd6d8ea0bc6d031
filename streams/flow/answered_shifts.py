"""What answers mean for the shifts of a market: which of them page, and which of their hours teach.

The detectors and what they keep know of no answer. These functions look at both. So an answer holds from
the step after it was heard, and one that was taken back leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

from streams.flow.answer_book import MarketAnswers
from streams.index.demand import SCALE
from streams.index.incident_measures import STOPPED_RATIO
from streams.index.incidents import Incident, IncidentShift, ShiftName
from streams.index.indices import ALL, CATEGORY, CHANNEL, MARKET, METHOD, REGION
from streams.index.learning import WHOLE, Scope
from streams.index.operator_answers import EXPECTED, FALSE_ALARM, Answer
from streams.index.panes import DAY_MS, MINUTE_MS
from streams.index.shift_clock import DRIFT

BEGAN_BEFORE_MS = 15 * MINUTE_MS
"""A shift may begin so long before the event that it belongs to: starts are estimates."""


_LEARNABLE = (MARKET, CATEGORY, REGION, CHANNEL, METHOD)


class PagedShift(NamedTuple):
    """A shift that goes on, as an answer may be about it. ``start_ms``: its estimated beginning.

    ``stopped_ms``: since when it can be known that the series that leads its incident has stopped; 0:
    it has not.
    ``known_ms``: since when it can be known what it is. An answer that was given before is about
    something else.
    """

    incident: str
    series: Scope
    direction: int
    clock: str
    start_ms: int
    stopped_ms: int = 0
    known_ms: int = 0


def paged_shifts(incident: Incident) -> list[PagedShift]:
    """Return the shifts of an incident as an answer may be about them, in their order.

    Who calls an incident a false alarm knows the shifts that were found by then. The market's own, if
    it is among them, explains later ones: what shifts in its direction before it is over, and is not
    clearly larger.
    """
    whole, stopped_ms = incident.whole, incident.stopped_ms
    if stopped_ms:
        # A second stop joins the incident of the first, which may have been answered meanwhile.
        stopped_ms = max(stopped_ms, _found_ms(whole, incident.lead))
    return [
        PagedShift(
            incident.id,
            scope_of(shift.dimension, shift.member),
            shift.direction,
            shift.clock,
            shift.start_ms,
            stopped_ms,
            max(stopped_ms, _found_ms(whole, shift)),
        )
        for shift in incident.shifts
    ]


def _found_ms(whole: IncidentShift | None, shift: IncidentShift) -> int:
    """When a shift was found, or what explains it was."""
    if whole is None or not _explained(whole, shift):
        return shift.found_ms
    return min(shift.found_ms, whole.found_ms)


def _explained(whole: IncidentShift, shift: IncidentShift) -> bool:
    """True when the shift of the market's total explains another one."""
    if shift.direction != whole.direction:
        return False
    if whole.over_ms and shift.start_ms > whole.over_ms:
        return False
    if shift.direction > 0:
        return shift.interval.lower <= whole.interval.upper
    return shift.interval.upper >= whole.interval.lower


def known_ms(incident: Incident) -> int:
    """Return since when all of an incident can be known: a false alarm said before is of a part."""
    return max(
        (
            paged.known_ms
            for shift, paged in zip(incident.shifts, paged_shifts(incident), strict=True)
            if not shift.withdrawn and not shift.good_news
        ),
        default=0,
    )


def silenced_shifts(
    incident: Incident,
    answers: MarketAnswers,
    series_of: Callable[[str], Collection[Scope]],
    now_ms: int,
) -> frozenset[ShiftName]:
    """Return the shifts that answers keep from paging, where another of the incident pages; else none.

    Of an incident that is over, all shifts count as they were at its end.
    """
    now_ms = incident.over_ms or now_ms
    by_answer, pages = set(), False
    for shift, paged in zip(incident.shifts, paged_shifts(incident), strict=True):
        if silencer(paged, answers, series_of, now_ms) is not None:
            by_answer.add(shift.name)
        elif not shift.withdrawn and not shift.good_news:
            pages = pages or not shift.over_ms or incident.over_ms > 0
    return frozenset(by_answer) if pages else frozenset()


def silencer_of(
    incident: Incident,
    answers: MarketAnswers,
    series_of: Callable[[str], Collection[Scope]],
    now_ms: int,
) -> Answer | None:
    """Return the answer by which an incident does not page; None: a shift of it that goes on pages.

    Of one that is over, all shifts count as they were at ``now_ms``.
    """
    lead, found = incident.lead, None
    for shift, paged in zip(incident.shifts, paged_shifts(incident), strict=True):
        if (shift.over_ms and not incident.over_ms) or (shift.good_news and not lead.good_news):
            continue
        by = silencer(paged, answers, series_of, now_ms)
        if by is None:
            return None
        found = by if found is None or shift is lead else found
    return found


def silencer(
    shift: PagedShift,
    answers: MarketAnswers,
    series_of: Callable[[str], Collection[Scope]],
    now_ms: int,
) -> Answer | None:
    """Return the answer by which a shift is over for readers; None: it pages.

    It says that the shift is a false alarm, or part of what somebody expects. It is not about what could
    not be known when it was given: an outage that came later is one unless it is what is expected.
    An expected event silences every shift in its direction that began while it lasts: of the series of
    its incident, and of all series where the whole market shifted. A fall below what is usual without
    the event pages as ever. ``series_of``: the series of an incident's shifts.
    """
    verdict = answers.verdict(shift.incident)
    if verdict is not None and verdict.kind == FALSE_ALARM and verdict.at_ms >= shift.known_ms:
        return verdict
    found = (answer for answer in answers.expected() if _expects(answer, shift, series_of, now_ms))
    return next(found, None)


def _expects(
    answer: Answer,
    shift: PagedShift,
    series_of: Callable[[str], Collection[Scope]],
    now_ms: int,
) -> bool:
    # A drift is found days after it began, so it may be found when the event is over.
    drift = shift.clock == DRIFT.name
    if now_ms >= answer.until_ms and not (drift and shift.start_ms < answer.until_ms):
        return False
    stops = answer.factor is not None and answer.factor <= STOPPED_RATIO * SCALE
    if shift.stopped_ms > answer.at_ms and not stops:
        return False
    if shift.incident == answer.incident:
        return True
    if shift.direction != direction_of(answer.incident):
        return False
    if shift.start_ms < answer.start_ms - (DAY_MS if drift else BEGAN_BEFORE_MS):
        return False
    series = {answer.scope, *series_of(answer.incident)}
    return WHOLE in series or shift.series in series


def scope_of(dimension: str, member: str) -> Scope:
    """Scope of a series in ``index.learning``: the total covers every column."""
    if (dimension, member) == (MARKET, ALL):
        return WHOLE
    return (dimension if dimension in _LEARNABLE else METHOD, member)


def direction_of(incident: str) -> int:
    """Direction of an incident, from its id: 1 or -1.

    >>> direction_of("PK-20261130T0012-down")
    -1
    """
    return -1 if incident.endswith("-down") else 1


def verdicts(incidents: Iterable[str], answers: MarketAnswers) -> Sequence[tuple[object, ...]]:
    """Return what is said of these incidents that changes what is learnt, for a fingerprint."""
    found = {
        verdict
        for incident in incidents
        if incident and (verdict := answers.verdict(incident)) is not None
    }
    return sorted(
        (each.incident, each.kind, each.start_ms, each.until_ms, each.scope, each.factor or 0)
        for each in found
        if each.kind in (EXPECTED, FALSE_ALARM)
    )

"""What answers mean for the shifts of a market: which of them page, and which of their hours teach.

The detectors and what they keep know of no answer. These functions look at both. So an answer holds from
the step after it was heard, and one that was taken back leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

from streams.flow.answer_book import MarketAnswers
from streams.index.learning import WHOLE, Scope
from streams.index.operator_answers import EXPECTED, FALSE_ALARM, Answer
from streams.index.panes import DAY_MS, MINUTE_MS
from streams.index.shift_clock import DRIFT

BEGAN_BEFORE_MS = 15 * MINUTE_MS
"""A shift may begin so long before the event that it belongs to: starts are estimates."""


class PagedShift(NamedTuple):
    """A shift that goes on, as an answer may be about it. ``start_ms``: its estimated beginning."""

    incident: str
    series: Scope
    direction: int
    clock: str
    start_ms: int


def silencer(
    shift: PagedShift,
    answers: MarketAnswers,
    series_of: Callable[[str], Collection[Scope]],
    now_ms: int,
) -> Answer | None:
    """Return the answer by which a shift is over for readers; None: it pages.

    It says that the shift is a false alarm, or part of what somebody expects.
    An expected event silences every shift in its direction that began while it lasts: of the series of
    its incident, and of all series where the whole market shifted. A fall below what is usual without
    the event pages as ever. ``series_of``: the series of an incident's shifts.
    """
    verdict = answers.verdict(shift.incident)
    if verdict is not None and verdict.kind == FALSE_ALARM:
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
    if shift.incident == answer.incident:
        return True
    if shift.direction != direction_of(answer.incident):
        return False
    if shift.start_ms < answer.start_ms - (DAY_MS if drift else BEGAN_BEFORE_MS):
        return False
    series = {answer.scope, *series_of(answer.incident)}
    return WHOLE in series or shift.series in series


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

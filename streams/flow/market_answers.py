"""The answers to one market's incidents at work: which shifts page, what readers see of incidents."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import NamedTuple, Protocol

from streams.flow.answer_book import MarketAnswers
from streams.flow.answered_shifts import (
    PagedShift,
    known_ms,
    paged_shifts,
    scope_of,
    silencer,
    silencer_of,
)
from streams.flow.market_incidents import MarketIncidents
from streams.flow.market_shifts import series_of
from streams.flow.shift_watch import ActiveShift, SeriesStatus
from streams.flow.shifts_record import KeptShift
from streams.index.incidents import Incident
from streams.index.learning import Scope
from streams.index.operator_answers import FALSE_ALARM, Answer
from streams.index.panes import of_minute


class GivenAnswers(NamedTuple):
    """What readers see of the answers to one incident.

    An acknowledgement holds for what was known when it was given: once the incident has become worse in
    kind, it is ``acknowledged_before``.
    """

    acknowledged: Answer | None
    verdict: Answer | None
    notes: tuple[Answer, ...]
    silenced_by: str | None
    """Incident whose answer keeps this one from paging: its own, or an earlier one. None: it pages."""
    earlier_verdict: Answer | None = None
    """Verdict that holds again if ``verdict`` is taken back."""
    acknowledged_before: Answer | None = None
    """Acknowledgement of what the incident was before it became worse; None where a later one holds."""
    beyond_verdict: bool = False
    """True where ``verdict`` is a false alarm, and not of all that was found."""


NOT_ANSWERED = GivenAnswers(None, None, (), None)


class Detected(Protocol):
    """What is read of a market's detectors."""

    kept: list[KeptShift]
    incidents: MarketIncidents

    def statuses(self) -> list[SeriesStatus]:
        """Return direction and evidence of every series, live."""


class AnsweredShifts:
    """Looks at a market's shifts and at the answers to its incidents; changes neither."""

    def __init__(self, answers: MarketAnswers, detected: Detected) -> None:
        self._answers = answers
        self._detected = detected
        self._given: dict[str, GivenAnswers] = {}

    def paging(self, now_ms: int) -> list[SeriesStatus]:
        """Return the status of every series, without the shifts that answers silence at ``now_ms``."""
        statuses = self._detected.statuses()
        if not self._answers.incidents:
            return statuses
        known = {
            shift.name: paged
            for incident in self._detected.incidents.kept
            for shift, paged in zip(incident.shifts, paged_shifts(incident), strict=True)
        }
        series_of = cache(self._series_of)
        return [
            status._replace(shift=None)
            if (shift := status.shift) is not None
            and silencer(
                known.get((shift.dimension, shift.member, shift.number)) or _of_none(shift),
                self._answers,
                series_of,
                now_ms,
            )
            is not None
            else status
            for status in statuses
        ]

    def given(self, now_ms: int) -> Mapping[str, GivenAnswers]:
        """Return the answers by incident; the same object as before while nothing of them changed.

        They are judged by the copies that are shown beside them.
        """
        found: dict[str, GivenAnswers] = {}
        series_of = cache(self._series_of)
        for incident in self._detected.incidents.shown() if self._answers.incidents else ():
            of_own = self._answers.incidents.get(incident.id)
            over = incident.over_ms > 0
            by = None if over else silencer_of(incident, self._answers, series_of, now_ms)
            if of_own is not None or by is not None:
                holds = None if of_own is None else of_own.acknowledged_since(incident.worsened_ms)
                found[incident.id] = GivenAnswers(
                    holds,
                    None if of_own is None else of_own.verdict,
                    () if of_own is None else tuple(of_own.notes),
                    None if by is None else by.incident,
                    None if of_own is None else of_own.earlier_verdict,
                    None if of_own is None or holds is not None else of_own.acknowledged,
                    of_own is not None and _is_beyond(incident, of_own.verdict),
                )
        if found != self._given:
            self._given = found
        return self._given

    def _series_of(self, incident: str) -> set[Scope]:
        """Return the series of an incident's shifts, as far as they are known."""
        return series_of(incident, self._detected.kept, self._detected.incidents.kept)


def _is_beyond(incident: Incident, verdict: Answer | None) -> bool:
    if verdict is None or verdict.kind != FALSE_ALARM:
        return False
    return verdict.at_ms < known_ms(incident)


def _of_none(shift: ActiveShift) -> PagedShift:
    """Return a shift of no incident that is kept."""
    return PagedShift(
        "",
        scope_of(shift.dimension, shift.member),
        shift.direction,
        shift.clock,
        of_minute(shift.start),
    )

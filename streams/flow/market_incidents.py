"""Incidents of one market at work: after each step of the detectors it folds the shifts into incidents.

They are kept in the detectors' record. So a new owner goes on with the same incidents, under the same
names. The ledger says how large an incident is: once a minute while it goes on, and once at its end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from streams.flow.shift_watch import FoundShift, SeriesStatus
from streams.index.incident_measures import SpanSums, measure
from streams.index.incidents import Incident, IncidentShift, ShiftName, fold
from streams.index.panes import MINUTE_MS, of_minute
from streams.index.shift_ratio import RatioInterval


class MarketIncidents:
    """Incidents of one market: those that are over first, then the open ones."""

    def __init__(self, market: str) -> None:
        self.kept: list[Incident] = []
        self._market = market
        self._until = -1
        self._ended: dict[ShiftName, tuple[int, RatioInterval]] = {}
        """Ends that were found and are not folded yet."""
        self._shown: list[Incident] = []

    def restore(self, kept: list[Incident]) -> None:
        """Continue with the incidents of an earlier owner."""
        self.kept = kept
        self._until = -1
        self._shown = _copies(kept)

    def shown(self) -> list[Incident]:
        """Copies of the incidents, which no later step changes."""
        return self._shown

    def note_ends(self, found: Iterable[FoundShift]) -> None:
        """Keep the ends among what the detectors found until the next step."""
        for shift in found:
            if shift.event == "end":
                name = shift.dimension, shift.member, shift.number
                self._ended[name] = of_minute(shift.at), _in_floats(shift.interval)

    def step(
        self,
        statuses: Iterable[SeriesStatus] | None,
        until: int,
        sums: SpanSums,
        confirmed: Callable[[ShiftName], bool],
    ) -> bool:
        """Fold what the detectors show at the end of minute ``until`` - 1; return whether it is news.

        ``statuses`` None: the detectors are behind, and only the ends that they found count; a new owner
        would not find them again. ``confirmed``: whether final minutes have given a shift.
        """
        ended, self._ended = self._ended, {}
        before = _heads(self.kept)
        active = None
        if statuses is not None:
            active = [shift for status in statuses if (shift := _going(status)) is not None]
        if not (active or ended or before):
            return False
        self.kept = fold(self._market, self.kept, active, ended, until * MINUTE_MS, confirmed)
        after = _heads(self.kept)
        due = [
            incident
            for incident in self.kept
            if after[incident.id] != before.get(incident.id)
            or (active is not None and not incident.over_ms and until != self._until)
        ]
        for incident in due:
            _measure(incident, until, sums)
        self._until = until
        if due or before.keys() != after.keys():
            self._shown = _copies(self.kept)
        return before != after


def incident_of(incidents: Iterable[Incident]) -> dict[ShiftName, str]:
    """Incident of each shift that is known; a later incident wins where a number was used twice."""
    return {shift.name: incident.id for incident in incidents for shift in incident.shifts}


def _copies(incidents: Iterable[Incident]) -> list[Incident]:
    replace = msgspec.structs.replace
    return [replace(each, shifts=[replace(shift) for shift in each.shifts]) for each in incidents]


def _heads(incidents: Sequence[Incident]) -> dict[str, tuple[int, int, tuple[ShiftName, ...]]]:
    """Everything of the incidents whose change is news, by id."""
    return {
        incident.id: (
            incident.start_ms,
            incident.over_ms,
            tuple(shift.name for shift in incident.shifts),
        )
        for incident in incidents
    }


def _going(status: SeriesStatus) -> IncidentShift | None:
    shift = status.shift
    if shift is None:
        return None
    return IncidentShift(
        dimension=shift.dimension,
        member=shift.member,
        number=shift.number,
        direction=shift.direction,
        clock=shift.clock,
        start_ms=of_minute(shift.start),
        found_ms=of_minute(shift.found_at),
        evidence_ratio=shift.evidence_ratio,
        interval=_in_floats(shift.interval),
    )


def _in_floats(interval: RatioInterval) -> RatioInterval:
    """Return the interval as it is read back: a takeover must leave no trace in the record."""
    return msgspec.structs.replace(interval, observed=float(interval.observed))


def _measure(incident: Incident, until: int, sums: SpanSums) -> None:
    lead = incident.lead
    first = lead.start_ms // MINUTE_MS
    last = min(until, incident.over_ms // MINUTE_MS) if incident.over_ms else until
    incident.measures = measure(
        (lead.dimension, lead.member),
        lead.direction,
        lead.interval,
        (first, max(last, first + 1)),
        frozenset((shift.dimension, shift.member) for shift in incident.shifts),
        sums,
    )
    incident.stopped = incident.stopped or (lead.direction < 0 and incident.measures.stopped)

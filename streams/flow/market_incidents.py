"""Incidents of one market at work: after each step of the detectors it folds the shifts into incidents.

They are kept in the detectors' record. So a new owner goes on with the same incidents, under the same
names. The ledger says how large an incident is: once a minute while it goes on, and once at its end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from itertools import groupby
from operator import attrgetter

import msgspec

from streams.flow.shift_watch import FINAL, LIVE, ActiveShift, FoundShift, SeriesStatus
from streams.index.incident_measures import (
    NOW_MINUTES,
    STOPPED_RATIO,
    Measures,
    NowSize,
    Recent,
    SeriesSums,
    SpanSums,
    has_stopped,
    measure,
)
from streams.index.incidents import (
    Ended,
    Incident,
    IncidentShift,
    ShiftName,
    fold,
    fold_final,
    note_worse,
    set_back,
)
from streams.index.panes import MINUTE_MS, of_minute
from streams.index.shift_ratio import RatioInterval


class MarketIncidents:
    """Incidents of one market: those that are over first, then the open ones."""

    def __init__(self, market: str, step_ms: int = MINUTE_MS) -> None:
        """``step_ms``: step of the detectors' fast clock where it steps by panes."""
        self.kept: list[Incident] = []
        self._market = market
        self._step_ms = step_ms
        self._until = -1
        self._found: list[FoundShift] = []
        """What the detectors found, in order, and is not folded yet."""
        self._shown: list[Incident] = []
        self._silenced: dict[str, frozenset[ShiftName]] = {}

    def restore(self, kept: list[Incident]) -> None:
        """Continue with the incidents of an earlier owner."""
        self._continue(kept)

    def set_back(self, now_ms: int) -> None:
        """End what goes on, and forget what was found later: the clock is set back to ``now_ms``."""
        self._continue(set_back(self.kept, now_ms))
        self._found.clear()

    def _continue(self, kept: list[Incident]) -> None:
        self.kept = kept
        self._until = -1
        self._silenced = {}
        self._shown = _shown(kept)

    def heed(self, silenced: Callable[[Incident], frozenset[ShiftName]]) -> None:
        """Let answers count in what is shown until the first step; ``silenced`` as in ``step``.

        An answer may be read after the record, and a step may have to wait for minutes.
        """
        if self._until >= 0:
            return
        self._silenced, self._shown = self._quiet(silenced), _shown(self.kept)
        for shown in self._shown:
            of_detectors = shown.lead.name
            shown.silenced = self._silenced.get(shown.id, frozenset())
            if shown.lead.name != of_detectors:
                shown.measures = None

    def _quiet(
        self, silenced: Callable[[Incident], frozenset[ShiftName]]
    ) -> dict[str, frozenset[ShiftName]]:
        return {each.id: names for each in self.kept if (names := silenced(each))}

    def shown(self) -> list[Incident]:
        """Copies of the incidents, which no later step changes."""
        return self._shown

    def note_found(self, found: Iterable[FoundShift]) -> None:
        """Keep what the detectors found, in its order, until the next step."""
        self._found += found

    def step(
        self,
        statuses: Iterable[SeriesStatus] | None,
        until: int,
        sums: SpanSums,
        confirmed: Callable[[ShiftName], bool],
        silenced: Callable[[Incident], frozenset[ShiftName]] = lambda _: frozenset(),
        last_minute: Callable[[], Sequence[SeriesSums]] = tuple,
    ) -> bool:
        """Fold what the detectors show at the end of minute ``until`` - 1; return whether it is news.

        ``statuses`` None: the detectors are behind, and only what final minutes have found counts. A new
        owner would not find it again. ``confirmed``: whether final minutes have given a shift.
        ``silenced``: those of an incident that answers keep from paging, where another one pages. What
        is kept knows nothing of them but when it became worse; what is shown is led by what pages.
        ``last_minute``: sums of the minute that ends where ``statuses`` have counted to, whole or not.
        """
        found, self._found = self._found, []
        before, led_by = _heads(self.kept), _leads(self.kept)
        for at, each in groupby((one for one in found if one.phase == FINAL), attrgetter("at")):
            paged, ended = _events(each)
            self.kept = fold_final(self._market, self.kept, paged, ended, of_minute(at))
        if statuses is not None:
            active = [shift for status in statuses if (shift := _going(status)) is not None]
            _, ended = _events(one for one in found if one.phase == LIVE)
            self.kept = fold(self._market, self.kept, active, ended, until * MINUTE_MS, confirmed)
        going = {each.id: _going_shifts(each) for each in self.kept if not each.over_ms}
        stopped = set() if statuses is None else self._note_stops(cache(last_minute))
        after, leads = _heads(self.kept), _leads(self.kept)
        due = [
            incident
            for incident in self.kept
            if after[incident.id] != before.get(incident.id)
            or incident.id in stopped
            or leads[incident.id] != led_by.get(incident.id)  # its size is of the series that leads
            or (statuses is not None and not incident.over_ms and until != self._until)
        ]
        if statuses is None:
            due = [incident for incident in due if incident.over_ms or incident.measures]
        for incident in due:
            _measure(incident, until, sums, self._step_ms)
        first, self._until = self._until < 0, until
        quiet = self._quiet(silenced)
        worse = _note_worse(self.kept, going, quiet)
        if first or due or worse or before.keys() != after.keys() or quiet != self._silenced:
            self._silenced = quiet
            self._show(until, cache(sums))
        return before != after or bool(stopped) or worse

    def _note_stops(self, last_minute: Callable[[], Sequence[SeriesSums]]) -> set[str]:
        """Note which shifts have all but stopped for a minute of any panes; return their incidents.

        A stop at second 3 was called an outage after 117 s, when the first whole minute of it had ended.
        """
        found = set()
        for incident in self.kept:
            for shift in incident.shifts:
                if incident.over_ms or shift.over_ms or shift.direction > 0 or shift.stopped_ms:
                    continue
                if shift.good_news or shift.interval.ratio > STOPPED_RATIO:
                    continue
                own = (each for each in last_minute() if _names(each, shift))
                if any(has_stopped(each.observed, each.expected) for each in own):
                    shift.stopped_ms = shift.start_ms
                    found.add(incident.id)
        return found

    def _show(self, until: int, sums: SpanSums) -> None:
        earlier = {each.id: each for each in self._shown if each.measures}
        recent = Recent(until, sums)
        self._shown = _shown(self.kept)
        for shown in self._shown:
            of_detectors = shown.lead.name
            shown.silenced = self._silenced.get(shown.id, frozenset())
            shown.market_now = _market_now(shown, recent)
            lead, before = shown.lead, earlier.get(shown.id)
            if lead.name == of_detectors:
                continue
            known = before is not None and (before.lead.name, before.over_ms) == (
                lead.name,
                shown.over_ms,
            )
            if before is not None and known and shown.over_ms:
                shown.measures = before.measures
            elif shown.over_ms and until - shown.over_ms // MINUTE_MS > NOW_MINUTES[-1]:
                shown.measures = None  # its minutes may be forgotten
            else:
                shown.measures = _measures(shown, lead, until, sums, self._step_ms)


def incident_of(incidents: Iterable[Incident]) -> dict[ShiftName, str]:
    """Incident of each shift that is known; a later incident wins where a number was used twice."""
    return {shift.name: incident.id for incident in incidents for shift in incident.shifts}


def _shown(incidents: Iterable[Incident]) -> list[Incident]:
    """Copies of the incidents, without those found while the detectors were behind and not ended yet.

    They may be over by now: nobody is told of them as open before that is known.
    """
    replace = msgspec.structs.replace
    return [
        replace(each, shifts=[replace(shift) for shift in each.shifts])
        for each in incidents
        if each.over_ms or each.measures is not None
    ]


def _market_now(incident: Incident, recent: Recent) -> NowSize | None:
    whole = incident.whole
    if incident.over_ms or whole is None or not whole.over_ms:
        return None
    return recent.size((whole.dimension, whole.member), whole.start_ms // MINUTE_MS)


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


def _leads(incidents: Sequence[Incident]) -> dict[str, ShiftName]:
    """Shift that leads each incident, by id."""
    return {incident.id: incident.lead.name for incident in incidents}


def _events(found: Iterable[FoundShift]) -> tuple[list[IncidentShift], dict[ShiftName, Ended]]:
    """(shifts that were found, shifts whose end was found) of what the detectors found."""
    paged: list[IncidentShift] = []
    ended: dict[ShiftName, Ended] = {}
    for each in found:
        if each.event == "end":
            name = each.dimension, each.member, each.number
            ended[name] = of_minute(each.at), _in_floats(each.interval)
        else:
            paged.append(_shift(each, each.at))
    return paged, ended


def _going(status: SeriesStatus) -> IncidentShift | None:
    shift = status.shift
    return None if shift is None else _shift(shift, shift.found_at)


def _shift(shift: FoundShift | ActiveShift, found_at: float) -> IncidentShift:
    return IncidentShift(
        dimension=shift.dimension,
        member=shift.member,
        number=shift.number,
        direction=shift.direction,
        clock=shift.clock,
        start_ms=of_minute(shift.start),
        found_ms=of_minute(found_at),
        evidence_ratio=shift.evidence_ratio,
        interval=_in_floats(shift.interval),
    )


def _in_floats(interval: RatioInterval) -> RatioInterval:
    """Return the interval as it is read back: a takeover must leave no trace in the record."""
    return msgspec.structs.replace(interval, observed=float(interval.observed))


def _measure(incident: Incident, until: int, sums: SpanSums, step_ms: int) -> None:
    sums = cache(sums)
    _judge(incident, until, sums)
    lead, whole = incident.lead, incident.whole
    if whole is not None and whole.over_ms:
        # The minutes of its market may be forgotten by the time the last member is back.
        kept = incident.market_measures or (incident.measures if incident.over_ms else None)
        if kept is None or kept.until_ms != _last(whole, until) * MINUTE_MS:
            kept = _measures(incident, whole, until, sums, step_ms)
        if lead is whole:
            incident.measures, incident.market_measures = kept, None
            return
        incident.market_measures = kept
    incident.measures = _measures(incident, lead, until, sums, step_ms)


def _measures(
    incident: Incident, shift: IncidentShift, until: int, sums: SpanSums, step_ms: int
) -> Measures:
    first, last = shift.start_ms // MINUTE_MS, _last(shift, until)
    if shift.start_ms % MINUTE_MS == 0:  # a clock that steps by minutes may have dated it
        step_ms = MINUTE_MS
    return measure(
        (shift.dimension, shift.member),
        shift.direction,
        shift.interval,
        (first, max(last, first + 1)),
        frozenset((each.dimension, each.member) for each in incident.shifts),
        sums,
        step_ms / max(step_ms, last * MINUTE_MS - shift.start_ms),
    )


def _last(shift: IncidentShift, until: int) -> int:
    return min(until, shift.over_ms // MINUTE_MS) if shift.over_ms else until


def _names(sums: SeriesSums, shift: IncidentShift) -> bool:
    return (sums.dimension, sums.member) == (shift.dimension, shift.member)


def _going_shifts(incident: Incident) -> list[IncidentShift]:
    """Shifts of an incident that go on and have not stopped."""
    return [shift for shift in incident.shifts if not shift.over_ms and not shift.stopped_ms]


def _note_worse(
    incidents: Iterable[Incident],
    going: Mapping[str, Iterable[IncidentShift]],
    quiet: Mapping[str, frozenset[ShiftName]],
) -> bool:
    """Note which incidents became worse in kind; return whether there are any.

    ``going``: shifts by incident that had not stopped before this step. ``quiet``: those silenced.
    """
    worse = False
    for each in incidents:
        stopped = [shift for shift in going.get(each.id, ()) if shift.stopped_ms]
        worse |= note_worse(each, stopped, quiet.get(each.id, frozenset()))
    return worse


def _judge(incident: Incident, until: int, sums: SpanSums) -> None:
    """Note which of the shifts that go on have all but stopped, and which look as expected again.

    Of an incident that is over, note whether its lead had stopped.

    Each shift keeps its own, whichever leads: a category that stopped has stopped no market.
    """
    judged = [shift for shift in incident.shifts if not shift.over_ms] or [incident.lead]
    until = _last(judged[0], until)
    recent = Recent(until, sums)
    judged.sort(key=lambda shift: not shift.of_market)
    market_ms = judged[0].stopped_ms if judged[0].of_market else 0
    for shift in judged:
        series, first = (shift.dimension, shift.member), shift.start_ms // MINUTE_MS
        shift.back = not shift.over_ms and recent.back(series, first, shift.interval)
        if shift.direction > 0 or shift.stopped_ms or shift.good_news:
            continue
        if not recent.stopped(series, first):
            continue
        at_once = shift.interval.ratio <= STOPPED_RATIO
        shift.stopped_ms = shift.start_ms if at_once else until * MINUTE_MS
        if shift.of_market:
            market_ms = shift.stopped_ms
        elif market_ms:
            # Its market's stop explains it, so whoever answered that knew of it (decision 0280).
            shift.stopped_ms = min(shift.stopped_ms, max(shift.start_ms, market_ms))

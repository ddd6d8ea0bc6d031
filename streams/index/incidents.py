"""Incidents: all shifts of one market that have one cause are one incident, with one name.

A market that stops shifts most of its series within minutes of each other. An operator wants one card
and one message of it. The first shift found opens an incident and names it by its minute, so every
worker gives it the same name, before and after a restart. Later shifts join it when the whole market
explains them or when they began with it.

Nothing here reads a clock: every instant is a parameter, in ms since the epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal

import msgspec

from streams.index.incident_measures import Measures, NowSize, State
from streams.index.indices import ALL, MARKET, METHOD
from streams.index.panes import DAY_MS, HOUR_MS, MINUTE_MS, rfc3339
from streams.index.shift_clock import DRIFT, FAST
from streams.index.shift_ratio import RatioInterval, strength
from streams.index.shift_series import PAYMENT_FAILURE

INCIDENTS_MAX = 30
"""Incidents kept of a market, open ones included. The oldest that are over are forgotten first."""
INCIDENTS_KEPT_MS = 35 * DAY_MS
"""How long an incident is kept after it was over."""
BEGAN_TOGETHER_MS = 15 * MINUTE_MS
"""Shifts that began within this time of each other have one cause."""
DATED_BY_HOURS_MS = 90 * MINUTE_MS
"""The same for a shift that the slow or the daily clock found: it dates a start by whole hours."""
SHIFTS_KEPT = 10
"""Shifts of an incident that are kept longer than an hour after they were over: the strongest."""
EXPLAINED_AFTER_MS = 10 * MINUTE_MS
"""A shift found this long after the incident was over still belongs to it (decision 0303)."""

Kind = Literal["outage", "drop", "jump", "drift"]
Direction = Literal["up", "down"]
ShiftName = tuple[str, str, int]
"""(dimension, member, number): names a shift of a market within an edition."""
Ended = tuple[int, RatioInterval]
"""When a shift ended, in ms, and how large it was."""

WAYS: dict[int, Direction] = {1: "up", -1: "down"}
"""Direction of a shift -> its word in names and records."""
_MINUTE_TEXT = len("2026-11-24T10:02")


class IncidentShift(msgspec.Struct, omit_defaults=True):
    """One shift of an incident. Instants are in ms; ``over_ms`` 0: it goes on."""

    dimension: str
    member: str
    number: int
    direction: int
    clock: str
    start_ms: int
    found_ms: int
    evidence_ratio: float
    """Evidence on which it was found, as a multiple of the paging threshold."""
    interval: RatioInterval
    """How large it has been since its start; until its end, once it is over."""
    over_ms: int = 0
    withdrawn: bool = False
    """True when it was found live and later events took it back: final minutes do not show it."""
    repaged: bool = False
    """True once it was paged again under another number: start and clock are those of the first page."""
    stopped_ms: int = 0
    """Since when its series had all but stopped: since it began, or since that was seen. 0: never."""
    back: bool = False
    """True while it goes on, but its last minutes look as expected again."""

    @property
    def name(self) -> ShiftName:
        """Name of the shift within its market."""
        return self.dimension, self.member, self.number

    @property
    def of_market(self) -> bool:
        """True for the shift of the market's own total."""
        return self.dimension == MARKET and self.member == ALL

    @property
    def good_news(self) -> bool:
        """True for fewer failed payments: nothing is wrong with them, in an outage least of all."""
        return self.dimension == PAYMENT_FAILURE and self.direction < 0

    @property
    def strength(self) -> float:
        """How strongly it differs from what is expected (``shift_ratio.strength``)."""
        return strength(self.interval.observed, self.interval.expected)


class Incident(msgspec.Struct):
    """One cause: its shifts, the first found first. ``over_ms`` 0: at least one of them goes on.

    ``start_ms``: the earliest start of those that count.
    """

    id: str
    market: str
    direction: int
    start_ms: int
    found_ms: int
    shifts: list[IncidentShift]
    over_ms: int = 0
    left_out: int = 0
    """Shifts that it had and that are not kept any more."""
    measures: Measures | None = None
    """How large it is by its lead; of a lead that is over, as it was at its end."""
    market_measures: Measures | None = None
    """How large it was by its market's total at the end of that. None: that leads, or never was."""
    silenced: frozenset[ShiftName] = frozenset()
    """Shifts that answers keep from paging, where another one pages: they do not lead. Of copies that
    are shown only."""
    market_now: NowSize | None = None
    """How its market's total is now, where its shift is over and something else goes on. Of copies that
    are shown only."""
    worsened_ms: int = 0
    """When it last became worse in kind (``note_worse``). 0: it is what it was when it was found. Who
    took it on before knew of something else, so it stays whatever leads later."""

    @property
    def lead(self) -> IncidentShift:
        """The shift that it is named by: the market's own, else the strongest.

        While it is open, one that goes on leads: what is over is history. One that is not back yet comes
        before one that looks so, and one in the incident's direction before failures in the other. One
        that pages comes before one that was called a false alarm. One that was withdrawn leads only
        where all were.
        """
        return max(self.shifts, key=self._leads)

    @property
    def whole(self) -> IncidentShift | None:
        """The strongest shift of the market's own total. It explains the others, also when over."""
        return max(_of_market(self), key=lambda shift: shift.strength, default=None)

    @property
    def stopped_ms(self) -> int:
        """Since when it is an outage: one whose leading series had all but stopped. 0: it is none."""
        return self.lead.stopped_ms

    @property
    def kind(self) -> Kind:
        """What happened to the leading series."""
        lead = self.lead
        if lead.clock == DRIFT.name:
            return "drift"
        if lead.direction > 0:
            return "jump"
        return "outage" if lead.stopped_ms else "drop"

    @property
    def state(self) -> State:
        """How it stands: ``returning`` is open, but its leading series looks as expected again."""
        if self.over_ms:
            return "withdrawn" if all(shift.withdrawn for shift in self.shifts) else "over"
        measures, lead = self.measures, self.lead
        # A jump that was found after half a minute "looked as usual again": by the minute before it.
        judged = measures is not None and measures.now_since_ms >= lead.start_ms
        back = judged and measures is not None and measures.is_back(lead.interval)
        return "returning" if back else "open"

    def _leads(
        self, shift: IncidentShift
    ) -> tuple[bool, bool, bool, bool, bool, bool, bool, float]:
        """Key by which the shifts of an incident lead it."""
        going = not shift.over_ms
        return (
            not shift.withdrawn,
            going,
            shift.name not in self.silenced,
            not shift.good_news,
            shift.of_market,
            shift.direction == self.direction,
            not (going and shift.back),
            shift.strength,
        )


def market_again(incident: Incident, incidents: Iterable[Incident]) -> int:
    """Direction in which another incident has the market's total when its shift here is over; else 0.

    A jump may be over because a stop has begun: then the market is not back. Of an incident that goes
    on, what the others have now counts; of one that is over, what they had when the shift ended.
    """
    over_ms = max((shift.over_ms for shift in _of_market(incident)), default=0)
    if not over_ms:
        return 0
    for shift in (
        each for other in incidents if other.id != incident.id for each in _of_market(other)
    ):
        now = not incident.over_ms and not shift.over_ms
        then = shift.start_ms <= over_ms and (not shift.over_ms or shift.over_ms > over_ms)
        if now or then:
            return shift.direction
    return 0


def note_worse(
    incident: Incident, stopped: Iterable[IncidentShift], silenced: frozenset[ShiftName]
) -> bool:
    """Note that an incident became worse in kind; return whether it did.

    Its market's total joined, or what leads all but stopped. ``stopped``: shifts that have done so since
    the step before. ``silenced``: those that do not lead, since answers keep them from paging.
    """
    lead = msgspec.structs.replace(incident, silenced=silenced).lead
    worse = [shift.found_ms for shift in _of_market(incident)]
    worse += [max(shift.found_ms, shift.stopped_ms) for shift in stopped if shift is lead]
    worse_ms = max(worse, default=0)
    if worse_ms <= max(incident.found_ms, incident.worsened_ms):
        return False
    incident.worsened_ms = worse_ms
    return True


def _of_market(incident: Incident) -> Iterator[IncidentShift]:
    return (shift for shift in incident.shifts if shift.of_market and not shift.withdrawn)


def incident_id(market: str, found_ms: int, direction: int) -> str:
    """Name of the incident whose first shift was found in this minute.

    >>> incident_id("BD", 1_700_000_000_000, -1)
    'BD-20231114T2213-down'
    """
    minute = rfc3339(found_ms)[:_MINUTE_TEXT].replace("-", "").replace(":", "")
    return f"{market}-{minute}-{WAYS[direction]}"


def fold(
    market: str,
    incidents: list[Incident],
    active: Sequence[IncidentShift],
    ended: Mapping[ShiftName, Ended],
    now_ms: int,
    confirmed: Callable[[ShiftName], bool],
) -> list[Incident]:
    """Return the incidents after a step; those passed in may be changed.

    ``active``: every shift that goes on. ``ended``: those whose end live minutes have found. ``now_ms``:
    end of the last minute that the detectors have seen. ``confirmed``: whether final minutes have given
    a shift. One that is not active any more without an end was taken back by late events, unless it was
    confirmed: then it is over. A shift that goes on under another number, in its direction, is the same
    shift: a long one pages again each day (decision 0221).
    """
    _renumber(incidents, active, ended)
    _end(incidents, ended, now_ms)
    _close(incidents, {shift.name for shift in active}, now_ms, confirmed)
    for shift in _in_order(active):
        _place(market, incidents, shift, now_ms)
    return _settled(incidents, now_ms)


def fold_final(
    market: str,
    incidents: list[Incident],
    paged: Sequence[IncidentShift],
    ended: Mapping[ShiftName, Ended],
    now_ms: int,
) -> list[Incident]:
    """Return the incidents after a final minute; those passed in may be changed.

    ``paged`` and ``ended``: the shifts that it found, and those whose end it found. ``now_ms``: its end.
    Live minutes have shown most of them before, and know more of a shift that goes on. There are none
    while the detectors catch up: what began and ended by then is known from final minutes alone.
    """
    new = [shift for shift in _in_order(paged) if _known(incidents, shift, now_ms) is None]
    _renumber(incidents, new, ended)
    _end(incidents, ended, now_ms)
    for shift in new:
        if _known(incidents, shift, now_ms) is None:
            _place(market, incidents, shift, now_ms)
    return _settled(incidents, now_ms)


def _in_order(shifts: Iterable[IncidentShift]) -> list[IncidentShift]:
    return sorted(shifts, key=lambda shift: (shift.found_ms, not shift.of_market, shift.name))


def _settled(incidents: list[Incident], now_ms: int) -> list[Incident]:
    for incident in incidents:
        ended = [shift for shift in incident.shifts if not shift.withdrawn] or incident.shifts
        overs = [shift.over_ms for shift in ended]
        incident.over_ms = max(overs) if all(overs) else 0
        incident.start_ms = _began_ms(incident)
    return _bounded(incidents, now_ms)


def _began_ms(incident: Incident) -> int:
    """Earliest start of the shifts that count; those left out count too. It is found after it began."""
    shifts = [shift for shift in incident.shifts if not shift.withdrawn] or incident.shifts
    known = [incident.start_ms] if incident.left_out else []
    return min(*known, incident.found_ms, *(shift.start_ms for shift in shifts))


def set_back(incidents: Iterable[Incident], now_ms: int) -> list[Incident]:
    """Return the incidents as of an earlier instant; those passed in may be changed.

    A clock had run ahead of it, and minutes were read whose events had not come. What was found in them
    is forgotten. What goes on is over: the detectors begin anew, and find it again.
    """
    kept = []
    for incident in incidents:
        incident.shifts = [shift for shift in incident.shifts if shift.found_ms <= now_ms]
        for shift in incident.shifts:
            shift.over_ms = min(shift.over_ms or now_ms, now_ms)
        if incident.shifts:
            incident.start_ms = _began_ms(incident)
            incident.over_ms = max(shift.over_ms for shift in incident.shifts)
            incident.worsened_ms = min(incident.worsened_ms, now_ms)
            kept.append(incident)
    return kept


def _renumber(
    incidents: Iterable[Incident],
    active: Iterable[IncidentShift],
    ended: Mapping[ShiftName, Ended],
) -> None:
    """Give each open shift that goes on under another number that number."""
    numbers = {(shift.dimension, shift.member, shift.direction): shift.number for shift in active}
    for incident in incidents:
        for shift in incident.shifts:
            number = numbers.get((shift.dimension, shift.member, shift.direction), shift.number)
            if number != shift.number and not shift.over_ms and shift.name not in ended:
                shift.number, shift.repaged = number, True


def _end(incidents: Iterable[Incident], ended: Mapping[ShiftName, Ended], now_ms: int) -> None:
    for shift in (shift for incident in incidents for shift in incident.shifts):
        end = ended.get(shift.name)
        if end is not None and end[0] >= shift.start_ms and not _retired(shift, now_ms):
            # Final minutes may date an end that live minutes had found before.
            shift.over_ms, shift.interval = end
            shift.withdrawn = False


def _close(
    incidents: Iterable[Incident],
    going: set[ShiftName],
    now_ms: int,
    confirmed: Callable[[ShiftName], bool],
) -> None:
    """Close the shifts that go on no more, and whose end nothing has found."""
    for incident in incidents:
        for shift in incident.shifts:
            if not shift.over_ms and shift.name not in going:
                shift.over_ms, shift.withdrawn = now_ms, not confirmed(shift.name)


def _place(market: str, incidents: list[Incident], shift: IncidentShift, now_ms: int) -> None:
    known = _known(incidents, shift, now_ms)
    if known is not None:
        known.interval = shift.interval
        if not known.repaged:
            known.start_ms, known.clock = shift.start_ms, shift.clock
        known.over_ms, known.withdrawn = 0, False
        return
    name = incident_id(market, shift.found_ms, shift.direction)
    joined = [incident for incident in incidents if _explains(incident, shift)]
    # Two incidents cannot have one name: what was found in one minute in one direction is one incident.
    joined = joined or [incident for incident in incidents if incident.id == name]
    if not joined and sum(not incident.over_ms for incident in incidents) >= INCIDENTS_MAX:
        joined = [each for each in incidents if each.direction == shift.direction]
    home = max(
        joined,
        key=lambda each: (_has_market(each), -_apart_ms(each, shift), each.found_ms),
        default=None,
    )
    if home is None:
        incidents.append(
            Incident(name, market, shift.direction, shift.start_ms, shift.found_ms, [shift])
        )
    else:
        home.shifts.append(shift)


def _known(
    incidents: Iterable[Incident], shift: IncidentShift, now_ms: int
) -> IncidentShift | None:
    for incident in incidents:
        for known in incident.shifts:
            if known.name == shift.name and not _retired(known, now_ms):
                return known
    return None


def _retired(shift: IncidentShift, now_ms: int) -> bool:
    """True when a shift was taken back long ago: its number belongs to the next one of its series."""
    return shift.withdrawn and now_ms - shift.over_ms > EXPLAINED_AFTER_MS


def _explains(incident: Incident, shift: IncidentShift) -> bool:
    """True when the shift has the incident's cause."""
    if incident.over_ms and shift.found_ms - incident.over_ms > EXPLAINED_AFTER_MS:
        return False
    together = _apart_ms(incident, shift) <= _tolerance_ms(shift)
    if shift.direction != incident.direction:
        return together and _fails(incident, shift)
    return together or (_has_market(incident) and not shift.of_market)


def _fails(incident: Incident, shift: IncidentShift) -> bool:
    """True when payments that fail more may be why they are captured less: one cause, two directions.

    Failures join any incident, and missing payments join one of payments alone in which some fail. A
    market that stops while payments fail is an incident of its own, in its own direction.
    """
    if shift.dimension != METHOD:
        return shift.dimension == PAYMENT_FAILURE
    found = {each.dimension for each in incident.shifts}
    return PAYMENT_FAILURE in found and found <= {PAYMENT_FAILURE, METHOD}


def _apart_ms(incident: Incident, shift: IncidentShift) -> int:
    return min(abs(each.start_ms - shift.start_ms) for each in incident.shifts)


def _tolerance_ms(shift: IncidentShift) -> int:
    return BEGAN_TOGETHER_MS if shift.clock == FAST.name else DATED_BY_HOURS_MS


def _has_market(incident: Incident) -> bool:
    return any(shift.of_market for shift in incident.shifts)


def _bounded(incidents: list[Incident], now_ms: int) -> list[Incident]:
    kept = [
        incident
        for incident in incidents
        if not incident.over_ms or now_ms - incident.over_ms <= INCIDENTS_KEPT_MS
    ]
    for incident in kept:
        _trim(incident, now_ms)
    kept.sort(key=lambda incident: (not incident.over_ms, incident.over_ms, incident.found_ms))
    return kept[-INCIDENTS_MAX:]


def _trim(incident: Incident, now_ms: int) -> None:
    """Leave the weakest out of the shifts that were over long ago, also while others go on for weeks."""
    past = [
        shift for shift in incident.shifts if shift.over_ms and now_ms - shift.over_ms > HOUR_MS
    ]
    more = len(past) - SHIFTS_KEPT
    if more > 0:
        past.sort(key=lambda each: (each.of_market, each.strength))
        weakest = {shift.name for shift in past[:more]}
        incident.shifts = [shift for shift in incident.shifts if shift.name not in weakest]
        incident.left_out += more

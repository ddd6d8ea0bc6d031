"""Shift detector of one series: it takes minutes and returns, at times, a shift or the end of one.

A series has a fast and a slow clock; the market's own total also has a daily clock for drifts. The
evidence of a series is the mean over the alternatives of all its clocks, in days. It pages at
``page_days``: the budget divided by the series' weight (shift_budget). Each clock grows by at most a day
a day in the mean, so their mean does too. Hence the mean time between false pages is at least
``page_days`` for the series, and at least the budget for all series together.

The state is plain numbers, and a minute changes it in one way only. So a restart from the state leaves
no trace, nor does a live copy that ran ahead and is thrown away.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import msgspec

from streams.index import shift_clock as clocks
from streams.index.shift_clock import DRIFT, FAST, MICRO, SLOW, UP, ClockState, DeadBand
from streams.index.shift_ratio import RatioInterval, ratio_interval

SILENCE_MINUTES = 1440
_DATES_FROM_DAYS = 150.0
"""Evidence from which the fast clock's start is the better one (decision 0224)."""
_DATES_WITHIN_MINUTES = 2 * SLOW.step_minutes


@dataclass(frozen=True, slots=True)
class DetectorRules:
    """What decides about one series. ``page_days``: evidence that pages, budget days / weight."""

    page_days: float
    silence_minutes: int = SILENCE_MINUTES
    drifts: bool = False
    """True when the series has the daily clock: only the market's own total has."""

    @property
    def clocks(self) -> int:
        """Number of clocks whose mean is the evidence."""
        return 3 if self.drifts else 2


class OpenShift(msgspec.Struct):
    """A shift that was paged and is not over. Minutes are since the epoch."""

    direction: int
    clock: str
    """The clock that had the most evidence."""
    start: int
    paged_at: int
    edge: float
    """The shift is over when the mean is on the inner side of this multiple of the expectation."""
    ln_end_days: float = clocks.NOTHING
    observed: int = 0
    expected: int = 0
    """Events counted and expected since its start; ``expected`` is in millionths."""
    evidence: float = 0.0
    """Evidence at the page, divided by the paging threshold."""
    dated_by: str = ""
    """The clock that dates the shift's start and finds its end; empty: the clock that found it."""

    def interval(self, noise: float) -> RatioInterval:
        """How large the shift has been since its start."""
        return ratio_interval(self.observed, self.expected / MICRO, noise)


class ShiftState(msgspec.Struct):
    """Everything a detector remembers. No minute before ``done_until`` is applied again."""

    fast: ClockState
    slow: ClockState
    drift: ClockState | None
    done_until: int = 0
    silent_until: dict[int, int] = {}
    """Direction that was paged -> first minute in which it is watched again."""
    pages: int = 0
    open: OpenShift | None = None

    @classmethod
    def fresh(cls, rules: DetectorRules) -> ShiftState:
        """State of a series that has had no minute."""
        drift = ClockState.fresh(DRIFT) if rules.drifts else None
        return cls(ClockState.fresh(FAST), ClockState.fresh(SLOW), drift)

    def copy(self) -> ShiftState:
        """Independent copy: the live copy of the state on final minutes."""
        return ShiftState(
            self.fast.copy(),
            self.slow.copy(),
            None if self.drift is None else self.drift.copy(),
            self.done_until,
            dict(self.silent_until),
            self.pages,
            None if self.open is None else msgspec.structs.replace(self.open),
        )

    def by_clock(self) -> list[tuple[clocks.ClockDesign, ClockState]]:
        """(design, state) of each clock."""
        pairs = [(FAST, self.fast), (SLOW, self.slow)]
        return pairs if self.drift is None else [*pairs, (DRIFT, self.drift)]


@dataclass(frozen=True, slots=True)
class ShiftEvent:
    """A shift found, or its end. Minutes are since the epoch; ``at`` is the end of the last minute."""

    kind: str
    """``page`` or ``end``."""
    number: int
    """Number of the shift within its series, from 1. It names the shift for good."""
    direction: int
    clock: str
    start: int
    at: int
    evidence_ratio: float
    """Evidence divided by the paging threshold."""
    interval: RatioInterval


def advance(
    state: ShiftState,
    rules: DetectorRules,
    minute: int,
    observed: int,
    expected_micro: int,
    noise: float,
) -> list[ShiftEvent]:
    """Apply one minute in which the series was awake.

    ``observed``: events counted; ``expected_micro``: millionths expected; ``noise``: s^2 of the
    expectation. Minutes come in order. ValueError for a minute that was applied before. A minute left
    out counts as slept through, and evidence stays as it is through sleep.
    """
    if minute < state.done_until:
        raise ValueError(f"minute {minute} was applied: state is at {state.done_until}")
    state.done_until = minute + 1
    asleep = _asleep(state, minute)
    events: list[ShiftEvent] = []
    if state.open is not None:
        state.open.observed += observed
        state.open.expected += expected_micro
    fast = clocks.fast_band(noise)
    ended = _step(state, FAST, state.fast, fast, (minute, observed, expected_micro), asleep)
    if clocks.hold(state.slow, SLOW, minute, observed, expected_micro):
        step = clocks.release(state.slow)
        slow = clocks.slow_band(noise)
        ended = _step(state, SLOW, state.slow, slow, step, asleep) or ended
    if ended:
        events.append(_end(state, noise))
    return events + _page_if_due(state, rules, minute + 1, noise)


def advance_day(
    state: ShiftState,
    rules: DetectorRules,
    step: tuple[int, int, int],
    day_noise: float,
    noise: float,
) -> list[ShiftEvent]:
    """Apply a whole final local day to the daily clock.

    ``step``: (first minute of the day, events, millionths expected by a vintage of nine days' lead);
    ``day_noise``: relative variance of a day under such expectations; ``noise``: s^2 as for minutes.
    ValueError when the series has no daily clock.
    """
    if state.drift is None:
        raise ValueError("this series has no daily clock")
    band = clocks.drift_band(day_noise)
    ended = _step(state, DRIFT, state.drift, band, step, _asleep(state, state.done_until))
    events = [_end(state, noise)] if ended else []
    return events + _page_if_due(state, rules, state.done_until, noise)


def ln_evidence_days(state: ShiftState, rules: DetectorRules) -> float:
    """Logarithm of the series' evidence: the mean over all clocks and alternatives, in days."""
    total = clocks.NOTHING
    for design, clock in state.by_clock():
        ln_count = math.log(len(design.factors) * rules.clocks)
        for ln_days in clock.ln_days:
            total = clocks.add_in_logarithms(total, ln_days - ln_count)
    return total


def evidence_ratio(state: ShiftState, rules: DetectorRules) -> float:
    """Evidence divided by the paging threshold. A ratio of 1 or more pages."""
    return math.exp(min(ln_evidence_days(state, rules) - math.log(rules.page_days), 700.0))


def _asleep(state: ShiftState, minute: int) -> frozenset[int]:
    return frozenset(way for way, until in state.silent_until.items() if minute < until)


def _step(
    state: ShiftState,
    design: clocks.ClockDesign,
    clock: ClockState,
    band: DeadBand,
    step: tuple[int, int, int],
    asleep: frozenset[int],
) -> bool:
    """Step one clock. True when it found the open shift to be over."""
    clocks.advance(clock, design, band, step, asleep)
    shift = state.open
    if shift is None or (shift.dated_by or shift.clock) != design.name or step[2] <= 0:
        return False
    # The same sum for the end of the shift: it grows by at most a step a step while the shift lasts.
    before = clocks.add_in_logarithms(shift.ln_end_days, design.ln_step)
    mu = step[2] / MICRO
    shift.ln_end_days = before + clocks.ln_factor(step[1], mu, band.size, shift.edge, 1.0)
    return shift.ln_end_days >= math.log(design.end_days)


def _end(state: ShiftState, noise: float) -> ShiftEvent:
    shift = state.open
    assert shift is not None
    state.open = None
    return ShiftEvent(
        kind="end",
        number=state.pages,
        direction=shift.direction,
        clock=shift.clock,
        start=shift.start,
        at=state.done_until,
        evidence_ratio=0.0,
        interval=shift.interval(noise),
    )


def _page_if_due(
    state: ShiftState, rules: DetectorRules, at: int, noise: float
) -> list[ShiftEvent]:
    if ln_evidence_days(state, rules) < math.log(rules.page_days):
        return []
    evidence = evidence_ratio(state, rules)
    direction, design, found, strongest = _strongest(state)
    dating, clock, best = _dating(state, direction, design, found, strongest)
    interval = ratio_interval(clock.observed[best], clock.expected[best], noise)
    start = min(round(clock.start[best]), at - 1)
    event = ShiftEvent(
        kind="page",
        number=state.pages + 1,
        direction=direction,
        clock=design.name,
        start=start,
        at=at,
        evidence_ratio=evidence,
        interval=interval,
    )
    state.pages += 1
    state.open = OpenShift(
        direction,
        design.name,
        start,
        at,
        _end_edge(dating, direction, interval, noise),
        observed=round(interval.observed),
        expected=max(1, round(interval.expected * MICRO)),
        evidence=evidence,
        dated_by=dating.name,
    )
    # The other direction starts anew at once: a stop after a jump is another shift.
    state.silent_until[direction] = at + rules.silence_minutes
    for _, own in state.by_clock():
        clocks.forget(own)
    return [event]


def _strongest(state: ShiftState) -> tuple[int, clocks.ClockDesign, ClockState, int]:
    """(direction, clock, its state, its alternative) with the most evidence."""
    found = (
        (clock.ln_days[at], design.directions[at], design, clock, at)
        for design, clock in state.by_clock()
        for at in range(len(design.factors))
    )
    _, direction, design, clock, at = max(found, key=lambda item: item[0])
    return direction, design, clock, at


def _dating(
    state: ShiftState, direction: int, design: clocks.ClockDesign, clock: ClockState, best: int
) -> tuple[clocks.ClockDesign, ClockState, int]:
    """(clock, its state, its alternative) that dates the start of a shift: minutes date it more closely.

    A shift that a whole hour completed is dated by the fast clock, if that clock has evidence of the
    same shift with a start near the slow clock's own. A burst late in a small shift is not the shift's
    start.
    """
    if design is SLOW:
        own = (at for at, way in enumerate(FAST.directions) if way == direction)
        at = max(own, key=state.fast.ln_days.__getitem__)
        apart = abs(state.fast.start[at] - clock.start[best])
        known = state.fast.ln_days[at] >= math.log(_DATES_FROM_DAYS)
        if known and apart <= _DATES_WITHIN_MINUTES:
            return FAST, state.fast, at
    return design, clock, best


def _end_edge(
    design: clocks.ClockDesign, direction: int, interval: RatioInterval, noise: float
) -> float:
    """Edge at which a shift ends: three quarters of the way (in logarithms) from E to the shift.

    The way leads to the nearer limit of what was measured: a page comes when counts are high, and an
    edge beyond the true mean would end the shift by itself. A ratio below 1 / 16 counts as 1 / 16, since
    a complete stop has no logarithm. The edge never lies inside the dead-band.
    """
    nearer = max(interval.lower if direction == UP else interval.upper, 1 / 16)
    on_the_way = math.sqrt(nearer * math.sqrt(nearer))
    if design is FAST:
        band = clocks.fast_band(noise)
    elif design is SLOW:
        band = clocks.slow_band(noise)
    else:
        band = clocks.drift_band(0.0)
    edge = band.edge(direction)
    return max(edge, on_the_way) if direction == UP else min(edge, on_the_way)

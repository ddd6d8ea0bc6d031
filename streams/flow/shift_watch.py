"""All shift detectors of one market: final minutes move them, live minutes are tried on a copy.

Only the states on final minutes are kept: they are a pure function of the final panes and the
expectations, whoever computes them. Minutes that are not final yet are applied to a copy, each time
anew. So a late event changes what is published of the last minutes, and leaves no trace in what is
kept. A shift is found on the copy first (``phase`` live) and once more on final minutes. Both have
the same number, so a reader sees that the second confirms the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import msgspec

from streams.index import shift_detector as detector
from streams.index.indices import MARKET
from streams.index.partials import Layout, Row
from streams.index.shift_budget import ShiftRules, page_days, weights
from streams.index.shift_clock import MICRO
from streams.index.shift_detector import DetectorRules, ShiftEvent, ShiftState
from streams.index.shift_ratio import Contributor, RatioInterval, contributors
from streams.index.shift_series import WatchedSeries, watched

LIVE, FINAL = "live", "final"


class ExpectedMinute(NamedTuple):
    """Expectation of a minute, in the order of ``ShiftWatch.series``.

    ``expected``: millionths of an event; None: the series is warming, and its detector sleeps.
    ``noise``: s^2 of each series.
    """

    expected: Sequence[int | None]
    noise: Sequence[float]


class WatchedMinute(NamedTuple):
    """One minute of the market: its number since the epoch, its row and its expectation.

    ``expectation`` None: all detectors sleep (the window is filling, or nothing was learnt).
    """

    minute: int
    row: Row
    expectation: ExpectedMinute | None


class ExpectedDay(NamedTuple):
    """A final local day of the market's total, for the daily clock; ``expected`` in millionths."""

    first_minute: int
    observed: int
    expected: int
    day_noise: float
    noise: float


Sums = Callable[[int, int], Sequence[tuple[int, int]]]
"""(first minute, minute after the last) -> (events, millionths expected) of each series."""


Contributors = dict[str, tuple[Contributor, ...]]
"""Dimension -> its contributors, the one with the largest difference first."""


class FoundShift(msgspec.Struct, frozen=True):
    """A shift that was found, or its end, as published. Instants are minutes since the epoch."""

    dimension: str
    member: str
    event: str
    number: int
    phase: str
    direction: int
    clock: str
    start: int
    at: int
    evidence_ratio: float
    interval: RatioInterval
    contributors: Contributors = {}


class ActiveShift(msgspec.Struct, frozen=True):
    """A shift that goes on: what was paged, and how large it has been since its start."""

    dimension: str
    member: str
    number: int
    direction: int
    clock: str
    start: int
    found_at: int
    evidence_ratio: float
    """Evidence when it was found; later evidence concerns its end."""
    interval: RatioInterval
    contributors: Contributors = {}
    """Contributors from its start until it was found."""


class SeriesStatus(NamedTuple):
    """What a series shows at the end of the live minutes."""

    series: WatchedSeries
    evidence_ratio: float
    shift: ActiveShift | None
    warming: bool
    """Whether its detector slept at the last minute: too little is known of the series."""
    restless: bool = False
    """Whether its bursts widened the detector's edges: only a larger shift pages (index/tails)."""

    @property
    def direction(self) -> int:
        """Direction of the active shift; 0 without one."""
        return 0 if self.shift is None else self.shift.direction


class WatchRecord(msgspec.Struct):
    """State that is kept of a market's detectors."""

    done_until: int
    states: list[ShiftState]


class ShiftWatch:
    """Detectors of every watched series of a market."""

    def __init__(self, layout: Layout, rules: ShiftRules, market_share: float) -> None:
        self.series = watched(layout)
        own, each = weights(rules, market_share, len(self.series) - 1)
        self.rules = [
            DetectorRules(
                page_days(rules, own if series.dimension == MARKET else each),
                drifts=series.drifts,
            )
            for series in self.series
        ]
        self.done_until = 0
        """First minute not applied; an earlier minute is ignored."""
        self._states = [ShiftState.fresh(one) for one in self.rules]
        self._live = self._states
        n = len(self.series)
        self._nothing = ExpectedMinute([None] * n, [0.0] * n)
        self._expected = self._nothing
        """Expectation of the last minute that was applied or tried."""
        self._published: dict[int, tuple[int, bool]] = {}
        """For each series: number of the last shift published as live, and whether its end was."""
        self._why: dict[int, tuple[tuple[int, int], Contributors]] = {}
        """For each active shift: its minutes until it was found, and who contributed to them."""

    # -- keeping ---------------------------------------------------------------------------------

    def record(self) -> WatchRecord:
        """Return what to keep: the states on final minutes alone."""
        return WatchRecord(self.done_until, self._states)

    def restore(self, record: WatchRecord) -> None:
        """Continue from a kept record; of several records the furthest counts."""
        if record.done_until <= self.done_until or len(record.states) != len(self.series):
            return
        self.done_until = record.done_until
        self._states = record.states
        self._live = self._states

    def begin(self, minute: int) -> None:
        """Begin detection at this minute."""
        self.done_until = max(self.done_until, minute)

    # -- stepping --------------------------------------------------------------------------------

    def apply_final(self, minute: WatchedMinute, sums: Sums) -> list[FoundShift]:
        """Apply a minute that can no longer change; one applied before is ignored."""
        if minute.minute < self.done_until:
            return []
        self.done_until = minute.minute + 1
        return self._found(self._advance(self._states, minute), FINAL, sums)

    def apply_final_day(self, day: ExpectedDay, sums: Sums) -> list[FoundShift]:
        """Apply a final local day to the daily clock of the market's total.

        The caller applies each day once, after the day's last minute.
        """
        events = detector.advance_day(
            self._states[0],
            self.rules[0],
            (day.first_minute, day.observed, day.expected),
            day.day_noise,
            day.noise,
        )
        return self._found([(0, event) for event in events], FINAL, sums)

    def apply_live(self, minutes: Iterable[WatchedMinute], sums: Sums) -> list[FoundShift]:
        """Try the minutes after the final ones on a copy; return what was not published before."""
        self._live = [state.copy() for state in self._states]
        events: list[tuple[int, ShiftEvent]] = []
        for minute in minutes:
            if minute.minute >= self.done_until:
                events += self._advance(self._live, minute)
        news = [(at, event) for at, event in events if self._is_news(at, event)]
        return self._found(news, LIVE, sums)

    def statuses(self, sums: Sums) -> list[SeriesStatus]:
        """Return direction and evidence of every series, live."""
        return [
            SeriesStatus(
                series,
                detector.evidence_ratio(state, rules),
                self._active(at, state, noise, sums),
                expected is None,
            )
            for at, (series, state, rules, expected, noise) in enumerate(
                zip(self.series, self._live, self.rules, *self._expected, strict=True)
            )
        ]

    def _active(self, at: int, state: ShiftState, noise: float, sums: Sums) -> ActiveShift | None:
        shift = state.open
        if shift is None:
            self._why.pop(at, None)
            return None
        series = self.series[at]
        minutes = (shift.start, shift.paged_at)
        known = self._why.get(at)
        if known is None or known[0] != minutes:
            why = self._contributors(series, *minutes, shift.direction, sums)
            known = self._why[at] = minutes, why
        return ActiveShift(
            dimension=series.dimension,
            member=series.member,
            number=state.pages,
            direction=shift.direction,
            clock=shift.clock,
            start=shift.start,
            found_at=shift.paged_at,
            evidence_ratio=shift.evidence,
            interval=shift.interval(noise),
            contributors=known[1],
        )

    def _advance(
        self, states: list[ShiftState], minute: WatchedMinute
    ) -> list[tuple[int, ShiftEvent]]:
        self._expected = minute.expectation or self._nothing
        if minute.expectation is None:
            return []
        events = []
        for at, (series, expected, noise) in enumerate(
            zip(self.series, minute.expectation.expected, minute.expectation.noise, strict=True)
        ):
            if expected is not None:
                found = detector.advance(
                    states[at],
                    self.rules[at],
                    minute.minute,
                    minute.row[series.column],
                    expected,
                    noise,
                )
                events += [(at, event) for event in found]
        return events

    def _is_news(self, at: int, event: ShiftEvent) -> bool:
        published = self._published.get(at, (0, False))
        own = (event.number, event.kind == "end")
        if own <= published:
            return False
        self._published[at] = own
        return True

    def _found(
        self, events: list[tuple[int, ShiftEvent]], phase: str, sums: Sums
    ) -> list[FoundShift]:
        return [self._shift(at, event, phase, sums) for at, event in events]

    def _shift(self, at: int, event: ShiftEvent, phase: str, sums: Sums) -> FoundShift:
        series = self.series[at]
        return FoundShift(
            dimension=series.dimension,
            member=series.member,
            event=event.kind,
            number=event.number,
            phase=phase,
            direction=event.direction,
            clock=event.clock,
            start=event.start,
            at=event.at,
            evidence_ratio=event.evidence_ratio,
            interval=event.interval,
            contributors=self._contributors(series, event.start, event.at, event.direction, sums)
            if event.kind == "page"
            else {},
        )

    def _contributors(
        self, shifted: WatchedSeries, start: int, until: int, direction: int, sums: Sums
    ) -> Contributors:
        if shifted.dimension != MARKET:
            # No count is kept by two dimensions: what its market's members did explains no member.
            return {}
        by_dimension: dict[str, dict[str, tuple[int, float]]] = {}
        for series, (observed, expected) in zip(self.series, sums(start, until), strict=True):
            if series.dimension != MARKET:
                members = by_dimension.setdefault(series.dimension, {})
                members[series.member] = (observed, expected / MICRO)
        found = {
            dimension: contributors(members, direction)
            for dimension, members in by_dimension.items()
        }
        return {dimension: most for dimension, most in found.items() if most}

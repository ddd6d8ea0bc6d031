"""All shift detectors of one market: final minutes move them, live minutes are tried on a copy.

Only the states on final minutes are kept: they are a pure function of the final panes and the
expectations, whoever computes them. Minutes that are not final yet are applied to a copy, each time
anew. So a late event changes what is published of the last minutes, and leaves no trace in what is
kept. A shift is found on the copy first (``phase`` live) and once more on final minutes. Both have
the same number, so a reader sees that the second confirms the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import NamedTuple

import msgspec
import numpy as np

from streams.index.incident_measures import DISPLAY_NOISE
from streams.index.incidents import ShiftName
from streams.index.indices import MARKET
from streams.index.kept_members import carried, foremost, scope_of_text, text_of
from streams.index.learning import Scope
from streams.index.ledgers import DEFINITION
from streams.index.partials import Layout, Row
from streams.index.shift_budget import ShiftRules, page_days, watched_most, weights
from streams.index.shift_clock import MICRO, Array
from streams.index.shift_detector import DetectorDesign, Detectors, ShiftEvent
from streams.index.shift_keeping import restore, states_of
from streams.index.shift_ratio import Contributor, RatioInterval, contributors
from streams.index.shift_series import WatchedSeries, rests, watched
from streams.index.shift_sizes import LearntSizes
from streams.index.shift_states import OpenShift, ShiftState

LIVE, FINAL = "live", "final"
_LEANS_FROM = 0.01
"""Evidence, as a multiple of what pages, from which it is asked which way it speaks."""


class ExpectedMinute(NamedTuple):
    """Expectation of a minute, in the order of ``ShiftWatch.series``.

    ``expected``: millionths of an event; below 0: the series is warming, and its detector sleeps.
    ``noise``: s^2 of each series.
    """

    expected: Array
    noise: Array


class WatchedMinute(NamedTuple):
    """One minute of the market: its number since the epoch, its row and its expectation.

    ``expectation`` None: all detectors sleep (the window is filling, or nothing was learnt).
    ``panes``: rows of the minute's panes, in order; None: they are not known any more. ``whole`` False:
    the minute goes on, and ``panes`` are its first ones.
    """

    minute: int
    row: Row
    expectation: ExpectedMinute | None
    panes: Sequence[Row] | None = None
    whole: bool = True


class ExpectedDay(NamedTuple):
    """A final local day of the market's total, for the daily clock; ``expected`` in millionths."""

    first_minute: int
    observed: int
    expected: int
    day_noise: float
    noise: float


Sums = Callable[[float, float], Sequence[tuple[int, int]]]
"""(first minute, minute after the last) -> (events, millionths expected) of each series. Both may be in
parts of a minute, to the pane."""


Contributors = dict[str, tuple[Contributor, ...]]
"""Dimension -> its contributors, the one with the largest difference first."""


class FoundShift(msgspec.Struct, frozen=True):
    """A shift that was found, or its end, as published.

    Instants are minutes since the epoch, in parts to the pane.
    """

    dimension: str
    member: str
    event: str
    number: int
    phase: str
    direction: int
    clock: str
    start: float
    at: float
    evidence_ratio: float
    interval: RatioInterval
    contributors: Contributors = {}
    cause: str = ""
    """Of an end: ``definition`` where its member is none any more."""


class ActiveShift(msgspec.Struct, frozen=True):
    """A shift that goes on: what was paged, and how large it has been since its start."""

    dimension: str
    member: str
    number: int
    direction: int
    clock: str
    start: float
    found_at: float
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
    leaning: int = 0
    """Direction that its evidence speaks for; 0: there is hardly any."""
    restless: bool = False
    """Whether its bursts widened the detector's edges: only a larger shift pages (index/tails)."""

    @property
    def direction(self) -> int:
        """Direction of the active shift; 0 without one."""
        return 0 if self.shift is None else self.shift.direction


class WatchRecord(msgspec.Struct):
    """State that is kept of a market's detectors. ``states``: ``dimension:member`` -> its state."""

    done_until: int
    states: dict[str, ShiftState]
    numbers_gone: int = 0
    """Largest number of a shift of any series that is gone: a number names a shift for good, so those of
    a series that comes, or comes back, are larger."""


class Carried(NamedTuple):
    """What a record's series have become."""

    renamed: dict[Scope, Scope]
    """Series of the record that have another id now -> that one."""
    ended: list[FoundShift]
    """Ends of the shifts that went on, of series that are gone."""


class ShiftWatch:
    """Detectors of every watched series of a market."""

    def __init__(
        self,
        layout: Layout,
        rules: ShiftRules,
        market_share: float,
        panes: int = 12,
        ahead_minutes: int = 0,
    ) -> None:
        """``panes``: steps of the fast clock in a minute, as many as ``WatchedMinute.panes``.

        ``ahead_minutes``: how far live minutes run ahead of final ones.
        """
        every = watched(layout)
        places = layout.market.places or len(every) - 1
        self.series = foremost(every, layout.market, watched_most(rules, places))
        self._renamed = layout.market.renamed
        own, each = weights(rules, market_share, places)
        page = [
            page_days(rules, own if series.dimension == MARKET else each) for series in self.series
        ]
        drifts = [series.drifts for series in self.series]
        self.done_until = 0
        """First minute not applied; an earlier minute is ignored."""
        self._final = Detectors(
            np.array(page),
            np.array(drifts, dtype=bool),
            DetectorDesign(panes=panes, ahead_minutes=ahead_minutes),
            rests(self.series),
        )
        self._live = self._final
        self._numbers_gone = 0
        """As in the record."""
        self._taught: Detectors | None = None
        """Its sizes are being taught; they are kept once they are whole."""
        n = len(self.series)
        self._places = {(each.dimension, each.member): at for at, each in enumerate(self.series)}
        self._counts = itemgetter(*(series.column for series in self.series))
        self._nothing = ExpectedMinute(np.full(n, -1.0), np.zeros(n))
        self._expected = self._nothing
        """Expectation of the last minute that was applied or tried."""
        self._published: dict[int, tuple[int, bool]] = {}
        """For each series: number of the last shift published as live, and whether its end was."""
        self.live_ends: list[FoundShift] = []
        """Every end that live minutes show now, published before or not."""
        self._why: dict[int, tuple[tuple[float, float], Contributors]] = {}
        """For each active shift: its minutes until it was found, and who contributed to them."""

    # -- keeping ---------------------------------------------------------------------------------

    def record(self) -> WatchRecord:
        """Return what to keep: the states on final minutes alone."""
        states = map(text_of, self._places), states_of(self._final)
        return WatchRecord(self.done_until, dict(zip(*states, strict=True)), self._numbers_gone)

    def restore(self, record: WatchRecord) -> Carried:
        """Continue from a kept record, and from nothing else.

        Its series may be others: those that are watched still keep their state bit for bit, new ones
        begin now, and a shift of one that is gone ends.
        """
        kept = {scope_of_text(name): state for name, state in record.states.items()}
        found = carried(list(kept), self._places, self._renamed)
        gone = kept.keys() - set(found.values())
        numbers = [state.pages for scope, state in kept.items() if scope in gone]
        self._numbers_gone = max([record.numbers_gone, *numbers])
        self._forget()
        self._final.pages[:] = self._numbers_gone
        restore(self._final, {self._places[now]: kept[scope] for now, scope in found.items()})
        self.done_until = record.done_until
        # A copy: what final minutes show while they catch up is not how it is now.
        self._live = self._final.copy()
        ended = [
            _ended_with_member(scope, state, record.done_until)
            for scope, state in kept.items()
            if scope in gone and state.open is not None
        ]
        return Carried({scope: now for now, scope in found.items() if scope != now}, ended)

    def begin(self, minute: int) -> None:
        """Begin detection at this minute."""
        self.done_until = max(self.done_until, minute)

    def begin_anew(self, minute: int, sums: Sums) -> list[FoundShift]:
        """Forget what was applied, for an operator has set the clock back to ``minute``.

        Return the ends of the shifts that were open. Numbers go on: they name shifts for good.
        """
        ended = self._found(self._final.end_all(minute), FINAL, sums)
        pages = self._final.pages
        self._forget()
        self._final.pages = pages
        self.done_until = 0
        return ended

    def _forget(self) -> None:
        before = self._final
        self._final = self._live = Detectors(
            before.page_days, before.drifts, before.design, before.rests
        )
        self._published.clear()
        self.live_ends = []
        self._why.clear()

    # -- stepping --------------------------------------------------------------------------------

    @property
    def sizes_begun(self) -> bool:
        """Whether the detectors have begun to learn how bursty the series are."""
        return self._final.sizes.begun

    def teach_sizes(self, minutes: Iterable[WatchedMinute]) -> None:
        """Learn from minutes before the first one applied how bursty the series are; judge nothing.

        What is learnt counts, and is kept, once ``use_taught_sizes`` is called.
        """
        if self._taught is None:
            self._taught = self._final.copy()
            design = self._final.design
            self._taught.sizes = LearntSizes(len(self.series), design.panes, design.ahead_minutes)
        for minute in minutes:
            if minute.expectation is not None:
                counts, panes = self._read(minute)
                self._taught.teach(minute.minute, counts, minute.expectation.expected, panes)

    def use_taught_sizes(self) -> None:
        """Let what was taught count from the next minute on."""
        if self._taught is not None:
            self._final.sizes, self._taught = self._taught.sizes, None
            self._final.sizes.use_at_once()

    def forget_taught_sizes(self) -> None:
        """Forget what was taught and does not count yet."""
        self._taught = None

    def apply_final(self, minute: WatchedMinute, sums: Sums) -> list[FoundShift]:
        """Apply a minute that can no longer change; one applied before is ignored."""
        if minute.minute < self.done_until:
            return []
        self.done_until = minute.minute + 1
        return self._found(self._advance(self._final, minute), FINAL, sums)

    def apply_final_day(self, day: ExpectedDay, sums: Sums) -> list[FoundShift]:
        """Apply a final local day to the daily clock of the market's total.

        The caller applies each day once, after the day's last minute.
        """
        whole = np.zeros((4, len(self.series)))
        whole[3] = self._final.noise
        whole[:, 0] = (day.observed, day.expected, day.day_noise, day.noise)
        events = self._final.day(self.done_until, day.first_minute, *whole)
        return self._found(events, FINAL, sums)

    def apply_live(self, minutes: Iterable[WatchedMinute], sums: Sums) -> list[FoundShift]:
        """Try the minutes after the final ones on a copy; return what was not published before."""
        self._live = self._final.copy()
        events: list[ShiftEvent] = []
        for minute in minutes:
            if minute.minute >= self.done_until:
                events += self._advance(self._live, minute)
        self.live_ends = self._found([each for each in events if each.kind == "end"], LIVE, sums)
        return self._found([event for event in events if self._is_news(event)], LIVE, sums)

    def statuses(self, sums: Sums) -> list[SeriesStatus]:
        """Return direction and evidence of every series, live."""
        expected, noise = (part.tolist() for part in self._expected)
        return [
            SeriesStatus(
                series,
                evidence,
                self._active(at, noise[at], sums),
                expected[at] < 0,
                self._live.evidence_direction(at) if evidence >= _LEANS_FROM else 0,
            )
            for at, (series, evidence) in enumerate(
                zip(self.series, self._live.evidence_ratio().tolist(), strict=True)
            )
        ]

    def confirmed(self, name: ShiftName) -> bool:
        """Whether final minutes have given the shift of this name."""
        at = self._places.get(name[:2])
        return at is not None and int(self._final.pages[at]) >= name[2]

    def _active(self, at: int, noise: float, sums: Sums) -> ActiveShift | None:
        shift: OpenShift | None = self._live.open.get(at)
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
            number=int(self._live.pages[at]),
            direction=shift.direction,
            clock=shift.clock,
            start=shift.start,
            found_at=shift.paged_at,
            evidence_ratio=shift.evidence,
            interval=shift.interval(noise),
            contributors=known[1],
        )

    def _advance(self, detectors: Detectors, minute: WatchedMinute) -> list[ShiftEvent]:
        self._expected = minute.expectation or self._nothing
        if minute.expectation is None:
            return []
        counts, panes = self._read(minute)
        return detectors.minute(
            minute.minute, counts, *minute.expectation, panes, whole=minute.whole
        )

    def _read(self, minute: WatchedMinute) -> tuple[Array, Array | None]:
        """Return (counts, counts by pane) of the watched series; None: the panes are not known."""
        counts = np.array(self._counts(minute.row), dtype=np.float64)
        if minute.panes is None:
            return counts, None
        panes = np.array([self._counts(row) for row in minute.panes], dtype=np.float64)
        if minute.whole and not np.array_equal(panes.sum(axis=0), counts):
            return counts, None  # retention has dropped some: an older version kept no more
        return counts, panes

    def _is_news(self, event: ShiftEvent) -> bool:
        published = self._published.get(event.series, (0, False))
        own = (event.number, event.kind == "end")
        if own <= published:
            return False
        self._published[event.series] = own
        return True

    def _found(self, events: list[ShiftEvent], phase: str, sums: Sums) -> list[FoundShift]:
        return [self._shift(event, phase, sums) for event in events]

    def _shift(self, event: ShiftEvent, phase: str, sums: Sums) -> FoundShift:
        series = self.series[event.series]
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
        self, shifted: WatchedSeries, start: float, until: float, direction: int, sums: Sums
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


def _ended_with_member(scope: Scope, state: ShiftState, done_until: int) -> FoundShift:
    """Return the end of the shift of a series that is gone."""
    shift = state.open
    assert shift is not None  # the caller checked it
    return FoundShift(
        dimension=scope[0],
        member=scope[1],
        event="end",
        number=state.pages,
        phase=FINAL,
        direction=shift.direction,
        clock=shift.clock,
        start=shift.start,
        at=max(shift.paged_at, float(done_until)),
        evidence_ratio=0.0,
        interval=shift.interval(DISPLAY_NOISE),
        cause=DEFINITION,
    )

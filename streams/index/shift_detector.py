"""Shift detectors of many series: they take minutes and return, at times, a shift or the end of one.

A series has a fast and a slow clock; the market's own total also has a daily clock for drifts. The
evidence of a series is the mean over the alternatives of all its clocks, in days. It pages at
``page_days``: the budget divided by the series' weight (shift_budget). Each clock grows by at most a day
a day in the mean, so their mean does too. Hence the mean time between false pages is at least
``page_days`` for the series, and at least the budget for all series together.

The fast clock steps by panes where at least PANE_EVENTS a minute are expected and panes are known to be
no burstier than minutes (shift_sizes); else by minutes. Its large alternatives use the size that was
learnt, the small ones at most FAST_SIZE: an error of the expectation beyond the edges looks like a small
shift, and a size that is too small hides it (decision 0225).

A series may be a part of a whole whose other part is a series too, as failed payments are. More of the
whole brings more of the part: where the whole is above its expectation, the part's upper edges are
multiplied by as much. So a rise of the part counts only beyond its usual share of what was seen. Its
lower edges stay: a fall is judged as in any series.

A minute changes the state in one way only. So a restart from the records leaves no trace, nor does a
live copy that ran ahead and is thrown away. Workers and ``bench shifts`` run this code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.index import shift_clock as clocks
from streams.index.shift_clock import (
    DRIFT,
    FAST,
    FAST_SIZE,
    MICRO,
    SLOW,
    UP,
    Array,
    ClockDesign,
    DeadBand,
    Places,
    SeriesClock,
    weighing,
)
from streams.index.shift_ratio import RatioInterval, ratio_interval
from streams.index.shift_sizes import LearntSizes
from streams.index.shift_states import OpenShift

SILENCE_MINUTES = 1440
PANE_EVENTS = 5.0
"""Events expected a minute from which the fast clock steps by panes."""
_LARGE = (0.4, 2.5)
"""Alternatives at most and at least as large use the size that was learnt."""
_EXTREME = (0.05, 4.0)
"""Alternatives at most and at least as large are watched again when the shift that paged is over."""
MEMBERS_AGAIN_MAX = 3
"""Members are watched again only while no more of them are silenced: each end of a shift takes room in
the detectors' record (decision 0232)."""
_DATES_FROM_DAYS = 150.0
"""Evidence from which the fast clock's start is the better one (decision 0224)."""
_DATES_WITHIN_MINUTES = 2 * SLOW.step_minutes


@dataclass(frozen=True, slots=True)
class DetectorDesign:
    """What the detectors of a market have in common. ``panes``: steps of the fast clock in a minute.

    ``ahead_minutes``: how far live minutes run ahead of final ones.
    """

    fast: ClockDesign = FAST
    panes: int = 12
    learns: bool = True
    """False: all alternatives use FAST_SIZE and all steps are minutes."""
    silence_minutes: int = SILENCE_MINUTES
    ahead_minutes: int = 0


Seen = tuple[Array, Array, Array]
"""Events counted and expected in a step, and by how much the wholes were above their expectations."""


@dataclass(frozen=True, slots=True)
class ShiftEvent:
    """A shift found, or its end. Minutes are since the epoch, in parts to the pane."""

    series: int
    kind: str
    """``page`` or ``end``."""
    number: int
    """Number of the shift within its series, from 1. It names the shift for good."""
    direction: int
    clock: str
    start: float
    at: float
    """End of the last minute, or pane, that was needed."""
    evidence_ratio: float
    """Evidence divided by the paging threshold."""
    interval: RatioInterval


class Detectors:
    """Detectors of many series.

    ``page_days``: evidence that pages, of each series. ``drifts``: True for the series with a daily
    clock. Only ``minute`` and ``day`` change the state.
    """

    def __init__(
        self,
        page_days: Array,
        drifts: NDArray[np.bool_],
        design: DetectorDesign | None = None,
        rests: Mapping[int, int] | None = None,
    ) -> None:
        """``rests``: of each series that is a part of a whole, the series of the rest."""
        n = len(page_days)
        self.rests = dict(rests or {})
        self._of_whole = np.array(list(self.rests), dtype=np.intp)
        self._rest = np.array(list(self.rests.values()), dtype=np.intp)
        self.design = DetectorDesign() if design is None else design
        self.page_days = page_days
        self.drifts = drifts
        self.fast = SeriesClock.fresh(self.design.fast, n)
        self.slow = SeriesClock.fresh(SLOW, n)
        self.drift = SeriesClock.fresh(DRIFT, n)
        self.sizes = LearntSizes(n, self.design.panes, self.design.ahead_minutes)
        self.silent_until: Array = np.zeros((2, n))
        """First minute in which a direction is watched again: 2 (up, down) x series."""
        self.held: Array = np.zeros((4, n))
        """First minute, minutes, events and millionths expected of the slow step under way."""
        self.done_until = np.zeros(n, dtype=np.int64)
        self.pages = np.zeros(n, dtype=np.int64)
        self.open: dict[int, OpenShift] = {}
        self.noise: Array = np.full(n, np.nan)
        self._fast_bands = _Bands(self.design.fast, n)
        self._slow_bands = _Bands(SLOW, n)
        count = 2 + drifts.astype(float)
        self._parts = [
            1 / (len(clock.design.factors) * count) for clock in (self.fast, self.slow, self.drift)
        ]
        factors = np.array(self.design.fast.factors)
        self._large = (self.design.learns & ((factors <= _LARGE[0]) | (factors >= _LARGE[1])))[
            :, None
        ]
        self._masks: dict[str, tuple[float, Array]] = {}
        """By clock: what is watched, and the minute from which on that may be out of date."""
        self._set_noise(np.zeros(n))

    def copy(self) -> Detectors:
        """Copy that minutes which are not final are tried on; it learns no sizes."""
        copy = Detectors.__new__(Detectors)
        copy.__dict__.update(self.__dict__)
        copy.fast, copy.slow, copy.drift = (
            clock.copy() for clock in (self.fast, self.slow, self.drift)
        )
        copy.sizes = self.sizes.tried()
        copy.silent_until = self.silent_until.copy()
        copy.held = self.held.copy()
        copy.done_until = self.done_until.copy()
        copy.pages = self.pages.copy()
        copy.open = {at: msgspec.structs.replace(shift) for at, shift in self.open.items()}
        copy.__dict__.update(
            _fast_bands=self._fast_bands.copy(),
            _slow_bands=self._slow_bands.copy(),
            _masks=dict(self._masks),
        )
        return copy

    def watch_anew(self) -> None:
        """Forget which alternatives are watched: a page, an end or a record has changed it."""
        self._masks = {}

    # -- stepping --------------------------------------------------------------------------------

    def minute(
        self,
        minute: int,
        observed: Array,
        expected: Array,
        noise: Array,
        panes: Array | None = None,
        *,
        whole: bool = True,
    ) -> list[ShiftEvent]:
        """Apply one minute of every series; return the shifts found, and ends of shifts.

        ``observed``: events counted. ``expected``: millionths expected; below 0: the series sleeps, and
        its evidence stays as it is. ``noise``: s^2 of the expectations. ``panes``: events by pane,
        panes x series; None: unknown, so the minute is one step. ``whole`` False: the minute goes on,
        and ``panes`` are its first ones.

        Minutes come in order. ValueError for a minute that was applied before.
        """
        awake = expected >= 0
        if (minute < self.done_until[awake]).any():
            raise ValueError(f"minute {minute} was applied before")
        if not np.array_equal(noise, self.noise):
            self._set_noise(noise)
        mu = np.where(awake, expected, 0.0) / MICRO
        known = mu > 0
        by_pane = self._by_pane(mu) if panes is not None else np.zeros_like(known)
        events = []
        if panes is not None and by_pane.any():
            events = self._pane_steps(minute, np.flatnonzero(by_pane), panes, mu)
        if not whole:
            return events
        self.done_until[awake] = minute + 1
        times = self._times(observed, mu)
        self._minute_steps(minute, np.flatnonzero(known & ~by_pane), observed, mu, times)
        self._add_to_open(minute, observed, expected, panes, times)
        hour = self._slow_steps(minute, observed, expected)
        paged = {event.series for event in events}
        ends = self._ends(minute, (observed, mu, times), hour)
        events += [event for event in ends if event.series not in paged]
        events += self._due(np.arange(len(mu)), minute + 1)
        if self.design.learns:
            mu[list(self.open)] = 0.0  # a minute of a shift says nothing of the size
            self.sizes.minute(minute, observed, mu, panes)
        return events

    def teach(self, minute: int, observed: Array, expected: Array, panes: Array | None) -> None:
        """Teach the sizes a minute before the first one applied; arguments as of ``minute``.

        No shift is looked for in it: a level of its own is divided out of each hour.
        """
        self.sizes.minute(minute, observed, np.maximum(expected, 0.0) / MICRO, panes)

    def day(
        self,
        ends: int,
        first_minute: int,
        observed: Array,
        expected: Array,
        day_noise: Array,
        noise: Array,
    ) -> list[ShiftEvent]:
        """Apply a whole final local day to the daily clocks; the others' numbers are not read.

        ``ends``: minute after the last one applied. ``expected``: millionths, by a vintage of nine
        days' lead; ``day_noise``: relative variance of a day under such expectations; ``noise``: s^2 as
        for minutes.
        """
        if not np.array_equal(noise, self.noise):
            self._set_noise(noise)
        at = np.flatnonzero(self.drifts & (expected > 0))
        if not at.size:
            return []
        bands = _Bands(DRIFT, len(at))
        bands.set(np.arange(len(at)), day_noise[at], clocks.drift_band)
        mu = expected[at] / MICRO
        own = self.drift.those(at)
        gain = DRIFT.step_days * self._watched(DRIFT, ends)[:, at]
        weigh = weighing(mu, bands.sizes(), bands.edges, bands.factors)
        own.step(float(first_minute), observed[at], mu, gain, weigh)
        self.drift.write_back(at, own)
        events = []
        for series, x, e, variance in zip(at, observed[at], mu, day_noise[at], strict=True):
            band = clocks.drift_band(float(variance))
            if self._is_over(int(series), DRIFT, band.size, float(x), float(e)):
                events.append(self._end(int(series), ends))
        return events + self._due(at, ends)

    def end_all(self, minute: int) -> list[ShiftEvent]:
        """End every shift that goes on at this minute; one that was paged later, when it was paged."""
        going = sorted(self.open.items())
        return [self._end(series, max(shift.paged_at, minute)) for series, shift in going]

    def evidence_ratio(self) -> Array:
        """Evidence of each series divided by its paging threshold; 1 or more pages."""
        return np.asarray(self._days(np.arange(len(self.page_days))) / self.page_days)

    def evidence_direction(self, series: int) -> int:
        """Direction that most of the evidence of a series speaks for."""
        return self._strongest(series)[0]

    # -- steps of the clocks ---------------------------------------------------------------------

    def _times(self, observed: Array, mu: Array) -> Array:
        """By how much each series' whole is above its expectation in a step; 1 where it is not."""
        times = np.ones(len(mu))
        part, rest = self._of_whole, self._rest
        known = (mu[part] > 0) & (mu[rest] > 0)
        whole = np.where(known, mu[part] + mu[rest], 1.0)
        ratio = (observed[part] + observed[rest]) / whole
        times[part] = np.where(known, np.maximum(ratio, 1.0), 1.0)
        return times

    def _by_pane(self, mu: Array) -> NDArray[np.bool_]:
        if not self.design.learns:
            return np.zeros(len(mu), dtype=bool)
        return np.asarray((mu >= PANE_EVENTS) & self.sizes.by_pane)

    def _pane_steps(self, minute: int, at: Places, panes: Array, mu: Array) -> list[ShiftEvent]:
        parts = self.design.panes
        learnt = np.minimum(self.sizes.size[at], self.sizes.pane_size[at])
        weigh = self._fast_weighing(at, mu, learnt).part(parts)
        mu_pane = mu[at] / parts
        step = FAST.step_days / parts
        gain = step * self._watched(self.design.fast, minute)[:, at]
        own = self.fast.those(at)
        limit, others = self.page_days[at], self._days(at, fast=False)
        events: list[ShiftEvent] = []
        for number, counts in enumerate(panes[:, at]):
            times = self._times(panes[number], mu / parts)[at]
            more = np.flatnonzero(times > 1)
            mu_now, weigh_now = mu_pane, weigh
            if more.size:
                those = self._fast_weighing(at[more], mu, learnt[more], times[more]).part(parts)
                weigh_now = weigh.replaced(more, those)
                mu_now = self._beside(self.design.fast, mu_pane, times)
            own.step(minute + number / parts, counts, mu_now, gain, weigh_now)
            due = np.flatnonzero(own.days.sum(axis=0) * self._parts[0][at] + others >= limit)
            if due.size:
                self.fast.write_back(at, own)
                ends = minute + (number + 1) / parts
                for series in at[due]:
                    events += self._page(int(series), ends, parts)
                own = self.fast.those(at)
                gain = step * self._watched(self.design.fast, minute)[:, at]
                others = self._days(at, fast=False)
        self.fast.write_back(at, own)
        return events

    def _minute_steps(
        self, minute: int, at: Places, observed: Array, mu: Array, times: Array
    ) -> None:
        if not at.size:
            return
        weigh = self._fast_weighing(at, mu, self.sizes.size[at], times[at])
        gain = FAST.step_days * self._watched(self.design.fast, minute)[:, at]
        own = self.fast.those(at)
        expected = self._beside(self.design.fast, mu[at], times[at])
        own.step(float(minute), observed[at], expected, gain, weigh)
        self.fast.write_back(at, own)

    def _beside(self, design: ClockDesign, mu: Array, times: Array) -> Array:
        """What is expected of each series under each alternative: alternatives x series."""
        expected = np.tile(mu, (len(design.factors), 1))
        expected[: len(design.up)] *= times
        return expected

    def _fast_weighing(
        self, at: Places, mu: Array, learnt: Array, times: Array | float = 1.0
    ) -> clocks.Weighing:
        if not self.design.learns:
            learnt = np.full(len(at), FAST_SIZE)
        bands = self._fast_bands
        sizes = np.where(self._large, learnt, np.minimum(learnt, FAST_SIZE))
        edges = bands.edges[:, at]
        edges[: len(self.design.fast.up)] *= times
        return weighing(mu[at], sizes, edges, bands.factors)

    def _slow_steps(self, minute: int, observed: Array, expected: Array) -> Seen:
        """Add a minute to the slow step under way; at the hour's end apply it, and return it."""
        awake = expected >= 0
        held = self.held
        held[0] = np.where(awake & (held[1] == 0), minute, held[0])
        held[1] += awake
        held[2] += np.where(awake, observed, 0.0)
        held[3] += np.where(awake, expected, 0.0)
        if (minute + 1) % SLOW.step_minutes:
            return _NONE, _NONE, _NONE
        x, mu = held[2].copy(), held[3] / MICRO
        times = self._times(x, mu)
        at = np.flatnonzero(mu > 0)
        if at.size:
            bands = self._slow_bands
            edges = bands.edges[:, at]
            edges[: len(SLOW.up)] *= times[at]
            weigh = weighing(mu[at], bands.sizes()[:, at], edges, bands.factors)
            gain = SLOW.step_days * self._watched(SLOW, minute)[:, at]
            own = self.slow.those(at)
            own.step(held[0, at], x[at], self._beside(SLOW, mu[at], times[at]), gain, weigh)
            self.slow.write_back(at, own)
        held[1:] = 0.0
        return x, mu, times

    def _watched(self, design: ClockDesign, minute: int) -> Array:
        """1 for each alternative that is not silenced, else 0: alternatives x series.

        A page silences its direction for a day. Once the shift of a total is over, or that of one of a
        few members, its extreme alternatives are watched again: a second outage within a day paged
        nobody (decisions 0231, 0232).
        """
        until, mask = self._masks.get(design.name, (0.0, _NONE))
        if minute < until:
            return mask
        waits = self.silent_until > minute
        goes_on = np.zeros_like(waits)
        if (waits & ~self.drifts).sum() > MEMBERS_AGAIN_MAX:
            goes_on[:] = ~self.drifts
        for series, shift in self.open.items():
            goes_on[0 if shift.direction == UP else 1, series] = True
        found = [
            ~(waits[side] & (goes_on[side] | (not _is_extreme(factor))))
            for side, factors in enumerate((design.up, design.down))
            for factor in factors
        ]
        mask = np.array(found, dtype=float)
        until = float(self.silent_until[waits].min(initial=math.inf))
        self._masks[design.name] = until, mask
        return mask

    def _set_noise(self, noise: Array) -> None:
        changed = np.flatnonzero(noise != self.noise)
        self.noise = noise.copy()
        self._fast_bands.set(changed, noise[changed], clocks.fast_band)
        self._slow_bands.set(changed, noise[changed], clocks.slow_band)

    # -- pages and ends --------------------------------------------------------------------------

    def _days(self, at: Places, *, fast: bool = True) -> Array:
        """Evidence in days: the mean over the alternatives of all clocks."""
        _, slow, drift = self._parts
        days = self.slow.days[:, at].sum(axis=0) * slow[at]
        days += self.drift.days[:, at].sum(axis=0) * (drift * self.drifts)[at]
        if fast:
            days += self.fast.days[:, at].sum(axis=0) * self._parts[0][at]
        return np.asarray(days)

    def _due(self, at: Places, ends: int) -> list[ShiftEvent]:
        due = at[self._days(at) >= self.page_days[at]]
        return [event for series in due for event in self._page(int(series), ends, 1)]

    def _page(self, series: int, ends: float, parts: int) -> list[ShiftEvent]:
        """Page a series. ``parts``: how many steps a minute has of the clock that was stepped.

        A shift in the other direction that goes on is over: its end comes first.
        """
        noise = float(self.noise[series])
        at = np.array([series])
        evidence = float(self._days(at)[0] / self.page_days[series])
        direction, found, strongest = self._strongest(series)
        dating, best = self._dating(series, direction, found, strongest)
        start, observed, expected = (float(each) for each in dating.since[:, best, series])
        interval = ratio_interval(observed, expected, noise)
        start = min(round(start * parts) / parts, ends - 1 / parts)
        before = self.open.get(series)
        turned = before is not None and before.direction != direction
        events = [self._end(series, ends)] if turned else []
        self.pages[series] += 1
        page = ShiftEvent(
            series=series,
            kind="page",
            number=int(self.pages[series]),
            direction=direction,
            clock=found.design.name,
            start=start,
            at=float(ends),
            evidence_ratio=evidence,
            interval=interval,
        )
        self.open[series] = OpenShift(
            direction,
            found.design.name,
            start,
            float(ends),
            _end_edge(dating.design, direction, interval, noise),
            observed=round(interval.observed),
            expected=max(1, round(interval.expected * MICRO)),
            evidence=evidence,
            dated_by=dating.design.name,
        )
        # The other direction starts anew at once: a stop after a jump is another shift.
        self.silent_until[0 if direction == UP else 1, series] = ends + self.design.silence_minutes
        for clock in (self.fast, self.slow, self.drift):
            clock.forget(series)
        self.watch_anew()
        return [*events, page]

    def _strongest(self, series: int) -> tuple[int, SeriesClock, int]:
        """(direction, clock, its alternative) with the most evidence."""
        own = (self.fast, self.slow, self.drift)
        clock = max(own, key=lambda each: each.days[:, series].max())
        best = int(clock.days[:, series].argmax())
        return clock.design.directions[best], clock, best

    def _dating(
        self, series: int, direction: int, found: SeriesClock, best: int
    ) -> tuple[SeriesClock, int]:
        """(clock, alternative) that dates the start of a shift: minutes date it more closely.

        A shift that a whole hour completed is dated by the fast clock, if that clock has evidence of
        the same shift with a start near the slow clock's own. A burst late in a small shift is not the
        shift's start.
        """
        if found.design is SLOW:
            ways = enumerate(self.fast.design.directions)
            own = (at for at, way in ways if way == direction)
            at = max(own, key=lambda each: self.fast.days[each, series])
            apart = abs(self.fast.since[0, at, series] - found.since[0, best, series])
            known = self.fast.days[at, series] >= _DATES_FROM_DAYS
            if known and apart <= _DATES_WITHIN_MINUTES:
                return self.fast, at
        return found, best

    def _add_to_open(
        self, minute: int, observed: Array, expected: Array, panes: Array | None, times: Array
    ) -> None:
        """Add a minute to the shifts that go on; of the minute of a page, what came after it."""
        for series, shift in self.open.items():
            if expected[series] < 0:
                continue
            x, e = float(observed[series]), float(expected[series])
            if shift.direction == UP:
                e *= float(times[series])
            if shift.paged_at > minute and panes is not None:
                done = round((shift.paged_at - minute) * self.design.panes)
                x -= float(panes[:done, series].sum())
                e *= 1 - done / self.design.panes
            shift.observed += round(x)
            shift.expected += round(e)

    def _ends(self, minute: int, seen: Seen, hour: Seen) -> list[ShiftEvent]:
        """Step the sums for the end of each shift that goes on; return the ends that were found."""
        over = []
        for series, shift in sorted(self.open.items()):  # in this order after a restart too
            noise = float(self.noise[series])
            if (shift.dated_by or shift.clock) == SLOW.name:
                design, size, step = SLOW, clocks.slow_band(noise).size, hour
            else:
                design, size, step = FAST, FAST_SIZE, seen
            x, mu, times = (float(each[series]) for each in step) if len(step[0]) else _NOTHING
            if shift.direction == UP:
                mu *= times
            if shift.paged_at <= minute and self._is_over(series, design, size, x, mu):
                over.append(series)
        return [self._end(series, minute + 1) for series in over]

    def _is_over(self, series: int, design: ClockDesign, size: float, x: float, mu: float) -> bool:
        """Add a step to the sum for the end of a shift; True when it is over.

        It is the clock's sum turned round: it grows by at most a step a step while the shift lasts.
        """
        shift = self.open.get(series)
        if shift is None or (shift.dated_by or shift.clock) != design.name or mu <= 0:
            return False
        before = clocks.add_in_logarithms(shift.ln_end_days, math.log(design.step_days))
        shift.ln_end_days = before + clocks.ln_factor(x, mu, size, shift.edge, 1.0)
        return shift.ln_end_days >= math.log(design.end_days)

    def _end(self, series: int, at: float) -> ShiftEvent:
        shift = self.open.pop(series)
        self.watch_anew()
        return ShiftEvent(
            series=series,
            kind="end",
            number=int(self.pages[series]),
            direction=shift.direction,
            clock=shift.clock,
            start=shift.start,
            at=float(at),
            evidence_ratio=0.0,
            interval=shift.interval(float(self.noise[series])),
        )


_NONE: Array = np.zeros(0)
_NOTHING = (0.0, 0.0, 1.0)


class _Bands:
    """Dead-bands of many series, for the alternatives of one clock."""

    def __init__(self, design: ClockDesign, series: int) -> None:
        self._up = len(design.up)
        self.factors: Array = np.array(design.factors)[:, None]
        self.edges: Array = np.ones((len(design.factors), series))
        self.size: Array = np.ones(series)

    def copy(self) -> _Bands:
        copy = _Bands.__new__(_Bands)
        copy.__dict__.update(self.__dict__)
        copy.edges, copy.size = self.edges.copy(), self.size.copy()
        return copy

    def set(self, at: Places, noise: Array, band_of: Callable[[float], DeadBand]) -> None:
        """Set the bands of some series by their noise. Series of one noise have one band."""
        values = noise.tolist()
        known = {value: band_of(value) for value in set(values)}
        bands = [known[value] for value in values]
        self.edges[: self._up, at] = [band.upper for band in bands]
        self.edges[self._up :, at] = [band.lower for band in bands]
        self.size[at] = [band.size for band in bands]

    def sizes(self) -> Array:
        return np.broadcast_to(self.size, self.edges.shape)


def _is_extreme(factor: float) -> bool:
    """Whether an alternative is one that no error of an expectation looks like."""
    return factor <= _EXTREME[0] or factor >= _EXTREME[1]


def _end_edge(design: ClockDesign, direction: int, interval: RatioInterval, noise: float) -> float:
    """Edge at which a shift ends: three quarters of the way (in logarithms) from E to the shift.

    The way leads to the nearer limit of what was measured: a page comes when counts are high, and an
    edge beyond the true mean would end the shift by itself. A ratio below 1 / 16 counts as 1 / 16, since
    a complete stop has no logarithm. The edge never lies inside the dead-band.
    """
    nearer = max(interval.lower if direction == UP else interval.upper, 1 / 16)
    on_the_way = math.sqrt(nearer * math.sqrt(nearer))
    if design.name == FAST.name:
        band = clocks.fast_band(noise)
    elif design is SLOW:
        band = clocks.slow_band(noise)
    else:
        band = clocks.drift_band(0.0)
    edge = band.edge(direction)
    return max(edge, on_the_way) if direction == UP else min(edge, on_the_way)

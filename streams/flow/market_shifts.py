"""Feeds the detectors of one market: minutes from the ledger, expectations from its vintages.

Final minutes are applied in order, each once, wherever this worker took over. Live minutes up to
``as_of`` are tried on top of them. Detection begins when the market is live: an import of old data
pages nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import msgspec

from streams.flow.answer_book import MarketAnswers
from streams.flow.answered_shifts import verdicts
from streams.flow.ledger import Ledger
from streams.flow.market_incidents import MarketIncidents, incident_of
from streams.flow.shift_watch import (
    FINAL,
    ExpectedDay,
    ExpectedMinute,
    FoundShift,
    SeriesStatus,
    ShiftWatch,
    WatchedMinute,
    WatchRecord,
)
from streams.index.demand import SCALE
from streams.index.formats import numbered_decoder, numbered_encoder
from streams.index.incident_measures import SeriesSums
from streams.index.incidents import Incident
from streams.index.indices import ALL, CATEGORY, CHANNEL, MARKET, METHOD, REGION
from streams.index.learning import WHOLE, Relevel, Scope, Shifted, relevel_of
from streams.index.measured import ExpectedRow
from streams.index.operator_answers import judgement
from streams.index.panes import MINUTE_MS, LocalDays
from streams.index.partials import Row
from streams.index.season import PRIOR_ORDERS
from streams.index.shift_budget import ShiftRules
from streams.index.shift_clock import DRIFT
from streams.index.shift_series import PAYMENT_FAILURE, WatchedSeries

STEP_MINUTES_MAX = 120
"""Final minutes applied in one step: a worker that comes back after days must not block."""
MINUTES_BACK = 1_440
"""How far back a shift's contributors are summed; minutes are kept a little longer."""
RELEVEL_MINUTES = 7 * 1_440
"""A shift that has lasted this long is the new level."""
_BACK = 0.1
"""Part of what is expected in a day from which an outage that outlasted a week is over."""
KEPT_MINUTES = 60 * 1_440
"""A shift is remembered this long after its end: vintages learn from six weeks and some days back."""
_LEARNABLE = (MARKET, CATEGORY, REGION, CHANNEL, METHOD)


class Reach(NamedTuple):
    """How far a market's minutes are known, in ms.

    ``final_ms``: what ends by it can no longer change. ``live_ms``: the least ``as_of`` of the
    topics seen. ``orders_from_ms``, ``payments_from_ms``: first instant covered; None: nothing was
    seen.
    """

    final_ms: int
    live_ms: int
    orders_from_ms: int | None
    payments_from_ms: int | None


class EarlyDay(NamedTuple):
    """Expectation of a local day's orders nine days before it, in millionths; both noises are s^2."""

    expected: int
    day_noise: float
    noise: float


class ExpectationReader(Protocol):
    """Expectations of a market, as ``flow.market_expectation.MarketExpectation`` reads them."""

    @property
    def version(self) -> int:
        """Grows with every change of an expectation that was read before."""

    def of_span(self, start_ms: int, end_ms: int) -> ExpectedRow | None:
        """Expectation of ``[start_ms, end_ms)`` by the columns of a live row; None: unknown."""


class KeptShift(msgspec.Struct):
    """A shift found on final minutes, kept as long as expectations are learnt from its hours."""

    dimension: str
    member: str
    number: int
    clock: str
    start: int
    found_at: int
    """Minute after the last one that was needed to find it."""
    end: int = 0
    """Minute after its last one; 0: it goes on."""
    relevelled_at: int = 0
    """Minute at which it was last looked at to be adopted; 0: it has not lasted a week."""
    ratio: int = 0
    """Ratio of the new level to the old, in units of 1 / SCALE, once it was adopted."""
    parts: list[tuple[str, str, int]] = []
    """For an adopted shift of the total: (dimension, member, the member's ratio over the total's)."""
    incident: str = ""
    """Id of the incident that it is part of; answers name it. Empty: found before incidents had ids."""


class ShiftsRecord(msgspec.Struct):
    """Table record of a market's detectors. ``days_until``: first local day not applied."""

    watch: WatchRecord
    kept: list[KeptShift]
    days_until: int
    v: int = 0
    incidents: list[Incident] = []


encode_shifts = numbered_encoder()
decode_shifts = numbered_decoder(ShiftsRecord, "detectors of the merged table")


class MarketShifts:
    """Detectors of one market at work."""

    def __init__(
        self,
        ledger: Ledger,
        expectation: ExpectationReader,
        rules: ShiftRules,
        market_share: float,
        early: Callable[[int], EarlyDay | None],
        answers: MarketAnswers | None = None,
    ) -> None:
        """``answers``: what operators say of the market's incidents; its reader goes on adding."""
        self.watch = ShiftWatch(ledger.layout, rules, market_share)
        self.kept: list[KeptShift] = []
        self.incidents = MarketIncidents(ledger.layout.market.code)
        self.behind = False
        """Whether final minutes wait for the next step."""
        self._answers = MarketAnswers() if answers is None else answers
        self._recorded = True
        """Whether the present state was taken as a record."""
        self._ledger = ledger
        self._expectation = expectation
        self._early = early
        self._days_until = 0
        self._tried: tuple[int, int, int] | None = None
        self._shown: list[SeriesStatus] | None = None
        self._empty: Row = [0] * ledger.layout.live_width

    # -- keeping ---------------------------------------------------------------------------------

    def take_record(self) -> bytes | None:
        """Return the table record of the present state; None when no step moved it since."""
        if self._recorded:
            return None
        self._recorded = True
        return encode_shifts(
            ShiftsRecord(
                self.watch.record(), self.kept, self._days_until, incidents=self.incidents.kept
            )
        )

    def restore(self, record: ShiftsRecord) -> None:
        """Continue from a record, unless it is behind the present state."""
        if record.watch.done_until > self.watch.done_until:
            self.watch.restore(record.watch)
            self.kept = record.kept
            self.incidents.restore(record.incidents)
            self._days_until = record.days_until

    @property
    def done_until_ms(self) -> int:
        """End of the last final minute applied; 0 before detection began."""
        return self.watch.done_until * MINUTE_MS

    # -- stepping --------------------------------------------------------------------------------

    def step(self, reach: Reach, *, changed: bool) -> list[FoundShift]:
        """Apply what became final and try what is live; return what was found or ended, in order.

        ``changed``: a live minute changed after it was tried. The caller steps live markets only,
        and steps again while ``behind``.
        """
        final = reach.final_ms // MINUTE_MS
        if not self.watch.done_until:
            self.watch.begin(final)
            self._days_until = self._local_days.day_of(reach.final_ms) + 1
            self._recorded = False
        found: list[FoundShift] = []
        first = self.watch.done_until
        applied = 0
        while self.watch.done_until < final and applied < STEP_MINUTES_MAX:
            minute = self.watch.done_until
            hour_end = (minute // 60 + 1) * 60
            if self._expectation.of_span(minute * MINUTE_MS, hour_end * MINUTE_MS) is None:
                self.watch.begin(min(hour_end, final))  # nothing is expected: all detectors sleep
            else:
                found += self.watch.apply_final(self._minute(minute, reach), self._sums)
                applied += 1
            found += self._ended_day(self.watch.done_until)
            self._recorded = False
        last = self.watch.done_until
        self._keep(found)
        self._adopt()
        self.behind = last < final
        if not self.behind:
            minutes = range(max(first, last), reach.live_ms // MINUTE_MS)
            found += self._try_live(minutes, reach, changed=changed)
        self.incidents.note_ends(found)
        until = max(self.watch.done_until, reach.live_ms // MINUTE_MS)
        if not self.behind and self.incidents.step(self.statuses(), until, self._money):
            self._recorded = False
        self._name_incidents()
        return found

    def statuses(self) -> list[SeriesStatus]:
        """Return direction and evidence of every series, live, and which series are restless."""
        if self._shown is None:
            restless = self._restless()
            self._shown = [
                status._replace(restless=status.series.column in restless)
                for status in self.watch.statuses(self._sums)
            ]
        return self._shown

    def _restless(self) -> frozenset[int]:
        """Columns that are restless by the expectation of the last final minute."""
        done_ms = self.done_until_ms
        expectation = self._expectation.of_span(done_ms - MINUTE_MS, done_ms)
        noise = {} if expectation is None else expectation.noise
        return frozenset(column for column, own in noise.items() if own.restless)

    def _try_live(self, minutes: range, reach: Reach, *, changed: bool) -> list[FoundShift]:
        tried = (minutes.start, minutes.stop, self._expectation.version)
        if tried == self._tried and not changed:
            return []
        self._tried = tried
        self._shown = None
        live = [self._minute(minute, reach) for minute in minutes]
        return self.watch.apply_live(live, self._sums)

    @property
    def _local_days(self) -> LocalDays:
        return self._ledger.local_days

    def _minute(self, minute: int, reach: Reach) -> WatchedMinute:
        start_ms = minute * MINUTE_MS
        row = self._ledger.minute_sum(start_ms) or self._empty
        expectation = self._expectation.of_span(start_ms, start_ms + MINUTE_MS)
        if expectation is None:
            return WatchedMinute(minute, row, None)
        orders = _covered(reach.orders_from_ms, start_ms)
        payments = _covered(reach.payments_from_ms, start_ms)
        expected = [
            expectation.row[series.column]
            if (payments if series.of_payments else orders) and _awake(series, expectation)
            else None
            for series in self.watch.series
        ]
        noise = [_noise(series, expectation) for series in self.watch.series]
        return WatchedMinute(minute, row, ExpectedMinute(expected, noise))

    def _sums(self, first: int, until: int) -> list[tuple[int, int]]:
        start_ms, end_ms = max(first, until - MINUTES_BACK) * MINUTE_MS, until * MINUTE_MS
        row = self._ledger.window_sum(start_ms, end_ms)
        expectation = self._expectation.of_span(start_ms, end_ms)
        expected = self._empty if expectation is None else expectation.row
        return [(row[series.column], expected[series.column]) for series in self.watch.series]

    def _money(self, first: int, until: int) -> list[SeriesSums]:
        """Sums of each watched series with its money, over at most the last day of the span."""
        start_ms, end_ms = max(first, until - MINUTES_BACK) * MINUTE_MS, until * MINUTE_MS
        row = self._ledger.window_sum(start_ms, end_ms)
        expectation = self._expectation.of_span(start_ms, end_ms)
        expected = self._empty if expectation is None else expectation.row
        found = []
        for series in self.watch.series:
            at = series.amount_column
            found.append(
                SeriesSums(
                    series.dimension,
                    series.member,
                    row[series.column],
                    expected[series.column] / SCALE,
                    None if at is None else row[at],
                    None if at is None else expected[at] / SCALE,
                )
            )
        return found

    def _ended_day(self, minute: int) -> list[FoundShift]:
        """Apply the local day that has ended by this minute to the daily clock of the total."""
        day = self._days_until
        end_ms = self._local_days.end_ms(day)
        if end_ms > minute * MINUTE_MS:
            return []
        self._days_until = day + 1
        if self._expectation.of_span(end_ms - MINUTE_MS, end_ms) is None:
            return []
        early = self._early(day)
        if early is None:
            return []
        start_ms = self._local_days.start_ms(day)
        observed = self._ledger.window_sum(start_ms, end_ms)[self.watch.series[0].column]
        expectation = ExpectedDay(
            start_ms // MINUTE_MS, observed, early.expected, early.day_noise, early.noise
        )
        return self.watch.apply_final_day(expectation, self._sums)

    # -- what expectations must know -------------------------------------------------------------

    def shifted(self, before_ms: int) -> list[Shifted]:
        """Return the hours that teach nothing, as final minutes before ``before_ms`` show.

        A drift does not count: its hours are the level that is to be learnt.
        """
        return shifted_of(self.kept, before_ms, self._answers)

    def relevels(self, before_ms: int) -> list[Relevel]:
        """Return the shifts that became the new level before ``before_ms``."""
        return relevels_of(self.kept, before_ms, self._answers)

    def answered(self, before_ms: int) -> Sequence[tuple[object, ...]]:
        """Return what answers say of the shifts that were found before ``before_ms``."""
        before = before_ms // MINUTE_MS
        found = {kept.incident for kept in self.kept if kept.found_at <= before}
        return verdicts(found, self._answers)

    def _keep(self, found: list[FoundShift]) -> None:
        for shift in found:
            if shift.phase != FINAL or shift.dimension == PAYMENT_FAILURE:
                continue
            going = self._going(shift.dimension, shift.member)
            if shift.event == "end":
                if going is not None:
                    going.end = shift.at
            elif going is None:
                self.kept.append(
                    KeptShift(
                        shift.dimension,
                        shift.member,
                        shift.number,
                        shift.clock,
                        shift.start,
                        shift.at,
                    )
                )
        oldest = self.watch.done_until - KEPT_MINUTES
        if any(kept.end and kept.end < oldest for kept in self.kept):
            self.kept = [kept for kept in self.kept if not kept.end or kept.end >= oldest]

    def _name_incidents(self) -> None:
        """Note the incident of each shift that was found lately: an answer to it is about the shift."""
        since = self.watch.done_until - MINUTES_BACK
        unnamed = [kept for kept in self.kept if not kept.incident and kept.found_at > since]
        if not unnamed:
            return
        names = incident_of(self.incidents.kept)
        for kept in unnamed:
            kept.incident = names.get((kept.dimension, kept.member, kept.number), "")
            self._recorded = self._recorded and not kept.incident

    def _going(self, dimension: str, member: str) -> KeptShift | None:
        for kept in reversed(self.kept):
            if (kept.dimension, kept.member) == (dimension, member) and not kept.end:
                return kept
        return None

    def _adopt(self) -> None:
        """Make each shift that has lasted a week the new level, as measured over its last day.

        An outage is not adopted. It is looked at again each day, until a day has events again. Its
        detector may not say so: after three weeks without a lesson its series is warming, and the
        detector sleeps. Then the outage never ended, and nothing was learnt ever after.
        """
        done = self.watch.done_until
        for kept in self.kept:
            while not kept.end and (adopt_at := _adopt_at(kept)) <= done:
                self._adopt_one(kept, adopt_at)
                self._recorded = False

    def _adopt_one(self, kept: KeptShift, adopt_at: int) -> None:
        at = next(
            at
            for at, series in enumerate(self.watch.series)
            if (series.dimension, series.member) == (kept.dimension, kept.member)
        )
        sums = self._sums(adopt_at - MINUTES_BACK, adopt_at)
        observed, expected = sums[at]
        again, kept.relevelled_at = kept.relevelled_at, adopt_at
        if again and observed * SCALE < expected * _BACK:  # a stray order is no level
            return
        scope = scope_of(kept.dimension, kept.member)
        relevel = relevel_of(scope, kept.start * MINUTE_MS, observed, expected)
        if relevel is not None:
            kept.ratio = relevel.ratio
            kept.end = adopt_at
            if scope == WHOLE:
                self._adopt_members(kept, sums)
        elif again and observed > 0:  # nothing is expected any more: all that comes is news
            kept.end = adopt_at - MINUTES_BACK

    def _adopt_members(self, total: KeptShift, sums: Sequence[tuple[int, int]]) -> None:
        """Adopt what each member did while the total shifted: not all need have shifted alike.

        A relevel of the total multiplies every column, so a member's ratio is relative to the
        total's. A member with few events is taken to have shifted with the total.
        """
        ratio = total.ratio / SCALE
        for series, (observed, expected) in zip(self.watch.series, sums, strict=True):
            if series.dimension in (MARKET, PAYMENT_FAILURE):
                continue
            own = (observed + PRIOR_ORDERS * ratio) / (expected / SCALE + PRIOR_ORDERS)
            total.parts.append(
                (series.dimension, series.member, max(1, round(own / ratio * SCALE)))
            )
            going = self._going(series.dimension, series.member)
            if going is not None:
                going.end = going.relevelled_at = total.relevelled_at


def shifted_of(
    kept_shifts: Sequence[KeptShift], before_ms: int, answers: MarketAnswers
) -> list[Shifted]:
    """Return the hours of shifts found before an instant: they teach nothing. Hours of a drift do.

    So do those of a false alarm, and those of an expected event of known size.
    """
    before = before_ms // MINUTE_MS
    found = []
    for kept in kept_shifts:
        if kept.found_at > before or kept.clock == DRIFT.name:
            continue
        scope, end_ms = scope_of(kept.dimension, kept.member), _end_ms(kept, before)
        verdict = answers.verdict(kept.incident)
        if verdict is not None:
            judged = judgement(verdict, scope)
            if judged.teaches:
                continue
            if kept.relevelled_at:  # answered, it is no level: it lasts as long as is expected
                end_ms = judged.until_ms
        found.append(Shifted(scope, kept.start * MINUTE_MS, end_ms))
    return found


def relevels_of(
    kept_shifts: Sequence[KeptShift], before_ms: int, answers: MarketAnswers
) -> list[Relevel]:
    """Return the shifts that had become the new level by an instant. None that was answered has."""
    before = before_ms // MINUTE_MS
    return [
        Relevel(scope_of(dimension, member), kept.start * MINUTE_MS, ratio)
        for kept in kept_shifts
        if kept.ratio and kept.relevelled_at <= before and answers.verdict(kept.incident) is None
        for dimension, member, ratio in ((kept.dimension, kept.member, kept.ratio), *kept.parts)
    ]


def scope_of(dimension: str, member: str) -> Scope:
    """Scope of a series in ``index.learning``: the total covers every column."""
    if (dimension, member) == (MARKET, ALL):
        return WHOLE
    return (dimension if dimension in _LEARNABLE else METHOD, member)


def _adopt_at(kept: KeptShift) -> int:
    """Minute at which a shift that goes on is looked at next, to be adopted."""
    if kept.relevelled_at:
        return kept.relevelled_at + MINUTES_BACK
    return _whole_hours(kept.start) + RELEVEL_MINUTES


def _whole_hours(minute: int) -> int:
    return -(-minute // 60) * 60


def _covered(from_ms: int | None, start_ms: int) -> bool:
    return from_ms is not None and from_ms <= start_ms


def _awake(series: WatchedSeries, expectation: ExpectedRow) -> bool:
    return series.column in expectation.noise and series.column not in expectation.warming


def _noise(series: WatchedSeries, expectation: ExpectedRow) -> float:
    noise = expectation.noise.get(series.column)
    return 0.0 if noise is None else noise.watched


def _end_ms(kept: KeptShift, before: int) -> int | None:
    return kept.end * MINUTE_MS if 0 < kept.end <= before else None

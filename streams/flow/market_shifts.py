"""Feeds the detectors of one market: minutes from the ledger, expectations from its vintages.

Final minutes are applied in order, each once, wherever this worker took over. Live minutes up to
``as_of`` are tried on top of them. Detection begins when the market is live: an import of old data, or a
backlog, pages nobody.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from streams.flow.answer_book import MarketAnswers
from streams.flow.answered_shifts import scope_of, silenced_shifts, verdicts
from streams.flow.ledger import Ledger
from streams.flow.market_incidents import MarketIncidents, incident_of
from streams.flow.market_pages import MarketPages
from streams.flow.merged import MINUTES_KEPT_MS
from streams.flow.shift_watch import (
    FINAL,
    ExpectedDay,
    ExpectedMinute,
    FoundShift,
    SeriesStatus,
    ShiftWatch,
    WatchedMinute,
)
from streams.flow.shifts_record import KeptShift, ShiftsRecord, decode_shifts, encode_shifts
from streams.flow.state import FOREVER_MS
from streams.index.demand import SCALE
from streams.index.incident_measures import DISPLAY_NOISE, SeriesSums
from streams.index.incidents import Incident, IncidentShift, ShiftName
from streams.index.indices import MARKET
from streams.index.learning import WHOLE, Relevel, Scope, Shifted, relevel_of
from streams.index.measured import ExpectedRow
from streams.index.operator_answers import EXPECTED, Answer, teaches
from streams.index.panes import DAY_MS, MINUTE_MS, LocalDays, of_minute
from streams.index.partials import Row
from streams.index.season import PRIOR_ORDERS
from streams.index.shift_budget import ShiftRules
from streams.index.shift_clock import DRIFT
from streams.index.shift_series import PAYMENT_FAILURE, WatchedSeries

STEP_MS_MIN = 5_000
"""Shorter panes are stepped together: a step costs as much, however short it is."""
READ_MINUTES_MAX = 60
"""Minutes whose expectations are kept between steps; they are not final for some minutes."""
STEP_MINUTES_MAX = 120
"""Final minutes applied in one step: a worker that comes back after days must not block."""
TAUGHT_COUNTS_MAX = 8_000
"""Counts, one of each series a minute, from which sizes are taught in one step: about 30 ms."""
MINUTES_BACK = 1_440
"""How far back a shift's contributors are summed; minutes are kept a little longer."""
UNTAUGHT_PANES_KEPT_MS = 32 * MINUTE_MS
"""Panes are kept so long until sizes are taught: whether they are regular takes two whole terms of ten
minutes (index/shift_sizes)."""
RELEVEL_MINUTES = 7 * 1_440
"""A shift that has lasted this long is the new level."""
_BACK = 0.1
"""Part of what is expected in a day from which an outage that outlasted a week is over."""
KEPT_MINUTES = 60 * 1_440
"""A shift is remembered this long after its end: vintages learn from six weeks and some days back."""
KEPT_MAX = 2_000
"""Shifts that are remembered. Beyond it those that ended first are forgotten, and their hours teach."""


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
        self._step_ms = step_ms_of(ledger.pane_ms)
        # Both ends are rounded to minutes, and what is final is known a little later.
        ahead = -(-ledger.grace_ms // MINUTE_MS) + 2
        panes = MINUTE_MS // self._step_ms
        self.watch = ShiftWatch(ledger.layout, rules, market_share, panes, ahead)
        self.kept: list[KeptShift] = []
        self.incidents = MarketIncidents(ledger.layout.market.code, self._step_ms)
        self.behind = False
        """Whether final minutes wait for the next step."""
        self._answers = MarketAnswers() if answers is None else answers
        self.pages = MarketPages(self._answers, rules.budget_days / market_share, self._series_of)
        self._generation = 0
        """Generation of the market's ``as_of`` that the detectors follow."""
        self._definitions = ledger.layout.market.definitions
        self._restored_of = 0
        """Definitions of the record that the present state goes on from."""
        self._ended: list[FoundShift] = []
        """Ends of shifts of members that are none any more; the next step returns them."""
        self._recorded = True
        """Whether the present state was taken as a record."""
        self._sizes_taught = False
        """Whether sizes are known, or were taught what there was."""
        self._teaching_ms = 0
        """As in the record. Panes are kept as they were then, so a new owner is taught the same."""
        self._teach: range | None = None
        """Minutes that are still to be taught; None: they are to be found."""
        self._readable_until_ms = FOREVER_MS
        """See ``horizon_max_ms``."""
        self._ledger = ledger
        self._expectation = expectation
        self._early = early
        self._days_until = 0
        self._tried: tuple[int, int, int] | None = None
        self._read: dict[int, ExpectedMinute | None] = {}
        """Expectations of minutes that are not final yet: each is read once, not at every step."""
        self._read_for: tuple[int, int | None, int | None] | None = None
        """Version of the expectations in ``_read``, and from where on the topics are covered."""
        self._shown: list[SeriesStatus] | None = None
        self._empty: Row = [0] * ledger.layout.live_width

    # -- keeping ---------------------------------------------------------------------------------

    def take_record(self) -> bytes | None:
        """Return the table record of the present state; None when no step moved it since.

        None too while ends are still to be published: of the record alone nobody would know them.
        """
        if self._recorded or self._ended:
            return None
        self._recorded = True
        return encode_shifts(self._record())

    def _record(self) -> ShiftsRecord:
        return ShiftsRecord(
            self.watch.record(),
            self.kept,
            self._days_until,
            incidents=self.incidents.kept,
            pages=self.pages.log,
            generation=self._generation,
            teaching_ms=self._teaching_ms,
            definitions=self._definitions,
        )

    def take_over(self, old: MarketShifts) -> None:
        """Restore the detectors of the same market by other definitions, as from their table record."""
        self.restore(decode_shifts(encode_shifts(old._record())))
        self._ended = old._ended + self._ended
        self._recorded = self._recorded and old._recorded

    def restore(self, record: ShiftsRecord) -> None:
        """Continue from a record, unless its rank is no larger than that of the present state."""
        if record.rank <= (self._generation, self._restored_of, self.watch.done_until):
            return
        self._generation, self._restored_of = record.generation, record.definitions
        renamed, self._ended = self.watch.restore(record.watch)
        rename(record, renamed)
        self.kept = record.kept
        self._keep(self._ended)
        self.incidents.restore(record.incidents)
        self.pages.restore(record.pages)
        self._days_until = record.days_until
        self._teach_anew(record.teaching_ms)
        self._recorded = record.definitions == self._definitions

    @property
    def done_until_ms(self) -> int:
        """End of the last final minute applied; 0 before detection began."""
        return self.watch.done_until * MINUTE_MS

    def panes_read_ms(self, horizon_ms: int) -> int:
        """Instant up to which panes were read, and may go: later ones are kept, however old."""
        done_ms = self.done_until_ms
        if self._sizes_taught:
            return done_ms
        kept_ms = (self._teaching_ms or horizon_ms) - UNTAUGHT_PANES_KEPT_MS
        return min(kept_ms, done_ms) if done_ms else kept_ms

    @property
    def horizon_max_ms(self) -> int:
        """Horizon of the ledger up to which it keeps the minutes that are still to be read."""
        return min(
            self._readable_until_ms, self.done_until_ms + DAY_MS if self.behind else FOREVER_MS
        )

    def take_generation(self, generation: int, live_ms: int) -> list[FoundShift]:
        """Begin anew if an operator has set ``as_of`` back to ``live_ms``, behind what was applied.

        The minutes beyond it were applied empty, before their events came. Return the ends of the shifts
        that were open. Those that go on are found again.
        """
        if generation <= self._generation:
            return []
        self._generation = generation
        self._recorded = False
        if self.done_until_ms <= live_ms:
            return []
        self._teach_anew(0)
        ended = self.watch.begin_anew(live_ms // MINUTE_MS, self._sums)
        self._keep(ended)
        self.incidents.set_back(live_ms)
        self._read.clear()
        self._tried = self._shown = None
        self.behind = False
        return ended

    # -- stepping --------------------------------------------------------------------------------

    def heed_answers(self) -> None:
        """Let answers count in the incidents of a record, which are shown before the first step."""
        self.incidents.heed(lambda incident: self._silenced(incident, self.done_until_ms))

    def step(self, reach: Reach, *, changed: bool) -> list[FoundShift]:
        """Apply what became final and try what is live; return what was found or ended, in order.

        ``changed``: a live minute changed after it was tried. The caller steps live markets only,
        and steps again while ``behind``.
        """
        read_for = (self._expectation.version, reach.orders_from_ms, reach.payments_from_ms)
        if read_for != self._read_for:
            self._read.clear()
            self._read_for = read_for
        final = reach.final_ms // MINUTE_MS
        if not self.watch.done_until:
            self.watch.begin(final)
            self._days_until = self._local_days.day_of(reach.final_ms) + 1
            self._recorded = False
        if self._teach_sizes(reach):
            self.behind = True
            return []
        found, self._ended = self._ended, []
        first = self.watch.done_until
        applied = 0
        while self.watch.done_until < final and applied < STEP_MINUTES_MAX:
            minute = self.watch.done_until
            hour_end = (minute // 60 + 1) * 60
            if self._expectation.of_span(minute * MINUTE_MS, hour_end * MINUTE_MS) is None:
                self.watch.begin(min(hour_end, final))  # nothing is expected: all detectors sleep
            else:
                found += self.watch.apply_final(self._whole_minute(minute, reach), self._sums)
                self._read.pop(minute, None)
                applied += 1
            found += self._ended_day(self.watch.done_until)
            self._recorded = False
        last = self.watch.done_until
        self._keep(found)
        self._adopt()
        self.behind = last < final
        if not self.behind:
            found += self._try_live(max(first, last), reach, changed=changed)
            self.incidents.note_found(self.watch.live_ends)
        self.incidents.note_found(found)
        until = self.watch.done_until if self.behind else reach.live_ms // MINUTE_MS
        statuses = None if self.behind else self.statuses()
        news = self.incidents.step(
            statuses,
            until,
            self._money,
            self.watch.confirmed,
            lambda incident: self._silenced(incident, until * MINUTE_MS),
            lambda: self._money_of(reach.live_ms - MINUTE_MS, reach.live_ms),
        )
        noted = [each for each in self.incidents.kept if news or not each.over_ms]
        if self.pages.step(noted, until * MINUTE_MS) or news:
            self._recorded = False
        self._name_incidents()
        return found

    def _teach_sizes(self, reach: Reach) -> bool:
        """Teach how bursty the series are from the day before the first expectation, once.

        Without it a market that has just become live has for a day the size of an unknown one, and a
        large shift is found a minute later. A part of the day is taught in each step; return whether
        more is to be taught. Until then nothing is applied and no size is kept: a new owner begins anew,
        with the same minutes.
        """
        done = self.watch.done_until
        ends_ms = of_minute(done)
        if self._sizes_taught or self._expectation.of_span(ends_ms - MINUTE_MS, ends_ms) is None:
            return False
        if self.watch.sizes_begun:
            self._sizes_taught = True
            return False
        if self._teach is None:
            self._teaching_ms = self._teaching_ms or self._ledger.horizon_ms
            known_ms = self._ledger.horizon_ms - MINUTES_KEPT_MS
            first = max(done // 60 * 60 - MINUTES_BACK, _whole_hours(known_ms / MINUTE_MS))
            self._teach = range(first, done)
            self._readable_until_ms = first * MINUTE_MS + MINUTES_KEPT_MS
            self._recorded = False
        count = max(1, TAUGHT_COUNTS_MAX // len(self.watch.series))
        self.watch.teach_sizes(self._whole_minute(minute, reach) for minute in self._teach[:count])
        self._teach = self._teach[count:]
        if self._teach:
            return True
        self.watch.use_taught_sizes()
        self._teach_anew(0)
        self._sizes_taught = True
        self._recorded = False
        return False

    def _teach_anew(self, teaching_ms: int) -> None:
        """Forget what was taught and is not kept; ``teaching_ms`` as in the record."""
        self.watch.forget_taught_sizes()
        self._teaching_ms, self._teach, self._readable_until_ms = teaching_ms, None, FOREVER_MS
        self._read.clear()  # of what was taught last alone

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

    def _try_live(self, first: int, reach: Reach, *, changed: bool) -> list[FoundShift]:
        """Try the minutes from ``first`` on, and of the one that goes on the panes that are complete."""
        steps = reach.live_ms // self._step_ms
        tried = (first, steps, self._expectation.version)
        if tried == self._tried and not changed:
            return []
        self._tried = tried
        self._shown = None
        going = reach.live_ms // MINUTE_MS
        live = [self._whole_minute(minute, reach) for minute in range(first, going)]
        panes = self._panes(going, steps * self._step_ms)
        if panes and going >= first:
            expectation = self._expected(going, reach)
            live.append(WatchedMinute(going, self._empty, expectation, panes, whole=False))
        return self.watch.apply_live(live, self._sums)

    @property
    def _local_days(self) -> LocalDays:
        return self._ledger.local_days

    def _whole_minute(self, minute: int, reach: Reach) -> WatchedMinute:
        start_ms = minute * MINUTE_MS
        expectation = self._expected(minute, reach)
        row = self._ledger.minute_sum(start_ms)
        if row is None:  # nothing happened in it
            nothing = [self._empty] * (MINUTE_MS // self._step_ms)
            return WatchedMinute(minute, self._empty, expectation, nothing)
        known = self._ledger.keeps_panes(start_ms)
        panes = self._panes(minute, start_ms + MINUTE_MS) if known else None
        return WatchedMinute(minute, row, expectation, panes)

    def _panes(self, minute: int, until_ms: int) -> list[Row]:
        """Rows of the minute's panes that end by ``until_ms``; of short panes, several together."""
        start_ms, step_ms = minute * MINUTE_MS, self._step_ms
        ends = range(start_ms + step_ms, min(until_ms, start_ms + MINUTE_MS) + 1, step_ms)
        if step_ms == self._ledger.pane_ms:
            return [self._ledger.pane_sum(end_ms - step_ms) for end_ms in ends]
        return [self._ledger.window_sum(end_ms - step_ms, end_ms) for end_ms in ends]

    def _expected(self, minute: int, reach: Reach) -> ExpectedMinute | None:
        if minute not in self._read:
            self._read[minute] = self._read_expected(minute, reach)
            if len(self._read) > READ_MINUTES_MAX:
                del self._read[next(iter(self._read))]
        return self._read[minute]

    def _read_expected(self, minute: int, reach: Reach) -> ExpectedMinute | None:
        start_ms = minute * MINUTE_MS
        expectation = self._expectation.of_span(start_ms, start_ms + MINUTE_MS)
        if expectation is None:
            return None
        orders = _covered(reach.orders_from_ms, start_ms)
        payments = _covered(reach.payments_from_ms, start_ms)
        expected = [
            expectation.row[series.column]
            if (payments if series.of_payments else orders) and _awake(series, expectation)
            else -1
            for series in self.watch.series
        ]
        noise = [_noise(series, expectation) for series in self.watch.series]
        return ExpectedMinute(np.array(expected, dtype=np.float64), np.array(noise))

    def _sums(self, first: float, until: float) -> list[tuple[int, int]]:
        start_ms, end_ms = self._readable(max(first, until - MINUTES_BACK), until)
        row = self._ledger.window_sum(start_ms, end_ms)
        expectation = self._expectation.of_span(start_ms, end_ms)
        expected = self._empty if expectation is None else expectation.row
        return [(row[series.column], expected[series.column]) for series in self.watch.series]

    def _readable(self, first: float, until: float) -> tuple[int, int]:
        """[start, end) in ms of a span; it takes in the whole of an edge minute whose panes are gone.

        Panes that are gone were read as empty: after a takeover an earlier shift had other contributors.
        """
        start_ms, end_ms = of_minute(first), of_minute(until)
        minute_ms, last_ms = (each // MINUTE_MS * MINUTE_MS for each in (start_ms, end_ms))
        if not self._ledger.keeps_panes(minute_ms):
            start_ms = minute_ms
        if end_ms > last_ms and not self._ledger.keeps_panes(last_ms):
            end_ms = last_ms + MINUTE_MS
        return start_ms, end_ms

    def _money(self, first: int, until: int) -> list[SeriesSums]:
        """Sums of each watched series with its money, over at most the last day of the span."""
        return self._money_of(max(first, until - MINUTES_BACK) * MINUTE_MS, until * MINUTE_MS)

    def _money_of(self, start_ms: int, end_ms: int) -> list[SeriesSums]:
        """Sums of each watched series with its money, of a span between two boundaries of panes."""
        row = self._ledger.window_sum(start_ms, end_ms)
        expectation = self._expectation.of_span(start_ms, end_ms)
        expected = self._empty if expectation is None else expectation.row
        found = []
        for series in self.watch.series:
            at = series.amount_column
            own = None if expectation is None else expectation.noise.get(series.column)
            found.append(
                SeriesSums(
                    series.dimension,
                    series.member,
                    row[series.column],
                    expected[series.column] / SCALE,
                    None if at is None else row[at],
                    None if at is None else expected[at] / SCALE,
                    DISPLAY_NOISE if own is None else own.hour / SCALE,
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
        oldest: float = self.watch.done_until - KEPT_MINUTES
        over = sorted(kept.end for kept in self.kept if kept.end)
        beyond = over[: max(0, len(self.kept) - KEPT_MAX)]
        if beyond:
            oldest = max(oldest, beyond[-1] + 1)
        if over and over[0] < oldest:
            self.kept = [kept for kept in self.kept if not kept.end or kept.end >= oldest]

    def _silenced(self, incident: Incident, now_ms: int) -> frozenset[ShiftName]:
        if not self._answers.incidents:
            return frozenset()
        return silenced_shifts(incident, self._answers, self._series_of, now_ms)

    def _series_of(self, incident: str) -> set[Scope]:
        return series_of(incident, self.kept, self.incidents.kept)

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
        relevel = relevel_of(scope, of_minute(kept.start), observed, expected)
        if relevel is not None:
            kept.ratio = relevel.ratio
            kept.end = float(adopt_at)
            if scope == WHOLE:
                self._adopt_members(kept, sums)
        elif again and observed > 0:  # nothing is expected any more: all that comes is news
            kept.end = float(adopt_at - MINUTES_BACK)

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
                going.relevelled_at = total.relevelled_at
                going.end = float(total.relevelled_at)


def shifted_of(
    kept_shifts: Sequence[KeptShift], before_ms: int, answers: MarketAnswers
) -> list[Shifted]:
    """Return the hours of shifts found before an instant: they teach nothing. Hours of a drift do.

    So do those of a false alarm, and those of an expected event of known size: not what the shift lasted
    before the event began, or after it was over.
    """
    before = before_ms // MINUTE_MS
    found = []
    for kept in kept_shifts:
        if kept.found_at > before or kept.clock == DRIFT.name:
            continue
        scope = scope_of(kept.dimension, kept.member)
        start_ms, end_ms = of_minute(kept.start), _end_ms(kept, before)
        verdict = answers.verdict(kept.incident)
        shifted = Shifted(scope, start_ms, end_ms)
        if verdict is None:
            found.append(shifted)
        elif not teaches(verdict, scope):
            if end_ms is not None and kept.end == kept.relevelled_at:
                # Answered, it is no level: it lasts at least as long as is expected.
                shifted = Shifted(scope, start_ms, max(end_ms, verdict.until_ms))
            found.append(shifted)
        elif verdict.kind == EXPECTED:
            found += _outside(shifted, verdict)
    return found


def _outside(shifted: Shifted, event: Answer) -> list[Shifted]:
    """Return the parts of a shift before and after an expected event."""
    scope, start_ms, end_ms = shifted.scope, shifted.start_ms, shifted.end_ms
    parts = []
    if start_ms < event.start_ms:
        until_ms = event.start_ms if end_ms is None else min(end_ms, event.start_ms)
        parts.append(Shifted(scope, start_ms, until_ms))
    if end_ms is None or event.until_ms < end_ms:
        parts.append(Shifted(scope, max(start_ms, event.until_ms), end_ms))
    return parts


def relevels_of(
    kept_shifts: Sequence[KeptShift], before_ms: int, answers: MarketAnswers
) -> list[Relevel]:
    """Return the shifts that had become the new level by an instant. None that was answered has."""
    before = before_ms // MINUTE_MS
    return [
        Relevel(scope_of(dimension, member), of_minute(kept.start), ratio)
        for kept in kept_shifts
        if kept.ratio and kept.relevelled_at <= before and answers.verdict(kept.incident) is None
        for dimension, member, ratio in ((kept.dimension, kept.member, kept.ratio), *kept.parts)
    ]


def series_of(
    incident: str, kept_shifts: Iterable[KeptShift], incidents: Iterable[Incident]
) -> set[Scope]:
    """Return the series of an incident's shifts, as far as they are known."""
    of_kept = {
        scope_of(kept.dimension, kept.member) for kept in kept_shifts if kept.incident == incident
    }
    return of_kept | {
        scope_of(shift.dimension, shift.member)
        for each in incidents
        if each.id == incident
        for shift in each.shifts
    }


def rename(record: ShiftsRecord, renamed: Mapping[Scope, Scope]) -> None:
    """Let what a record says of shifts be about the members of now. Incidents keep their ids."""
    if not renamed:
        return
    shifts: list[KeptShift | IncidentShift] = [*record.kept]
    for incident in record.incidents:
        shifts += incident.shifts
    for each in shifts:
        scope = each.dimension, each.member
        each.dimension, each.member = renamed.get(scope, scope)
    for kept in record.kept:
        kept.parts = [
            (*renamed.get((dimension, member), (dimension, member)), ratio)
            for dimension, member, ratio in kept.parts
        ]


def _adopt_at(kept: KeptShift) -> int:
    """Minute at which a shift that goes on is looked at next, to be adopted."""
    if kept.relevelled_at:
        return kept.relevelled_at + MINUTES_BACK
    return _whole_hours(kept.start) + RELEVEL_MINUTES


def step_ms_of(pane_ms: int) -> int:
    """Step of the fast clock: the least whole number of panes that divides a minute and is STEP_MS_MIN.

    >>> step_ms_of(5_000), step_ms_of(1_000), step_ms_of(60_000)
    (5000, 5000, 60000)
    """
    return next(
        step_ms
        for step_ms in range(pane_ms, MINUTE_MS + 1, pane_ms)
        if MINUTE_MS % step_ms == 0 and step_ms >= min(STEP_MS_MIN, MINUTE_MS)
    )


def _whole_hours(minute: float) -> int:
    return math.ceil(minute / 60) * 60


def _covered(from_ms: int | None, start_ms: int) -> bool:
    return from_ms is not None and from_ms <= start_ms


def _awake(series: WatchedSeries, expectation: ExpectedRow) -> bool:
    return series.column in expectation.noise and series.column not in expectation.warming


def _noise(series: WatchedSeries, expectation: ExpectedRow) -> float:
    noise = expectation.noise.get(series.column)
    return 0.0 if noise is None else noise.watched


def _end_ms(kept: KeptShift, before: int) -> int | None:
    return of_minute(kept.end) if 0 < kept.end <= before else None

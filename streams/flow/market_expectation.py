"""The expectation in level 2: one market's vintages, learnt and kept.

The vintage of local day D is learnt once, as soon as every hour up to the end of D-2 is final, from
those hours alone (from seeds for hours before the log begins). It is stored and journaled before a
value shows it. So a restart, a takeover or a replay from the log finds or learns the same integers.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from operator import attrgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.flow.expectation_spans import ExpectationSpans
from streams.flow.history_book import MarketHistory, Seed
from streams.flow.ledger import Ledger
from streams.flow.market_shifts import EarlyDay
from streams.flow.vintages import (
    HeldVintage,
    VintageRecord,
    decode_vintage,
    encode_vintage,
    held_of,
)
from streams.index.demand import SCALE
from streams.index.expectation import MIN_DAYS, fit
from streams.index.hours import DRIFT_LEAD_DAYS, Calendar, calendar_of, local_hours
from streams.index.kept_members import called_now
from streams.index.learning import (
    WHOLE,
    Factor,
    Relevel,
    Scope,
    Shifted,
    event_factors,
    factor_at,
    lessons,
    with_factor,
)
from streams.index.measured import ExpectedRow, Name, columns_of
from streams.index.methodology import Market
from streams.index.panes import HOUR_MS
from streams.index.season import ColumnRelations
from streams.index.series import MEASURES, series_table
from streams.index.trend import Matrix, Vector

KEPT_DAYS = 10
"""For so many days before the present one, vintages are kept: hours may be closed late."""

_NO_PLACES = np.zeros(0, dtype=np.int64)
_measures = attrgetter(*MEASURES)
_ALONE = ColumnRelations(np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64))


class Observed(NamedTuple):
    """Where final hours come from: rows, and the first hour that each basis' topic covers wholly."""

    ledger: Ledger
    orders_from_ms: int | None
    payments_from_ms: int | None
    shifted: Callable[[int], Sequence[Shifted]] = lambda _: ()
    relevels: Callable[[int], Sequence[Relevel]] = lambda _: ()
    """What final minutes before an instant say of shifts: hours that teach nothing, and new levels."""
    answered: Callable[[int], Sequence[tuple[object, ...]]] = lambda _: ()
    """What operators say of the shifts that were found before an instant."""


class MarketExpectation:
    """Vintages of one market."""

    def __init__(self, market: Market, ledger: Ledger, history: MarketHistory) -> None:
        self.hours = local_hours(market.time_zone)
        self._market = market
        self._layout = ledger.layout
        self.table = series_table(self._layout)
        self._scopes = frozenset(self.table.scopes)
        self.held: dict[int, HeldVintage] = {}
        self.history = history
        self.version = 0
        """Grows with every change of an expectation that was read before."""
        self._events = event_factors(market.events, self.hours)
        """Factors of methodology.toml; one that was declared since counts more."""
        self._placed: tuple[tuple[Scope, ...], NDArray[np.int64]] = ((), _NO_PLACES)
        self._seeded_hours: dict[tuple[int, int], Vector] = {}
        self._spans = ExpectationSpans(
            self.hours, self.table, self._layout.live_width, self.held, self._factors
        )
        self.unanswered = UnansweredExpectation(self, self._layout.live_width)
        self._history_seen = (0, 0)
        self._wanted: set[int] = set()
        """Days to learn, or to check again."""
        self._wanted_until: int | None = None
        """The last day that was wanted so far; None before the first step."""
        self._expired: list[int] = []

    @cached_property
    def noise_columns(self) -> dict[Name, int]:
        """Column whose noise applies to each value. Only a live market needs it."""
        return columns_of(self._layout)

    # -- learning --------------------------------------------------------------------------------

    def restore(self, record: VintageRecord) -> None:
        """Take over a vintage from the table."""
        known = self.held.get(record.day)
        if known is None or record.rank > known.rank:
            self._hold(held_of(record, self.table, self._market.renamed))

    def take_over(self, old: MarketExpectation) -> None:
        """Restore the vintages of an expectation by other definitions, as from its table records."""
        for held in old.held.values():
            self.restore(decode_vintage(encode_vintage(held.record(old.table))))
        self._expired += old._expired

    def take_history(self) -> bool:
        """Return whether seeds, factors or answers changed since the last call; if so, read all anew."""
        version = self.history.version, self.history.answers.version
        if version == self._history_seen:
            return False
        self._history_seen = version
        self._seeded_hours.clear()
        self._forget_reads()
        return True

    def learn(
        self,
        observed: Observed,
        hours_until_ms: int,
        as_of_ms: int,
        *,
        again: bool,
        awaited: bool,
    ) -> list[HeldVintage]:
        """Learn the vintages that final hours up to ``hours_until_ms`` allow; return the new ones.

        Vintages that a window of now is compared with come first; while ``behind``, later calls
        learn the others. ``again``: seeds or factors changed, so the vintages of today and tomorrow
        may differ now. ``awaited``: somebody waits for what is published now, so learn nothing that
        it does not show.
        """
        today = self.hours.local_days.day_of(as_of_ms)
        newest = self.hours.local_days.day_of(hours_until_ms) + 1
        self._want(today, newest, again=again)
        shown = self._shown_from(observed, today)
        days = sorted(day for day in self._wanted if shown <= day <= today)
        if not days and not awaited:
            days = sorted(self._wanted)
        found = [held for day in days if (held := self._learn(observed, day))]
        self._wanted.difference_update(days)
        if not self._wanted:
            self._seeded_hours.clear()
        self._expire(today - KEPT_DAYS)
        return found

    def _want(self, today: int, newest: int, *, again: bool) -> None:
        """Add the days up to ``newest`` that were not wanted yet, or are to be checked again."""
        yesterday = today - 1  # the longest window begins then
        if self._wanted_until is None:
            # Days that earlier owners did not learn. Days they did learn are checked again if they
            # are shown: this owner's methodology may have other factors.
            self._wanted.update(range(min(self.held, default=yesterday), yesterday))
            self._wanted.difference_update(self.held)
            self._wanted_until = yesterday - 1
        begin = self._wanted_until + 1
        self._wanted.update(range(min(begin, yesterday) if again else begin, newest + 1))
        self._wanted_until = max(newest, self._wanted_until)
        self._wanted = {day for day in self._wanted if day >= today - KEPT_DAYS}

    @property
    def behind(self) -> bool:
        """Whether days are left to learn."""
        return bool(self._wanted)

    def _shown_from(self, observed: Observed, today: int) -> int:
        """Return yesterday, where the longest window begins; today if nothing older was observed."""
        begun_ms = [
            from_ms
            for from_ms in (observed.orders_from_ms, observed.payments_from_ms)
            if from_ms is not None
        ]
        # The hour before the first whole one was observed in part; it is in a window too.
        begun = self.hours.day_of_hour(min(begun_ms) - HOUR_MS) if begun_ms else today - 1
        return today if begun >= today else today - 1

    def _learn(self, observed: Observed, day: int) -> HeldVintage | None:
        calendar = calendar_of(self.hours, day)
        known = self.held.get(day)
        factors = self._factors()
        answered = observed.answered(calendar.hours_ms[-1] + HOUR_MS)
        basis = self._basis(calendar, factors, answered)
        definitions = self._market.definitions
        if known is not None and (known.basis, known.definitions) == (basis, definitions):
            return None
        counts, sure = self._hours_known(observed, calendar)
        if (
            int(sure.any(axis=1).sum()) < MIN_DAYS * 23
        ):  # checked before the arithmetic: less is never enough
            return None
        until_ms = calendar.hours_ms[-1] + HOUR_MS
        learnt, multiplied = lessons(
            calendar,
            self.table.scopes,
            sure,
            factors=factors,
            shifts=observed.shifted(until_ms),
            relevels=observed.relevels(until_ms),
        )
        vintage = fit(calendar, counts * learnt, self.table.columns, learnt, multiplied)
        if not any(vintage.expected) or (known is not None and known.vintage == vintage):
            return None
        sequence = 1 if known is None else known.sequence + 1
        held = HeldVintage(vintage, sequence, basis, definitions)
        self._hold(held)
        return held

    def _factors(self) -> list[Factor]:
        return self._named_now([*self._events, *self.history.declared()])

    def declared_factors(self) -> list[Factor]:
        """Return the factors of methodology.toml and of declarations, none of an answer."""
        return self._named_now([*self._events, *self.history.factors.values()])

    def _named_now(self, factors: list[Factor]) -> list[Factor]:
        """Return the factors with the ids that members have now: who declared one knew another."""
        if not self._market.renamed:
            return factors
        return [replace(each, scope=self._called_now(each.scope)) for each in factors]

    def _called_now(self, scope: Scope) -> Scope:
        return called_now(scope, self._scopes, self._market.renamed) or scope

    def _basis(
        self,
        calendar: Calendar,
        factors: Sequence[Factor],
        answered: Sequence[tuple[object, ...]],
    ) -> str:
        """Return the fingerprint of everything but final hours that this vintage is learnt from."""
        start_ms, end_ms = calendar.hours_ms[0], calendar.hours_ms[-1] + HOUR_MS
        seeds = [
            name
            for name, seed in self.history.seeds.items()
            if seed.start_ms < end_ms and start_ms < seed.end_ms
        ]
        given = [each for each in factors if each.start_ms < end_ms and start_ms < each.end_ms]
        # Without answers it is what it always was: else an upgrade would learn every vintage anew.
        basis = (seeds, given, answered) if answered else (seeds, given)
        return hashlib.sha256(repr(basis).encode()).hexdigest()[:16] if any(basis) else ""

    def _hours_known(self, observed: Observed, calendar: Calendar) -> tuple[Matrix, Matrix]:
        """Return (counts, 1 where known): an hour observed whole, else what a seed says of it."""
        hours = calendar.hours_ms
        counts = np.zeros((len(hours), len(self.table.series)))
        known = np.zeros_like(counts)
        starts = [
            len(hours) if from_ms is None else bisect_left(hours, from_ms)
            for from_ms in (observed.orders_from_ms, observed.payments_from_ms)
        ]
        given: dict[int, list[float]] = {}
        for at, hour_ms in enumerate(hours[: max(starts)] if self.history.seeds else ()):
            seed = self.history.seed_of(hour_ms)
            if seed is not None:
                counts[at] = self._seeded(seed, hour_ms)
                if id(seed) not in given:
                    given[id(seed)] = self._given(seed)
                known[at] = given[id(seed)]
        for of_payments, start in enumerate(starts):
            own = [
                at for at, each in enumerate(self.table.series) if each.of_payments == of_payments
            ]
            columns = [self.table.row_columns[at] for at in own]
            for at, hour_ms in enumerate(hours[start:], start):
                row = observed.ledger.hour_sum(hour_ms)
                counts[at, own] = 0.0 if row is None else [float(row[column]) for column in columns]
            known[start:, own] = 1.0
        return counts, known

    def _seeded(self, seed: Seed, hour_ms: int) -> Vector:
        """Return a seed's counts of an hour; read once for all vintages learnt together."""
        key = (id(seed), hour_ms)
        counts = self._seeded_hours.get(key)
        if counts is None:
            rows = seed.hours.get(hour_ms, {})
            given = [part for row in rows.values() for part in _measures(row)]
            values = np.array(given, dtype=np.float64)  # None becomes nan
            counts = np.zeros(len(self.table.series) + 1)
            counts[self._places(tuple(rows))] = np.where(np.isnan(values), 0.0, values)
            counts = self._seeded_hours[key] = counts[:-1]
        return counts

    def _places(self, scopes: tuple[Scope, ...]) -> NDArray[np.int64]:
        """Return the series of each scope's measures, in order; one past the last means none."""
        if self._placed[0] != scopes:  # unchanged while hours have the rows of the hour before
            none = len(self.table.series)
            found = [
                self.table.at.get((scope, measure), none)
                for scope in map(self._called_now, scopes)
                for measure in MEASURES
            ]
            self._placed = scopes, np.array(found, dtype=np.int64)
        return self._placed[1]

    def _given(self, seed: Seed) -> list[float]:
        return [float((each.scope[0], each.measure) in seed.given) for each in self.table.series]

    def early(self, observed: Observed, day: int) -> EarlyDay | None:
        """Return the expectation of a day's orders nine days before it; None: too little is known.

        It is for the daily clock of the market's total, which sees drifts that every vintage
        follows.
        """
        calendar = calendar_of(self.hours, day, DRIFT_LEAD_DAYS)
        factors = self._factors()
        counts, sure = self._hours_known(observed, calendar)
        at = [self.table.at[WHOLE, "orders"]]
        relevels = observed.relevels(calendar.hours_ms[-1] + HOUR_MS)
        learnt, multiplied = lessons(
            calendar, [WHOLE], sure[:, at], factors=factors, relevels=relevels
        )
        vintage = fit(calendar, counts[:, at] * learnt, _ALONE, learnt, multiplied)
        hours = vintage.expected[0]
        if not hours or vintage.warming(0):
            return None
        unanswered = self.unanswered.factors()
        total = sum(
            with_factor(hour, factor_at(unanswered, WHOLE, hour_ms))
            for hour, hour_ms in zip(
                hours[calendar.own], calendar.target_ms[calendar.own], strict=True
            )
        )
        noise = vintage.noise[0]
        return EarlyDay(total, noise.day / SCALE, noise.hour / SCALE)

    # -- keeping ---------------------------------------------------------------------------------

    def _hold(self, held: HeldVintage) -> None:
        self.held[held.vintage.day] = held
        self._forget_reads()

    def _expire(self, first_day: int) -> None:
        expired = [day for day in self.held if day < first_day]
        for day in expired:
            del self.held[day]
        if expired:
            # Cached hours go with their vintage. Else the hour was still there and its minutes were
            # not: a worker that slept for weeks ended with a KeyError at the day it had been in.
            self._expired += expired
            self._forget_reads()

    def take_expired(self) -> list[int]:
        """Return the days whose vintage was dropped since the last call."""
        expired, self._expired = self._expired, []
        return expired

    def _forget_reads(self) -> None:
        self.version += 1
        self._spans.forget()
        self.unanswered.forget()

    def of_span(self, start_ms: int, end_ms: int) -> ExpectedRow | None:
        """Expectation of ``[start_ms, end_ms)``, both on pane boundaries; None where unknown."""
        return self._spans.of_span(start_ms, end_ms)


class UnansweredExpectation:
    """The expectation as if no operator had answered: what detectors and suspicions compare with.

    With the factor of an expected event in it they would find the event's own end, and an answer that
    was taken back would have moved them.
    """

    def __init__(self, expectation: MarketExpectation, width: int) -> None:
        self._of = expectation
        self._spans = ExpectationSpans(
            expectation.hours, expectation.table, width, expectation.held, self.factors
        )

    @property
    def version(self) -> int:
        """Grows with every change of an expectation that was read before."""
        return self._of.version

    def factors(self) -> list[Factor]:
        """Return the factors that were declared, without those of answers."""
        return self._of.declared_factors()

    def of_span(self, start_ms: int, end_ms: int) -> ExpectedRow | None:
        """Expectation of ``[start_ms, end_ms)``, both on pane boundaries; None where unknown."""
        if not self._of.history.answers.factors():
            return self._of.of_span(start_ms, end_ms)  # one cache for both
        return self._spans.of_span(start_ms, end_ms)

    def forget(self) -> None:
        """Empty the caches: the next read computes anew."""
        self._spans.forget()

"""What was read -> the explanation of one value, with the number computed again. No IO."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from streams.index.changes import AGO_DAYS, HOURS, hours_before
from streams.index.demand import SCALE
from streams.index.hours import LocalHours
from streams.index.indices import SHOPPER_INDICES
from streams.index.level import LEVEL
from streams.index.methodology import Market
from streams.index.panes import HOUR_MS, day_number, rfc3339
from streams.index.spans import hours_of_span
from streams.index.values import COVERED_MIN, MINUTE_STEP_WINDOWS, Value
from streams.ops.audit.journal_record import JournaledRevision
from streams.ops.explain.formulas import Parts, formula_of, limits_of, number_of
from streams.ops.explain.records import (
    Asked,
    Based,
    Check,
    Closed,
    Counted,
    Expectation,
    ExplainedHour,
    Explanation,
    Known,
    Number,
    Recorded,
)
from streams.ops.explain.usual import NotKnownError, UsualHour, Vintages, band_of, noise_of
from streams.ops.explain.wanted import (
    methods_of,
    noise_series,
    series_of,
    span_of,
    wanted_of,
)

_EXACT_MAX = 2**52
"""Millionths up to which a published expectation, a double, says which integer it was."""


class NotFoundError(LookupError):
    """No such value, or several; the text says what there is."""


def choose(values: Mapping[str, Recorded], asked: Asked) -> Recorded:
    """The one value that is asked for. Raises NotFoundError."""
    here = [
        each
        for each in values.values()
        if each.value.market == asked.market
        and (each.value.window, each.value.day) == (asked.window, asked.day)
    ]
    named = [each for each in here if each.value.index == asked.index]
    found = [
        each
        for each in named
        if each.value.member == asked.member and asked.dimension in (None, each.value.dimension)
    ]
    if len(found) == 1:
        return found[0]
    what = " ".join(part for part in (asked.index, asked.member, asked.window, asked.day) if part)
    if found:
        dimensions = ", ".join(sorted(each.value.dimension for each in found))
        raise NotFoundError(f"{asked.market} {what}: several; say --dimension, one of {dimensions}")
    if not here:
        raise NotFoundError(
            f"{asked.market} has no value of {asked.window} {asked.day or ''}".rstrip()
        )
    if not named:
        names = ", ".join(sorted({each.value.index for each in here}))
        raise NotFoundError(
            f"{asked.market} has no {asked.index} of {asked.window}; it has {names}"
        )
    members = ", ".join(sorted({f"{e.value.dimension} {e.value.member}" for e in named}))
    raise NotFoundError(f"{asked.market} has no {what}; it has {members}")


def explain_value(
    held: Recorded, known: Known, market: Market, *, edition: int, hours: LocalHours | None = None
) -> Explanation:
    """Explanation of ``held``. ``edition``: that of the methodology at hand.

    ``hours``: the market's, from whoever explains many values.
    """
    hours = hours or LocalHours(market.time_zone)
    return _Explainer(held, known, market, edition, hours).explain()


class _Explainer:
    def __init__(
        self, held: Recorded, known: Known, market: Market, edition: int, hours: LocalHours
    ) -> None:
        self._held = held
        self._value = held.value
        self._known = known
        self._market = market
        self._edition = edition
        self._hours = hours
        self._span = span_of(held.value, self._hours)
        self._wanted = wanted_of(held.value, market, self._hours)
        self._notes: list[str] = []
        self._checks: list[Check] = []
        end = None
        if held.value.vintage is not None and held.value.index != LEVEL:
            last_ms = (self._span.end_ms - 1) // HOUR_MS * HOUR_MS
            end = self._hours.day_of_hour(last_ms), held.value.vintage
        self._vintages = Vintages(
            known.journal.vintages, self._hours, known.factors, at=held.version, end=end
        )

    def explain(self) -> Explanation:
        value = self._value
        formula = formula_of(value)
        hours = self._hours_within()
        expectation = self._expectation()
        parts = Parts(
            value,
            self._market,
            self._held.where,
            self._find,
            self._exact,
            self._mix,
            self._before,
            self._base,
        )
        self._check_observed()
        self._check_base()
        recomputed: Number | None = None
        try:
            recomputed = number_of(parts, formula)
            told, why = True, ""
        except NotKnownError as error:
            told, why = False, str(error)
        same = value.value == recomputed if told else None
        self._checks.append(Check("value", value.value, recomputed, same, why))
        self._check_status(told=told, number=recomputed)
        if told and value.index in SHOPPER_INDICES:
            self._check_limits(recomputed)
        if value.edition != self._edition:
            self._notes.append(
                f"published under edition {value.edition}; methodology.toml is edition "
                f"{self._edition}: members and factors may be others"
            )
        return Explanation(
            key=value.key,
            where=self._held.where,
            value=value,
            formula=formula.words,
            methodology=f"docs/methodology.md#{formula.anchor}",
            counted=self._counted(),
            hours=hours,
            expectation=expectation,
            terms=parts.terms,
            calculation=parts.calculation,
            revisions=self._revisions(),
            closing=self._closing(),
            notes=self._notes,
            checks=self._checks,
            published=value.value,
            recomputed=recomputed,
            equal=all(check.equal is not False for check in self._checks) and bool(same),
        )

    # -- counted ---------------------------------------------------------------------------------

    def _counted(self) -> Counted:
        value, span = self._value, self._span
        if value.day is not None:
            slices = "orders placed on this local day, whatever happened to them later"
        elif value.index in AGO_DAYS:
            slices = f"{HOURS[value.window]} whole hours"
        elif value.window in MINUTE_STEP_WINDOWS:
            slices = f"{(span.end_ms - span.covered_from_ms) // 60_000} minutes"
        else:
            slices = f"{(span.end_ms - span.covered_from_ms) / 1_000:g} s of panes"
        return Counted(
            what=" ".join(self._wanted.closing),
            observed=value.observed,
            n=value.n,
            start=rfc3339(span.start_ms),
            end=rfc3339(span.end_ms),
            slices=slices,
            covered=value.covered,
            covered_from=rfc3339(span.covered_from_ms),
        )

    def _check_observed(self) -> None:
        """What is measured counts what the counted value beside it counts."""
        value = self._value
        if self._wanted.closing[0] == value.index or value.index in AGO_DAYS:
            return
        counted = self._find(*self._wanted.closing)
        if counted is not None:
            other = counted.value.observed
            self._checks.append(
                Check("observed", value.observed, other, value.observed == other, counted.where)
            )

    def _base(self) -> Based:
        name = self._value.vintage or ""
        found = self._known.journal.bases.get(name)
        if found is None:
            raise NotKnownError(
                f"base {name} is neither the one that stands nor in what the journal still has"
            )
        return found

    def _check_base(self) -> None:
        """What a level is against is the mean of the base that it names."""
        value = self._value
        if value.index != LEVEL or value.vintage is None:
            return
        try:
            base = self._base()
        except NotKnownError:
            return  # the number will say so
        mean = base.net_minor / base.days
        self._checks.append(
            Check("expected", value.expected, mean, value.expected == mean, base.where)
        )

    def _find(self, index: str, dimension: str, member: str) -> Recorded | None:
        value = self._value
        key = f"{value.market}|{index}|{dimension}|{member}|{value.window}"
        return self._known.values.get(key if value.day is None else f"{key}|{value.day}")

    def _hours_within(self) -> list[ExplainedHour]:
        span = self._span
        usual = self._usual_hours()
        if self._value.day is not None and not usual:
            return []
        starts = list(hours_of_span(span.covered_from_ms, span.end_ms))
        if self._value.index in AGO_DAYS:
            starts = sorted(self._wanted.hours)
        return [self._hour(hour_ms, usual.get(hour_ms, [])) for hour_ms in starts]

    def _usual_hours(self) -> dict[int, list[UsualHour]]:
        found: dict[int, list[UsualHour]] = {}
        try:
            for series in series_of(self._value, self._market):
                for hour in self._vintages.hours(
                    series, self._span.covered_from_ms, self._span.end_ms
                ):
                    found.setdefault(hour.part.hour_ms, []).append(hour)
        except NotKnownError:
            return {}
        return found

    def _hour(self, hour_ms: int, usual: list[UsualHour]) -> ExplainedHour:
        span = self._span
        within_ms = HOUR_MS
        if self._value.index not in AGO_DAYS:
            within_ms = min(span.end_ms, hour_ms + HOUR_MS) - max(span.covered_from_ms, hour_ms)
        # The day book's orders stand by when they were placed: no hour closing counts them so.
        closed = None if self._value.day is not None else self._closed_hour(hour_ms)
        told = ExplainedHour(
            hour=rfc3339(hour_ms),
            seconds=within_ms // 1_000,
            closed_observed=None if closed is None else closed.observed,
            where=None if closed is None else closed.where,
        )
        if not usual:
            return told
        level = sum(each.level for each in usual)
        whole = sum(each.part.usual for each in usual) / SCALE
        factor = usual[0].part.factor
        return ExplainedHour(
            told.hour,
            told.seconds,
            told.closed_observed,
            vintage=usual[0].vintage,
            level=level,
            season=whole / level if level else None,
            factor=None if factor is None else factor / SCALE,
            expected=sum(each.part.part for each in usual),
            where=told.where,
        )

    def _closed_hour(self, hour_ms: int) -> Closed | None:
        return self._known.journal.closings.get(("hour", hour_ms))

    def _closing(self) -> dict[str, Any] | None:
        value, span = self._value, self._span
        found = None
        if value.day is not None:
            found = self._known.journal.closings.get(("day", span.start_ms))
        elif value.window == "1h" and span.end_ms % HOUR_MS == 0 and value.index not in AGO_DAYS:
            found = self._closed_hour(span.start_ms)
        if found is None:
            return None
        return {
            "observed": found.observed,
            "value": None if found.value is None else found.value.value,
            "revision": 0 if found.value is None else found.value.revision,
            "where": found.where,
        }

    # -- expected --------------------------------------------------------------------------------

    def _expectation(self) -> Expectation | None:
        value, span = self._value, self._span
        series = series_of(value, self._market)
        if not series or value.expected is None or value.vintage is None:
            return None
        try:
            exact = self._vintages.exact(series, span.covered_from_ms, span.end_ms)
            day = day_number(value.vintage[: len("2026-11-24")])
            noisy = self._vintages.noise(noise_series(value, self._market), day)
            vintage = self._vintages.of(day)
        except NotKnownError as error:
            self._checks.append(Check("expected", value.expected, None, None, str(error)))
            return None
        expected, limits = exact / SCALE, band_of(exact, noisy, value.window)
        for name, published, found in (
            ("expected", value.expected, expected),
            ("lower", value.lower, limits.lower),
            ("upper", value.upper, limits.upper),
        ):
            equal = published == found
            why = "" if equal else "another vintage, factor or record than what the journal says"
            self._checks.append(Check(name, published, found, equal, why))
        return Expectation(
            of=" + ".join(" ".join(each) for each in series),
            exact=exact,
            expected=expected,
            vintage=vintage.name,
            vintage_where=vintage.where,
            learnt_days=0 if noisy is None else noisy.learnt_days,
            noise=noise_of(noisy, value.window),
            lower=limits.lower,
            upper=limits.upper,
        )

    def _exact(self) -> int:
        """E in millionths: from the vintage, else from the value's own field while that is exact."""
        value, span = self._value, self._span
        try:
            return self._vintages.exact(
                series_of(value, self._market), span.covered_from_ms, span.end_ms
            )
        except NotKnownError:
            assert value.expected is not None  # else no formula asks
            exact = round(Fraction(value.expected) * SCALE)
            if exact > _EXACT_MAX:
                raise
            self._notes.append("the expectation is taken from the value: its vintage is gone")
            return exact

    def _mix(self) -> list[int]:
        span = self._span
        return [
            self._vintages.exact([each], span.covered_from_ms, span.end_ms)
            for each in methods_of(self._market)
        ]

    def _before(self) -> tuple[int, int]:
        value, span = self._value, self._span
        _, before = hours_before(
            self._hours, span.end_ms, HOURS[value.window], AGO_DAYS[value.index]
        )
        closings = [self._closed_hour(hour_ms) for hour_ms in before]
        missing = [
            rfc3339(hour_ms)
            for hour_ms, closed in zip(before, closings, strict=True)
            if closed is None
        ]
        if missing:
            raise NotKnownError(
                f"the closing of {missing[0]} ({len(missing)} of {len(before)} hours) is not in "
                "what the journal still has"
            )
        return sum(closed.observed for closed in closings if closed is not None), len(before)

    # -- status, revisions -----------------------------------------------------------------------

    def _check_status(self, *, told: bool, number: Number | None) -> None:
        value = self._value
        if not told:
            return
        status = status_of(value, number, self._warming)
        if status is not None:
            self._checks.append(Check("status", value.status, status, value.status == status))

    def _check_limits(self, number: Number | None) -> None:
        value = self._value
        lower, upper = limits_of(value, number)
        for name, published, found in (
            ("lower", value.lower, lower),
            ("upper", value.upper, upper),
        ):
            self._checks.append(Check(name, published, found, published == found))

    def _warming(self, value: Value) -> bool | None:
        if value.vintage is None or value.expected is None:
            return True
        days = {
            self._hours.day_of_hour(hour_ms)
            for hour_ms in (
                self._span.covered_from_ms // HOUR_MS * HOUR_MS,
                (self._span.end_ms - 1) // HOUR_MS * HOUR_MS,
            )
        }
        try:
            return self._vintages.warming(noise_series(value, self._market), days)
        except NotKnownError:
            return None

    def _revisions(self) -> list[dict[str, Any]]:
        value = self._value
        return [
            _revision(each.revision, each.where)
            for each in self._known.journal.revisions
            if each.revision.value.as_of == value.as_of or value.day is not None
        ]


def status_of(
    value: Value, number: Number | None, warming: Callable[[Value], bool | None]
) -> str | None:
    """Status that a value must have; None where the records do not tell."""
    if value.index in AGO_DAYS and value.covered < 1:
        return "filling"
    if value.covered < COVERED_MIN and (value.day is None or value.index == LEVEL):
        return "filling"
    if value.index == LEVEL and value.vintage is None:
        return "warming"
    measured = value.index in ("payment_index", "mix_shift") or value.index.startswith("demand_")
    if measured:
        found = warming(value)
        if found is None or found:
            return None if found is None else "warming"
    return "no_data" if number is None else "ok"


def _revision(revision: JournaledRevision, where: str) -> dict[str, Any]:
    return {
        "cause": revision.cause,
        "previous": revision.previous,
        "value": revision.value.value,
        "revision": revision.value.revision,
        "as_of": revision.value.as_of,
        "where": where,
    }

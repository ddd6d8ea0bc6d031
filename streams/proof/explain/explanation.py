"""Makes the explanation of one value from what was read, and recomputes its number. No IO."""

from __future__ import annotations

from functools import partial
from typing import Any

from msgspec import UNSET

from streams.index.changes import AGO_DAYS, HOURS, hours_before
from streams.index.demand import SCALE
from streams.index.hours import LocalHours
from streams.index.indices import SHOPPER_INDICES
from streams.index.instants import in_zone
from streams.index.level import LEVEL
from streams.index.methodology import Market
from streams.index.panes import HOUR_MS, rfc3339
from streams.index.spans import hours_of_span
from streams.index.values import MINUTE_STEP_WINDOWS, Value
from streams.proof.explain.expecting import Expecting
from streams.proof.explain.explanation_types import (
    Based,
    Check,
    Closed,
    Counted,
    ExplainedHour,
    Explanation,
    Known,
    Number,
    PublishedValue,
)
from streams.proof.explain.formula_words import formula_of, number_of
from streams.proof.explain.gathered_sums import Parts
from streams.proof.explain.journal_query import query_of, span_of
from streams.proof.explain.journaled_vintages import ExpectedHour, NotKnownError
from streams.proof.explain.status import status_of
from streams.records.journal_record import JournaledRevision


def explain_value(
    held: PublishedValue,
    known: Known,
    market: Market,
    *,
    edition: int,
    hours: LocalHours | None = None,
) -> Explanation:
    """Explain the value ``held``. ``edition``: that of methodology.toml.

    ``hours``: local hours of the market, passed by a caller that explains many values.
    """
    hours = hours or LocalHours(market.time_zone)
    return _Explainer(held, known, market, edition, hours).explain()


class _Explainer:
    def __init__(
        self, held: PublishedValue, known: Known, market: Market, edition: int, hours: LocalHours
    ) -> None:
        self._held = held
        self._value = held.value
        self._known = known
        self._market = market
        self._edition = edition
        self._hours = hours
        self._span = span_of(held.value, self._hours)
        self._wanted = query_of(held.value, market, self._hours)
        self._notes: list[str] = []
        self._checks: list[Check] = []
        self._expecting = Expecting(held, known, market, self._hours, self._span)

    def explain(self) -> Explanation:
        value = self._value
        formula = formula_of(value)
        hours = self._hours_within()
        expectation = self._expecting.explain(self._checks)
        parts = Parts(
            value,
            self._market,
            self._held.where,
            self._find,
            partial(self._expecting.exact, self._notes),
            self._expecting.mix,
            self._before,
            self._base,
            self._known.rows,
        )
        self._check_rows()
        self._check_observed()
        self._check_base()
        recomputed: Number | None = None
        try:
            recomputed = number_of(parts, formula)
            known, why = True, ""
        except NotKnownError as error:
            known, why = False, str(error)
        same = value.value == recomputed if known else None
        self._checks.append(Check("value", value.value, recomputed, same, why))
        self._check_status(known=known, number=recomputed)
        if known and value.index in SHOPPER_INDICES:
            self._check_limits(*parts.limits)
        if value.day is not None and value.expected is None and value.index not in SHOPPER_INDICES:
            self._note_lower(value)
        if value.edition != self._edition:
            self._notes.append(
                f"published under edition {value.edition}; methodology.toml is edition "
                f"{self._edition}: members and factors may differ"
            )
        self._note_definitions()
        return Explanation(
            definitions=self._held.version.definitions,
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
            made_of=[] if self._known.rows is None else self._known.rows.parts,
            time_zone=self._market.time_zone,
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

    def _check_rows(self) -> None:
        """Check that the rows which level 2 had applied add up to what was counted."""
        rows, counted = self._known.rows, self._value.observed
        if rows is None:
            return
        same = rows.make(self._value)
        known = rows.observed is not None and (same or not rows.why)
        self._checks.append(
            Check(
                "counted", counted, rows.observed, same if known else None, "" if same else rows.why
            )
        )

    def _check_observed(self) -> None:
        """Check that a measured value counts as much as the counted value beside it."""
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
                f"base {name} is not the current one, and it is no longer in the journal"
            )
        return found

    def _check_base(self) -> None:
        """Check that a level is measured against the mean of the base that it names."""
        value = self._value
        if value.index != LEVEL or value.vintage is None:
            return
        try:
            base = self._base()
        except NotKnownError:
            return  # the check of the number reports it
        mean = base.net_minor / base.days
        self._checks.append(
            Check("expected", value.expected, mean, value.expected == mean, base.where)
        )

    def _find(self, index: str, dimension: str, member: str) -> PublishedValue | None:
        value = self._value
        key = f"{value.market}|{index}|{dimension}|{member}|{value.window}"
        return self._known.values.get(key if value.day is None else f"{key}|{value.day}")

    def _hours_within(self) -> list[ExplainedHour]:
        span = self._span
        expected_hours = self._expecting.expected_hours()
        if self._value.day is not None and not expected_hours:
            return []
        starts = list(hours_of_span(span.covered_from_ms, span.end_ms))
        if self._value.index in AGO_DAYS:
            starts = sorted(self._wanted.hours)
        return [self._hour(hour_ms, expected_hours.get(hour_ms, [])) for hour_ms in starts]

    def _hour(self, hour_ms: int, expected_hours: list[ExpectedHour]) -> ExplainedHour:
        span = self._span
        within_ms = HOUR_MS
        if self._value.index not in AGO_DAYS:
            within_ms = min(span.end_ms, hour_ms + HOUR_MS) - max(span.covered_from_ms, hour_ms)
        # The day book counts orders by when they were placed; no hour closing does.
        closed = None if self._value.day is not None else self._closed_hour(hour_ms)
        known = ExplainedHour(
            hour=rfc3339(hour_ms),
            seconds=within_ms // 1_000,
            closed_observed=None if closed is None else closed.observed,
            where=None if closed is None else closed.where,
        )
        if not expected_hours:
            return known
        level = sum(each.level for each in expected_hours)
        whole = sum(each.part.seasonal for each in expected_hours) / SCALE
        factor = expected_hours[0].part.factor
        return ExplainedHour(
            known.hour,
            known.seconds,
            known.closed_observed,
            vintage=expected_hours[0].vintage,
            level=level,
            season=whole / level if level else None,
            factor=None if factor is None else factor / SCALE,
            expected=sum(each.part.part for each in expected_hours),
            where=known.where,
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
            first = in_zone(missing[0], self._market.time_zone)
            raise NotKnownError(
                f"the closing of {first} ({len(missing)} of {len(before)} hours) is no longer in the "
                "journal"
            )
        return sum(closed.observed for closed in closings if closed is not None), len(before)

    def _note_definitions(self) -> None:
        """Say by which definitions the number was made, and which changed what its member counts."""
        version, touched = self._held.version.definitions, self._value.definitions
        if version != self._market.definitions:
            self._notes.append(
                f"published by version {version} of the definitions, which their topic does not have "
                f"any more; read by version {self._market.definitions}: members may differ"
            )
        if touched is not UNSET:
            self._notes.append(
                f"version {touched} of the definitions changed which labels {self._value.member} counts"
                + (f" ({self._known.applied[touched]})" if touched in self._known.applied else "")
            )

    # -- status, revisions -----------------------------------------------------------------------

    def _check_status(self, *, known: bool, number: Number | None) -> None:
        value = self._value
        if not known:
            return
        status = status_of(value, number, self._expecting.warming)
        if status is not None:
            self._checks.append(Check("status", value.status, status, value.status == status))

    def _note_lower(self, value: Value) -> None:
        """Say what else the value may be."""
        if value.lower is None:
            return
        self._notes.append(
            f"{int(value.lower)} if all orders that came later than the grace are copies, and all that "
            "were cancelled or refunded after they had been refused had counted before: neither can "
            "be known"
        )

    def _check_limits(self, lower: float | None, upper: float | None) -> None:
        value = self._value
        for name, published, found in (
            ("lower", value.lower, lower),
            ("upper", value.upper, upper),
        ):
            self._checks.append(Check(name, published, found, published == found))

    def _revisions(self) -> list[dict[str, Any]]:
        value = self._value
        return [
            _revision(each.revision, each.where)
            for each in self._known.journal.revisions
            if each.revision.value.as_of == value.as_of or value.day is not None
        ]


def _revision(revision: JournaledRevision, where: str) -> dict[str, Any]:
    return {
        "cause": revision.cause,
        "previous": revision.previous,
        "value": revision.value.value,
        "revision": revision.value.revision,
        "as_of": revision.value.as_of,
        "where": where,
    }

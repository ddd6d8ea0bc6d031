"""Recomputes the expectation of a value from the vintage that it names."""

from __future__ import annotations

from fractions import Fraction

from streams.index.demand import SCALE
from streams.index.hours import LocalHours
from streams.index.level import LEVEL
from streams.index.methodology import Market
from streams.index.panes import HOUR_MS, day_number
from streams.index.values import Value
from streams.proof.explain.explanation_types import Check, Expectation, Known, PublishedValue
from streams.proof.explain.journal_query import ValueSpan, methods_of, noise_series, series_of
from streams.proof.explain.journaled_vintages import (
    ExpectedHour,
    NotKnownError,
    Vintages,
    band_of,
    noise_of,
)

_EXACT_MAX = 2**52
"""Largest expectation in millionths that a published double still identifies exactly."""


class Expecting:
    """The expectation of one value, hour by hour and in total."""

    def __init__(
        self, held: PublishedValue, known: Known, market: Market, hours: LocalHours, span: ValueSpan
    ) -> None:
        self._value = held.value
        self._market = market
        self._hours = hours
        self._span = span
        end = None
        if held.value.vintage is not None and held.value.index != LEVEL:
            last_ms = (span.end_ms - 1) // HOUR_MS * HOUR_MS
            end = hours.day_of_hour(last_ms), held.value.vintage
        self._vintages = Vintages(
            known.journal.vintages, hours, known.factors, at=held.version, end=end, market=market
        )

    def expected_hours(self) -> dict[int, list[ExpectedHour]]:
        """Hour (ms) -> what each series adds to the expectation; empty where that is not known."""
        found: dict[int, list[ExpectedHour]] = {}
        try:
            for series in series_of(self._value, self._market):
                for hour in self._vintages.hours(
                    series, self._span.covered_from_ms, self._span.end_ms
                ):
                    found.setdefault(hour.part.hour_ms, []).append(hour)
        except NotKnownError:
            return {}
        return found

    def explain(self, checks: list[Check]) -> Expectation | None:
        """Recompute E and its band, and add the comparisons to ``checks``; None without them."""
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
            checks.append(Check("expected", value.expected, None, None, str(error)))
            return None
        expected, limits = exact / SCALE, band_of(exact, noisy, value.window)
        for name, published, found in (
            ("expected", value.expected, expected),
            ("lower", value.lower, limits.lower),
            ("upper", value.upper, limits.upper),
        ):
            equal = published == found
            why = (
                "" if equal else "made with another vintage, factor or record than the journal has"
            )
            checks.append(Check(name, published, found, equal, why))
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

    def exact(self, notes: list[str]) -> int:
        """Return E in millionths, from the vintage, else from the value's own field if that is exact.

        Raises NotKnownError. If the field was used, ``notes`` gets a line.
        """
        value, span = self._value, self._span
        try:
            return self._vintages.exact(
                series_of(value, self._market), span.covered_from_ms, span.end_ms
            )
        except NotKnownError:
            assert value.expected is not None  # no formula asks without one
            exact = round(Fraction(value.expected) * SCALE)
            if exact > _EXACT_MAX:
                raise
            notes.append("the expectation is taken from the value: its vintage is gone")
            return exact

    def mix(self) -> list[int]:
        """Return the expected payments of each method, in millionths. Raises NotKnownError."""
        span = self._span
        return [
            self._vintages.exact([each], span.covered_from_ms, span.end_ms)
            for each in methods_of(self._market)
        ]

    def warming(self, value: Value) -> bool | None:
        """Whether too few days were learnt to measure ``value``; None where that is not known."""
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

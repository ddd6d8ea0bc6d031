"""Expectations of spans of time, read from the vintages that a market holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from streams.flow.vintages import HeldVintage
from streams.index.hours import LocalHours
from streams.index.learning import Factor, factor_at, with_factor
from streams.index.measured import ExpectedRow
from streams.index.minutes import minutes_of, within_minute
from streams.index.noise import Noise
from streams.index.panes import HOUR_MS, MINUTE_MS
from streams.index.partials import Row, add_into
from streams.index.series import SeriesTable

_HOURS_MAX = 24 * 20
"""Hours whose rows are cached."""
_SHAPED_HOURS_MAX = 8
"""Hours whose minutes are cached: the edges of the windows lie in three or four."""
_NOTHING = [0] * 61


class ExpectationSpans:
    """Reads ``held``, vintages by local day; call ``forget`` when they or the factors have changed."""

    def __init__(
        self,
        hours: LocalHours,
        table: SeriesTable,
        width: int,
        held: Mapping[int, HeldVintage],
        factors: Callable[[], Sequence[Factor]],
    ) -> None:
        self._hours = hours
        self._table = table
        self._width = width
        self._held = held
        self._declared = factors
        self._rows: dict[int, Row | None] = {}
        self._shaped: dict[int, list[list[int]]] = {}
        self._noise: dict[int, tuple[Mapping[int, Noise], frozenset[int]]] = {}

    def forget(self) -> None:
        """Empty the caches: the next read computes anew."""
        self._rows.clear()
        self._shaped.clear()
        self._noise.clear()

    def of_span(self, start_ms: int, end_ms: int) -> ExpectedRow | None:
        """Expectation of ``[start_ms, end_ms)``, both on pane boundaries; None where unknown.

        Its name and its noise are those of the vintage of its end.
        """
        if start_ms >= end_ms:
            return None
        total = [0] * self._width
        for hour_ms in range(start_ms // HOUR_MS * HOUR_MS, end_ms, HOUR_MS):
            part = self._part(hour_ms, max(0, start_ms - hour_ms), min(HOUR_MS, end_ms - hour_ms))
            if part is None:
                return None
            add_into(total, part)
        held = self._held[self._hours.day_of_hour((end_ms - 1) // HOUR_MS * HOUR_MS)]
        first = self._held[self._hours.day_of_hour(start_ms // HOUR_MS * HOUR_MS)]
        noise, warming = self._noise_of(held)
        if first is not held:  # a member is known in the span if it is on both days
            elsewhere, early = self._noise_of(first)
            noise = {column: own for column, own in noise.items() if column in elsewhere}
            warming |= early
        return ExpectedRow(total, noise, warming, held.name)

    def _part(self, hour_ms: int, from_ms: int, until_ms: int) -> Row | None:
        if from_ms == 0 and until_ms == HOUR_MS:
            return self._hour(hour_ms)
        minutes = self._minutes(hour_ms)
        if minutes is None:
            return None
        row = [0] * self._width
        ends = _until(minutes, until_ms)
        begins = _until(minutes, from_ms)
        for column, end, begin in zip(self._table.row_columns, ends, begins, strict=True):
            row[column] = end - begin
        return row

    def _hour(self, hour_ms: int) -> Row | None:
        if hour_ms not in self._rows:
            self._rows[hour_ms] = self._compute_hour(hour_ms)
            if len(self._rows) > _HOURS_MAX:
                del self._rows[next(iter(self._rows))]
        return self._rows[hour_ms]

    def _compute_hour(self, hour_ms: int) -> Row | None:
        held = self._held.get(self._hours.day_of_hour(hour_ms))
        if held is None:
            return None
        at = (hour_ms - held.vintage.target_ms[0]) // HOUR_MS
        row = [0] * self._width
        for column, series, factor in zip(
            self._table.row_columns, held.vintage.expected, self._factors(hour_ms), strict=True
        ):
            if series:
                row[column] = with_factor(series[at], factor)
        return row

    def _factors(self, hour_ms: int) -> list[int | None]:
        end_ms = hour_ms + HOUR_MS
        here = [
            each for each in self._declared() if each.start_ms < end_ms and hour_ms < each.end_ms
        ]
        if not here:
            return [None] * len(self._table.series)
        by_scope = {scope: factor_at(here, scope, hour_ms) for scope in set(self._table.scopes)}
        return [by_scope[scope] for scope in self._table.scopes]

    def _minutes(self, hour_ms: int) -> list[list[int]] | None:
        """Return, for each series, its sums over the first 0, 1, .. 60 minutes of the hour."""
        shaped = self._shaped.get(hour_ms)
        if shaped is None:
            hour = self._hour(hour_ms)
            if hour is None:
                return None
            held = self._held[self._hours.day_of_hour(hour_ms)]
            at = (hour_ms - held.vintage.target_ms[0]) // HOUR_MS
            shaped = [
                minutes_of(series, at, hour[column]) if hour[column] else _NOTHING
                for column, series in zip(
                    self._table.row_columns, held.vintage.expected, strict=True
                )
            ]
            while len(self._shaped) >= _SHAPED_HOURS_MAX:
                del self._shaped[next(iter(self._shaped))]
            self._shaped[hour_ms] = shaped
        return shaped

    def _noise_of(self, held: HeldVintage) -> tuple[Mapping[int, Noise], frozenset[int]]:
        found = self._noise.get(held.vintage.day)
        if found is None:
            vintage = held.vintage
            noise = {
                column: own
                for column, own, series in zip(
                    self._table.row_columns, vintage.noise, vintage.expected, strict=True
                )
                if series
            }
            warming = frozenset(
                column for at, column in enumerate(self._table.row_columns) if vintage.warming(at)
            )
            found = self._noise[held.vintage.day] = noise, warming
        return found


def _until(minutes: Sequence[Sequence[int]], offset_ms: int) -> list[int]:
    """Return the sum of each series until ``offset_ms`` of the hour has passed."""
    minute, rest_ms = divmod(offset_ms, MINUTE_MS)
    if rest_ms == 0:
        return [series[minute] for series in minutes]
    return [
        within_minute(series[minute], series[minute + 1], rest_ms, MINUTE_MS) for series in minutes
    ]

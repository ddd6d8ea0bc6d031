"""What one series of a vintage expects of a span, by hour; exact in integers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from streams.index.learning import with_factor
from streams.index.minutes import minutes_of, within_minute
from streams.index.panes import HOUR_MS, MINUTE_MS


class HourPart(NamedTuple):
    """The part of an hour that lies within a span. Expectations are integers in millionths.

    ``seasonal``: level x season of the whole hour.
    ``factor``: the operator's, in millionths; None where no
    factor was declared, or the declared event is of unknown size. ``expected``: the whole hour with its
    factor. ``part``: the share of ``expected`` that falls on ``[from_ms, until_ms)``, both counted from
    the hour's start.
    """

    hour_ms: int
    from_ms: int
    until_ms: int
    seasonal: int
    factor: int | None
    expected: int
    part: int


def hours_of_span(start_ms: int, end_ms: int) -> range:
    """Starts of the hours that overlap ``[start_ms, end_ms)``.

    >>> len(hours_of_span(1, 2)), len(hours_of_span(0, HOUR_MS)), len(hours_of_span(1, HOUR_MS + 1))
    (1, 1, 2)
    """
    return range(start_ms // HOUR_MS * HOUR_MS, end_ms, HOUR_MS)


def hour_part(
    hours: Sequence[int], at: int, factor: int | None, hour_ms: int, start_ms: int, end_ms: int
) -> HourPart:
    """Part of the hour ``hours[at]`` of a vintage that lies within ``[start_ms, end_ms)``.

    ``hours``: the series' expectations in the vintage; those beside ``at`` shape the hour's minutes.

    >>> hour_part([60, 60, 60], 1, 2_000_000, HOUR_MS, HOUR_MS, HOUR_MS + 90_000).part
    3
    """
    from_ms, until_ms = max(0, start_ms - hour_ms), min(HOUR_MS, end_ms - hour_ms)
    seasonal = hours[at]
    expected = with_factor(seasonal, factor)
    part = expected
    if (from_ms, until_ms) != (0, HOUR_MS):
        minutes = minutes_of(hours, at, expected) if expected else [0] * (HOUR_MS // MINUTE_MS + 1)
        part = _until(minutes, until_ms) - _until(minutes, from_ms)
    return HourPart(hour_ms, from_ms, until_ms, seasonal, factor, expected, part)


def _until(minutes: Sequence[int], offset_ms: int) -> int:
    minute, rest_ms = divmod(offset_ms, MINUTE_MS)
    if not rest_ms:
        return minutes[minute]
    return within_minute(minutes[minute], minutes[minute + 1], rest_ms, MINUTE_MS)

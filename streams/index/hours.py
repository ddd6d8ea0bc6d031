"""Hours of the week in a market's zone, and the hours that a vintage of the expectation learns from.

Hours are epoch aligned. An hour belongs to the local day, and to the local hour of the week, that
contains its start: in Kathmandu (UTC+5:45) an hour starts at a quarter to. Where clocks change, a local
day has 23 or 25 hours. An hour that is repeated counts as two hours of the same cell.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from streams.index.panes import HOUR_MS, LocalDays

CELLS = 168
"""Hours of a week. Cell 0 is Monday, 00:00 local time."""
LEARNT_DAYS = 42
BLOCK_DAYS = 7
LEAD_DAYS = 2
"""A vintage of day D knows hours up to the end of D-2, so it is complete a day before D begins."""
DRIFT_LEAD_DAYS = 9
"""The shift detector's daily clock uses vintages that know hours up to D-9, a week less than others."""
MARGIN_HOURS = 3
"""Hours on both sides of the day that a vintage holds too, so that its minutes need no other vintage."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CACHED_HOURS_MAX = 20_000
_CACHED_ZONES_MAX = 64
_CACHED_CALENDARS_MAX = 32
"""Of 1,008 hours each. Markets of one zone learn the same days."""

Index = NDArray[np.int64]


class LocalHours:
    """Local days and hours of the week of one zone. ``local_hours`` shares them."""

    def __init__(self, zone: str) -> None:
        self.local_days = LocalDays(zone)
        self._zone = ZoneInfo(zone)
        self._cells: dict[int, int] = {}

    def cell(self, hour_ms: int) -> int:
        """Local hour of the week, 0..167, at ``hour_ms``."""
        cell = self._cells.get(hour_ms)
        if cell is None:
            if len(self._cells) >= _CACHED_HOURS_MAX:
                self._cells.clear()
            moment = (_EPOCH + timedelta(milliseconds=hour_ms)).astimezone(self._zone)
            cell = self._cells[hour_ms] = moment.weekday() * 24 + moment.hour
        return cell

    def offset_ms(self, instant_ms: int) -> int:
        """How far the zone is ahead of UTC at an instant, in ms."""
        moment = (_EPOCH + timedelta(milliseconds=instant_ms)).astimezone(self._zone)
        offset = moment.utcoffset()
        assert offset is not None  # an aware datetime has one
        return offset // timedelta(milliseconds=1)

    def days_before(self, hour_ms: int, days: int) -> int:
        """Hour that had the same local time ``days`` earlier, where clock changes allow it."""
        before_ms = hour_ms - days * 24 * HOUR_MS
        shift_ms = self.offset_ms(hour_ms) - self.offset_ms(before_ms)
        return before_ms + shift_ms // HOUR_MS * HOUR_MS

    def hours_of(self, day: int) -> range:
        """Starts (ms) of the hours that belong to a local day: 24, or 23 or 25 where clocks change."""
        start, end = self.local_days.start_ms(day), self.local_days.end_ms(day)
        return range(-(-start // HOUR_MS) * HOUR_MS, -(-end // HOUR_MS) * HOUR_MS, HOUR_MS)

    def day_of_hour(self, hour_ms: int) -> int:
        """Local day that the hour belongs to."""
        return self.local_days.day_of(hour_ms)


@lru_cache(_CACHED_ZONES_MAX)
def local_hours(zone: str) -> LocalHours:
    """Return the hours of a zone: markets of one zone share what was computed."""
    return LocalHours(zone)


@dataclass(frozen=True, slots=True)
class Calendar:
    """Hours that the vintage of one local day learns from, and hours that it predicts.

    ``hours_ms``: the hours of the 42 days up to D - ``lead_days``, ascending. ``cells``, ``days``
    (0..41) and ``blocks`` (0..5, seven days each) give the place of each of them. ``target_ms``: the
    hours of D with ``MARGIN_HOURS`` more on both sides. ``target_cells``: the cell of each of those.
    """

    day: int
    hours_ms: tuple[int, ...]
    cells: Index
    days: Index
    blocks: Index
    target_ms: tuple[int, ...]
    target_cells: Index
    lead_days: int = LEAD_DAYS

    @property
    def own(self) -> slice:
        """Slice of ``target_ms`` that holds the hours of the day itself."""
        return slice(MARGIN_HOURS, len(self.target_ms) - MARGIN_HOURS)


@lru_cache(_CACHED_CALENDARS_MAX)
def calendar_of(hours: LocalHours, day: int, lead_days: int = LEAD_DAYS) -> Calendar:
    """Calendar of the vintage of local day ``day`` that knows hours up to ``day - lead_days``.

    It is shared, so nobody may write into its arrays.
    """
    first = day - lead_days - LEARNT_DAYS + 1
    learnt = [
        (hour_ms, number)
        for number in range(LEARNT_DAYS)
        for hour_ms in hours.hours_of(first + number)
    ]
    own = hours.hours_of(day)
    margin_ms = MARGIN_HOURS * HOUR_MS
    target = range(own.start - margin_ms, own.stop + margin_ms, HOUR_MS)
    days = np.array([number for _, number in learnt], dtype=np.int64)
    return Calendar(
        day=day,
        hours_ms=tuple(hour_ms for hour_ms, _ in learnt),
        cells=np.array([hours.cell(hour_ms) for hour_ms, _ in learnt], dtype=np.int64),
        days=days,
        blocks=days // BLOCK_DAYS,
        target_ms=tuple(target),
        target_cells=np.array([hours.cell(hour_ms) for hour_ms in target], dtype=np.int64),
        lead_days=lead_days,
    )

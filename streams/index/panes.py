"""Slot arithmetic: the pane, minute, hour and local day that an instant falls in.

Panes, minutes and hours are epoch aligned, ``[start, end)``. A day is a local day of the market, as a
number of days since 1970-01-01 in the market's zone. It starts at the first instant with that local
date (01:00 on a day that begins with a gap of daylight saving).
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
QUARTER_MS = 900_000
"""Since 1972 every local day in the time zone database starts on a quarter of an hour."""
_CACHED_QUARTERS_MAX = 40_000
_DAY_MIN, _DAY_MAX = -719_000, 2_932_000  # what datetime can hold, with a margin of some days


class LocalDays:
    """Local day numbers of one zone. Computed numbers are cached, within a bound."""

    __slots__ = ("_cache", "_zone")

    def __init__(self, zone: str) -> None:
        self._zone = ZoneInfo(zone)
        self._cache: dict[int, int] = {}

    def day_of(self, instant_ms: int) -> int:
        """Number of the local day (days since 1970-01-01) that holds ``instant_ms``."""
        quarter = instant_ms // QUARTER_MS
        day = self._cache.get(quarter)
        if day is None:
            if len(self._cache) >= _CACHED_QUARTERS_MAX:
                self._cache.clear()
            day = self._cache[quarter] = self._compute(quarter * QUARTER_MS)
        return day

    def _compute(self, instant_ms: int) -> int:
        guess = instant_ms // DAY_MS
        if not _DAY_MIN < guess < _DAY_MAX:
            return guess  # beyond the calendar; an event so far away is too late or ahead anyway
        utc = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=instant_ms)
        day = utc.astimezone(self._zone).date().toordinal() - _EPOCH_ORDINAL
        # Where clocks went back just after midnight (St. John's at 00:01, until 2011), the old date
        # shows for another hour. The new day has already begun and stays.
        return day + 1 if instant_ms >= self.end_ms(day) else day

    def start_ms(self, day: int) -> int:
        """First instant of the local day, in UTC epoch ms."""
        return _day_start(self._zone.key, day)

    def end_ms(self, day: int) -> int:
        """First instant after the local day, in UTC epoch ms."""
        return _day_start(self._zone.key, day + 1)


@lru_cache(maxsize=20_000)
def _day_start(zone: str, day: int) -> int:
    if not _DAY_MIN < day < _DAY_MAX:
        return day * DAY_MS
    info = ZoneInfo(zone)
    # The offset lies within +-26 h of UTC: search quarters from before the earliest possible start.
    instant = (day * DAY_MS - 26 * HOUR_MS) // QUARTER_MS * QUARTER_MS
    epoch = datetime(1970, 1, 1, tzinfo=UTC)

    def local(at_ms: int) -> int:
        moment = epoch + timedelta(milliseconds=at_ms)
        return moment.astimezone(info).date().toordinal() - _EPOCH_ORDINAL

    low, high = 0, 4 * 60
    # local() never decreases over quarters in this range, except inside a fold at midnight. There the
    # first quarter that shows the day is wanted: bisect, then step back over the fold.
    while low < high:
        middle = (low + high) // 2
        if local(instant + middle * QUARTER_MS) >= day:
            high = middle
        else:
            low = middle + 1
    while low > 0 and any(
        local(instant + (low - back) * QUARTER_MS) >= day for back in range(1, min(low, 8) + 1)
    ):
        low -= 1
    while local(instant + low * QUARTER_MS) < day:
        low += 1
    return instant + low * QUARTER_MS


def of_minute(minute: float) -> int:
    """Instant (ms) of a minute since the epoch, which may be in parts: a twelfth is no whole float.

    >>> of_minute(29_000_000 + 1 / 12)
    1740000005000
    """
    return round(minute * MINUTE_MS)


def day_name(day: int) -> str:
    """``YYYY-MM-DD`` of a local day number."""
    return date.fromordinal(day + _EPOCH_ORDINAL).isoformat()


def day_number(name: str) -> int:
    """Local day number of ``YYYY-MM-DD``."""
    return date.fromisoformat(name).toordinal() - _EPOCH_ORDINAL


def rfc3339(instant_ms: int) -> str:
    """RFC 3339 text in UTC with milliseconds, as the contracts print times.

    >>> rfc3339(1_700_000_000_123)
    '2023-11-14T22:13:20.123Z'
    """
    moment = datetime(1970, 1, 1) + timedelta(milliseconds=instant_ms)  # noqa: DTZ001 - Z is said below
    # strftime's %Y pads no year below 1000, and nothing reads `26-11-29` again.
    return f"{moment.isoformat(timespec='milliseconds')}Z"

"""Numbers, times and spans in the words of a message."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_SMALL = 10
_MINUTE_MS, _HOUR_MINUTES, _DAY_MINUTES = 60_000, 60, 1_440
_FROM_DAYS_MINUTES = 2 * _DAY_MINUTES


def count_words(number: float) -> str:
    """A count for a reader: whole from 10 on.

    >>> count_words(1005.6), count_words(2), count_words(2.25)
    ('1,006', '2', '2.2')
    """
    if number >= _SMALL or number == int(number):
        return f"{number:,.0f}"
    return f"{number:.1f}"


def ratio_words(ratio: float) -> str:
    """A part or a multiple of what is expected.

    >>> ratio_words(3.62), ratio_words(0.124), ratio_words(0.0021), ratio_words(16.4)
    ('3.6 times', '12 %', '0.2 %', '16 times')
    """
    if ratio >= _SMALL:
        return f"{ratio:,.0f} times"
    if ratio >= 1:
        return f"{ratio:.1f} times"
    percent = 100 * ratio
    return f"{percent:.0f} %" if percent >= 1 or percent == 0 else f"{percent:.1g} %"


def span_words(ms: int) -> str:
    """Length of time, in minutes until an hour, in hours until two days.

    >>> span_words(20_000), span_words(60_000), span_words(8_100_000), span_words(400_000_000)
    ('less than a minute', '1 minute', '2 h 15 min', '4 days')
    """
    minutes = max(ms, 0) // _MINUTE_MS
    if minutes < 1:
        return "less than a minute"
    if minutes < _HOUR_MINUTES:
        return f"{minutes} minute{'s' if minutes > 1 else ''}"
    if minutes < _FROM_DAYS_MINUTES:
        return f"{minutes // _HOUR_MINUTES} h {minutes % _HOUR_MINUTES} min"
    return f"{minutes // _DAY_MINUTES} days"


def time_words(at_ms: int, zone: str | None = None) -> str:
    """An instant in UTC, and in the market's zone where that is another.

    >>> time_words(1_767_328_560_000, "Asia/Karachi")
    '04:36 UTC on 2 Jan (09:36 in Asia/Karachi)'
    """
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    text = f"{at:%H:%M} UTC on {at.day} {at:%b}"
    try:
        local = None if zone is None else at.astimezone(ZoneInfo(zone))
    except (ZoneInfoNotFoundError, ValueError):
        local = None
    if local is None or local.utcoffset() == at.utcoffset():
        return text
    return f"{text} ({local:%H:%M} in {zone})"

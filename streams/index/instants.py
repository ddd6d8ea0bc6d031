"""RFC 3339 text -> UTC epoch milliseconds; fast when many instants share a minute."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_MINUTE_MS = 60_000
_SECOND_MS, _DAY_MS = 1_000, 86_400_000
_CACHE_MAX = 100_000
_PREFIX = 17  # length of "2026-11-24T09:54:"; seconds and offset follow

_TO_THE_MINUTE = re.compile(r"(\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d)([Zz]|[+-]\d\d:\d\d)", re.ASCII)

MINUTES: Final[dict[str, int]] = {}
RESTS: Final[dict[str, int]] = {}


def parse_instant(text: str) -> int | None:
    """UTC epoch ms; None when the text is not RFC 3339 with an offset.

    The decoder rounds to the microsecond; then the instant is cut to the millisecond. A leap second,
    23:59:60 in UTC, is the first second of the next day: UTC epoch time has no other place for it.

    The caches keep an instant in two halves, the minute and what follows it. Each half was part of a
    valid text once, and halves of valid texts combine. A later instant with both halves known costs two
    dict lookups instead of a date computation. Both caches are bounded and hold pure functions of their
    keys.
    """
    minute = MINUTES.get(text[:_PREFIX])
    if minute is not None:
        rest = RESTS.get(text[_PREFIX:])
        if rest is not None:
            return minute + rest
    return _parse(text)


def typed_instant(text: str) -> int | None:
    """UTC epoch ms of an instant that a person types; None when it is none.

    Commands print instants to the minute, and what they print may be typed. Events are read by
    ``parse_instant``.

    >>> typed_instant("2026-11-24T14:54+05:00") == typed_instant("2026-11-24 09:54:00Z")
    True
    """
    found = _TO_THE_MINUTE.fullmatch(text.strip())
    return parse_instant(text.strip() if found is None else f"{found[1]}:00{found[2]}")


def in_zone(instant: str, time_zone: str, least: str = "auto") -> str:
    """Return an instant in RFC 3339 with the offset of a time zone, for people; JSON has it in UTC.

    ``least``: the smallest unit that is written, as ``datetime.isoformat`` names it.

    >>> in_zone("2026-11-24T09:54:05.000Z", "Asia/Karachi")
    '2026-11-24T14:54:05+05:00'
    """
    return datetime.fromisoformat(instant).astimezone(ZoneInfo(time_zone)).isoformat(timespec=least)


def _parse(text: str) -> int | None:
    if text[_PREFIX : _PREFIX + 2] == "60":
        return _leap_second(text)
    try:
        moment = msgspec.convert(text, datetime)
    except msgspec.ValidationError:
        return None
    if moment.tzinfo is None or len(text) <= _PREFIX or text[10] not in "Tt ":
        return None
    try:
        instant = (moment - _EPOCH) // _MILLISECOND
    except OverflowError:
        return None
    whole_minute = moment.replace(second=0, microsecond=0, tzinfo=UTC)
    minute = (whole_minute - _EPOCH) // _MILLISECOND
    if moment.minute != int(text[14:16]):
        minute -= _MINUTE_MS  # rounded up into the next minute, but cached under its own text
    if len(MINUTES) >= _CACHE_MAX:
        MINUTES.clear()
    if len(RESTS) >= _CACHE_MAX:
        RESTS.clear()
    MINUTES[text[:_PREFIX]] = minute
    RESTS[text[_PREFIX:]] = instant - minute
    return instant


def _leap_second(text: str) -> int | None:
    """Read an instant of second 60. It is not cached: its halves do not combine with any others."""
    before = _parse(f"{text[:_PREFIX]}59{text[_PREFIX + 2 :]}")
    # The second before it is the last of a UTC day, whatever the offset; a fraction may round it up.
    if before is None or (before + _SECOND_MS) % _DAY_MS > _SECOND_MS:
        return None
    return before + _SECOND_MS

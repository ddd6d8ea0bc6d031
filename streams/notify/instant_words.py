"""Instants in the words of a message, which is read in no zone of its own."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


def time_words(at_ms: int, zone: str | None = None) -> str:
    """An instant in UTC, and in the market's zone where that is another, with its date where it differs.

    >>> time_words(1_767_328_560_000, "Asia/Karachi")
    '04:36 UTC on 2 Jan (09:36 in Asia/Karachi)'
    >>> time_words(1_767_381_300_000, "Asia/Kathmandu")
    '19:15 UTC on 2 Jan (01:00 on 3 Jan in Asia/Kathmandu)'
    """
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    text = f"{at:%H:%M} UTC on {at.day} {at:%b}"
    try:
        local = None if zone is None else at.astimezone(ZoneInfo(zone))
    except (ZoneInfoNotFoundError, ValueError):
        local = None
    if local is None or local.utcoffset() == at.utcoffset():
        return text
    date = "" if local.date() == at.date() else f" on {local.day} {local:%b}"
    return f"{text} ({local:%H:%M}{date} in {zone})"

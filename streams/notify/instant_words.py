"""Instants in the words of a message, which is read in no zone of its own."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


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

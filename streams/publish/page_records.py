"""Counts of pages as Redis holds them: the field ``@pages`` of the HASH ``:values``."""

from __future__ import annotations

import msgspec

from streams.index.formats import json_reader
from streams.index.page_budget import PageCount
from streams.index.shown_sizes import count_words, figure

PAGES_FIELD = "@pages"
_decode = json_reader(list[PageCount])
_encode = msgspec.json.Encoder().encode


def pages_text(counts: list[PageCount]) -> str:
    """JSON of the counts."""
    return _encode(counts).decode()


def read_pages(text: str | bytes | None) -> list[PageCount]:
    """Counts from the field; none where it is missing or of a shape that is not known."""
    try:
        return _decode(text or b"[]")
    except msgspec.DecodeError:
        return []


def budget_line(count: PageCount) -> str:
    """One line for people.

    >>> budget_line(PageCount(30, 9.0, 2, 1, 0, 1, 0.3, 0.0, 5.56))
    '30 days (9 watched): 2 pages: 1 confirmed, 0 false, 1 open; false allowed 0.3, likely 0 to 5.6'
    >>> budget_line(PageCount(30, 30.0, 1, 1, 0, 0, 0.3, 0.0, 5.56))[:34]
    '30 days: 1 page: 1 confirmed, 0 fa'
    """
    watched = "" if count.covered_days >= count.days else f" ({count.covered_days:g} watched)"
    return (
        f"{count.days} days{watched}: {count_words(count.pages, 'pages')}: {count.confirmed} confirmed, "
        f"{count.false} false, {count.open} open; false allowed {figure(count.budget)}, "
        f"likely {figure(count.lower)} to {figure(count.upper)}"
    )

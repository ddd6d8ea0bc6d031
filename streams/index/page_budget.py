"""The budget of false pages kept in public: how many incidents paged, and what operators said of them.

A page is an incident that no answer to an earlier one has kept from paging. It is false or confirmed by
word of an operator, and open until somebody says either. An open page may be false. So the interval of
the number of false pages to be expected reaches from the lower limit of those called false to the upper
limit of those and the open ones. The limits are Byar's (``shift_ratio``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

import msgspec

from streams.index.panes import DAY_MS
from streams.index.shift_ratio import ratio_interval

SPANS_DAYS = (30, 365)
PAGED_MAX = 1_000
"""Incidents of a market that are remembered: eighty times a budget of a page a month for a year."""

Word = Literal["confirmed", "false", "open", "silenced"]


class PagedIncident(msgspec.Struct):
    """An incident as the count of pages needs it."""

    id: str
    found_ms: int
    silenced: bool = False
    """True when it has never paged: an answer to an earlier incident was about it as well."""
    known_ms: int = 0
    """Since when all that it paged for can be known: who called it a false alarm before has not said so
    of what came later."""


class PageLog(msgspec.Struct):
    """The incidents that a market had since ``since_ms``; 0: none was counted yet."""

    since_ms: int = 0
    paged: list[PagedIncident] = []

    def begin(self, now_ms: int) -> bool:
        """Count from now on, unless it counts already; return whether that is news.

        A clock that had run ahead may have begun it later than now.
        """
        begun = not 0 < self.since_ms <= now_ms
        if begun:
            self.since_ms = now_ms
        return begun

    def noted(self, incident: str) -> PagedIncident | None:
        """Return what was noted of the incident of this id; None: nothing was."""
        return next((each for each in reversed(self.paged) if each.id == incident), None)

    def note(self, incident: PagedIncident) -> None:
        """Note an incident that was not noted yet."""
        self.paged.append(incident)
        del self.paged[:-PAGED_MAX]

    def drop_before(self, at_ms: int) -> None:
        """Forget what was found before an instant."""
        self.paged = [each for each in self.paged if each.found_ms >= at_ms]


class PageCount(msgspec.Struct, frozen=True):
    """Pages of the last ``days``. ``budget``: how many false ones are allowed in the days covered.

    ``lower`` and ``upper``: 95 % limits of the false pages to be expected in as many days.
    """

    days: int
    covered_days: float
    pages: int
    confirmed: int
    false: int
    open: int
    budget: float
    lower: float
    upper: float


def count_pages(
    log: PageLog, word: Callable[[PagedIncident], Word], days: int, page_days: float, now_ms: int
) -> PageCount:
    """Count the pages of the last ``days``. ``page_days``: mean days between two that are allowed.

    >>> log = PageLog(since_ms=1, paged=[PagedIncident("PK-1", 29 * DAY_MS)])
    >>> found = count_pages(log, lambda _: "false", 30, 60.0, 30 * DAY_MS)
    >>> found.pages, found.false, found.budget, found.lower, found.upper
    (1, 1, 0.5, 0.01, 5.56)
    """
    from_ms = now_ms - days * DAY_MS
    words = [word(each) for each in _since(log.paged, from_ms)]
    covered = min(float(days), max(0.0, (now_ms - (log.since_ms or now_ms)) / DAY_MS))
    false, unanswered = words.count("false"), words.count("open")
    return PageCount(
        days=days,
        covered_days=round(covered, 2),
        pages=len(words) - words.count("silenced"),
        confirmed=words.count("confirmed"),
        false=false,
        open=unanswered,
        budget=round(covered / page_days, 4),
        lower=round(ratio_interval(false, 1.0, 0.0).lower, 2),
        upper=round(ratio_interval(false + unanswered, 1.0, 0.0).upper, 2),
    )


def _since(paged: Iterable[PagedIncident], from_ms: int) -> Iterable[PagedIncident]:
    return (each for each in paged if each.found_ms >= from_ms)

"""Counts a market's pages against its budget, by the words of operators.

The incidents of a year are kept in the detectors' record, so a new owner goes on counting. What is said
of them is looked up when they are counted: an answer counts at once, and one taken back no more.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from streams.flow.answer_book import MarketAnswers
from streams.flow.answered_shifts import PagedShift, direction_of, silencer
from streams.index.incidents import Incident
from streams.index.learning import Scope
from streams.index.operator_answers import EXPECTED, FALSE_ALARM
from streams.index.page_budget import (
    SPANS_DAYS,
    PageCount,
    PagedIncident,
    PageLog,
    Word,
    count_pages,
)
from streams.index.panes import DAY_MS, MINUTE_MS

KEPT_MS = max(SPANS_DAYS) * DAY_MS


class MarketPages:
    """The pages of one market."""

    def __init__(
        self,
        answers: MarketAnswers,
        page_days: float,
        series_of: Callable[[str], Collection[Scope]],
    ) -> None:
        """``page_days``: mean days between two false pages that are allowed.

        ``series_of``: the series of an incident's shifts, as they are known where live shifts are
        silenced.
        """
        self.log = PageLog()
        self._answers = answers
        self._page_days = page_days
        self._series_of = series_of
        self._counted: tuple[tuple[int, int], list[PageCount]] = (-1, -1), []

    def restore(self, log: PageLog) -> None:
        """Continue with the log of an earlier owner."""
        self.log = log

    def step(self, incidents: Iterable[Incident], now_ms: int) -> bool:
        """Note new incidents; return whether there is news for the record."""
        news = self.log.begin(now_ms)
        for incident in incidents:
            lead = incident.lead
            paged = PagedIncident(
                incident.id, lead.dimension, lead.member, lead.clock, incident.found_ms
            )
            if incident.found_ms >= now_ms - KEPT_MS and self.log.note(paged):
                news = True
        if self.log.paged and self.log.paged[0].found_ms < now_ms - KEPT_MS:
            self.log.drop_before(now_ms - KEPT_MS)
        if news:
            self._counted = (-1, -1), []
        return news

    def counts(self, now_ms: int) -> list[PageCount]:
        """Return the counts of the last 30 and 365 days; the same object within a minute."""
        key = now_ms // MINUTE_MS, self._answers.version
        if self.log.since_ms and self._counted[0] != key:
            found = [
                count_pages(self.log, self._word, days, self._page_days, now_ms)
                for days in SPANS_DAYS
            ]
            self._counted = key, found
        return self._counted[1]

    def _word(self, paged: PagedIncident) -> Word:
        answered = self._answers.incidents.get(paged.id)
        verdict = None if answered is None else answered.verdict
        if verdict is not None and verdict.kind == FALSE_ALARM:
            return "false"
        shift = PagedShift(
            "",
            (paged.dimension, paged.member),
            direction_of(paged.id),
            paged.clock,
            paged.found_ms,
        )
        by = silencer(shift, self._answers, self._series_of, paged.found_ms)
        if by is not None and by.incident != paged.id and by.at_ms <= paged.found_ms:
            return "silenced"
        if verdict is not None and verdict.kind == EXPECTED:
            return "confirmed"
        acknowledged = None if answered is None else answered.acknowledged
        return "open" if acknowledged is None else "confirmed"

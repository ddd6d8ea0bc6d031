"""Counts a market's pages against its budget, by the words of operators.

The incidents of a year are kept in the detectors' record, so a new owner goes on counting. Whether
one has paged is noted while it goes on: later nobody could tell, since answers change and shifts are
forgotten after 60 days. What is said of it is looked up when it is counted: an answer counts at once,
and one taken back no more.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from streams.flow.answer_book import MarketAnswers
from streams.flow.answered_shifts import known_ms, silencer_of
from streams.index.incidents import Incident
from streams.index.learning import Scope
from streams.index.operator_answers import FALSE_ALARM, Answer
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
        """Note new incidents, and which page by now; return whether there is news for the record.

        ``incidents``: at least those that go on, and those that are new.
        """
        news = self.log.begin(now_ms)
        for incident in incidents:
            noted = self.log.noted(incident.id)
            if noted is None and incident.found_ms >= now_ms - KEPT_MS:
                silenced = self._begins_silenced(incident, now_ms)
                self.log.note(PagedIncident(incident.id, incident.found_ms, silenced))
                news = True
            elif noted is not None and noted.silenced and not incident.over_ms:
                noted.silenced = self._silencer_of(incident, now_ms) is not None
                news = news or not noted.silenced
            noted, known = self.log.noted(incident.id), known_ms(incident)
            if noted is not None and noted.known_ms < known:
                noted.known_ms, news = known, True
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

    def _silencer_of(self, incident: Incident, now_ms: int) -> Answer | None:
        return silencer_of(incident, self._answers, self._series_of, now_ms)

    def _begins_silenced(self, incident: Incident, now_ms: int) -> bool:
        """Return whether an answer to an earlier incident keeps a new one from paging.

        Somebody who has answered this one was told of it. Of one that began and ended while nobody
        watched, an answer counts that was there by then.
        """
        over = incident.over_ms > 0
        by = self._silencer_of(incident, incident.found_ms if over else now_ms)
        if by is None or by.incident == incident.id:
            return False
        return not over or by.at_ms <= incident.found_ms

    def _word(self, paged: PagedIncident) -> Word:
        if paged.silenced:
            return "silenced"
        answered = self._answers.incidents.get(paged.id)
        verdict = None if answered is None else answered.verdict
        if verdict is not None and verdict.kind != FALSE_ALARM:
            return "confirmed"
        if verdict is not None and verdict.at_ms >= paged.known_ms:
            return "false"
        acknowledged = None if answered is None else answered.acknowledged
        return "open" if acknowledged is None else "confirmed"

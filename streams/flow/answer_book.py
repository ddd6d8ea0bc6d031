"""The content of ``ecindex.answers`` by market: what is in force of what operators said.

Every worker reads the topic from its beginning, in its order.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from streams.flow.merged import HOURS_KEPT_MS
from streams.index.answer_records import AnswerError, decode_answer
from streams.index.learning import Factor
from streams.index.operator_answers import EXPECTED, Answer, AnsweredIncident

ANSWERED_MAX = 5_000
"""Incidents of a market whose answers are kept: the budget allows twelve pages a year."""


@dataclass(slots=True)
class MarketAnswers:
    """Answers to the incidents of one market; ``version`` counts their changes."""

    version: int = 0
    incidents: dict[str, AnsweredIncident] = field(default_factory=dict)
    """By id, the one that was answered last at the end."""
    _newest_ms: int = 0
    """When the last answer was given."""
    _expected: list[Answer] | None = None
    """None: to be found. Found at each of 5,000 answers, it took 8 s of every start."""

    def apply_answer(self, answer: Answer) -> None:
        """Apply the next answer of the topic."""
        answered = self.incidents.pop(answer.incident, None) or AnsweredIncident()
        answered.apply_answer(answer)
        self.incidents[answer.incident] = answered
        while len(self.incidents) > ANSWERED_MAX:
            del self.incidents[next(iter(self.incidents))]
        self._newest_ms = max(self._newest_ms, answer.at_ms)
        self._expected = None
        self.version += 1

    def replace_by(self, read: MarketAnswers) -> None:
        """Hold what was read anew, and nothing else."""
        self.incidents, self._newest_ms = read.incidents, read._newest_ms
        self._expected = None
        self.version += 1

    def verdict(self, incident: str) -> Answer | None:
        """Whether the incident was expected or a false alarm; None: nobody says either."""
        answered = self.incidents.get(incident)
        return None if answered is None else answered.verdict

    def expected(self) -> list[Answer]:
        """Return the events that are said to be expected, the one that was said last at the end."""
        if self._expected is None:
            found = [
                verdict
                for answered in self.incidents.values()
                if (verdict := answered.verdict) is not None and verdict.kind == EXPECTED
            ]
            self._expected = sorted(found, key=lambda answer: answer.at_ms)
        return self._expected

    def factors(self) -> list[Factor]:
        """Return the factors of expected events, the last that was said at the end.

        Those of events that were over nine weeks before the last answer are left out: no lesson looks
        further back.
        """
        since_ms = self._newest_ms - HOURS_KEPT_MS
        return [answer.as_factor() for answer in self.expected() if answer.until_ms > since_ms]


class AnswerBook:
    """All markets of the topic."""

    def __init__(self, markets: Iterable[str]) -> None:
        self.markets = {code: MarketAnswers() for code in markets}
        self.refused: list[str] = []
        """Why records were skipped; the reader of the topic takes and logs the reasons."""

    def take_refused(self) -> list[str]:
        """Return the reasons since the last call."""
        refused, self.refused = self.refused, []
        return refused

    def apply_record(
        self, key: bytes | None, value: bytes | None, stamp_ms: int | None = None
    ) -> None:
        """Apply the next record; one that breaks the contract adds its reason to ``refused``.

        ``stamp_ms``: its timestamp in the topic; None: not known.
        """
        if value is None:
            return
        try:
            code, answer = decode_answer(key or b"", value, stamp_ms)
        except AnswerError as error:
            self.refused.append(str(error))
            return
        market = self.markets.get(code)
        if market is None:
            self.refused.append(f"{key!r}: market {code!r} is not in methodology.toml")
            return
        market.apply_answer(answer)

"""The content of ``ecindex.answers`` by market: what is in force of what operators said.

Every worker reads the topic from its beginning, in its order. Applying all of it again ends in the same
state.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

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
    _expected: list[Answer] | None = None
    """Found when it is asked for: found with each answer, 5,000 of them took seconds of a start."""

    def apply_answer(self, answer: Answer) -> None:
        """Apply the next answer of the topic."""
        answered = self.incidents.pop(answer.incident, None) or AnsweredIncident()
        answered.apply_answer(answer)
        self.incidents[answer.incident] = answered
        while len(self.incidents) > ANSWERED_MAX:
            del self.incidents[next(iter(self.incidents))]
        self._expected = None
        self.version += 1

    def verdict(self, incident: str) -> Answer | None:
        """Whether the incident was expected or a false alarm; None: nobody says either."""
        answered = self.incidents.get(incident)
        return None if answered is None else answered.verdict

    def expected(self) -> list[Answer]:
        """Return the events that are said to be expected, the one that was said last at the end."""
        if self._expected is None:
            self._expected = self._in_order()
        return self._expected

    def factors(self) -> list[Factor]:
        """Return the factors of expected events, the last that was said at the end."""
        return [answer.as_factor() for answer in self.expected()]

    def _in_order(self) -> list[Answer]:
        found = [
            verdict
            for answered in self.incidents.values()
            if (verdict := answered.verdict) is not None and verdict.kind == EXPECTED
        ]
        return sorted(found, key=lambda answer: answer.at_ms)


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

    def apply_record(self, key: bytes | None, value: bytes | None) -> None:
        """Apply the next record; one that breaks the contract adds its reason to ``refused``."""
        if value is None:
            return
        try:
            code, answer = decode_answer(key or b"", value)
        except AnswerError as error:
            self.refused.append(str(error))
            return
        market = self.markets.get(code)
        if market is None:
            self.refused.append(f"{key!r}: market {code!r} is not in methodology.toml")
            return
        market.apply_answer(answer)

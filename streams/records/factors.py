"""The factors declared by an instant: in methodology.toml, ``ecindex.history``, ``ecindex.answers``."""

from __future__ import annotations

from streams.flow.answer_book import MarketAnswers
from streams.flow.history_book import HistoryBook
from streams.index.history_records import (
    DECLARED_KIND,
    FACTOR_KIND,
    Content,
    FactorDeclaration,
    HistoryError,
    decode_content,
    factor_record,
    parse_key,
)
from streams.index.hours import LocalHours
from streams.index.learning import Factor, event_factors
from streams.index.methodology import Market

HEARD_WITHIN_MS = 5_000
"""A worker knows a factor at most this long after it was declared, as a rule much sooner."""


class FactorHistory:
    """The factors of one market. Add the records in the order of the topic."""

    def __init__(self, market: Market) -> None:
        self._code = market.code
        self._events = event_factors(market.events, LocalHours(market.time_zone))
        self._records: list[tuple[int, bytes, bytes | None]] = []
        self._answers: list[tuple[int, bytes, bytes | None]] = []
        self.lasting: set[bytes] = set()
        """Keys of factors whose every declaration is recorded for good: compaction hides none."""
        self._cached: dict[int, list[Factor]] = {}

    def add_record(self, key: bytes | None, value: bytes | None, stamp_ms: int) -> None:
        """Add a record of the topic; skip those of other markets and kinds.

        A record that ``refused_history`` refuses is skipped too, as a worker does.
        """
        try:
            parsed = parse_key(key or b"")
            if parsed == (self._code, DECLARED_KIND):
                self._add_declaration(decode_content(DECLARED_KIND, value or b""), stamp_ms)
        except HistoryError:
            return
        if parsed == (self._code, FACTOR_KIND):
            self._records.append((stamp_ms, key or b"", value))
            self._cached.clear()

    def _add_declaration(self, entry: Content, stamp_ms: int) -> None:
        """Add one declaration of a factor; the factor's record follows, until it is compacted."""
        if isinstance(entry, FactorDeclaration):
            key = entry.key.encode()
            value = None if entry.declared is None else factor_record(entry.declared)[1]
            self.lasting.add(key)
            self._records.append((stamp_ms, key, value))
            self._cached.clear()

    def add_answer(self, key: bytes | None, value: bytes | None, stamp_ms: int) -> None:
        """Add a record of ``ecindex.answers``; those of other markets and refused ones are skipped."""
        self._answers.append((stamp_ms, key or b"", value))
        self._cached.clear()

    def answers_until(self, until_ms: int) -> MarketAnswers:
        """Return what operators had said by then."""
        return self._book(until_ms).markets[self._code].answers

    def declared_until(self, until_ms: int) -> list[Factor]:
        """Return the factors declared by then, the newest last, methodology.toml's first."""
        both = (self._records, self._answers)
        count = sum(stamp_ms <= until_ms for records in both for stamp_ms, _, _ in records)
        found = self._cached.get(count)
        if found is None:
            declared = self._book(until_ms).markets[self._code].declared()
            found = self._cached[count] = [*self._events, *declared]
        return found

    def _book(self, until_ms: int) -> HistoryBook:
        book = HistoryBook([self._code])
        for stamp_ms, key, value in self._records:
            if stamp_ms <= until_ms:
                book.apply_record(key, value)
        for stamp_ms, key, value in self._answers:
            if stamp_ms <= until_ms:
                book.answers.apply_record(key, value, stamp_ms)
        return book

    def candidates(self, written_ms: int) -> list[list[Factor]]:
        """Return the lists of factors a writer may have known then, the likeliest first."""
        found = [self.declared_until(written_ms)]
        before = self.declared_until(written_ms - HEARD_WITHIN_MS)
        if before != found[0]:
            found.append(before)
        return found

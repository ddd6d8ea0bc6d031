"""What the operator had said at an instant: the factors in ``ecindex.history`` and methodology.toml."""

from __future__ import annotations

from streams.flow.history import HistoryBook
from streams.index.history import (
    FACTOR_KIND,
    SAID_KIND,
    Content,
    HistoryError,
    SaidOnce,
    decode_content,
    factor_record,
    parse_key,
)
from streams.index.hours import LocalHours
from streams.index.learning import Factor, event_factors
from streams.index.methodology import Market

HEARD_WITHIN_MS = 5_000
"""A worker has heard a factor so long after it was said, as a rule much sooner."""


class SaidFactors:
    """The factors of one market. Records are to be taken in in the order of the topic."""

    def __init__(self, market: Market) -> None:
        self._code = market.code
        self._events = event_factors(market.events, LocalHours(market.time_zone))
        self._records: list[tuple[int, bytes, bytes | None]] = []
        self.lasting: set[bytes] = set()
        """Keys of factors whose every time was recorded for good: compaction hides none of them."""
        self._cached: dict[int, list[Factor]] = {}

    def take(self, key: bytes | None, value: bytes | None, stamp_ms: int) -> None:
        """Take a record of the topic in; those of other markets and kinds are passed over.

        So is what ``refused_history`` refuses, as a worker does.
        """
        try:
            parsed = parse_key(key or b"")
            if parsed == (self._code, SAID_KIND):
                self._once(decode_content(SAID_KIND, value or b""), stamp_ms)
        except HistoryError:
            return
        if parsed == (self._code, FACTOR_KIND):
            self._records.append((stamp_ms, key or b"", value))
            self._cached.clear()

    def _once(self, told: Content, stamp_ms: int) -> None:
        """One time that a factor was said: its own record follows, until compaction takes that."""
        if isinstance(told, SaidOnce):
            key = told.key.encode()
            value = None if told.said is None else factor_record(told.said)[1]
            self.lasting.add(key)
            self._records.append((stamp_ms, key, value))
            self._cached.clear()

    def at(self, until_ms: int) -> list[Factor]:
        """What had been said until then, the last word last; methodology.toml first."""
        count = sum(stamp_ms <= until_ms for stamp_ms, _, _ in self._records)
        found = self._cached.get(count)
        if found is None:
            book = HistoryBook([self._code])
            for stamp_ms, key, value in self._records:
                if stamp_ms <= until_ms:
                    book.apply(key, value)
            found = self._cached[count] = [*self._events, *book.markets[self._code].said()]
        return found

    def candidates(self, written_ms: int) -> list[list[Factor]]:
        """What whoever wrote a record then may have known, the likeliest first."""
        found = [self.at(written_ms)]
        before = self.at(written_ms - HEARD_WITHIN_MS)
        if before != found[0]:
            found.append(before)
        return found

"""The content of ``ecindex.history`` by market: complete seeds, and the operator's factors.

Every worker reads the topic from its beginning. Applying a record twice, or only the records that
compaction left, ends in the same state.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from streams.flow.answer_book import AnswerBook, MarketAnswers
from streams.flow.definitions_book import DefinitionsBook
from streams.flow.merged import HOURS_KEPT_MS
from streams.index.history_records import (
    ACCEPTED_KIND,
    DECLARED_KIND,
    FACTOR_KIND,
    AcceptedChange,
    ClockReset,
    DeclaredFactor,
    HistoryError,
    SeedComplete,
    SeededHour,
    SeededRow,
    decode_content,
    hour_of,
    parse_key,
)
from streams.index.learning import Factor

Rows = dict[tuple[str, str], SeededRow]
"""(dimension, member) -> its row."""
SEEDS_MAX = 64
"""Seeds of a market that may be begun and not completed; beyond it the oldest is dropped."""

ACCEPTED_MAX = 10_000
"""Accepted changes that are kept; a state that goes on has the older ones behind it."""


@dataclass(frozen=True, slots=True)
class Seed:
    """One complete seed."""

    start_ms: int
    end_ms: int
    given: frozenset[tuple[str, str]]
    hours: dict[int, Rows]


@dataclass(slots=True)
class MarketHistory:
    """Seeds and factors of one market; ``version`` counts their changes."""

    version: int = 0
    seeds: dict[str, Seed] = field(default_factory=dict)
    """In the order of completion; where two hold an hour, the later one counts."""
    factors: dict[bytes, Factor] = field(default_factory=dict)
    """In the order of declaration."""
    staged: dict[str, dict[int, Rows]] = field(default_factory=dict)
    reset: ClockReset | None = None
    """The latest reset of the market's ``as_of``; None: there was none."""
    answers: MarketAnswers = field(default_factory=MarketAnswers)
    """What operators said of its incidents; their topic has a reader of its own."""

    def seed_of(self, hour_ms: int) -> Seed | None:
        """Return the seed that covers an hour; None where none does."""
        found = None
        for seed in self.seeds.values():
            if seed.start_ms <= hour_ms < seed.end_ms:
                found = seed
        return found

    def replace_by(self, read: MarketHistory) -> None:
        """Hold what was read anew, and nothing else; a reset that was heard stays."""
        self.seeds, self.factors, self.staged = read.seeds, read.factors, read.staged
        self.reset = read.reset or self.reset
        self.answers.replace_by(read.answers)
        self.version += 1

    def declared(self) -> list[Factor]:
        """Return the factors, the latest declaration last; those of answered incidents after them."""
        return [*self.factors.values(), *self.answers.factors()]


class HistoryBook:
    """All markets of the topic."""

    def __init__(self, markets: Iterable[str]) -> None:
        self.answers = AnswerBook(markets := list(markets))
        self.definitions = DefinitionsBook(markets)
        """What ``ecindex.definitions`` holds; markets are compiled by it once the switch is on."""
        self.markets = {code: MarketHistory(answers=self.answers.markets[code]) for code in markets}
        self.accepted: dict[tuple[str, str], AcceptedChange] = {}
        """Changes of inputs' logs that the operator accepted, by (topic, change)."""
        self.refused: list[str] = []
        """Why records were skipped; the reader of the topic takes and logs the reasons."""

    def replace_by(self, read: HistoryBook) -> None:
        """Hold what another book of the same topics read from their beginnings to their ends.

        Applied on top instead, each record was in force again until the one that had taken it back.
        """
        for code, market in self.markets.items():
            market.replace_by(read.markets[code])
        self.accepted.update(read.accepted)
        self.definitions.replace_by(read.definitions)

    def take_refused(self) -> list[str]:
        """Return the reasons since the last call."""
        refused, self.refused = self.refused, []
        return refused

    def apply_record(self, key: bytes | None, value: bytes | None) -> None:
        """Apply the next record; one that breaks the contract adds its reason to ``refused``."""
        try:
            self._apply_record(key or b"", value)
        except HistoryError as error:
            self.refused.append(str(error))

    def _apply_record(self, key: bytes, value: bytes | None) -> None:
        code, kind = parse_key(key)
        market = self.markets.get(code)
        if kind == DECLARED_KIND:
            return  # only for a later question: which factors held when
        if kind == ACCEPTED_KIND:
            self._accept(value)
            return
        if market is None:
            raise HistoryError(f"{key!r}: market {code!r} is not in methodology.toml")
        if value is None:
            if kind == FACTOR_KIND and market.factors.pop(key, None) is not None:
                market.version += 1
            return
        content = decode_content(kind, value)
        if isinstance(content, DeclaredFactor):
            market.factors.pop(key, None)  # declared again, it is the latest
            market.factors[key] = content.as_factor()
            market.version += 1
        elif isinstance(content, SeededHour):
            self._stage(market, content)
        elif isinstance(content, SeedComplete):
            self._complete(market, content)
        elif isinstance(content, ClockReset) and (
            market.reset is None or content.generation > market.reset.generation
        ):
            market.reset = content

    def _accept(self, value: bytes | None) -> None:
        if value is None:
            return
        content = decode_content(ACCEPTED_KIND, value)
        assert isinstance(content, AcceptedChange)
        self.accepted[content.topic, content.change] = content
        while len(self.accepted) > ACCEPTED_MAX:
            del self.accepted[next(iter(self.accepted))]

    @staticmethod
    def _stage(market: MarketHistory, content: SeededHour) -> None:
        rows = {(row.dimension, row.member): row for row in content.rows}
        complete = market.seeds.get(content.seed)
        if complete is not None:
            complete.hours[hour_of(content.hour)] = rows
            market.version += 1
            return
        if content.seed not in market.staged and len(market.staged) >= SEEDS_MAX:
            market.staged.pop(next(iter(market.staged)))
        market.staged.setdefault(content.seed, {})[hour_of(content.hour)] = rows

    @staticmethod
    def _complete(market: MarketHistory, content: SeedComplete) -> None:
        end_ms = hour_of(content.end)
        # No vintage reads further back than nine weeks before a seed's end.
        start_ms = max(hour_of(content.start), end_ms - HOURS_KEPT_MS)
        hours = market.staged.pop(content.seed, None)
        known = market.seeds.pop(content.seed, None)
        if hours is None:
            hours = {} if known is None else known.hours
        kept = {hour_ms: rows for hour_ms, rows in hours.items() if start_ms <= hour_ms < end_ms}
        given = frozenset(content.given)
        market.seeds[content.seed] = Seed(start_ms, end_ms, given, kept)
        oldest_ms = end_ms - HOURS_KEPT_MS
        for name in [name for name, seed in market.seeds.items() if seed.end_ms <= oldest_ms]:
            del market.seeds[name]
        market.version += 1

"""``ecindex.definitions`` as commands read it: each market's versions with their documents."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from streams.flow.definitions_book import DefinitionsBook, MarketDefinitions
from streams.index.definition_records import DefinitionsError, decode_definitions, version_of_offset
from streams.index.definitions import METHODOLOGY_VERSION, Definitions, definitions_of
from streams.index.methodology import Market
from streams.records.kafka_logs import Logs, Stored
from streams.records.unreadable import UnreadableRecord, unreadable


@dataclass(slots=True)
class DefinitionsLog:
    """What the topic holds. ``end``: the next offset when it was read."""

    book: DefinitionsBook
    end: int = 0
    documents: dict[tuple[str, int], Definitions] = field(default_factory=dict)
    """By market and version: those that were in force once, of the market that was asked for."""

    def of(self, code: str) -> MarketDefinitions:
        """Return what a market has in the topic."""
        return self.book.markets[code]

    def document(self, market: Market, version: int) -> Definitions | None:
        """Return a version's document, the methodology's of 0; None: never in force, or gone."""
        if version == METHODOLOGY_VERSION:
            return definitions_of(market)
        return self.documents.get((market.code, version))


async def read_definitions(
    logs: Logs, topic: str, markets: Iterable[str], asked: str
) -> DefinitionsLog:
    """Read the topic to its present end; documents of all versions are kept of one market."""
    found = DefinitionsLog(DefinitionsBook(markets))
    for tp, extent in (await logs.extents([(topic, 1)])).items():
        found.end = extent.end
        async for batch in logs.read(tp, extent):
            for stored in batch:
                record = found.book.apply_record(
                    stored.key, stored.value, stored.offset, stored.timestamp_ms
                )
                if record is not None and record.market == asked:
                    at = record.market, version_of_offset(stored.offset)
                    found.documents[at] = record.document
    return found


def refused_definitions(stored: Stored) -> UnreadableRecord | None:
    """Return why a record of ``ecindex.definitions`` breaks its contract; None when it does not."""
    if stored.value is None:
        return None
    try:
        decode_definitions(stored.key or b"", stored.value)
    except DefinitionsError as error:
        return unreadable(stored, "a definitions document", str(error))
    return None

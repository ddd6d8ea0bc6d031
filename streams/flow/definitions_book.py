"""The content of ``ecindex.definitions`` by market: the document in force, and how it came to be.

Every worker reads the topic from its beginning, in its order. Which records count follows from the log
alone, so all workers and commands hold the same version.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from streams.index.definition_records import (
    DefinitionsError,
    DefinitionsRecord,
    decode_definitions,
    market_of_key,
    version_of_offset,
)
from streams.index.definitions import METHODOLOGY_VERSION, Definitions
from streams.index.panes import DAY_MS
from streams.index.touched_members import TouchedMembers

KEPT_MS = 400 * DAY_MS
"""A version is kept for so long after another took its place."""
CHANGES_MAX = 1_000
"""Changes of a market that are remembered."""
TROUBLES_MAX = 100
DOCUMENTS_MAX = 16
"""Versions of a market whose documents are kept: values of the past may still be by them."""


class DefinitionsChange(NamedTuple):
    """One record that was read: who wrote it and why. ``version``: its own."""

    version: int
    base: int
    by: str
    reason: str
    at_ms: int
    """Timestamp of its record."""
    key: bytes


class DefinitionsTrouble(NamedTuple):
    """A record that changed nothing, since it cannot be read or is not valid."""

    version: int
    """What it would have been."""
    reason: str


@dataclass(slots=True)
class MarketDefinitions:
    """What one market has in the topic; version 0 with no document: the methodology's."""

    version: int = METHODOLOGY_VERSION
    document: Definitions | None = None
    documents: dict[int, Definitions] = field(default_factory=dict)
    """By version, the latest."""
    touched: TouchedMembers = field(default_factory=TouchedMembers)
    """Which version last changed what each member counts."""
    applied: deque[DefinitionsChange] = field(default_factory=lambda: deque(maxlen=CHANGES_MAX))
    """In order, the one in force last."""
    lost: deque[DefinitionsChange] = field(default_factory=lambda: deque(maxlen=CHANGES_MAX))
    """Those that another came before."""
    troubles: deque[DefinitionsTrouble] = field(default_factory=lambda: deque(maxlen=TROUBLES_MAX))
    """Since the version in force."""

    def apply_record(self, record: DefinitionsRecord, change: DefinitionsChange) -> bool:
        """Take a valid record, the next of the log; return whether it is in force now."""
        if not self._follows(record):
            self.lost.append(change)
            return False
        self.take_document(record.document, change.version)
        self.applied.append(change)
        self.troubles.clear()
        return True

    def take_document(self, document: Definitions, version: int) -> None:
        """Put a document into force."""
        self.version, self.document = version, document
        self.documents[version] = document
        if len(self.documents) > DOCUMENTS_MAX:
            del self.documents[min(self.documents)]
        self.touched.take_document(document, version)

    def document_before(self, version: int) -> Definitions | None:
        """Return the document that was in force before a version; None: it is not known."""
        older = [each for each in self.documents if each < version]
        return self.documents[max(older)] if older else None

    def _follows(self, record: DefinitionsRecord) -> bool:
        if record.base == self.version:
            return True
        # Compaction took what it builds upon. Its writer had read all before `read_to`, and knew.
        known = record.base == METHODOLOGY_VERSION or any(
            each.version == record.base for each in self.applied
        )
        return not known and self.version <= record.read_to

    def outdated(self, now_ms: int) -> list[bytes]:
        """Return the keys of records that may go; never that of the one in force.

        Compaction takes records in any order. A version goes once no record that lost is left before
        the one that replaced it: without the version, that record would have won.
        """
        since_ms, applied = now_ms - KEPT_MS, list(self.applied)
        lost = [each.key for each in self.lost if each.at_ms < since_ms]
        first_lost = min((each.version for each in self.lost), default=None)
        return lost + [
            each.key
            for each, after in pairwise(applied)
            if after.at_ms < since_ms and (first_lost is None or after.version < first_lost)
        ]


class DefinitionsBook:
    """All markets of the topic."""

    def __init__(self, markets: Iterable[str]) -> None:
        self.markets = {code: MarketDefinitions() for code in markets}
        self.refused: list[str] = []
        """Why records were skipped; the reader of the topic takes and logs the reasons."""
        self.topic_id = ""
        """Id of the topic whose versions these are."""
        self._is_other = False
        self._next = 0
        """The next offset: a log that is read again says nothing new before it."""

    def bind(self, topic_id: str) -> None:
        """Say of which topic the next records are.

        Versions of another topic begin anew, so none of its records counts: a version would come again
        with another document. What is in force stays. ``topic_id`` empty: the broker tells none.
        """
        self.topic_id = self.topic_id or topic_id
        self._is_other = bool(topic_id) and topic_id != self.topic_id

    def replace_by(self, read: DefinitionsBook) -> None:
        """Hold what another book read of the topic from its beginning to its end.

        A book that was bound to the same topic and read another one has nothing to give.
        """
        self._is_other = read._is_other
        if not self._is_other:
            self.markets.update(read.markets)
            self._next = read._next

    def take_refused(self) -> list[str]:
        """Return the reasons since the last call."""
        refused, self.refused = self.refused, []
        return refused

    def apply_record(
        self, key: bytes | None, value: bytes | None, offset: int, stamp_ms: int
    ) -> DefinitionsRecord | None:
        """Take the next record; return it if it is in force now.

        One that cannot be read or is not valid changes nothing: its reason is a trouble of its market,
        and in ``refused``. ``offset``: in the topic's own log.
        """
        if not self._is_other:
            if offset < self._next:
                return None
            self._next = offset + 1
        if value is None:
            return None  # a record that may go; what is in force is in force
        key = key or b""
        code = market_of_key(key)
        market = self.markets.get(code)
        if market is None:
            self.refused.append(f"{key!r}: market {code!r} is not in methodology.toml")
            return None
        version = version_of_offset(offset)
        if self._is_other:
            self._refuse(
                market,
                version,
                "the topic was deleted and created again, and its versions begin anew; the version in "
                f"force stays {market.version}",
            )
            return None
        try:
            record = decode_definitions(key, value)
        except DefinitionsError as error:
            self._refuse(market, version, str(error))
            return None
        change = DefinitionsChange(version, record.base, record.by, record.reason, stamp_ms, key)
        return record if market.apply_record(record, change) else None

    def _refuse(self, market: MarketDefinitions, version: int, reason: str) -> None:
        market.troubles.append(DefinitionsTrouble(version, reason))
        self.refused.append(reason)

"""``ecindex.values``: the newest published value of each key, as of the newest publication."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from streams.flow.level_base import LevelRecord
from streams.index.formats import json_decoder
from streams.index.member_lists import MemberList
from streams.index.values import VERSION, Fence, Value
from streams.publish.journal import FENCE, MEMBERS, decode_members, decode_value, version_of
from streams.records.kafka_logs import Logs, Stored
from streams.records.unreadable import UnreadableRecords, key_text, unreadable

_FENCE_PARTS = 3


class FenceContent(msgspec.Struct):
    """A fence record, as its readers decode it."""

    market: str
    edition: int
    as_of_ms: int
    applied: int
    as_of: dict[str, int]
    hours_until: int
    days_until: int
    horizon: int
    generation: int = 0
    definitions_id: str = ""
    live: bool = False
    first: dict[str, int] = {}
    """By input topic: the instant from which its log covers the market, epoch ms."""
    level: LevelRecord | None = None
    """Base of the level index."""
    v: int = VERSION


_decode_fence = json_decoder(FenceContent, "a fence record", VERSION)


class StoredValue(NamedTuple):
    """A published value and its place in the topic; None as a value is a tombstone."""

    version: Fence
    value: Value | None
    where: str
    written_ms: int = 0
    """Timestamp of its record."""


class StoredMembers(NamedTuple):
    """A list of members and its place in the topic."""

    version: Fence
    listed: MemberList
    where: str
    ids: dict[str, frozenset[str]]
    """By dimension."""

    def lists(self, value: Value) -> bool:
        """Return whether the member of a value exists; the market itself is in no list."""
        of = self.ids.get(value.dimension)
        return of is None or value.member in of


@dataclass(slots=True)
class MarketValues:
    """What one market has in ``ecindex.values``."""

    fence: FenceContent | None = None
    version: Fence | None = None
    values: dict[str, StoredValue] = field(default_factory=dict)
    unfinished: dict[tuple[str, int], StoredValue] = field(default_factory=dict)
    """By key and definitions: values that the newest fence record does not follow. Their publication is
    under way, or of definitions that a paused owner's fence record still keeps from counting."""
    members: StoredMembers | None = None
    """Which members there are by the newest fence record; None: no record lists them. Values of others
    are dropped: a paused owner wrote them, or their removal is under way."""
    lists: dict[int, StoredMembers] = field(default_factory=dict)
    """By definitions: those lists that are still there."""
    older_last: dict[str, StoredValue] = field(default_factory=dict)
    """Values older than those in ``values``, but after them in the log: compaction keeps these."""


class ValuesLog:
    """Records of ``ecindex.values`` in the order of their offsets."""

    def __init__(self) -> None:
        self.markets: dict[str, MarketValues] = {}
        self.unreadable = UnreadableRecords()

    def apply_record(self, stored: Stored) -> None:
        """Apply the next record of the log."""
        text = key_text(stored.key)
        market_code, *rest = text.split("|")
        version = version_of(stored.headers)
        if version is None:
            if not self._clears(market_code, text, stored):
                self._refuse(stored, "headers edition, as_of, applied", "none of ours")
            return
        market = self.markets.get(market_code) or MarketValues()
        if len(rest) == _FENCE_PARTS - 1 and rest[0] == FENCE:
            read = self._apply_fence(market, stored, version)
        elif len(rest) == _FENCE_PARTS - 1 and rest[0] == MEMBERS:
            read = self._apply_members(market, stored, version, rest[1])
        else:
            read = self._apply_value(market, stored, version, text)
        if read:
            self.markets[market_code] = market
            self.unreadable.replace(text)

    def _clears(self, market_code: str, text: str, stored: Stored) -> bool:
        """Return whether a record is a foreign tombstone that deletes only an unreadable record."""
        market = self.markets.get(market_code)
        if stored.value is not None or (market is not None and text in market.values):
            return False
        return self.unreadable.replace(text)

    def _apply_value(self, market: MarketValues, stored: Stored, version: Fence, text: str) -> bool:
        try:
            value = None if stored.value is None else decode_value(stored.value)
        except msgspec.DecodeError as error:
            return self._refuse(stored, "a value", str(error))
        if value is not None and value.key != text:
            return self._refuse(stored, f"a value of {text}", f"one of {value.key}")
        held = StoredValue(version, value, stored.where, stored.timestamp_ms)
        known = market.values.get(text)
        if market.version is None or not market.version.follows(version):
            market.unfinished[text, version.definitions] = held
        elif known is None or version.rank >= known.version.rank:
            self._put(market, text, held)
        elif _exists(market, held):
            market.older_last[text] = held
        return True

    @staticmethod
    def _put(market: MarketValues, text: str, held: StoredValue) -> None:
        if _exists(market, held):
            market.values[text] = held
            market.older_last.pop(text, None)

    def _apply_members(
        self, market: MarketValues, stored: Stored, version: Fence, definitions: str
    ) -> bool:
        """Apply a list of members. It counts once the fence record of its version is there."""
        if stored.value is None:
            market.lists = {at: of for at, of in market.lists.items() if str(at) != definitions}
            return True
        try:
            listed = decode_members(stored.value)
        except msgspec.DecodeError as error:
            return self._refuse(stored, "a list of members", str(error))
        if str(listed.definitions) != definitions:
            found = f"one by version {listed.definitions}"
            return self._refuse(stored, f"a list of members by version {definitions}", found)
        ids = {
            dimension: frozenset(each.id for each in of) for dimension, of in listed.members.items()
        }
        # The members of version 0 are the edition's.
        known = market.lists.get(listed.definitions)
        if known is None or version.edition >= known.version.edition:
            market.lists[listed.definitions] = StoredMembers(version, listed, stored.where, ids)
        if market.version is not None:
            self._take_members(market, market.version)
        return True

    @staticmethod
    def _take_members(market: MarketValues, version: Fence) -> None:
        found = market.lists.get(version.definitions)
        if found is not None and found.version.edition != version.edition:
            found = None
        if found is None or found is market.members:
            held = market.members
            if held is not None and held.version.edition != version.edition:
                market.members = None
            return
        market.members = found
        for values in (market.values, market.older_last):
            for key in [key for key, held in values.items() if not _exists(market, held)]:
                del values[key]

    def _apply_fence(self, market: MarketValues, stored: Stored, version: Fence) -> bool:
        if stored.value is None or (
            market.version is not None and not version.follows(market.version)
        ):
            return True
        try:
            content = _decode_fence(stored.value)
        except msgspec.DecodeError as error:
            return self._refuse(stored, "a fence record", str(error))
        market.fence, market.version = content, version
        self._take_members(market, version)
        for (key, definitions), held in list(market.unfinished.items()):
            if version.follows(held.version):
                del market.unfinished[key, definitions]
                known = market.values.get(key)
                if known is None or held.version.rank >= known.version.rank:
                    self._put(market, key, held)
        return True

    def _refuse(self, stored: Stored, expected: str, found: str) -> bool:
        self.unreadable.add(unreadable(stored, expected, found))
        return False


def _exists(market: MarketValues, held: StoredValue) -> bool:
    return market.members is None or held.value is None or market.members.lists(held.value)


async def read_values(logs: Logs, topic: str, count: int) -> ValuesLog:
    """Read the topic, of ``count`` partitions, to its present end."""
    values = ValuesLog()
    for tp, extent in (await logs.extents([(topic, count)])).items():
        async for batch in logs.read(tp, extent):
            for stored in batch:
                values.apply_record(stored)
    return values

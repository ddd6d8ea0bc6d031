"""What one market publishes of its members: which there are, and the values of those that are gone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

from msgspec import structs

from streams.flow.definitions_book import DefinitionsChange, MarketDefinitions
from streams.index.definition_edits import MemberEdit, member_edits
from streams.index.definitions import METHODOLOGY_VERSION, definitions_of
from streams.index.member_lists import MemberList, members_of
from streams.index.methodology import Market
from streams.index.values import Value


class AppliedDefinitions(NamedTuple):
    """A version that was applied: who wrote it and why, and what it changed."""

    change: DefinitionsChange
    edits: list[MemberEdit]
    """Empty too where what it builds upon is not known any more."""
    published: bool
    """False: another version came before a publication by this one."""


class ShownMembers(NamedTuple):
    """What a step says of the members."""

    listed: MemberList | None
    """None: as it was said before."""
    replaced: list[int]
    """Versions whose lists may go, once the fence record that names this one is acknowledged."""
    gone: list[str]
    """Keys of values of members that are none any more."""
    applied: list[AppliedDefinitions]
    """Versions that were applied since the last publication, the one in force last."""


class MarketMembers:
    """Lists the members with an owner's first publication, and with the first by other definitions."""

    def __init__(
        self,
        market: Market,
        market_of: Callable[[int], Market | None],
        held: MarketDefinitions | None,
    ) -> None:
        """``market_of``: the market by a version; None: nobody knows it. ``held``: its documents."""
        self._market = market
        self._market_of = market_of
        self._held = held
        self._published: set[int] = set()
        self._former: set[int] = set()
        self._listed = False

    def note_former(self, definitions: int) -> None:
        """Note by which definitions the market was published before."""
        self._published.add(definitions)
        if definitions < self._market.definitions:
            self._former.add(definitions)

    def take_over(self, old: MarketMembers) -> None:
        """Go on from the same market by other definitions, which may have published nothing."""
        for definitions in (old._market.definitions,) if old._listed else old._published:
            self.note_former(definitions)

    def step(self, shown: Collection[Value]) -> ShownMembers:
        """Say which members there are. ``shown``: the values of windows and of today."""
        if self._listed:
            return ShownMembers(None, [], [], [])
        self._listed = True
        listed = members_of(self._market)
        return ShownMembers(
            listed, self._replaced(), self._gone(shown), list(self._applied_since())
        )

    def _applied_since(self) -> Iterator[AppliedDefinitions]:
        own = self._market.definitions
        if self._held is None or own in self._published:
            return
        since, held = max(self._published, default=METHODOLOGY_VERSION), self._held
        for change in [each for each in held.applied if since < each.version <= own]:
            after = held.documents.get(change.version)
            before = held.documents.get(change.base)
            if change.base == METHODOLOGY_VERSION and (declared := self._market_of(change.base)):
                before = definitions_of(declared)
            edits = [] if before is None or after is None else member_edits(before, after)
            yield AppliedDefinitions(change, edits, change.version == own)

    def _replaced(self) -> list[int]:
        # All of them at each takeover: an owner may have died before it could delete one, and a paused
        # one may have written its own again.
        known = {METHODOLOGY_VERSION, *(() if self._held is None else self._held.documents)}
        own = self._market.definitions
        return sorted(each for each in known | self._former if each < own)

    def _gone(self, shown: Collection[Value]) -> list[str]:
        """Return what members were published with that have no value now, as others have it.

        Some are none any more. Others count nothing any more on a day: that has no value either.
        """
        if not self._former:
            return []
        own, touched = self._market.members(), self._market.touched
        members = {
            dimension: {
                each for each in of if touched.get((dimension, each), 0) > min(self._former)
            }
            for dimension, of in own.items()
        }
        for version in self._former:
            former = self._market_of(version)
            for dimension, of in {} if former is None else former.members().items():
                members[dimension] |= set(of) - set(own[dimension])
        # One value of each index, window and day: a wide market has thousands.
        kinds = {(each.index, each.dimension, each.window, each.day): each for each in shown}
        keys = {
            structs.replace(value, member=member).key
            for value in kinds.values()
            for member in members.get(value.dimension, ())
        }
        return sorted(keys - {value.key for value in shown})

"""What one market publishes of its members: which there are, and the values of those that are gone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from streams.flow.definitions_book import MarketDefinitions
from streams.index.definitions import METHODOLOGY_VERSION
from streams.index.member_lists import MemberList, members_of
from streams.index.methodology import Market
from streams.index.values import Value


class ShownMembers(NamedTuple):
    """What a step says of the members."""

    listed: MemberList | None
    """None: as it was said before."""
    replaced: list[int]
    """Versions whose lists may go, once the fence record that names this one is acknowledged."""
    gone: list[str]
    """Keys of values of members that are none any more."""


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
        self._former: set[int] = set()
        self._listed = False

    def note_former(self, definitions: int) -> None:
        """Note by which definitions the market was published before."""
        if definitions < self._market.definitions:
            self._former.add(definitions)

    def step(self, shown: Iterable[Value]) -> ShownMembers:
        """Say which members there are. ``shown``: values that can be without a member from now on."""
        if self._listed:
            return ShownMembers(None, [], [])
        self._listed = True
        listed = members_of(self._market)
        return ShownMembers(listed, self._replaced(), self._gone(shown))

    def _replaced(self) -> list[int]:
        # All of them at each takeover: an owner may have died before it could delete one, and a paused
        # one may have written its own again.
        known = {METHODOLOGY_VERSION, *(() if self._held is None else self._held.documents)}
        own = self._market.definitions
        return sorted(each for each in known | self._former if each < own)

    def _gone(self, shown: Iterable[Value]) -> list[str]:
        own = self._market.members()
        members: dict[str, dict[str, None]] = {}
        for version in sorted(self._former):
            former = self._market_of(version)
            for dimension, of in {} if former is None else former.members().items():
                gone = dict.fromkeys(each for each in of if each not in own[dimension])
                members.setdefault(dimension, {}).update(gone)
        keys = {
            f"{value.market}|{value.index}|{value.dimension}|{member}|{value.window}"
            + ("" if value.day is None else f"|{value.day}"): None
            for value in shown
            for member in members.get(value.dimension, ())
        }
        return list(keys)

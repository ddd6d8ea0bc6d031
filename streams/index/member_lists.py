"""Which members a market has: in order, with their names and parents, and by which definitions."""

from __future__ import annotations

import msgspec

from streams.index.methodology import Market
from streams.index.values import VERSION


class ListedMember(msgspec.Struct, frozen=True, omit_defaults=True):
    """One member. ``name``: for people, where its id alone does not make it."""

    id: str
    name: str = ""
    parent: str = ""


class MemberList(msgspec.Struct, frozen=True):
    """All members of one market. A value of any other member is of definitions that are over."""

    market: str
    definitions: int
    members: dict[str, list[ListedMember]]
    """By dimension, in the order in which people are shown them; `other` is the last."""
    v: int = VERSION


def members_of(market: Market) -> MemberList:
    """Return the members of a market by its present definitions."""
    return MemberList(
        market.code,
        market.definitions,
        {
            dimension: [
                ListedMember(
                    member,
                    market.names.get(dimension, {}).get(member, ""),
                    market.parents.get(dimension, {}).get(member, ""),
                )
                for member in members
            ]
            for dimension, members in market.members().items()
        },
    )

"""Which version of the definitions last changed what a member counts: its values carry that version.

A member is touched when other labels are its own than before. A name, or a label that its slug had led
to it anyway, touches nothing. So a value of a member that nobody touched stays the same bytes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

from streams.index.definitions import Definitions, LabelReading, MemberDefinitions, slug_of_id
from streams.index.indices import MARKET, METHOD
from streams.index.methodology import OTHER
from streams.index.slugs import slug

Scope = tuple[str, str]
"""(dimension, member); of an index of the market that follows from its methods (MARKET, index)."""


class CountedLabels(NamedTuple):
    """The labels that members count together."""

    slugs: frozenset[str]
    more: frozenset[str]
    """Labels that are theirs by their text, whatever their slug."""
    less: frozenset[str]
    """Labels that are another member's by their text."""


class TouchedMembers:
    """What each member counts, and by which version first."""

    def __init__(self) -> None:
        self._since: dict[Scope, tuple[object, int]] = {}
        self._first = 0

    def take_document(self, document: Definitions, version: int) -> None:
        """Take the next document in force."""
        self._first = self._first or version
        since: dict[Scope, tuple[object, int]] = {}
        for scope, counted in _counted(document):
            known = self._since.get(scope)
            same = known is not None and known[0] == counted
            since[scope] = known if known is not None and same else (counted, version)
        self._since = since

    def versions(self, declared: Definitions) -> dict[Scope, int]:
        """Return the version that last touched each member. ``declared``: those of version 0.

        Members that are as they were declared, and always were, are left out.
        """
        own = dict(_counted(declared))
        return {
            scope: version
            for scope, (counted, version) in self._since.items()
            if version != self._first or own.get(scope) != counted
        }


def _counted(document: Definitions) -> Iterator[tuple[Scope, object]]:
    for dimension, members in document.by_dimension():
        of = _OfDimension(members)
        children: dict[str, list[str]] = {}
        for member, each in members.items():
            if each.parent:
                children.setdefault(each.parent, []).append(member)
        for member in members:
            yield (dimension, member), of.counted({member, *children.get(member, ())})
        yield (dimension, OTHER), of.counted(members)
        if dimension == METHOD:
            digital = [member for member, each in members.items() if each.digital]
            yield (MARKET, "digital_share"), of.counted(digital)
            own = frozenset((member, of.counted({member})) for member in members)
            yield (MARKET, "mix_shift"), own


class _OfDimension:
    def __init__(self, members: MemberDefinitions) -> None:
        reading = LabelReading(members)
        self._exact = [(label, slug(label), member) for label, member in reading.exact.items()]
        own = {slug_of_id(member): member for member in members}
        self._members = reading.aliases | own

    def counted(self, members: Collection[str]) -> CountedLabels:
        """Return what these count together. Of all members: the rest is what `other` counts."""
        slugs = {name for name, member in self._members.items() if member in members and name}
        more = {label for label, name, to in self._exact if to in members and name not in slugs}
        less = {label for label, name, to in self._exact if to not in members and name in slugs}
        return CountedLabels(frozenset(slugs), frozenset(more), frozenset(less))

"""What a change of definitions does: members that appear, vanish, are renamed, gain and lose labels.

Each with the placed orders of the days that were counted by label. An order is one order of a member.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from streams.index.definitions import Definitions, MemberDefinition, market_with
from streams.index.identifiers import DIMENSIONS
from streams.index.label_text import ABSENT, MORE
from streams.index.member_rows import MemberRows
from streams.index.methodology import OTHER, Market
from streams.index.other_labels import LabelCounts
from streams.index.partials import Layout

APPEARS, VANISHES, RENAMED, CHANGES = "appears", "vanishes", "renamed", "changes"
NOTHING_KNOWN = MemberDefinition()


class LabelMove(NamedTuple):
    """Labels that one member had and another has now, and the orders that name them, label by label."""

    from_member: str
    to_member: str
    labels: int
    orders: int


class MemberChange(NamedTuple):
    """What changes of one member. ``orders``: by the definitions before and after."""

    dimension: str
    member: str
    kind: str
    orders_before: int
    orders_after: int
    moves: list[LabelMove]
    """Labels that it gains or loses."""
    fields: list[str]
    """Which of ``name``, ``parent`` and ``digital`` are others."""
    before: str = ""
    """Id that it had, of a member that is renamed."""


class LabelTargets:
    """Which members count a label, by the definitions of a market: its own, and that one's parent."""

    def __init__(self, market: Market) -> None:
        self._rows = MemberRows(Layout(market))
        self._parents = [market.parents.get(each, {}) for each in DIMENSIONS]

    def member(self, stored: str) -> str:
        """Return the member of a label as rows have it."""
        return self._rows.named(int(stored[0]), stored[1:]) or OTHER

    def is_undeclared(self, stored: str) -> bool:
        """Return whether a label is a text that no member has."""
        dimension, label = int(stored[0]), stored[1:]
        return label not in (ABSENT, MORE) and self._rows.named(dimension, label) is None

    def all_of(self, stored: str) -> tuple[str, ...]:
        """Return the members that count a label."""
        member = self.member(stored)
        parent = self._parents[int(stored[0])].get(member)
        return (member,) if parent is None else (member, parent)


def orders_by_member(counts: LabelCounts, targets: LabelTargets) -> dict[tuple[str, str], int]:
    """(dimension, member) -> its placed orders."""
    found: dict[tuple[str, str], int] = {}
    for stored, orders in counts.placed.items():
        dimension = DIMENSIONS[int(stored[0])]
        for member in targets.all_of(stored):
            found[dimension, member] = found.get((dimension, member), 0) + orders
    for texts, orders in counts.sets.items():
        of = [(DIMENSIONS[int(each[0])], m) for each in texts for m in targets.all_of(each)]
        for key in set(of):
            found[key] -= orders * (of.count(key) - 1)
    return found


def changes(
    market: Market, before: Definitions, after: Definitions, counts: LabelCounts
) -> list[MemberChange]:
    """Return what changes, in the order of the dimensions; `other` is among the members."""
    targets = [LabelTargets(market_with(market, each)) for each in (before, after)]
    orders = [orders_by_member(counts, each) for each in targets]
    moves = _moves(counts, *targets)
    after_by, found = dict(after.by_dimension()), []
    for dimension, old in before.by_dimension():
        new, of_dimension = after_by[dimension], moves.get(dimension, {})
        renamed = dict(renamed_members(old, new))
        for kind, was, member in _members(old, new, renamed):
            own = [
                move
                for move in of_dimension.values()
                if (was == move.from_member or member == move.to_member)
                and renamed.get(move.from_member) != move.to_member
            ]
            one, other = old.get(was, NOTHING_KNOWN), new.get(member, NOTHING_KNOWN)
            fields = [
                name
                for name in ("name", "parent", "digital")
                if kind in (CHANGES, RENAMED) and getattr(one, name) != getattr(other, name)
            ]
            counted = orders[0].get((dimension, was), 0), orders[1].get((dimension, member), 0)
            if kind != CHANGES or own or fields or counted[0] != counted[1]:
                former = was if kind == RENAMED else ""
                found.append(MemberChange(dimension, member, kind, *counted, own, fields, former))
    return found


def renamed_members(
    old: Mapping[str, MemberDefinition], new: Mapping[str, MemberDefinition]
) -> Iterator[tuple[str, str]]:
    """Yield (id before, id after). Further former ids of a member were merged into it."""
    for member, each in new.items():
        former = [of for of in each.formerly if of in old and of not in new]
        if former and member not in old:
            yield former[0], member


def _members(
    old: Mapping[str, MemberDefinition],
    new: Mapping[str, MemberDefinition],
    renamed: Mapping[str, str],
) -> Iterator[tuple[str, str, str]]:
    """Yield (kind, id before, id after) of each member of either."""
    by_new = {member: former for former, member in renamed.items()}
    for member in new:
        if member in by_new:
            yield RENAMED, by_new[member], member
        else:
            yield (CHANGES if member in old else APPEARS), member, member
    for member in old:
        if member not in new and member not in renamed:
            yield VANISHES, member, member
    yield CHANGES, OTHER, OTHER


def _moves(
    counts: LabelCounts, before: LabelTargets, after: LabelTargets
) -> dict[str, dict[tuple[str, str], LabelMove]]:
    """Return by dimension: (member before, member after) -> the labels that go from one to the other."""
    found: dict[str, dict[tuple[str, str], LabelMove]] = {}
    for stored, orders in counts.placed.items():
        pair = before.member(stored), after.member(stored)
        if pair[0] != pair[1]:
            of = found.setdefault(DIMENSIONS[int(stored[0])], {})
            move = of.get(pair, LabelMove(*pair, 0, 0))
            of[pair] = move._replace(labels=move.labels + 1, orders=move.orders + orders)
    return found

"""Sums by member of sums by label: what level 2 must count, by the definitions of a market.

An order that names several labels of a member is one order of it. The label sets say how often that was:
here each member gets its orders that no set holds, and one for each order of a set that touches it. A
label counts in its member, and in the parent of that one.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from urllib.parse import unquote

from streams.index.label_text import ABSENT, CUT, MORE
from streams.index.methodology import OTHER, Market
from streams.index.slugs import slug
from streams.proof.recompute import shopper_registers
from streams.proof.recompute.label_sums import (
    CATEGORY,
    CHANNEL,
    METHOD,
    REGION,
    WHOLE,
    LabelSet,
    LabelSums,
    NumberName,
    Place,
)
from streams.proof.recompute.sums import Sums

_LABELS_MAX = 20_000


class Members:
    """Label -> members of one dimension, with a bounded cache."""

    def __init__(
        self,
        members: tuple[str, ...],
        by_slug: Mapping[str, str],
        by_text: Mapping[str, str] | None = None,
        parents: Mapping[str, str] | None = None,
        former: Mapping[str, str] | None = None,
    ) -> None:
        """``by_slug``: slugs that are no member's own; ``by_text``: labels that no slug decides.

        ``former``: ids that members had.
        """
        self._members = frozenset(members)
        self._by_slug = by_slug
        self._by_text = by_text or {}
        self._parents = parents or {}
        self._former = former or {}
        self._known: dict[str, tuple[str, ...]] = {ABSENT: (OTHER,), MORE: (OTHER,)}

    def find(self, label: str) -> tuple[str, ...]:
        """Return the member of a label, and its parent; `other` where nothing, or too much, was said."""
        found = self._known.get(label)
        if found is None:
            member = self._now(label[1:]) if label[0] == CUT else self._named(label)
            parent = self._parents.get(member)
            found = (member,) if parent is None else (member, parent)
            if len(self._known) < _LABELS_MAX:
                self._known[label] = found
        return found

    def _named(self, label: str) -> str:
        name = slug(label)
        member = self._by_text.get(label) or self._by_slug.get(name, name)
        return member if member in self._members else OTHER

    def _now(self, member: str) -> str:
        """Return the member that one of earlier definitions is now; `other` if it is gone."""
        for each in (member, self._former.get(member)):
            if each is not None and each in self._members:
                return each
        return self._named(unquote(member))


class MemberSums:
    """Sums up the labels of one market by member."""

    def __init__(self, market: Market, of: Mapping[str, Members] | None = None) -> None:
        """``of``: how labels of each dimension are read; None: as methodology.toml says."""
        self._of = of or {
            CATEGORY: Members(market.categories, {}),
            METHOD: Members(market.methods, market.method_aliases),
            REGION: Members(market.regions, {}),
            CHANNEL: Members(market.channels, market.channel_aliases),
        }

    def of(self, row: LabelSums) -> Sums:
        """Return the sums by member."""
        numbers, found = dict(row.numbers), Sums()
        for each, orders in row.sets.items():
            of_member: dict[str, set[str]] = {}
            for label, ledger in each.items:
                place = each.dimension, label
                name = NumberName(place, ledger, "orders")
                numbers[name] = numbers.get(name, 0) - orders
                for prefix in self._named(place):
                    of_member.setdefault(prefix, set()).add(ledger)
            for prefix, ledgers in of_member.items():
                _add(found, prefix, _counts_in(ledgers), "orders", orders)
        for name, value in numbers.items():
            if name.ledger and name.place[0] in (REGION, CHANNEL):
                continue  # of a day, where level 2 has no members of them
            for prefix in self._named(name.place):
                _add(found, prefix, name.ledger, name.what, value)
        found.buyers = shopper_registers.together(row.buyers, None)
        return found

    def cut(self, row: LabelSums, kept: Container[Place]) -> LabelSums:
        """Return sums of which some places are kept, and all others count as their members."""

        def counted_in(place: Place) -> Place:
            if place in kept:
                return place
            member = self._of[place[0]].find(place[1])[0]
            return place[0], MORE if member == OTHER else CUT + member

        numbers, found = dict(row.numbers), LabelSums()
        for each, orders in row.sets.items():
            ledgers: dict[Place, set[str]] = {}
            for label, ledger in each.items:
                place = each.dimension, label
                name = NumberName(place, ledger, "orders")
                numbers[name] = numbers.get(name, 0) - orders
                ledgers.setdefault(counted_in(place), set()).add(ledger)
            items = {place: _counts_in(own) for place, own in ledgers.items()}
            for place, ledger in items.items():
                found.add(place, ledger, "orders", orders)
            if len(items) > 1:
                left = frozenset((place[1], ledger) for place, ledger in items.items())
                as_cut = LabelSet(each.dimension, left)
                found.sets[as_cut] = found.sets.get(as_cut, 0) + orders
        for name, value in numbers.items():
            found.add(counted_in(name.place), name.ledger, name.what, value)
        return found

    def _named(self, place: Place) -> tuple[str, ...]:
        """Prefixes of the sums in which a place counts."""
        dimension, label = place
        if place == WHOLE:
            return ("",)
        return tuple(f"{dimension}/{member}/" for member in self._of[dimension].find(label))


class SumsByVersion:
    """Sums by member of one row, by whichever version of a market's definitions is asked for."""

    def __init__(self, members: Mapping[int, MemberSums], row: LabelSums) -> None:
        self._members = members
        self._row = row
        self._found: dict[int, Sums] = {}

    def of(self, version: int) -> Sums | None:
        """Return the sums by a version; None: the log of definitions does not have it."""
        if version not in self._found and version in self._members:
            self._found[version] = self._members[version].of(self._row)
        return self._found.get(version)

    def all(self) -> Iterator[tuple[int, Sums]]:
        """Yield (version, sums) of each version of the market."""
        for version in self._members:
            found = self.of(version)
            assert found is not None
            yield version, found


def _counts_in(ledgers: set[str]) -> str:
    """Return where an order counts whose labels of one member say this: cancelled, if any is."""
    cancelled = [each for each in ledgers if each.endswith("cancelled")]
    return (cancelled or list(ledgers))[0]


def _add(sums: Sums, prefix: str, ledger: str, what: str, value: int) -> None:
    if value:
        name = f"{prefix}{ledger}/{what}" if ledger else f"{prefix}{what}"
        sums[name] = sums.get(name, 0) + value

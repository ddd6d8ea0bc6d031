"""Definitions of one market: which labels are which member. They may change while the market runs.

The methodology's market is version 0. A later version is a document in ``ecindex.definitions``, and
``market_with`` makes the market of it that ``partials.Layout`` takes.

A label is resolved in this order: a member that lists the label itself; a member whose id has the
label's slug; the one member that lists a label, or had an id, of that slug; else ``other``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from urllib.parse import unquote

import msgspec

from streams.index.identifiers import DIMENSIONS
from streams.index.label_text import label_of
from streams.index.methodology import OTHER, Event, Market
from streams.index.slugs import slug

METHODOLOGY_VERSION = 0
"""Version of the definitions that methodology.toml has."""
_ENCODED = re.compile(r"[:|%{}\x00-\x1f\x7f-\x9f]")
"""Characters that a member's id may not have: separators of our keys, and controls."""


class MemberDefinition(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One member, by its id. The labels of its id's slug are its own without being listed."""

    name: str = ""
    """For people, as they write it (``Men's Fashion``); empty: made from the id."""
    labels: tuple[str, ...] = ()
    """What else it is called: aliases, and what was merged into it."""
    parent: str = ""
    """Id of the member of the same dimension that contains this one."""
    formerly: tuple[str, ...] = ()
    """Ids that it had. Their labels are its own, and what was learnt of them follows."""
    digital: bool = False
    """Of a payment method: whether it moves money by itself."""


MemberDefinitions = dict[str, MemberDefinition]
"""By id, in the order in which people are shown them."""


class Definitions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The whole document of one market. ``other`` is in none: it is what no member has."""

    market: str
    category: MemberDefinitions = {}
    payment_method: MemberDefinitions = {}
    region: MemberDefinitions = {}
    channel: MemberDefinitions = {}

    def by_dimension(self) -> Iterator[tuple[str, MemberDefinitions]]:
        """Yield (dimension, its members) in the order of ``DIMENSIONS``."""
        return ((dimension, getattr(self, dimension)) for dimension in DIMENSIONS)


def member_id(text: str) -> str:
    """Id of a member: the normal form of its label, with separators of keys percent-encoded.

    >>> member_id("Men's Fashion"), member_id("home: 50 % off")
    ("men's fashion", 'home%3A 50 %25 off')
    """
    return _ENCODED.sub(lambda found: f"%{ord(found[0]):02X}", label_of(text))


def label_of_id(member: str) -> str:
    """Label that an id was made of.

    >>> label_of_id("home%3A 50 %25 off")
    'home: 50 % off'
    """
    return unquote(member, errors="replace")


def slug_of_id(member: str) -> str:
    """Slug whose labels are the member's without being listed; "" when its id has no letter or digit."""
    return slug(label_of_id(member))


def aliases_of(market: Market) -> dict[str, dict[str, str]]:
    """Return by dimension: slug of a listed label -> its member."""
    found = (
        market.category_aliases,
        market.method_aliases,
        market.region_aliases,
        market.channel_aliases,
    )
    return dict(zip(DIMENSIONS, found, strict=True))


def definitions_of(market: Market) -> Definitions:
    """Return the definitions that a market has; of the methodology's they are version 0."""
    aliases = aliases_of(market)
    return Definitions(
        market.code,
        **{dimension: _members(market, dimension, aliases[dimension]) for dimension in DIMENSIONS},
    )


def _members(market: Market, dimension: str, aliases: Mapping[str, str]) -> MemberDefinitions:
    labels: dict[str, list[str]] = {}
    exact = market.exact_labels.get(dimension, {})
    for label, member in (*exact.items(), *aliases.items()):
        labels.setdefault(member, []).append(label)
    names, parents = market.names.get(dimension, {}), market.parents.get(dimension, {})
    is_method = dimension == "payment_method"
    return {
        member: MemberDefinition(
            names.get(member, ""),
            tuple(labels.get(member, ())),
            parents.get(member, ""),
            digital=is_method and member in market.digital,
        )
        for member in market.members()[dimension][:-1]
    }


def market_with(
    market: Market,
    definitions: Definitions,
    version: int = METHODOLOGY_VERSION,
    touched: Mapping[tuple[str, str], int] | None = None,
) -> Market:
    """Return the methodology's market by these definitions, which are valid (``definition_mistakes``).

    Events of the calendar follow a member to its new id. One of a member that is no more is left out.
    What methodology.toml fixes of watched series stays (``places``, ``declared``). ``touched``: which
    version last changed what a member counts.
    """
    by_dimension = dict(definitions.by_dimension())
    readings = {name: LabelReading(members) for name, members in by_dimension.items()}
    aliases = {name: reading.aliases for name, reading in readings.items()}
    ids = {name: (*members, OTHER) for name, members in by_dimension.items()}
    return replace(
        market,
        categories=ids["category"],
        methods=ids["payment_method"],
        regions=ids["region"],
        channels=ids["channel"],
        digital=frozenset(
            member for member, each in definitions.payment_method.items() if each.digital
        ),
        category_aliases=aliases["category"],
        method_aliases=aliases["payment_method"],
        region_aliases=aliases["region"],
        channel_aliases=aliases["channel"],
        exact_labels={name: each.exact for name, each in readings.items() if each.exact},
        parents=_given(by_dimension, "parent"),
        names=_given(by_dimension, "name"),
        events=tuple(_followed(market.events, by_dimension)),
        definitions=version,
        touched={} if touched is None else dict(touched),
        renamed={
            (dimension, former): member
            for dimension, members in by_dimension.items()
            for member, each in members.items()
            for former in each.formerly
        },
    )


class LabelReading:
    """How the labels that the members of one dimension list are found."""

    def __init__(self, members: MemberDefinitions) -> None:
        self.aliases: dict[str, str] = {}
        """Slug of listed labels and former ids -> member, where no id has it and no other member."""
        self.exact: dict[str, str] = {}
        """Label -> member, where the slugs would lead elsewhere."""
        by_id = {slug_of_id(member): member for member in (*members, OTHER)}
        by_id.pop("", None)
        self._by_id = by_id
        shared = {""}
        for member, each in members.items():
            for name in (*map(slug, each.labels), *map(slug_of_id, each.formerly)):
                if name not in by_id and self.aliases.setdefault(name, member) != member:
                    shared.add(name)
        for name in shared:
            self.aliases.pop(name, None)
        own = [(label_of_id(member), member) for member in members]
        listed = [(label_of(text), m) for m, each in members.items() for text in each.labels]
        former = [(label_of_id(text), m) for m, each in members.items() for text in each.formerly]
        for label, member in dict((*former, *own, *listed)).items():
            name = slug(label)
            if by_id.get(name, self.aliases.get(name)) != member:
                self.exact[label] = member

    def member_of(self, label: str) -> str:
        """Return the member of a label in its normal form."""
        name = slug(label)
        found = self.exact.get(label) or self._by_id.get(name) or self.aliases.get(name)
        return found or OTHER


def _given(by_dimension: Mapping[str, MemberDefinitions], field: str) -> dict[str, dict[str, str]]:
    """Return by dimension: id -> a field of the member, where it has one."""
    found = {
        dimension: {
            member: getattr(each, field) for member, each in members.items() if getattr(each, field)
        }
        for dimension, members in by_dimension.items()
    }
    return {dimension: given for dimension, given in found.items() if given}


def _followed(
    events: Iterable[Event], by_dimension: Mapping[str, MemberDefinitions]
) -> Iterator[Event]:
    for event in events:
        members = by_dimension.get(event.dimension)
        if members is None or event.member in members or event.member == OTHER:
            yield event
            continue
        new = [member for member, each in members.items() if event.member in each.formerly]
        if new:
            yield event._replace(member=new[0])

"""Markets by each version of their definitions, as the log of ``ecindex.definitions`` says.

Written from docs/contract.md (A definitions document), not from index/definitions.py or
flow/definitions_book.py. Shared with the workers are the decoding of a record, the check that its
document is valid, the normal form of labels, and slugs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from urllib.parse import unquote

from streams.index.definition_records import DefinitionsError, decode_definitions
from streams.index.definitions import Definitions, MemberDefinitions
from streams.index.label_text import label_of
from streams.index.methodology import OTHER, Event, Market, Methodology
from streams.index.slugs import slug
from streams.proof.recompute.label_sums import CATEGORY, CHANNEL, METHOD, REGION
from streams.proof.recompute.member_sums import Members, MemberSums

_TOML = 0
"""Version of what methodology.toml defines."""


class DefinedMarkets:
    """What the log has of all markets. Feed it in the order of the log."""

    def __init__(self, methodology: Methodology) -> None:
        self._methodology = methodology
        self._log = {code: _MarketLog(market) for code, market in methodology.markets.items()}
        self.records = 0
        """Records with a document that were read."""

    def apply_record(self, key: bytes | None, value: bytes | None, offset: int) -> str | None:
        """Apply the next record; return why it changes nothing, where it breaks the contract."""
        if value is None:
            return None
        self.records += 1
        try:
            record = decode_definitions(key or b"", value)
        except DefinitionsError as error:
            return str(error)
        log = self._log.get(record.market)
        if log is None:
            return f"market {record.market!r} is not in methodology.toml"
        follows = record.base == log.version
        if not follows and record.base != _TOML and record.base not in log.markets:
            # What it builds upon is gone: its writer had read all that was in the log until then.
            follows = log.version <= record.read_to
        if follows:
            log.put(offset + 1, record.document)
        return None

    def version(self, code: str) -> int:
        """Return the version in force of a market at the end of what was read."""
        return self._log[code].version

    def market(self, code: str, version: int) -> Market | None:
        """Return a market by a version of its definitions; None: the log does not have it."""
        return self._log[code].markets.get(version)

    def members(self, code: str) -> Mapping[int, MemberSums]:
        """Return what sums labels up by member, for each version of a market that the log has."""
        return self._log[code].members

    def at(self, versions: Mapping[str, int]) -> Methodology:
        """Return the methodology with markets by these versions; by methodology.toml where not known."""
        found = {
            code: log.markets.get(versions.get(code, _TOML)) or log.markets[_TOML]
            for code, log in self._log.items()
        }
        return replace(self._methodology, markets=found)


class _MarketLog:
    def __init__(self, market: Market) -> None:
        self.version = _TOML
        self.markets = {_TOML: market}
        self.members = {_TOML: MemberSums(market)}

    def put(self, version: int, document: Definitions) -> None:
        self.version = version
        market = _defined(self.markets[_TOML], document, version)
        self.markets[version] = market
        self.members[version] = MemberSums(
            market,
            {
                CATEGORY: _reading(document.category),
                METHOD: _reading(document.payment_method),
                REGION: _reading(document.region),
                CHANNEL: _reading(document.channel),
            },
        )


def _defined(market: Market, document: Definitions, version: int) -> Market:
    """Return the market with the members of a document. Labels are not read by it (``_reading``)."""
    of = dict(document.by_dimension())
    former = {
        (dimension, was): member
        for dimension, members in of.items()
        for member, each in members.items()
        for was in each.formerly
    }
    return replace(
        market,
        categories=(*document.category, OTHER),
        methods=(*document.payment_method, OTHER),
        regions=(*document.region, OTHER),
        channels=(*document.channel, OTHER),
        digital=frozenset(name for name, each in document.payment_method.items() if each.digital),
        events=tuple(_events(market, of, former)),
        definitions=version,
        renamed=former,
        parents={
            dimension: {name: each.parent for name, each in members.items() if each.parent}
            for dimension, members in of.items()
        },
        names={
            dimension: {name: each.name for name, each in members.items() if each.name}
            for dimension, members in of.items()
        },
    )


def _events(
    market: Market, of: Mapping[str, MemberDefinitions], former: Mapping[tuple[str, str], str]
) -> Iterator[Event]:
    for event in market.events:
        own = event.dimension == "market" or event.member in (OTHER, *of[event.dimension])
        member = event.member if own else former.get((event.dimension, event.member))
        if member is not None:
            yield event._replace(member=member)


def _reading(members: MemberDefinitions) -> Members:
    """Return how labels are read: by a listed text, the slug of an id, a slug that one member lists."""
    by_text: dict[str, str] = {}
    by_slug: dict[str, set[str]] = {}
    for member, each in members.items():
        by_text |= dict.fromkeys(map(unquote, each.formerly), member)
        for text in (*each.labels, *map(unquote, each.formerly)):
            by_slug.setdefault(slug(text), set()).add(member)
    by_text |= {unquote(member): member for member in members}
    by_text |= {label_of(text): member for member, each in members.items() for text in each.labels}
    of_one = {name: min(found) for name, found in by_slug.items() if len(found) == 1}
    own = {slug(unquote(member)): member for member in members} | {slug(OTHER): OTHER}
    found = of_one | own
    found.pop("", None)
    parents = {member: each.parent for member, each in members.items() if each.parent}
    former = {was: member for member, each in members.items() for was in each.formerly}
    return Members((*members, OTHER), found, by_text, parents, former)

"""Names in methodology.toml that become parts of keys: what is wrong with them, setting by setting.

A market's code stands in keys of Kafka and Redis between separators, and beside words of our own. A code
that held one, ``a|b``, crashed every worker of its market for ever.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

MARKETS_MAX = 50
MEMBERS_MAX = 500
MARKET_BYTES_MAX = 32
MEMBER_BYTES_MAX = 96
"""Most bytes of a member's name in UTF-8: in Bengali a letter takes three."""
NAME_CHARACTERS_MAX = 100
CELLS_MAX = 4_000
"""Most members of all dimensions of all markets. Each has up to 40 values that a worker keeps, encodes
and publishes: the table of limits in docs/exactness.md says what was measured."""
WATCHED_MAX = 680
"""Most series of a market that are watched for shifts: the record of their detectors must fit into one
record of a topic, whatever is shifted (tests/unit/flow/test_detectors_record.py)."""
_MARKET = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_CURRENCY = re.compile(r"[A-Z]{3}")
RESERVED = frozenset({"all", "other", "more", "fence", "mark", "members"})
"""Words that stand where a market's code, or a member, stands in our keys and values."""
DIMENSIONS = ("category", "payment_method", "region", "channel")


class MarketNames(NamedTuple):
    """Names of one market, as methodology.toml has them."""

    name: str
    currency: str
    members_max: int
    members: Mapping[str, Sequence[str]]
    """By dimension: the names of its members."""


class EventNames(NamedTuple):
    """Names that an event of the calendar uses."""

    name: str
    markets: Sequence[str]


def mistakes(
    markets: Mapping[str, MarketNames],
    events: Iterable[EventNames],
    aliases: Iterable[tuple[str, str]],
) -> Iterator[str]:
    """Yield ``setting: what is wrong`` for each name that cannot be used, and each limit exceeded.

    ``aliases``: (setting, alias). One without a letter would be the alias of an absent label.
    """
    for where, alias in aliases:
        if not _is_a_member(alias) or not any(each.isalnum() for each in alias):
            yield f"{where}: alias {_shown(alias)} has no letter or digit, or is too long"
    yield from _wrong_codes(markets)
    for code, market in markets.items():
        yield from _wrong_market(f"markets.{_shown(code)}", market)
    cells = sum(len(names) for market in markets.values() for names in market.members.values())
    if cells > CELLS_MAX:
        yield (
            f"markets: {cells} members of all dimensions of {len(markets)} markets, at most "
            f"{CELLS_MAX}: list fewer members (category_sets, regions), or run a second installation "
            "with a topics.prefix of its own"
        )
    for event in events:
        yield from _wrong_event(event, markets)


def _wrong_codes(codes: Iterable[str]) -> Iterator[str]:
    folded: dict[str, str] = {}
    for code in codes:
        for reason in _wrong_code(code):
            yield f"markets.{_shown(code)}: {reason}"
        other = folded.setdefault(code.casefold(), code)
        if other != code:
            yield f"markets.{_shown(code)}: differs from markets.{_shown(other)} by its case only"


def _wrong_event(event: EventNames, markets: Mapping[str, MarketNames]) -> Iterator[str]:
    where = f"events: {_shown(event.name)}"
    if not is_a_name(event.name):
        yield f"{where}: `name` must be 1 to {NAME_CHARACTERS_MAX} characters on one line"
    if not event.markets:
        yield f"{where}: `markets` must name a market"
    for code in event.markets:
        if code not in markets:
            yield f"{where}: `markets` names {_shown(code)}, which is no market"


def _wrong_code(code: str) -> Iterator[str]:
    if len(code.encode()) > MARKET_BYTES_MAX or not _MARKET.fullmatch(code):
        yield (
            f"a market's code must be 1 to {MARKET_BYTES_MAX} ASCII letters, digits, `.`, `_` or `-`, "
            "the first and last a letter or digit"
        )
    elif code.casefold() in RESERVED:
        yield f"{code!r} is a word of our own keys ({', '.join(sorted(RESERVED))})"


def _wrong_market(where: str, market: MarketNames) -> Iterator[str]:
    if not is_a_name(market.name):
        yield f"{where}.name: must be 1 to {NAME_CHARACTERS_MAX} characters on one line"
    if not _CURRENCY.fullmatch(market.currency):
        yield f"{where}.currency: {_shown(market.currency)} is no ISO 4217 code, such as PKR"
    for dimension, names in market.members.items():
        for name in names:
            if not _is_a_member(name):
                yield (
                    f"{where}: {dimension} {_shown(name)}: a member must be at most "
                    f"{MEMBER_BYTES_MAX} bytes on one line"
                )
        if len(names) > market.members_max:
            yield (
                f"{where}.members_max: {len(names)} members of {dimension} are listed, at most "
                f"{market.members_max} would be kept and the others be called `other`: raise "
                f"members_max, at most {MEMBERS_MAX}, or list fewer"
            )
    watched = 1 + sum(map(len, market.members.values())) + len(market.members["payment_method"])
    if watched > WATCHED_MAX:
        yield (
            f"{where}: {watched} series would be watched for shifts (the market, its members, and its "
            f"payment methods once more for failures), at most {WATCHED_MAX} can be: list fewer members"
        )


def _is_a_member(text: str) -> bool:
    return len(text.encode()) <= MEMBER_BYTES_MAX and _is_one_line(text)


def is_a_name(text: str) -> bool:
    """Return whether a text can be a name for people: 1 to 100 characters on one line."""
    return 1 <= len(text) <= NAME_CHARACTERS_MAX and _is_one_line(text)


def _is_one_line(text: str) -> bool:
    # A joiner of letters (ZWNJ), which Bengali and Persian write, is no control character.
    return not any(unicodedata.category(each) in ("Cc", "Cs", "Zl", "Zp") for each in text)


def _shown(text: str) -> str:
    """The text so that a line of a log stays one line, and short."""
    return repr(text if len(text) <= MARKET_BYTES_MAX else f"{text[:MARKET_BYTES_MAX]}...")

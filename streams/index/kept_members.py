"""Members in records: what is kept of a member is found by its id, never by its place.

Members may change while an index runs. A place is another member's then, so a record names every member
that it is about. ``renamed`` says which members have another id now: (dimension, id that it had) -> its
id. A member that a record has under both ids keeps what is under its own.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from streams.index.indices import METHOD
from streams.index.learning import Scope
from streams.index.methodology import Market
from streams.index.shift_series import PAYMENT_FAILURE, WatchedSeries

Renamed = Mapping[Scope, str]


def text_of(scope: Scope) -> str:
    """Name of a member in a record.

    >>> text_of(("category", "books"))
    'category:books'
    """
    return f"{scope[0]}:{scope[1]}"


def scope_of_text(text: str) -> Scope:
    """Member that a record names.

    >>> scope_of_text("category:books")
    ('category', 'books')
    """
    dimension, _, member = text.partition(":")
    return dimension, member


def called_now(scope: Scope, members: Collection[Scope], renamed: Renamed) -> Scope | None:
    """Return the member of now that has, or had, this id; None: it is gone."""
    if scope in members:
        return scope
    dimension, member = scope
    new = renamed.get((_of_member(dimension), member))
    found = (dimension, member if new is None else new)
    return found if found in members else None


def carried(
    kept: Sequence[Scope], members: Collection[Scope], renamed: Renamed
) -> dict[Scope, Scope]:
    """Return, of each member that a record has something for, under which id that is.

    ``kept``: the ids in the record. Of several that a member had, the first one counts.
    """
    found = {scope: scope for scope in kept if scope in members}
    for scope in kept:
        now = called_now(scope, members, renamed)
        if now is not None:
            found.setdefault(now, scope)
    return found


def foremost(
    series: Sequence[WatchedSeries], market: Market, most: int
) -> tuple[WatchedSeries, ...]:
    """Return the series that are watched, in their order: the total and ``most`` others.

    Those of members that methodology.toml declares come first, under whatever id: one that appears takes
    nobody's place.
    """
    scopes = {(each.dimension, each.member) for each in series}
    declared = {called_now(scope, scopes, market.renamed) for scope in market.declared}
    places = sorted(
        range(1, len(series)),
        key=lambda at: (_of_member(series[at].dimension), series[at].member) not in declared,
    )
    return tuple(series[at] for at in (0, *sorted(places[:most])))


def _of_member(dimension: str) -> str:
    """Return the dimension whose member a series counts: failed payments are those of a method."""
    return METHOD if dimension == PAYMENT_FAILURE else dimension

"""Rank of members, for a snapshot or a scrape that has no room for all of them."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from streams.index.values import Value

Member = tuple[str, str]
"""(dimension, member) within a market."""

ALL = "all"
_BY_N = frozenset({"orders", "units", "sales", "payments", "amount", "payment_failure_ratio"})
"""Indices whose ``n`` counts the member's own orders, payments or attempts to pay."""
_BY_OBSERVED = frozenset(
    {"category_share_by_orders", "payment_chosen_share", "payment_share_by_count"}
)
"""Shares whose ``n`` is that of the whole market. Their ``observed`` counts the member's own part."""
_INCUMBENT, _CHALLENGER = 11, 10  # a challenger must be a tenth larger to push a member out


def rank_members(
    values: Iterable[Value], incumbents: AbstractSet[Member] = frozenset()
) -> dict[Member, int]:
    """Rank of each member within its dimension, 0 for the largest. `all` has no rank.

    The size of a member is how many orders, payments or attempts to pay are its own: the largest such
    count among its values, which is that of its longest window. Incumbents count a tenth more, so that
    two members of similar size do not alternate in a scrape. Equal sizes are ordered by name, so that
    every worker ranks alike.
    """
    sizes: dict[Member, int] = {}
    for value in values:
        if value.member != ALL:
            member = (value.dimension, value.member)
            sizes[member] = max(sizes.get(member, 0), _own_count(value))
    order = sorted(
        sizes,
        key=lambda member: (
            member[0],
            -sizes[member] * (_INCUMBENT if member in incumbents else _CHALLENGER),
            member not in incumbents,
            member[1],
        ),
    )
    ranks: dict[Member, int] = {}
    seen: dict[str, int] = {}
    for member in order:
        ranks[member] = seen.get(member[0], 0)
        seen[member[0]] = ranks[member] + 1
    return ranks


def _own_count(value: Value) -> int:
    """Events of the member itself behind a value; 0 where the value does not say."""
    if value.index in _BY_N:
        return value.n
    return (value.observed or 0) if value.index in _BY_OBSERVED else 0

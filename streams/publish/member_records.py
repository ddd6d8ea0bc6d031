"""Names of members for people, as the list of members has them: ``@members`` of ``:values``."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from streams.publish.journal import decode_members

MemberNames = Mapping[tuple[str, str], str]
"""(dimension, member) -> how a table names it, where its id alone does not say it."""


def read_member_names(text: str | bytes | None) -> dict[tuple[str, str], str]:
    """Return the names of a list; none where it is missing or of a shape that is not known.

    A member that is contained in another one is named with it: ``Boots (Fashion)``.
    """
    try:
        found = None if text is None else decode_members(text)
    except msgspec.DecodeError:
        found = None
    if found is None:
        return {}
    names: dict[tuple[str, str], str] = {}
    for dimension, members in found.members.items():
        own = {each.id: each.name or each.id for each in members}
        for each in members:
            if each.name or each.parent:
                parent = f" ({own.get(each.parent, each.parent)})" if each.parent else ""
                names[dimension, each.id] = f"{own[each.id]}{parent}"
    return names

"""Chooses the value that is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streams.index.slugs import slug

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streams.proof.explain.explanation_types import Asked, PublishedValue


class NotFoundError(LookupError):
    """No value matches, or several do; the text lists what there is."""


def choose(values: Mapping[str, PublishedValue], asked: Asked) -> PublishedValue:
    """Return the one value that is asked for. Raises NotFoundError."""
    here = [
        each
        for each in values.values()
        if each.value.market == asked.market
        and (each.value.window, each.value.day) == (asked.window, asked.day)
    ]
    named = [each for each in here if each.value.index == asked.index]
    found = [
        each
        for each in named
        if each.value.member in (asked.member, slug(asked.member))
        and asked.dimension in (None, each.value.dimension)
    ]
    if len(found) == 1:
        return found[0]
    what = " ".join(part for part in (asked.index, asked.member, asked.window, asked.day) if part)
    if found:
        dimensions = ", ".join(sorted(each.value.dimension for each in found))
        raise NotFoundError(f"{asked.market} {what}: several; add --dimension, one of {dimensions}")
    if not here:
        raise NotFoundError(
            f"{asked.market} has no value of {asked.window} {asked.day or ''}".rstrip()
        )
    if not named:
        names = ", ".join(sorted({each.value.index for each in here}))
        raise NotFoundError(
            f"{asked.market} has no {asked.index} of {asked.window}; it has {names}"
        )
    members = ", ".join(sorted({f"{e.value.dimension} {e.value.member}" for e in named}))
    raise NotFoundError(f"{asked.market} has no {what}; it has {members}")

"""What a version of the definitions changed, as the journal says it: from its documents alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from streams.index.definition_changes import renamed_members
from streams.index.definitions import (
    Definitions,
    LabelReading,
    MemberDefinition,
    MemberDefinitions,
    label_of_id,
)
from streams.index.label_text import label_of
from streams.index.methodology import OTHER

APPEARED, VANISHED, RENAMED, SPLIT, JOINED, CHANGED = (
    "appeared", "vanished", "renamed", "split", "joined", "changed",
)  # fmt: skip
LABELS_MAX = 20
"""Labels of an edit that are named; it says how many there are."""


class MemberEdit(msgspec.Struct, frozen=True, omit_defaults=True):
    """One change of a member.

    ``split``: labels of ``before``, which goes on, are the member's. ``joined``: those of ``before``,
    which is none any more. ``renamed``: ``before`` is called so now. ``changed``: the ``fields`` name,
    parent or digital are others.
    """

    dimension: str
    change: str
    member: str
    before: str = ""
    labels: list[str] = []
    """Listed labels that moved, the first ones in their order."""
    labels_count: int = 0
    fields: list[str] = []


def member_edits(before: Definitions, after: Definitions) -> list[MemberEdit]:
    """Return what is otherwise in a later document, in the order of the dimensions."""
    after_by = dict(after.by_dimension())
    return [
        edit
        for dimension, old in before.by_dimension()
        for edit in _of_dimension(dimension, old, after_by[dimension])
    ]


def _of_dimension(
    dimension: str, old: MemberDefinitions, new: MemberDefinitions
) -> Iterator[MemberEdit]:
    renamed = dict(renamed_members(old, new))
    former = {member: before for before, member in renamed.items()}
    for member, each in new.items():
        if member in former:
            yield MemberEdit(dimension, RENAMED, member, former[member])
        elif member not in old:
            yield MemberEdit(dimension, APPEARED, member)
        if was := old.get(former.get(member, member)):
            fields = _fields(was, each, renamed)
            if fields:
                yield MemberEdit(dimension, CHANGED, member, fields=fields)
    for member in old:
        if member not in new and member not in renamed:
            yield MemberEdit(dimension, VANISHED, member)
    for (was_id, now), labels in _moved(old, new, renamed).items():
        goes_on = was_id in new or was_id in renamed or was_id == OTHER
        shown, change = labels[:LABELS_MAX], SPLIT if goes_on else JOINED
        yield MemberEdit(dimension, change, now, was_id, shown, len(labels))


def _fields(was: MemberDefinition, now: MemberDefinition, renamed: Mapping[str, str]) -> list[str]:
    parent = renamed.get(was.parent, was.parent)
    pairs = {
        "name": (was.name, now.name),
        "parent": (parent, now.parent),
        "digital": (was.digital, now.digital),
    }
    return [name for name, (before, after) in pairs.items() if before != after]


def _moved(
    old: MemberDefinitions, new: MemberDefinitions, renamed: Mapping[str, str]
) -> dict[tuple[str, str], list[str]]:
    """(member before, member after) -> labels that either document names and that are another's now."""
    before, after = LabelReading(old), LabelReading(new)
    named = {label for members in (old, new) for label in _labels(members)}
    found: dict[tuple[str, str], list[str]] = {}
    for label in sorted(named):
        was, now = before.member_of(label), after.member_of(label)
        if renamed.get(was, was) != now:
            found.setdefault((was, now), []).append(label)
    return found


def _labels(members: MemberDefinitions) -> Iterator[str]:
    for member, each in members.items():
        yield label_of_id(member)
        yield from map(label_of_id, each.formerly)
        yield from map(label_of, each.labels)

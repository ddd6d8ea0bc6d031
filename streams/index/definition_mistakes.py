"""What is wrong with a definitions document: member by member, what was expected, what was found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from streams.index.definitions import (
    Definitions,
    MemberDefinition,
    MemberDefinitions,
    label_of_id,
    member_id,
    slug_of_id,
)
from streams.index.identifiers import (
    CELLS_MAX,
    MEMBER_BYTES_MAX,
    MEMBERS_MAX,
    WATCHED_MAX,
    is_a_name,
)
from streams.index.label_text import label_of

RESERVED_IDS = frozenset({"more", "other", "all"})
"""What no member can be: what found no room, what no member has, and the whole market."""
LABELS_MAX = 200
"""Labels that one member may list. Other spellings of one name need no label of their own."""
FORMER_MAX = 50
DOCUMENT_BYTES_MAX = 512 * 1024
"""The record must fit into one of the broker's."""
_SHOWN = 60


def definition_mistakes(definitions: Definitions) -> Iterator[str]:
    """Yield ``dimension.member: what is wrong``. A document without any is valid."""
    size = len(msgspec.json.encode(definitions))
    if size > DOCUMENT_BYTES_MAX:
        yield f"{size:,} bytes as JSON, at most {DOCUMENT_BYTES_MAX:,}: list fewer labels"
        return
    for dimension, members in definitions.by_dimension():
        if len(members) > MEMBERS_MAX:
            yield f"{dimension}: {len(members)} members, at most {MEMBERS_MAX}"
            continue
        yield from _of_ids(dimension, members)
        yield from _of_labels(dimension, members)
        yield from _of_former_ids(dimension, members)
        for member, each in members.items():
            yield from _of_member(dimension, member, each, members)
    yield from _of_numbers(definitions)


def _of_numbers(definitions: Definitions) -> Iterator[str]:
    members = sum(len(found) for _, found in definitions.by_dimension())
    if members > CELLS_MAX:
        yield f"{members} members of all dimensions, at most {CELLS_MAX}"
    watched = 1 + members + len(definitions.payment_method)
    if watched > WATCHED_MAX:
        yield (
            f"{watched} series would be watched for shifts (the market, its members, and its payment "
            f"methods once more for failures), at most {WATCHED_MAX} can be: list fewer members"
        )


def _of_ids(dimension: str, members: MemberDefinitions) -> Iterator[str]:
    by_slug: dict[str, str] = {}
    for member in members:
        where = f"{dimension}.{_shown(member)}"
        if member in RESERVED_IDS or slug_of_id(member) in RESERVED_IDS:
            yield f"{where}: no member can be called {', '.join(sorted(RESERVED_IDS))}"
            continue
        wanted = member_id(label_of_id(member))
        if member != wanted or not member or len(member.encode()) > MEMBER_BYTES_MAX:
            as_id = f"; as an id it is {_shown(wanted)}" if wanted else ""
            yield (
                f"{where}: an id is the normal form of a label, of 1 to {MEMBER_BYTES_MAX} bytes, with "
                f": | % {{ }} percent-encoded{as_id}"
            )
            continue
        name = slug_of_id(member)
        if name and by_slug.setdefault(name, member) != member:
            yield (
                f"{where}: is written like {_shown(by_slug[name])}, and labels written so would be of "
                "both; give one of them another id, and list its labels"
            )


def _of_labels(dimension: str, members: MemberDefinitions) -> Iterator[str]:
    owners = {label_of_id(member): member for member in members}
    for member, each in members.items():
        where = f"{dimension}.{_shown(member)}.labels"
        if len(each.labels) > LABELS_MAX:
            yield f"{where}: {len(each.labels)} labels, at most {LABELS_MAX}"
            continue
        for text in each.labels:
            label = label_of(text)
            if not label:
                yield f"{where}: {_shown(text)}: nothing of it is seen, so no event can say it"
            elif owners.setdefault(label, member) != member:
                owner = owners[label]
                how = "is the id" if label_of_id(owner) == label else "is a label"
                yield f"{where}: {_shown(text)} {how} of {_shown(owner)}: a label has one member"


def _of_former_ids(dimension: str, members: MemberDefinitions) -> Iterator[str]:
    owners: dict[str, str] = {}
    for member, each in members.items():
        where = f"{dimension}.{_shown(member)}.formerly"
        if len(each.formerly) > FORMER_MAX:
            yield f"{where}: {len(each.formerly)} ids, at most {FORMER_MAX}"
        for former in each.formerly[:FORMER_MAX]:
            if former in members:
                yield f"{where}: {_shown(former)} is a member still"
            elif not former or former in RESERVED_IDS:
                yield f"{where}: {_shown(former)} was never a member"
            elif owners.setdefault(former, member) != member:
                yield (
                    f"{where}: {_shown(former)} is a former id of {_shown(owners[former])} too: what "
                    "was learnt of it can follow one"
                )


def _of_member(
    dimension: str, member: str, each: MemberDefinition, members: Mapping[str, MemberDefinition]
) -> Iterator[str]:
    where = f"{dimension}.{_shown(member)}"
    if each.name and (not is_a_name(each.name) or each.name != each.name.strip()):
        yield f"{where}.name: must be 1 to 100 characters on one line, without spaces around"
    if each.digital and dimension != "payment_method":
        yield f"{where}.digital: only a payment method is"
    if not each.parent:
        return
    parent = members.get(each.parent)
    if each.parent == member:
        yield f"{where}.parent: a member does not contain itself"
    elif parent is None:
        yield f"{where}.parent: {_shown(each.parent)} is no {dimension}"
    elif parent.parent:
        yield (
            f"{where}.parent: {_shown(each.parent)} has a parent itself; one level of parents is "
            "published"
        )


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")

"""Publication -> Kafka records: current values, the journal, the fence record. Pure functions.

Exactness rule 7: journal and fence record are acknowledged before Redis is written. So a worker that
takes over the market finds a floor at least as high as what readers have seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from streams.flow.market_members import AppliedDefinitions
from streams.flow.publication import Publication
from streams.index.formats import json_decoder
from streams.index.history_records import ClockReset
from streams.index.member_lists import MemberList
from streams.index.panes import rfc3339
from streams.index.values import VERSION, Fence, Value

PART_BYTES_MAX = 900_000
"""Largest value of a journal record in bytes. By default Kafka refuses records over 1 MB."""
FENCE = "fence"
MEMBERS = "members"
VERSION_HEADERS = ("edition", "generation", "definitions", "as_of", "applied")
"""Headers that name a record's version, in the order in which versions are compared."""
_NUMBERS_BYTES = 64  # room for the part numbers
_NAME_BYTES = 6  # comma, quotes, colon and brackets of a list

_encode = msgspec.json.Encoder().encode
_decode_value = json_decoder(Value, "a value", VERSION)
_decode_members = json_decoder(MemberList, "a list of members", VERSION)
Headers = tuple[tuple[str, bytes], ...]


class Record(NamedTuple):
    """One Kafka record, ready to be sent."""

    topic: str
    key: bytes
    value: bytes | None
    """None makes a tombstone."""
    headers: Headers
    market: str
    """The market decides the partition, so that one market's records keep their order."""


def value_records(publication: Publication, topic: str) -> list[Record]:
    """One record for each changed window value and day value, and the members where they are others."""
    headers = version_headers(publication.fence)
    listed = publication.members
    members = [] if listed is None else [members_record(listed, publication.fence, topic)]
    return members + [
        Record(topic, value.key.encode(), encode_value(value), headers, publication.market)
        for values in (publication.changed, publication.days)
        for value in values
    ]


def members_record(listed: MemberList, fence: Fence, topic: str) -> Record:
    """Record of the members that a market has.

    The key names their version: one of a paused owner takes the place of no newer one, and readers know
    from the fence record which of them counts (decision 0014).
    """
    key = _members_key(listed.market, listed.definitions)
    return Record(topic, key, _encode(listed), version_headers(fence), listed.market)


def retired_lists(publication: Publication, topic: str) -> list[Record]:
    """Tombstones of older lists of members.

    They are sent once the fence record that names the newer list is acknowledged: the one before it
    leads readers to an older list.
    """
    headers = version_headers(publication.fence)
    return [
        Record(topic, _members_key(publication.market, each), None, headers, publication.market)
        for each in publication.lists_gone
    ]


def fence_record(publication: Publication, writer: str, topic: str) -> Record:
    """Record of how far this writer published the market. ``writer`` is its nonce of [A-Za-z0-9_-]."""
    fence = publication.fence
    content = {
        **msgspec.to_builtins(publication.fence_record),
        "v": VERSION,
        "market": publication.market,
        "writer": writer,
        "edition": fence.edition,
        "generation": fence.generation,
        "definitions": fence.definitions,
        "as_of_ms": fence.as_of_ms,
        "applied": fence.applied,
    }
    key = _fence_key(publication.market, writer)
    return Record(topic, key, _encode(content), version_headers(fence), publication.market)


def retired_fence(market: str, writer: str, fence: Fence, topic: str) -> Record:
    """Tombstone of a former writer's fence record.

    An owner sends it once its own fence record, not lower than ``fence``, is acknowledged. Without it
    the topic would keep a record of every worker that ever ran.
    """
    return Record(topic, _fence_key(market, writer), None, version_headers(fence), market)


def journal_records(publication: Publication, topic: str) -> list[Record]:
    """Journal records that are due; there may be none.

    In this order: reset, definitions, minute, vintages, base, closings, revisions.
    """
    records: list[Record] = []
    if publication.reset is not None:
        records += _parts(
            publication, topic, {"kind": "reset"}, {"resets": [_reset_entry(publication.reset)]}
        )
    for applied in publication.applied:
        records += _parts(publication, topic, _about_applied(applied), {"edits": applied.edits})
    if publication.journal_changed is not None:
        minute = {"values": publication.journal_changed}
        records += _parts(publication, topic, {"kind": "minute"}, minute)
    for learnt in publication.vintages:
        about = {"kind": "vintage", "vintage": learnt.held.name}
        records += _parts(publication, topic, about, {"series": learnt.series()})
    if publication.rebased is not None and (bases := publication.rebased.journal_bases()):
        about = {"kind": "base", "base": publication.rebased.now.name or ""}
        records += _parts(publication, topic, about, {"bases": bases})
    for closing in publication.closings:
        about = {
            "kind": closing.kind,
            "start": rfc3339(closing.start_ms),
            "end": rfc3339(closing.end_ms),
        }
        content: dict[str, Sequence[Any]] = {"values": closing.values}
        if closing.cause is not None:
            about["cause"] = closing.cause
            content["gone"] = closing.gone
        records += _parts(publication, topic, about, content)
    if publication.revisions:
        revisions = [
            {"cause": each.cause, "previous": each.previous, "value": each.value}
            for each in publication.revisions
        ]
        records += _parts(publication, topic, {"kind": "revision"}, {"revisions": revisions})
    return records


def _about_applied(applied: AppliedDefinitions) -> dict[str, Any]:
    change = applied.change
    return {
        "kind": "definitions",
        "definitions": change.version,
        "builds_upon": change.base,
        "by": change.by,
        "reason": change.reason,
        "written_at": rfc3339(change.at_ms),
        "published": applied.published,
    }


def _reset_entry(reset: ClockReset) -> dict[str, Any]:
    return {
        "generation": reset.generation,
        "declared_at": reset.declared_at,
        "reason": reset.reason,
    }


def encode_value(value: Value) -> bytes:
    """JSON of a value (docs/contract.md#a-value), fields in order of ``Value``; exact at any width."""
    return _encode(value)


def decode_value(encoded: bytes | str) -> Value:
    """Value from its JSON. Raises msgspec.DecodeError when the JSON is no value."""
    return _decode_value(encoded)


def decode_members(encoded: bytes | str) -> MemberList:
    """Members from the JSON of their record. Raises msgspec.DecodeError when it is none."""
    return _decode_members(encoded)


def version_headers(fence: Fence) -> Headers:
    """Headers by which a reader drops older records, in decimal ASCII."""
    numbers = msgspec.structs.astuple(fence)
    return tuple(
        (name, b"%d" % number) for name, number in zip(VERSION_HEADERS, numbers, strict=True)
    )


def version_of(headers: Iterable[tuple[str, bytes]]) -> Fence | None:
    """Version of a record from its headers; None when they do not name one.

    Records of version 0.2 name neither generation nor definitions: both were 0.
    """
    found = dict(headers)
    try:
        return Fence(
            int(found["edition"]),
            int(found.get("generation", b"0")),
            int(found.get("definitions", b"0")),
            int(found["as_of"]),
            int(found["applied"]),
        )
    except (KeyError, ValueError):
        return None


def _members_key(market: str, definitions: int) -> bytes:
    return f"{market}|{MEMBERS}|{definitions}".encode()


def _fence_key(market: str, writer: str) -> bytes:
    return f"{market}|{FENCE}|{writer}".encode()


def _parts(
    publication: Publication,
    topic: str,
    about: dict[str, Any],
    content: Mapping[str, Sequence[Any]],
) -> Iterator[Record]:
    """Numbered records of one thing (``about``), each with as many items of its content as fit.

    Each has all lists of the content, in their order.
    """
    fence = publication.fence
    head = {
        "v": VERSION,
        **about,
        "market": publication.market,
        "as_of": rfc3339(publication.as_of_ms),
        "edition": fence.edition,
    }
    prefix = _encode(head)[:-1]
    names = sum(len(name) + _NAME_BYTES for name in content)
    room = PART_BYTES_MAX - len(prefix) - names - _NUMBERS_BYTES
    groups: list[dict[str, list[bytes]]] = [{name: [] for name in content}]
    size = 0
    for name, items in content.items():
        for item in map(_encode, items):
            if size and size + len(item) + 1 > room:
                groups.append({name: [] for name in content})
                size = 0
            groups[-1][name].append(item)
            size += len(item) + 1
    for number, group in enumerate(groups, 1):
        numbers = b',"part":%d,"parts":%d' % (number, len(groups))
        lists = b"".join(b',"%b":[%b]' % (n.encode(), b",".join(own)) for n, own in group.items())
        value = b"%b%b%b}" % (prefix, numbers, lists)
        key = publication.market.encode()
        yield Record(topic, key, value, version_headers(fence), publication.market)

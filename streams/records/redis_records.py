"""What of a key in Redis breaks the contract (docs/contract.md#redis). No IO here.

Page, `show` and readers pass over what they cannot read. Whoever looks after an installation must hear
of it: somebody else writes to these keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from streams.index.formats import json_reader
from streams.index.input_reports import decode_report
from streams.index.instants import parse_instant
from streams.index.values import Snapshot
from streams.publish.keys import FENCE_FIELDS
from streams.records.unreadable import UnreadableRecord

FOUND_CHARACTERS = 200
_OF_02 = ("generation", "definitions")
"""Fields of a fence that version 0.2 did not write."""
_decode_snapshot = json_reader(Snapshot)
_decode_object = json_reader(dict[str, Any])
_decode_list = json_reader(list[dict[str, Any]])
Refusal = tuple[str, str, str]
"""(field or member, what was expected, what was found)."""


def _fence(fields: Mapping[bytes, bytes]) -> Iterator[Refusal]:
    for name in FENCE_FIELDS:
        text = fields.get(name.encode(), b"0" if name in _OF_02 else b"none")
        if fields and not _is_number(text, int):
            yield name, "an integer", _shown(text)


def _numbers(fields: Mapping[bytes, bytes]) -> Iterator[Refusal]:
    for name, text in fields.items():
        if not (name.startswith(b"@") or name.endswith(b"@status") or _is_number(text, float)):
            yield _shown(name), "a number", _shown(text)


def _snapshot(encoded: bytes | None) -> Iterator[Refusal]:
    if encoded is not None:
        yield from _undecodable("", "a snapshot, JSON", _decode_snapshot, encoded)


def _changes(entries: Iterable[tuple[bytes, Mapping[bytes, bytes]]]) -> Iterator[Refusal]:
    for number, fields in entries:
        at, changes = fields.get(b"as_of", b""), fields.get(b"changes", b"")
        if parse_instant(_shown(at)) is None:
            yield _shown(number), "as_of, RFC 3339", _shown(at)
        yield from _undecodable(_shown(number), "changes, a JSON list", _decode_list, changes)


def _history(members: Iterable[bytes]) -> Iterator[Refusal]:
    for member in members:
        yield from _undecodable("", "a point, a JSON object", _decode_object, member)


def _shifts(fields: Mapping[bytes, bytes]) -> Iterator[Refusal]:
    for name, text in fields.items():
        yield from _undecodable(_shown(name), "a shift, a JSON object", _decode_object, text)


def _suspicions(fields: Mapping[bytes, bytes]) -> Iterator[Refusal]:
    for name, text in fields.items():
        yield from _undecodable(_shown(name), "a suspicion, a JSON object", _decode_object, text)


def _incidents(fields: Mapping[bytes, bytes]) -> Iterator[Refusal]:
    for name, text in fields.items():
        yield from _undecodable(_shown(name), "an incident, a JSON object", _decode_object, text)


def _others(fields: Mapping[bytes, bytes]) -> Iterator[Refusal]:
    for name, text in fields.items():
        yield from _undecodable(
            _shown(name), "what `other` is made of, a JSON object", _decode_object, text
        )


def _inputs(fields: Mapping[bytes, bytes]) -> Iterator[Refusal]:
    for name, text in fields.items():
        yield from _undecodable(_shown(name), "a report of an input, JSON", decode_report, text)


def _markets(members: Iterable[bytes]) -> Iterator[Refusal]:
    for member in members:
        if not member.isascii():
            yield _shown(member), "the code of a market", "other characters"


READERS: dict[str, Callable[[Any], Iterator[Refusal]]] = {
    "fence": _fence,
    "values": _numbers,
    "snapshot": _snapshot,
    "changes": _changes,
    "history": _history,
    "days": _numbers,
    "shifts": _shifts,
    "suspicions": _suspicions,
    "incidents": _incidents,
    "others": _others,
    "inputs": _inputs,
    "markets": _markets,
}
"""Last part of a key's name -> what of its content breaks the contract."""


def refused(key: str, content: Any) -> list[UnreadableRecord]:
    """Return what of a key's content breaks the contract; ``content``: as redis-py gives it.

    An error in its place is that of a key of another type.
    """
    market = key.partition("{")[2].partition("}")[0]
    if isinstance(content, Exception):
        return [UnreadableRecord(market, "a key of the contract's type", str(content), key)]
    return [
        UnreadableRecord(market, expected, found, f"{key} {name}".strip())
        for name, expected, found in READERS[key.rpartition(":")[2]](content)
    ]


def _undecodable(
    name: str, expected: str, decode: Callable[[bytes], object], content: bytes
) -> Iterator[Refusal]:
    try:
        decode(content)
    except msgspec.DecodeError as error:
        yield name, expected, f"{error}: {_shown(content)}"


def _is_number(text: bytes, kind: Callable[[str], object]) -> bool:
    try:
        kind(text.decode())
    except ValueError:
        return False
    return True


def _shown(text: bytes) -> str:
    return text.decode(errors="replace")[:FOUND_CHARACTERS]

"""What is kept of a record that was refused: where and why, and no content.

Names, addresses and telephone numbers stand in the records of sources. So a dead letter has the paths
that the source file reads with the type at each, and a keyed hash, by which whoever has the record can
tell that it is the one.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from typing import Any

import msgspec

from streams.index.formats import json_reader
from streams.translate.record_shape import ShapeNode
from streams.translate.refused_records import RefusedRecord

_PATHS_MAX = 200
_decode = json_reader(Any, fractions=str)
_encode = msgspec.json.Encoder().encode


def refused_value(
    refused: RefusedRecord, record: bytes | None, shape: ShapeNode, key: bytes | None
) -> bytes:
    """Return the value of the dead letter, as JSON. ``key``: of the hash; None: it has no hash."""
    kept: dict[str, Any] = dict(refused._asdict())
    if record is not None:
        kept["types"] = types_of(record, shape)
        if key is not None:
            kept["hash"] = hmac.new(key, record, hashlib.sha256).hexdigest()
    return _encode(kept)


def types_of(record: bytes, shape: ShapeNode) -> dict[str, str]:
    """Return the type at each path that the source file reads; empty for what is no JSON."""
    try:
        decoded = _decode(record)
    except msgspec.DecodeError:
        return {}
    found: dict[str, str] = {}
    for path, kind in _types(decoded, shape, "$"):
        found.setdefault(path, kind)
        if len(found) >= _PATHS_MAX:
            break
    return found


def _types(value: Any, node: ShapeNode, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, list):
        if not value:
            yield path, "empty array"
        for each in value:
            yield from _types(each, node, f"{path}[]")
    elif isinstance(value, dict) and node.fields:
        # Keys that the file does not name may be anybody's address.
        for name, (_, below) in node.fields.items():
            if name in value:
                yield from _types(value[name], below, f"{path}.{name}")
    else:
        yield path, _type_of(value)


def _type_of(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    return "text" if isinstance(value, str) else "object"

"""Which fields of a record a source file reads, with what may be shown of them, and which not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from streams.index.shown_text import one_line
from streams.translate.record_shape import ShapeNode
from streams.translate.refused_records import form_of

_SHOWN_MAX = 40
_KEY = re.compile(r"[\w$/-][\w$/ -]{0,39}", re.ASCII)


class RecordField(NamedTuple):
    """A field of a record. ``shown``: its value, or the form of it; None where nothing reads it."""

    path: str
    shown: str | None


def fields_of(
    record: Any, node: ShapeNode, path: str = "", *, masked: bool = False
) -> Iterator[RecordField]:
    """Yield the fields of a decoded record, an object that is read nowhere as one.

    ``masked``: no value is shown. In a record that is refused anything may stand in any field.
    """
    if isinstance(record, list):
        for each in record:
            yield from fields_of(each, node, f"{path}[]", masked=masked)
        return
    if not node.fields or not isinstance(record, dict):
        yield RecordField(path, _shown(record, node, masked=masked))
        return
    for key, value in record.items():
        place = f"{path}.{_shown_key(key)}" if path else _shown_key(key)
        if key in node.fields:
            yield from fields_of(value, node.fields[key][1], place, masked=masked)
        else:
            yield RecordField(place, None)


def _shown_key(key: str) -> str:
    """A key, or its form: objects may have addresses as keys."""
    return key if _KEY.fullmatch(key) else form_of(key)


def _shown(value: Any, node: ShapeNode, *, masked: bool) -> str:
    if isinstance(value, dict):
        return "an object"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = str(value)
    if text not in node.known and (masked or node.is_personal or not node.is_read):
        return form_of(text)
    return one_line(text, _SHOWN_MAX)

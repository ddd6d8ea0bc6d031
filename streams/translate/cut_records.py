"""A decoded record, cut to what the source file reads of it, so that it can be written down.

All else is gone with the decoding. Two things are left to cut: objects and arrays at the ends of paths,
of which only the form is read, and elements of an array that no path chooses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from streams.translate.record_shape import Decimals, ShapeNode, as_compared

_PLAIN = frozenset({str, int, bool, type(None)})
"""Types of most values, of which nothing is to be cut."""
Cut = Callable[[Any], Any]
"""From a value to as much of it as is read. It may change the value."""


def compile_cut(node: ShapeNode) -> Cut:
    """Return what cuts the values of a place of the record."""
    one = _compile_fields(node) if node.fields else _bare
    if not node.is_array:
        return one
    choices = None if node.is_whole else tuple(node.chosen)

    def cut(elements: list[Any]) -> list[Any]:
        if choices is not None:
            elements = [each for each in elements if _is_chosen(each, choices)]
        return [None if each is None else one(each) for each in elements]

    return cut


def _compile_fields(node: ShapeNode) -> Cut:
    fields = [(attribute, compile_cut(child)) for attribute, child in node.fields.values()]

    def cut(record: Any) -> Any:
        for attribute, cut_field in fields:
            found = getattr(record, attribute)
            if type(found) not in _PLAIN:
                setattr(record, attribute, cut_field(found))
        return record

    return cut


def _bare(value: Any) -> Any:
    """A value as it was written; of an object or an array nothing but that it is one."""
    if isinstance(value, Decimals):
        return msgspec.Raw(value.encode())
    if isinstance(value, dict):
        return {}
    return [] if isinstance(value, list) else value


def _is_chosen(element: Any, choices: tuple[tuple[tuple[str, str], ...], ...]) -> bool:
    return element is not None and any(
        all(as_compared(getattr(element, attribute)) == value for attribute, value in choice)
        for choice in choices
    )

"""Conditions of a source file, compiled: a path and one comparison, or ``all`` or ``any`` of several.

Values are compared as texts: 1 is "1", true is "true". A value that is not there is in no list.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from streams.translate.mapping import DEPTH_MAX, Compiler, Place, Scope
from streams.translate.record_shape import as_compared

Holds = Callable[[Any, Scope], bool]
_COMPARISONS = ("is", "is_not", "in", "not_in", "present")
_EXPECTED = (
    f'a condition such as {{ path = "status", is = "paid" }}: `path` and one of '
    f"{', '.join(_COMPARISONS)}; or a list under `all` or `any`"
)


def compile_condition(compiler: Compiler, spec: Any, place: Place) -> Holds:
    """Compile a condition; what is wrong with it is noted."""
    keys = set(spec) if isinstance(spec, dict) else set()
    for name, ends_with in (("all", False), ("any", True)):
        if keys == {name} and isinstance(spec[name], list) and place.depth < DEPTH_MAX:
            parts = [
                compile_condition(compiler, each, place.at(f".{name}[{number}]"))
                for number, each in enumerate(spec[name])
            ]
            return _several(parts, ends_with=ends_with)
    comparisons = sorted(keys - {"path"})
    if "path" not in keys or len(comparisons) != 1 or comparisons[0] not in _COMPARISONS:
        compiler.wrong(place.key, _EXPECTED)
        return lambda _here, _scope: False
    name = comparisons[0]
    key, operand = f"{place.key}.{name}", spec[name]
    known: frozenset[str | None] = frozenset()
    if name != "present":
        operands = operand if name in ("in", "not_in") else [operand]
        if not isinstance(operands, list) or any(isinstance(x, (list, dict)) for x in operands):
            compiler.wrong(
                key, "a text, number or boolean; behind `in` and `not_in` a list of them"
            )
            operands = []
        known = frozenset(as_compared(each) for each in operands)
    elif not isinstance(operand, bool):
        compiler.wrong(key, "true or false")
    get = compiler.at_path(
        spec["path"],
        lambda found, _: found,
        place.at(".path")._replace(known=known),
        any_form=name == "present",
    )
    if name == "present":
        return lambda here, scope: (get(here, scope) is not None) is operand
    wanted = name in ("is", "in")
    return lambda here, scope: (as_compared(get(here, scope)) in known) is wanted


def _several(parts: list[Holds], *, ends_with: bool) -> Holds:
    """Return the condition that the first part which is ``ends_with`` decides."""

    def holds(here: Any, scope: Scope) -> bool:
        for part in parts:  # a generator would cost as much as the parts, for each record and line
            if part(here, scope) is ends_with:
                return ends_with
        return not ends_with

    return holds

"""The functions that a value of a source file may be. There are no others.

``path`` (with ``unless``), ``constant``, ``first``, ``if``, ``lookup``, ``join``, ``lower``, ``sum``,
``difference``, ``times``, ``money`` and ``time``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from streams.translate.conditions import compile_condition
from streams.translate.functions import UnfitError
from streams.translate.mapping import Compiler, Evaluate, FieldKind, Place, Scope, ValueFunction
from streams.translate.refused_records import RefusedRecordError, shown_found

_PAIR = 2


def _path(compiler: Compiler, spec: dict[str, Any], wanted: FieldKind, place: Place) -> Evaluate:
    unless = spec.get("unless", [])
    if not isinstance(unless, list):
        return compiler.wrong(f"{place.key}.unless", "a list of values that mean nothing")
    convert = compiler.convert(wanted, {}, place.key)
    return compiler.at_path(spec["path"], convert, place.at(".path"), unless=unless)


def _constant(
    compiler: Compiler, spec: dict[str, Any], wanted: FieldKind, place: Place
) -> Evaluate:
    constant, key = spec["constant"], f"{place.key}.constant"
    convert = compiler.convert(wanted, {}, place.key)

    def read(_here: Any, scope: Scope) -> Any:
        try:
            return convert(constant, scope)
        except UnfitError as unfit:
            raise RefusedRecordError(key, unfit.expected, shown_found(constant)) from unfit

    if wanted is FieldKind.MONEY and constant != 0:
        return read  # in minor units of the currency that a record says; 0 is 0 in each
    try:
        fixed = convert(constant, Scope(None))
    except UnfitError as unfit:
        return compiler.wrong(key, unfit.expected)
    return lambda _here, _scope: fixed


def _first(compiler: Compiler, spec: dict[str, Any], wanted: FieldKind, place: Place) -> Evaluate:
    values = compiler.values(spec["first"], wanted, place.at(".first"))

    def read(here: Any, scope: Scope) -> Any:
        for value in values:
            found = value(here, scope)
            if found is not None:
                return found
        return None

    return read


def _if(compiler: Compiler, spec: dict[str, Any], wanted: FieldKind, place: Place) -> Evaluate:
    holds = compile_condition(compiler, spec["if"], place.at(".if"))
    if "then" not in spec:
        return compiler.wrong(f"{place.key}.then", "a value")
    then = compiler.value(spec["then"], wanted, place.at(".then"))
    if "else" not in spec:
        return lambda here, scope: then(here, scope) if holds(here, scope) else None
    other = compiler.value(spec["else"], wanted, place.at(".else"))
    return lambda here, scope: (then if holds(here, scope) else other)(here, scope)


def _lookup(compiler: Compiler, spec: dict[str, Any], wanted: FieldKind, place: Place) -> Evaluate:
    name = str(spec.get("table"))
    table = compiler.tables.get(name)
    if table is None:
        known = ", ".join(compiler.tables) or "none"
        return compiler.wrong(f"{place.key}.table", f"a table of [tables]: there is {known}")
    if not wanted.is_text:
        return compiler.wrong(place.key, "no `lookup`: the field takes no text")
    text = compiler.value(spec["lookup"], FieldKind.TEXT, place.at(".lookup"))
    default: Evaluate | None = None
    if "default" in spec:
        default = compiler.value(spec["default"], wanted, place.at(".default"))

    def read(here: Any, scope: Scope) -> Any:
        found = text(here, scope)
        if found in table:
            return table[found]
        if default is not None:
            return default(here, scope)
        if found is None:
            return None
        path = spec["lookup"] if isinstance(spec["lookup"], str) else f"{place.key}.lookup"
        raise RefusedRecordError(path, f"a name in tables.{name}", shown_found(found))

    return read


def _join(compiler: Compiler, spec: dict[str, Any], wanted: FieldKind, place: Place) -> Evaluate:
    between = spec.get("with", "")
    if not wanted.is_text or not isinstance(between, str):
        return compiler.wrong(place.key, "a field that takes a text, and a text as `with`")
    values = compiler.values(spec["join"], FieldKind.TEXT, place.at(".join"), many=True)
    convert = compiler.convert(wanted, {}, place.key)

    def read(here: Any, scope: Scope) -> Any:
        texts = _flat(value(here, scope) for value in values)
        if not texts:
            return None
        try:
            return convert(between.join(texts), scope)
        except UnfitError as unfit:
            path = f"{place.key}.join"
            raise RefusedRecordError(path, unfit.expected, shown_found("".join(texts))) from unfit

    return read


def _lower(compiler: Compiler, spec: dict[str, Any], wanted: FieldKind, place: Place) -> Evaluate:
    if not wanted.is_text:
        return compiler.wrong(place.key, "no `lower`: the field takes no text")
    value = compiler.value(spec["lower"], wanted, place.at(".lower"))

    def read(here: Any, scope: Scope) -> Any:
        found = value(here, scope)
        return None if found is None else found.lower()

    return read


def _sum(compiler: Compiler, spec: dict[str, Any], wanted: FieldKind, place: Place) -> Evaluate:
    if wanted not in (FieldKind.MONEY, FieldKind.COUNT):
        return compiler.wrong(place.key, "no `sum`: the field takes no number")
    values = compiler.values(spec["sum"], wanted, place.at(".sum"), many=True)

    def read(here: Any, scope: Scope) -> Any:
        found = _flat(value(here, scope) for value in values)
        return sum(found) if found else None

    return read


def _difference(
    compiler: Compiler, spec: dict[str, Any], wanted: FieldKind, place: Place
) -> Evaluate:
    if wanted not in (FieldKind.MONEY, FieldKind.COUNT):
        return compiler.wrong(place.key, "no `difference`: the field takes no number")
    values = compiler.values(spec["difference"], wanted, place.at(".difference"))
    if len(values) != _PAIR:
        return compiler.wrong(f"{place.key}.difference", "two values")
    whole, part = values

    def read(here: Any, scope: Scope) -> Any:
        found = whole(here, scope)
        return None if found is None else found - (part(here, scope) or 0)

    return read


def _times(compiler: Compiler, spec: dict[str, Any], wanted: FieldKind, place: Place) -> Evaluate:
    if wanted not in (FieldKind.MONEY, FieldKind.COUNT):
        return compiler.wrong(place.key, "no `times`: the field takes no number")
    parts, inside = spec["times"], place.at(".times")
    if not isinstance(parts, list) or len(parts) != _PAIR:
        return compiler.wrong(inside.key, "two values")
    one = compiler.value(parts[0], wanted, inside.at("[0]"))
    count = compiler.value(parts[1], FieldKind.COUNT, inside.at("[1]"))

    def read(here: Any, scope: Scope) -> Any:
        found, units = one(here, scope), count(here, scope)
        return None if found is None or units is None else found * units

    return read


def _money(compiler: Compiler, spec: dict[str, Any], wanted: FieldKind, place: Place) -> Evaluate:
    if wanted is not FieldKind.MONEY:
        return compiler.wrong(place.key, "no `money`: the field takes none")
    settings: dict[str, Any] = {
        name: spec[name] for name in ("unit", "decimal", "group") if name in spec
    }
    convert = compiler.convert(wanted, settings, place.key)
    return compiler.at_path(spec["money"], convert, place.at(".money"))


def _time(compiler: Compiler, spec: dict[str, Any], wanted: FieldKind, place: Place) -> Evaluate:
    if wanted is not FieldKind.INSTANT:
        return compiler.wrong(place.key, "no `time`: the field takes none")
    settings: dict[str, Any] = {name: spec[name] for name in ("format", "zone") if name in spec}
    convert = compiler.convert(wanted, settings, place.key)
    return compiler.at_path(spec["time"], convert, place.at(".time"))


def _flat(found: Iterable[Any]) -> list[Any]:
    flat: list[Any] = []
    for each in found:
        if isinstance(each, list):
            flat += each
        elif each is not None:
            flat.append(each)
    return flat


FUNCTIONS = {
    "path": ValueFunction(frozenset({"unless"}), _path),
    "constant": ValueFunction(frozenset(), _constant),
    "first": ValueFunction(frozenset(), _first),
    "if": ValueFunction(frozenset({"then", "else"}), _if),
    "lookup": ValueFunction(frozenset({"table", "default"}), _lookup),
    "join": ValueFunction(frozenset({"with"}), _join),
    "lower": ValueFunction(frozenset(), _lower),
    "sum": ValueFunction(frozenset(), _sum),
    "difference": ValueFunction(frozenset(), _difference),
    "times": ValueFunction(frozenset(), _times),
    "money": ValueFunction(frozenset({"unit", "decimal", "group"}), _money),
    "time": ValueFunction(frozenset({"format", "zone"}), _time),
}

"""Fields of one table of a source file, compiled: needed ones, optional ones, and conditions."""

from __future__ import annotations

from typing import Any

from streams.translate.conditions import Holds, compile_condition
from streams.translate.functions_of_values import FUNCTIONS
from streams.translate.mapping import Compiler, Evaluate, FieldKind, Place, Scope
from streams.translate.refused_records import RefusedRecordError

_PATHLESS = ("constant", "if")


class TableFields:
    """Compiles the fields of one table."""

    def __init__(self, compiler: Compiler, table: Any, place: Place) -> None:
        self._compiler = compiler
        self._table = table
        self._place = place

    def needed(self, name: str, wanted: FieldKind) -> Evaluate:
        """Compile a field without which the record is refused."""
        spec = getattr(self._table, name)
        value = self._compiler.value(spec, wanted, self._at(name))
        path = first_path(spec) or f"({self._place.key}.{name})"
        expected = f"a value of `{self._place.key}.{name}`"

        def read(here: Any, scope: Scope) -> Any:
            found = value(here, scope)
            if found is None:
                raise RefusedRecordError(path, expected, "nothing")
            return found

        return read

    def optional(self, name: str, wanted: FieldKind, absent: Any = None) -> Evaluate:
        """Compile a field that may be missing in the file or in a record."""
        spec = getattr(self._table, name)
        if spec is None:
            return lambda _here, _scope: absent
        value = self._compiler.value(spec, wanted, self._at(name))
        if absent is None:
            return value

        def read(here: Any, scope: Scope) -> Any:
            found = value(here, scope)
            return absent if found is None else found

        return read

    def holds(self, name: str, *, otherwise: bool) -> Holds:
        """Compile a condition that may be missing in the file."""
        spec = getattr(self._table, name)
        if spec is None:
            return lambda _here, _scope: otherwise
        return compile_condition(self._compiler, spec, self._at(name))

    def _at(self, name: str) -> Place:
        place = self._place.at(f".{name}")._replace(depth=0)
        return place._replace(is_personal=name == "shopper_id")


def first_path(spec: Any) -> str | None:
    """Return the first path of a value: where people are to look when it is wrong or missing."""
    if isinstance(spec, str):
        return spec
    if isinstance(spec, dict):
        spec = [spec[name] for name in FUNCTIONS if name in spec and name not in _PATHLESS]
    return next(filter(None, map(first_path, spec)), None) if isinstance(spec, list) else None

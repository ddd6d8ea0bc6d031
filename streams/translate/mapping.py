"""Values of a source file, compiled into functions of a record.

A value is a path, or a table with one function of ``functions_of_values``. There are no expressions.
What a value must be (an id, money, a time) is known from the field that it is mapped to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple

from streams.translate.functions import (
    MoneyReader,
    UnfitError,
    as_count,
    as_currency,
    as_flag,
    as_id,
    as_label,
    as_text,
    time_reader,
)
from streams.translate.paths import PathMistakeError, RecordPath, parse_path
from streams.translate.record_shape import Reach, RecordShape, ShapeNode, as_compared
from streams.translate.refused_records import RefusedRecordError, shown_found

DEPTH_MAX = 8


class FieldKind(Enum):
    """What a value must be."""

    TEXT = "text"
    ID = "id"
    LABEL = "label"
    CURRENCY = "currency"
    COUNT = "count"
    FLAG = "flag"
    MONEY = "money"
    INSTANT = "instant"

    @property
    def is_text(self) -> bool:
        """Whether texts are what it is made of."""
        return self in (FieldKind.TEXT, FieldKind.ID, FieldKind.LABEL, FieldKind.CURRENCY)


class Scope:
    """What values of one record may need beside the place that is read."""

    __slots__ = ("currency", "root")

    def __init__(self, root: Any) -> None:
        self.root = root
        self.currency = ""


Evaluate = Callable[[Any, Scope], Any]
"""From the place that is read (a record or a line) to a value; None where there is none."""
Convert = Callable[[Any, Scope], Any]
_PLAIN: dict[FieldKind, Callable[[Any], Any]] = {
    FieldKind.TEXT: as_text,
    FieldKind.ID: as_id,
    FieldKind.LABEL: as_label,
    FieldKind.CURRENCY: as_currency,
    FieldKind.COUNT: as_count,
    FieldKind.FLAG: as_flag,
}


class Place(NamedTuple):
    """Where a value stands: in the record (``base``) and in the source file (``key``).

    ``is_personal``: nobody is to be shown what is found there. ``known``: what a condition compares it
    with; None where events are made of it.
    """

    base: ShapeNode
    key: str
    depth: int = 0
    is_personal: bool = False
    known: frozenset[str | None] | None = None

    def at(self, name: str) -> Place:
        """Return the place of a part of the value."""
        return self._replace(key=f"{self.key}{name}", depth=self.depth + 1)


class ValueFunction(NamedTuple):
    """A function that a value may be: the other keys that its table may have, and its compiler."""

    keys: frozenset[str]
    compile: Callable[[Compiler, dict[str, Any], FieldKind, Place], Evaluate]


class Compiler:
    """Compiles the values of one source file, and collects what is wrong with them."""

    def __init__(
        self,
        shape: RecordShape,
        functions: Mapping[str, ValueFunction],
        tables: Mapping[str, Mapping[str, str]],
        money: Mapping[str, Any],
        time: Mapping[str, Any],
    ) -> None:
        """``money``, ``time``: how the source writes them, unless a value says otherwise."""
        self.mistakes: list[str] = []
        self.shape = shape
        self.tables = tables
        self._functions = functions
        self._money = money
        self._time = time

    def wrong(self, key: str, expected: str) -> Evaluate:
        """Note a mistake; return a value that is never there, so that others can be found."""
        self.mistakes.append(f"{key}: expected {expected}")
        return lambda _here, _scope: None

    def value(self, spec: Any, wanted: FieldKind, place: Place) -> Evaluate:
        """Compile a value."""
        if isinstance(spec, str):
            return self.at_path(spec, self.convert(wanted, {}, place.key), place)
        if not isinstance(spec, dict):
            return self.wrong(place.key, "a path, or a table with one function")
        if place.depth >= DEPTH_MAX:
            return self.wrong(place.key, f"at most {DEPTH_MAX} functions within each other")
        names = [name for name in self._functions if name in spec]
        if len(names) != 1:
            known = ", ".join(self._functions)
            return self.wrong(place.key, f"one of {known}; found {', '.join(spec) or 'nothing'}")
        function = self._functions[names[0]]
        for each in sorted(spec.keys() - {names[0]} - function.keys):
            others = ", ".join(sorted(function.keys)) or "nothing"
            self.wrong(f"{place.key}.{each}", f"{others} beside `{names[0]}`")
        return function.compile(self, spec, wanted, place)

    def values(
        self, specs: Any, wanted: FieldKind, place: Place, *, many: bool = False
    ) -> list[Evaluate]:
        """Compile a list of values. ``many``: paths may lead to several values each."""
        if not isinstance(specs, list) or not specs:
            return [self.wrong(place.key, "a list of values")]
        found = []
        for number, spec in enumerate(specs):
            part = place.at(f"[{number}]")
            if many and isinstance(spec, str):
                convert = self.convert(wanted, {}, part.key)
                found.append(self.at_path(spec, convert, part, many=True))
            else:
                found.append(self.value(spec, wanted, part))
        return found

    def at_path(
        self,
        text: Any,
        convert: Convert,
        place: Place,
        *,
        unless: Sequence[Any] = (),
        many: bool = False,
        any_form: bool = False,
    ) -> Evaluate:
        """Compile a path. ``unless``: values that are none. ``any_form``: only whether it is there."""
        path = self._path(text, place.key)
        if path is None:
            return _nothing
        if path.is_many and not many:
            return self.wrong(place.key, f"one value, but {text!r} may lead to many: add [first]")
        try:
            base = self.shape.root if path.from_root else place.base
            reach, node = self.shape.reach(base, path, any_form=any_form)
        except PathMistakeError as error:
            return self.wrong(place.key, str(error))
        node.is_personal |= place.is_personal
        node.is_read |= place.known is None
        node.known |= place.known or frozenset()
        return (_reader_of_many if path.is_many else _reader)(path, reach, convert, unless)

    def elements(self, text: Any, place: Place) -> tuple[Reach, ShapeNode]:
        """Compile the path of an array; return what finds its elements, and their place."""
        path = self._path(text, place.key)
        if path is not None:
            try:
                base = self.shape.root if path.from_root else place.base
                return self.shape.elements(base, path)
            except PathMistakeError as error:
                self.wrong(place.key, str(error))
        return (lambda _: None), ShapeNode()

    def convert(self, wanted: FieldKind, spec: Mapping[str, Any], key: str) -> Convert:
        """Return what makes a value found in a record one that is wanted."""
        if wanted is FieldKind.INSTANT:
            settings = {"format": "rfc3339", "zone": "UTC", **self._time, **spec}
            try:
                read = time_reader(settings["format"], settings["zone"])
            except (ValueError, KeyError, TypeError, OSError):
                expected = "format rfc3339, naive, s, ms or us, and a zone such as Europe/Berlin"
                return self.wrong(key, expected)
            return lambda found, _: read(found)
        if wanted is FieldKind.MONEY:
            reader = self._money_reader({**self._money, **spec}, key)
            return lambda found, scope: reader.read(found, scope.currency)
        convert = _PLAIN[wanted]
        return lambda found, _: convert(found)

    def _money_reader(self, settings: Mapping[str, Any], key: str) -> MoneyReader:
        unit = settings.get("unit", "major")
        decimal, group = settings.get("decimal", "."), settings.get("group", "")
        if unit not in ("major", "minor"):
            self.wrong(f"{key}.unit", "major or minor")
        if any(
            not isinstance(each, str) or len(each) > 1 or each.isalnum()
            for each in (decimal, group)
        ) or decimal in ("", group):
            self.wrong(key, "a `decimal` of one character, and a `group` of another or none")
            decimal, group = ".", ""
        digits, multiples = settings.get("digits", {}), settings.get("multiples", {})
        return MoneyReader(unit, decimal, group, digits, multiples)

    def _path(self, text: Any, key: str) -> RecordPath | None:
        if not isinstance(text, str):
            self.wrong(key, 'a path such as "billing.country"')
            return None
        try:
            return parse_path(text)
        except PathMistakeError as error:
            self.mistakes.append(f"{key}: {error}")
            return None


def _nothing(_here: Any, _scope: Scope) -> Any:
    return None


def _reader(path: RecordPath, reach: Reach, convert: Convert, unless: Sequence[Any]) -> Evaluate:
    from_root, text = path.from_root, path.text
    none = frozenset(as_compared(each) for each in unless)

    def read(here: Any, scope: Scope) -> Any:
        found = reach(scope.root if from_root else here)
        if found is None or found == "" or (none and as_compared(found) in none):
            return None
        try:
            return convert(found, scope)
        except UnfitError as unfit:
            raise RefusedRecordError(text, unfit.expected, shown_found(found)) from unfit

    return read


def _reader_of_many(
    path: RecordPath, reach: Reach, convert: Convert, unless: Sequence[Any]
) -> Evaluate:
    from_root, text = path.from_root, path.text
    none = frozenset(as_compared(each) for each in unless)

    def read(here: Any, scope: Scope) -> Any:
        values = []
        for found in reach(scope.root if from_root else here) or ():
            if found is None or found == "" or as_compared(found) in none:
                continue
            try:
                values.append(convert(found, scope))
            except UnfitError as unfit:
                raise RefusedRecordError(text, unfit.expected, shown_found(found)) from unfit
        return values

    return read

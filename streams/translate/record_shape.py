"""What is decoded of a record: only the fields that paths of the source file lead to.

Every path is entered into a tree. The tree becomes msgspec structs, in which all else of the record is
skipped without being made an object. Containers are typed, so a record of another form is refused with
the path. The values at the ends of paths are taken as they are: a number keeps the text that it was
written as, so that no decimal is rounded.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

import msgspec

from streams.index.formats import json_reader
from streams.translate.paths import EACH, FIRST, PathMistakeError, RecordPath, Step, Where

Reach = Callable[[Any], Any]
"""From an object to what stands at a path of it: None where nothing does; a list if it may be many."""


Piece = tuple[list[tuple[str, ...]], tuple[str | Where, ...]]
"""Part of a path up to an array: the attributes of each name, and what is done with the array."""


class Decimals(str):
    """The text of a JSON number with a fraction or an exponent."""

    __slots__ = ()


class ShapeNode:
    """What paths want of one place of a record. ``fields``: of it, or of each of its elements.

    ``is_read``: events are made of what stands there. ``is_personal``: nobody is to be shown it, but for
    the values that the source file itself names (``known``). ``chosen``: by which fields (attribute and
    value of each) paths choose among its elements; ``is_whole``: a path takes any of them.
    """

    __slots__ = ("chosen", "fields", "is_array", "is_personal", "is_read", "is_whole", "known")

    def __init__(self) -> None:
        self.fields: dict[str, tuple[str, ShapeNode]] = {}
        self.is_array: bool | None = None
        self.is_personal = self.is_read = self.is_whole = False
        self.known: frozenset[str | None] = frozenset()
        self.chosen: set[tuple[tuple[str, str], ...]] = set()


class RecordShape:
    """Collects the paths of a source file, and makes their decoder."""

    def __init__(self, aliases: Mapping[str, Sequence[str]]) -> None:
        """``aliases``: other names that the source may use for a name, at any depth."""
        self._aliases = aliases
        self.root = ShapeNode()

    def reach(
        self, base: ShapeNode, path: RecordPath, *, any_form: bool = False
    ) -> tuple[Reach, ShapeNode]:
        """Enter a path; return the function that follows it, and where it ends.

        ``any_form``: what stands there may be an array, an object or a value. Raises PathMistakeError.
        """
        return self._follow(base, path.text, path.steps, any_form=any_form)

    def elements(self, base: ShapeNode, path: RecordPath) -> tuple[Reach, ShapeNode]:
        """Enter the path of an array; return what finds its elements, and their place in the tree."""
        *before, last = path.steps
        if last.choices[-1:] == (FIRST,) or any(step.is_many for step in before):
            raise PathMistakeError(f"{path.text!r}: expected the path of one array")
        as_array = last if last.choices else last._replace(choices=(EACH,))
        return self._follow(base, path.text, (*before, as_array))

    def decoder(self) -> Callable[[bytes], Any]:
        """Return the decoder of a record. It raises msgspec.DecodeError."""
        return json_reader(_struct_of(self.root), fractions=Decimals)

    def _follow(
        self, base: ShapeNode, text: str, steps: tuple[Step, ...], *, any_form: bool = False
    ) -> tuple[Reach, ShapeNode]:
        node = base
        pieces: list[Piece] = [([], ())]
        wheres: dict[Where, str] = {}
        for step in steps:
            attributes, node = self._field(node, step.name)
            if step.choices or not any_form or step is not steps[-1]:
                _require_form(node, text, is_array=bool(step.choices))
            pieces[-1][0].append(attributes)
            for choice in step.choices:
                if isinstance(choice, Where):
                    wheres[choice], compared = _child(node, choice.name)
                    compared.known |= {choice.value}
            if step.choices:
                by = tuple((wheres[c], c.value) for c in step.choices if isinstance(c, Where))
                node.chosen |= {by}
                node.is_whole |= not by
                pieces[-1] = pieces[-1][0], step.choices
                pieces.append(([], ()))
        if len(pieces) == 1:
            return _plain(pieces[0][0]), node
        # What stands in the other elements is nobody's business here.
        node.is_personal |= bool(wheres)
        return _through_arrays(pieces, wheres, many=any(step.is_many for step in steps)), node

    def _field(self, node: ShapeNode, name: str) -> tuple[tuple[str, ...], ShapeNode]:
        """Return the attributes that may hold a field, and its place. Aliases share the place."""
        attribute, child = _child(node, name)
        others = self._aliases.get(name, ())
        for other in others:
            node.fields.setdefault(other, (f"f{len(node.fields)}", child))
        return (attribute, *(node.fields[other][0] for other in others)), child


def _child(node: ShapeNode, name: str) -> tuple[str, ShapeNode]:
    if name not in node.fields:
        node.fields[name] = f"f{len(node.fields)}", ShapeNode()
    return node.fields[name]


def _require_form(node: ShapeNode, text: str, *, is_array: bool) -> None:
    if node.is_array is None:
        node.is_array = is_array
    elif node.is_array != is_array:
        raise PathMistakeError(
            f"{text!r}: another path reads the same name without `[]`, or with it"
        )


def _struct_of(node: ShapeNode) -> Any:
    if not node.fields:
        return list[Any] | None if node.is_array else Any
    names = {attribute: name for name, (attribute, _) in node.fields.items()}
    made = msgspec.defstruct(
        "Decoded",
        [(attribute, _struct_of(child), None) for attribute, child in node.fields.values()],
        rename=names,
        omit_defaults=True,
        gc=False,
    )
    if node.is_array is None:
        return made
    return list[made | None] | None if node.is_array else made | None  # type: ignore[valid-type]


def _plain(attributes: list[tuple[str, ...]]) -> Reach:
    gets = [attrgetter(".".join(chosen)) for chosen in itertools.product(*attributes)]
    if len(gets) == len(attributes) == 1:
        return gets[0]

    def follow(here: Any) -> Any:
        for get in gets:
            try:
                found = get(here)
            except AttributeError:  # an object on the way is null or absent
                continue
            if found is not None and found != "":  # of several names the one that is not empty
                return found
        return None

    return follow


def _through_arrays(
    pieces: list[Piece],
    wheres: dict[Where, str],
    *,
    many: bool,
) -> Reach:
    compiled = [
        (_plain(attributes) if attributes else None, choices) for attributes, choices in pieces
    ]

    def follow(here: Any) -> Any:
        found = [here]
        for get, choices in compiled:
            if get is not None:
                found = [value for each in found if (value := get(each)) is not None]
            if choices:
                found = [chosen for each in found for chosen in _chosen(each, choices, wheres)]
        return found if many else found[0] if found else None

    return follow


def _chosen(
    elements: list[Any], choices: tuple[str | Where, ...], wheres: dict[Where, str]
) -> list[Any]:
    kept = [each for each in elements if each is not None]
    for choice in choices:
        if isinstance(choice, Where):
            attribute = wheres[choice]
            kept = [each for each in kept if as_compared(getattr(each, attribute)) == choice.value]
        elif choice == FIRST:
            kept = kept[:1]
    return kept


def as_compared(found: Any) -> str | None:
    """Return the text by which a value is compared: 1 is "1", true is "true"; null and none are None."""
    if isinstance(found, str):
        return found
    if isinstance(found, bool):
        return "true" if found else "false"
    return None if found is None else str(found)

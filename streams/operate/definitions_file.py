"""A definitions document as a TOML file: read, checked, and written so that it can be edited."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from streams.console.errors import OperationError
from streams.index.definition_mistakes import definition_mistakes
from streams.index.definitions import Definitions, MemberDefinition
from streams.index.identifiers import DIMENSIONS

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_FIELDS = MemberDefinition.__struct_fields__
_SHOWN_MAX = 20


class DefinitionsFile(NamedTuple):
    """What a file holds. ``base``: the version that it builds upon; None: it does not say."""

    document: Definitions
    base: int | None


def read_definitions_file(path: Path) -> DefinitionsFile:
    """Read a file. Raises OperationError with all that is wrong, and why."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise OperationError(f"{path}: {error}") from error
    base = raw.pop("version", None)
    if base is not None and (type(base) is not int or base < 0):
        raise OperationError(f"{path}: version: expected a number from 0, as `show` writes it")
    if beyond := list(_beyond_labels(raw)):
        raise _refused(path, beyond)
    try:
        document = msgspec.convert(raw, Definitions)
    except msgspec.ValidationError as error:
        raise OperationError(f"{path}: {error}") from error
    if mistakes := list(definition_mistakes(document)):
        raise _refused(path, mistakes)
    return DefinitionsFile(document, base)


def _refused(path: Path, mistakes: list[str]) -> OperationError:
    shown = [f"{path}: {each}" for each in mistakes[:_SHOWN_MAX]]
    more = len(mistakes) - len(shown)
    return OperationError("\n".join([*shown, *([f"and {more} more"] if more else [])]))


def _beyond_labels(raw: dict[str, Any]) -> Iterator[str]:
    """Yield what a document asks for that no label says: by it nothing could be told apart."""
    for dimension in DIMENSIONS:
        members = raw.get(dimension)
        for member, each in members.items() if isinstance(members, dict) else ():
            for name in each if isinstance(each, dict) else ():
                if name not in _FIELDS:
                    yield (
                        f"{dimension}.{member}.{name}: a member is the labels that it lists, and has "
                        f"{', '.join(_FIELDS)}. Events are counted by what they say of themselves: "
                        f"whatever else {name!r} would tell apart, the counts do not keep. Let the "
                        "shop send a label for it"
                    )


def as_definitions_toml(document: Definitions, version: int, comment: str) -> str:
    """Write a document as a file that builds upon ``version``."""
    lines = [f"# {comment}", f"market = {_text(document.market)}"]
    lines.append(f"version = {version}  # the version that this file builds upon")
    for dimension, members in document.by_dimension():
        for member, each in members.items():
            lines += ["", f"[{dimension}.{_key(member)}]"]
            if each.name:
                lines.append(f"name = {_text(each.name)}")
            for field in ("labels", "formerly"):
                if texts := getattr(each, field):
                    lines.append(f"{field} = [{', '.join(map(_text, texts))}]")
            if each.parent:
                lines.append(f"parent = {_text(each.parent)}")
            if each.digital:
                lines.append("digital = true")
    return "\n".join([*lines, ""])


def _key(text: str) -> str:
    return text if _BARE.fullmatch(text) else _text(text)


def _text(text: str) -> str:
    """Write a TOML basic string: a JSON string, which leaves only DEL as it is."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")

"""Paths of a source file: where in a record a value stands.

``a.b`` leads into objects. ``[]`` behind a name stands for every element of an array, ``[first]`` for
its first, ``[name=value]`` for those whose field ``name`` is ``value``. ``$.a`` begins at the root of
the record, also from inside a line. A name with other characters stands in quotation marks.
"""

from __future__ import annotations

import re
from typing import NamedTuple

STEPS_MAX = 16
EACH, FIRST = "[]", "[first]"
_NAME = re.compile(r'"([^"]+)"|([^\s."\[\]=]+)')
_BRACKETS = re.compile(r'\[(?:(first)|(?:"([^"]+)"|([^\s."\[\]=]+))=(?:"([^"]*)"|([^"\[\]=]+)))?\]')


class PathMistakeError(ValueError):
    """A text is no path. The message says what was expected."""


class Where(NamedTuple):
    """Keeps the elements of an array whose field ``name`` is ``value``, compared as texts."""

    name: str
    value: str


class Step(NamedTuple):
    """One name of a path, and what is done with the array that it leads to."""

    name: str
    choices: tuple[str | Where, ...] = ()
    """EACH, FIRST or a Where, in the order in which they are written."""

    @property
    def is_many(self) -> bool:
        """Whether several values come out."""
        return bool(self.choices) and FIRST not in self.choices


class RecordPath(NamedTuple):
    """A path as it was written, and its steps."""

    text: str
    from_root: bool
    steps: tuple[Step, ...]

    @property
    def is_many(self) -> bool:
        """Whether several values may come out."""
        return any(step.is_many for step in self.steps)


def parse_path(text: str) -> RecordPath:
    """Read a path. Raises PathMistakeError.

    >>> parse_path("$.meta[key=category][first].value").steps[0].choices
    (Where(name='key', value='category'), '[first]')
    """
    from_root = text.startswith("$.")
    at = 2 if from_root else 0
    steps: list[Step] = []
    while True:
        named = _NAME.match(text, at)
        if named is None:
            raise PathMistakeError(f"expected a name at character {at + 1} of {text!r}")
        at = named.end()
        choices: list[str | Where] = []
        while brackets := _BRACKETS.match(text, at):
            choices.append(_choice(brackets))
            at = brackets.end()
        steps.append(Step(named[1] or named[2], tuple(choices)))
        _require_sense(steps[-1], text)
        if at == len(text):
            break
        if text[at] != ".":
            raise PathMistakeError(
                f"expected `.`, `[]`, `[first]` or `[name=value]` at character {at + 1} of {text!r}"
            )
        at += 1
    if len(steps) > STEPS_MAX:
        raise PathMistakeError(f"{text!r} has {len(steps)} names, at most {STEPS_MAX}")
    return RecordPath(text, from_root, tuple(steps))


def _choice(brackets: re.Match[str]) -> str | Where:
    first, quoted, bare, quoted_value, bare_value = brackets.groups()
    if first:
        return FIRST
    if quoted or bare:
        return Where(quoted or bare, bare_value if quoted_value is None else quoted_value)
    return EACH


def _require_sense(step: Step, text: str) -> None:
    if FIRST in step.choices[:-1]:
        raise PathMistakeError(f"nothing may follow `[first]` but `.`: {text!r}")
    if EACH in step.choices and len(step.choices) > 1:
        raise PathMistakeError(f"`[]` stands alone behind a name: {text!r}")

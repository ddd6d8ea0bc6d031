"""Why a record of a source was refused: which source, where, what was expected and what was found.

What was found is shown by its form alone. Whose name, address or telephone number a text is cannot be
known here.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from streams.translate.record_shape import Decimals

_SHOWN_MAX = 24
_ALPHABETIC = re.compile(r"[^\W\d_]")
_DIGITS = re.compile(r"\d")


class RefusedRecord(NamedTuple):
    """A record that becomes no event, and why. ``found`` shows no content."""

    source: str
    path: str
    expected: str
    found: str

    @property
    def detail(self) -> str:
        """One sentence for people."""
        return f"{self.source}: expected {self.expected}, found {self.found} - at `{self.path}`"


class RefusedRecordError(Exception):
    """Ends the reading of a record. ``path``: from the place that is being read, or from ``$``."""

    def __init__(self, path: str, expected: str, found: str) -> None:
        super().__init__(path, expected, found)
        self.path = path
        self.expected = expected
        self.found = found

    def within(self, place: str) -> RefusedRecordError:
        """Return the refusal with the place of the element that was read."""
        if self.path.startswith("$."):
            return self
        return RefusedRecordError(f"{place}.{self.path}", self.expected, self.found)


def form_of(text: str) -> str:
    """Return the form of a text: `x` for a letter, `9` for a digit, all else as it is.

    >>> form_of("Anna <a.b@c.de>"), form_of("1.234,56 €")
    ('xxxx <x.x@x.xx>', '9.999,99 €')
    """
    form = _DIGITS.sub("9", _ALPHABETIC.sub("x", text[:_SHOWN_MAX]))
    printable = "".join(each if each.isprintable() else "?" for each in form)
    return printable if len(text) <= _SHOWN_MAX else f"{printable}..."


def shown_found(found: Any) -> str:
    """Return what was found, by its form."""
    if found is None:
        return "nothing"
    if isinstance(found, bool):
        return "true" if found else "false"
    if isinstance(found, (int, Decimals)):
        return f"the number {form_of(str(found))}"
    if isinstance(found, str):
        return f"the text {form_of(found)!r}" if found else "an empty text"
    return "an array" if isinstance(found, list) else "an object"

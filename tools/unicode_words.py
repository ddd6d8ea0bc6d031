"""Writes streams/index/unicode_words.py: what NFKC and case folding touch in one Unicode version.

Run `python -m tools.unicode_words` with a Python whose `unicodedata.unidata_version` is wanted. Another
version is another edition: names may become other members.
"""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Callable
from pathlib import Path

PATH = Path(__file__).parents[1] / "streams" / "index" / "unicode_words.py"
_HEAD = '''"""Letters, marks and numbers of one Unicode version, and what else NFKC changes.

Python's own tables change with its version: a worker could then take a name for another member than the
worker before it. Unicode promises that NFKC and case folding of these characters never change. Written
by `python -m tools.unicode_words`; tests/unit/index/test_slugs.py holds it against Python's tables.
"""

UNICODE_VERSION = "{version}"
WORD_RANGES = """
{words}
"""
"""Code points in hexadecimal, first and last of each range, separated by spaces."""
CHANGED_RANGES = """
{changed}
"""
"""Other characters that NFKC changes, alone or before a mark: `=` and a stroke are one character."""
'''
_WORDS = "LMN"
_CODES = range(0x110000)


def _is_assigned(character: str) -> bool:
    return unicodedata.category(character) not in ("Cn", "Cs")


def is_word(character: str) -> bool:
    """Whether a name keeps the character, or NFKC makes of it one that it keeps."""
    return _is_assigned(character) and any(
        unicodedata.category(each)[0] in _WORDS
        for each in character + unicodedata.normalize("NFKC", character)
    )


def changed() -> frozenset[str]:
    """Characters but those of words that NFKC or case folding changes, alone or before a mark."""
    found: set[str] = set()
    for each in map(chr, _CODES):
        if unicodedata.normalize("NFKD", each) != each or each.casefold() != each:
            found.update(each, unicodedata.normalize("NFD", each))
    return frozenset(each for each in found if _is_assigned(each) and not is_word(each))


def ranges(belongs: Callable[[str], bool]) -> list[tuple[int, int]]:
    """First and last code point of each range of characters that belong."""
    found: list[tuple[int, int]] = []
    for code in _CODES:
        if not belongs(chr(code)):
            continue
        if found and found[-1][1] == code - 1:
            found[-1] = found[-1][0], code
        else:
            found.append((code, code))
    return found


def _written(belongs: Callable[[str], bool]) -> str:
    each = (f"{a:x}" if a == b else f"{a:x}-{b:x}" for a, b in ranges(belongs))
    return "\n".join(textwrap.wrap(" ".join(each), 100, break_on_hyphens=False))


def content() -> str:
    """Content of the module."""
    return _HEAD.format(
        version=unicodedata.unidata_version,
        words=_written(is_word),
        changed=_written(changed().__contains__),
    )


if __name__ == "__main__":
    PATH.write_text(content(), encoding="utf-8")

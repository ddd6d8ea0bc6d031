"""Writes streams/index/unicode_words.py: the letters, marks and numbers of one Unicode version.

Run `python -m tools.unicode_words` with a Python whose `unicodedata.unidata_version` is wanted. Another
version is another edition: names may become other members.
"""

from __future__ import annotations

import textwrap
import unicodedata
from pathlib import Path

PATH = Path(__file__).parents[1] / "streams" / "index" / "unicode_words.py"
_HEAD = '''"""Letters, marks and numbers of one Unicode version, and what NFKC makes of them.

Python's own tables change with its version: a worker could then take a name for another member than the
worker before it. Unicode promises that NFKC and case folding of these characters never change. Written
by `python -m tools.unicode_words`; tests/unit/index/test_slugs.py holds it against Python's tables.
"""

UNICODE_VERSION = "{version}"
WORD_RANGES = """
{ranges}
"""
"""Code points in hexadecimal, first and last of each range, separated by spaces."""
'''
_WORDS = "LMN"


def is_word(character: str) -> bool:
    """Whether a name keeps the character, or NFKC makes of it one that it keeps."""
    if unicodedata.category(character) in ("Cn", "Cs"):
        return False
    return any(
        unicodedata.category(each)[0] in _WORDS
        for each in character + unicodedata.normalize("NFKC", character)
    )


def ranges() -> list[tuple[int, int]]:
    """First and last code point of each range of word characters, by Python's tables."""
    found: list[tuple[int, int]] = []
    for code in range(0x110000):
        if not is_word(chr(code)):
            continue
        if found and found[-1][1] == code - 1:
            found[-1] = found[-1][0], code
        else:
            found.append((code, code))
    return found


def content() -> str:
    """Content of the module."""
    words = " ".join(
        f"{first:x}" if first == last else f"{first:x}-{last:x}" for first, last in ranges()
    )
    lines = textwrap.wrap(words, 100, break_on_hyphens=False)
    return _HEAD.format(version=unicodedata.unidata_version, ranges=chr(10).join(lines))


if __name__ == "__main__":
    PATH.write_text(content(), encoding="utf-8")

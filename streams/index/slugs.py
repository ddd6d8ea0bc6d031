"""Member of a raw label: one form for all the ways in which one name is written.

A name keeps its letters, marks and numbers, in any script. Vowel signs are marks: without them, rice and
hair are one word in Bengali.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata

from streams.index.unicode_words import WORD_RANGES

SLUG_BYTES_MAX = 96
LABEL_CHARACTERS_MAX = 1_000
"""Of a longer label only so many are read. To order 64,000 marks on one letter takes seconds."""
_HASH_DIGITS = 16
_APOSTROPHES = "'\u2019\uff07"
_JOINERS = "\u200c\u200d"
_IGNORED = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
"""Unicode's default ignorable characters but the joiners: they are not seen, and separate nothing."""


def _as_class(ranges: str) -> str:
    ends = [each.partition("-") for each in ranges.split()]
    return "".join(
        f"{re.escape(chr(int(first, 16)))}-{re.escape(chr(int(last or first, 16)))}"
        for first, _, last in ends
    )


_DROPPED = re.compile(f"[{_APOSTROPHES}{_IGNORED}]+")
_SEPARATORS = re.compile(f"[^{_as_class(WORD_RANGES)}{_JOINERS}]+")
_LOOSE_JOINERS = re.compile(
    f"(?<![^\x00-\x7f])[{_JOINERS}]+|[{_JOINERS}]+(?![^\x00-\x7f{_JOINERS}])"
)
"""Joiners that are not within a word. Within one, Sinhala, Bengali and Persian need them to write it."""


def slug(text: str) -> str:
    """Member of a raw label: case folded, in NFKC, no apostrophes, `_` for runs of anything but letters.

    A member of more than 96 bytes is the beginning of the label and a hash of the whole of it: two long
    names that begin alike stay two. Of a label of more than 1,000 characters the hash is that of the
    label as it is written, in any case and form.

    >>> slug("Men's Fashion"), slug("Mobiles & Tablets"), slug(" Easypay_MA ")
    ('mens_fashion', 'mobiles_tablets', 'easypay_ma')
    >>> slug("চাল") == "চাল" != slug("চুল")
    True
    """
    whole = text.encode(errors="surrogatepass") if len(text) > LABEL_CHARACTERS_MAX else b""
    plain = _SEPARATORS.sub("_", _DROPPED.sub("", text[:LABEL_CHARACTERS_MAX]))
    if not plain.isascii():
        folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", plain).casefold())
        # What a character was made of may be no letter (the brackets of a number in brackets).
        plain = _LOOSE_JOINERS.sub("", _SEPARATORS.sub("_", _DROPPED.sub("", folded)))
        plain = unicodedata.normalize("NFKC", plain)
    return _fitted(re.sub("__+", "_", plain.casefold()).strip("_"), whole)


def _fitted(name: str, whole: bytes) -> str:
    encoded = name.encode()
    if len(encoded) <= SLUG_BYTES_MAX and not whole:
        return name
    begins = (
        encoded[: SLUG_BYTES_MAX - _HASH_DIGITS - 1].decode(errors="ignore").rstrip(f"_{_JOINERS}")
    )
    return f"{begins}_{hashlib.sha256(whole or encoded).hexdigest()[:_HASH_DIGITS]}".lstrip("_")

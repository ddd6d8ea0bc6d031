"""Label: what an event says of itself (a category, a method, a region, a channel), in normal form.

Two texts that a reader takes for one are one label: case, composed or decomposed letters, full-width
letters and characters that are not seen tell nothing apart. Marks and punctuation do. A slug
(``slugs``) is coarser: it is made of the normal form.

The rules are those of one Unicode version. A character that it does not have stays as it is, and those
around it are folded without it: a Python with newer tables makes the same label of every text.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata

from streams.index.unicode_words import CHANGED_RANGES, UNICODE_VERSION, WORD_RANGES

UNICODE = UNICODE_VERSION.removesuffix(".0")
"""Unicode version of the rules, whatever Python runs."""
ABSENT = ""
"""Label of an event that says nothing."""
MORE = "\0"
"""Stands for the labels that are not told apart. No text has it: a shop may say `more` or `other`."""
CUT = "\1"
"""Before a member's id: stands for labels of that member that were cut. No text has it."""
LABEL_BYTES_MAX = 96
LABEL_CHARACTERS_MAX = 1_000
"""Of a longer text only so many are read. To order 64,000 marks on one letter takes seconds."""
_HASH_DIGITS = 16
_JOINERS = "\u200c\u200d"
_IGNORED = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff]+"
)
"""Unicode's default ignorable characters but the joiners: they are not seen, and separate nothing."""
_BLANKS = re.compile("[\x00- \x7f-\xa0\u1680\u2028\u2029]+")
"""Control characters, and the spaces that NFKC leaves. A control character separates, as in a slug."""
_BROKEN = re.compile("[\ud800-\udfff]+")
"""Half characters, as JSON's escapes and bytes that are no UTF-8 leave them. No one can store them."""


def _as_class(ranges: str) -> str:
    ends = [each.partition("-") for each in ranges.split()]
    return "".join(
        f"{re.escape(chr(int(first, 16)))}-{re.escape(chr(int(last or first, 16)))}"
        for first, _, last in ends
    )


WORDS = re.compile(f"[{_as_class(WORD_RANGES)}{_JOINERS}]+")
"""Letters, marks, numbers, and the joiners between them."""
_FOLDED = re.compile(f"[{_as_class(WORD_RANGES)}{_as_class(CHANGED_RANGES)}]+")
"""All that NFKC and case folding touch. Each other character ends what they can change, new ones too."""
_JOINER_RUNS = re.compile(f"[{_JOINERS}]+")


def label_of(text: str) -> str:
    r"""Label of a text: its normal form; "" when nothing is left of it, as if nothing was said.

    A label of more than 96 bytes is its beginning and a hash of the whole of it: two long labels that
    begin alike stay two. Of a text of more than 1,000 characters the hash is that of the text as it is
    written, in any case and form.

    >>> label_of(" Men's  Fashion"), label_of("Cash-on-Delivery"), label_of("STRASSE & Straße")
    ("men's fashion", 'cash-on-delivery', 'strasse & strasse')
    >>> label_of("cafe\u0301") == label_of("CAFÉ") == "café"
    True
    >>> label_of("চাল") == "চাল" != label_of("চুল")
    True
    """
    name = normal(text[:LABEL_CHARACTERS_MAX])
    return fitted(name, text) if name else ABSENT


def normal(text: str) -> str:
    r"""Normal form: case folded, in NFKC, single spaces, without what is not seen. Normal text stays.

    It takes the square of the length where marks follow marks.

    >>> normal("\ufb01ne\u200b \u2167"), normal("\uff33\uff21\uff2c\uff25\u3000\uff05"), normal("\t\0 ")
    ('fine viii', 'sale %', '')
    """
    if text.isascii():
        return _BLANKS.sub(" ", text.lower()).strip(" ")
    folded = _folded(_BROKEN.sub("\ufffd", text))
    # A letter and a mark that a loose joiner kept apart become one character: then fold again.
    while (joined := _JOINER_RUNS.sub(_within_word, folded)) != folded:
        folded = _folded(joined)
    return folded


def _folded(text: str) -> str:
    return _BLANKS.sub(" ", _FOLDED.sub(_fold, _IGNORED.sub("", text))).strip(" ")


def _fold(part: re.Match[str]) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", part[0]).casefold())


def _within_word(joiners: re.Match[str]) -> str:
    """Keep a joiner between letters that are not ASCII: Sinhala, Bengali and Persian are written so."""
    begin, end = joiners.span()
    before, after = joiners.string[begin - 1 : begin], joiners.string[end : end + 1]
    is_within = before > "\x7f" and after > "\x7f" and WORDS.fullmatch(before + after)
    return joiners[0][-1] if is_within else ""


def fitted(name: str, text: str) -> str:
    """Name in at most 96 bytes, with a hash of what it leaves out of the text that it was made of.

    >>> fitted("x" * 97, "x" * 97)[76:], fitted("a", "a" * 1_001)
    ('xxx_19a8f07eeb7f3d0c', 'a_bb0381c13e081720')
    """
    encoded = name.encode()
    if len(text) > LABEL_CHARACTERS_MAX:
        whole = text.encode(errors="surrogatepass")
    elif len(encoded) > LABEL_BYTES_MAX:
        whole = encoded
    else:
        return name
    begins = encoded[: LABEL_BYTES_MAX - _HASH_DIGITS - 1].decode(errors="ignore")
    begins = begins.rstrip(f"_ {_JOINERS}")
    digits = hashlib.sha256(whole).hexdigest()[:_HASH_DIGITS]
    return f"{begins}_{digits}" if begins else digits

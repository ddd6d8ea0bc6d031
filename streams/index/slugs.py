"""Member of a raw label: one form for all the ways in which one name is written.

A name keeps its letters, marks and numbers, in any script. Vowel signs are marks: without them, rice and
hair are one word in Bengali.
"""

from __future__ import annotations

import re

from streams.index.label_text import LABEL_CHARACTERS_MAX, WORDS, fitted, normal

_APOSTROPHES = re.compile("['\u2019]")


def slug(text: str) -> str:
    """Member of a raw label: its normal form, no apostrophes, `_` for runs of anything but letters.

    A member of more than 96 bytes is the beginning of the label and a hash of the whole of it: two long
    names that begin alike stay two. Of a label of more than 1,000 characters the hash is that of the
    label as it is written, in any case and form. The slug of a whole label (``label_text``) is that of
    the text that it was made of.

    >>> slug("Men's Fashion"), slug("Mobiles & Tablets"), slug(" Easypay_MA ")
    ('mens_fashion', 'mobiles_tablets', 'easypay_ma')
    >>> slug("চাল") == "চাল" != slug("চুল")
    True
    """
    formed = normal(text[:LABEL_CHARACTERS_MAX])
    bare = _APOSTROPHES.sub("", formed)
    if bare != formed:  # a letter and its mark may have been on both sides of one
        bare = normal(bare)
    return fitted("_".join(WORDS.findall(bare)), text)

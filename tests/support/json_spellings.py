"""Hypothesis strategies for JSON as shops write it: any script, escapes, values that nobody reads."""

from __future__ import annotations

import json
from random import Random

from hypothesis import strategies as st

SCRIPTS = {
    "Bengali": "ঢাকাচালচুলমোবাইল",
    "Arabic": "پنجابمودةلا",
    "Thai": "เสื้อผ้าน้ำ",
    "emoji": "👗🛍️👩‍👩‍👧🇵🇰",
    "combining marks": "e\u0301n\u0303o\u0302\u0323I\u0307",
    "Latin": "straßecaféİ",
    "ends of lengths": "\x7f\x80\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff",
    "signs of JSON": '"\\/{}[]:, ',
    "ASCII": "abcXYZ019_-",
}
CONTROLS = "\x00\b\f\n\r\t\x1f"
_SHORT = {'"': '"', "\\": "\\", "/": "/", "\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t"}
_MUST = {'"', "\\", *map(chr, range(0x20))}
_BLANKS = ("", "", "", " ", "\n", "\t \r\n")


class Token(str):
    """JSON that is written as it stands."""

    __slots__ = ()


def texts(*, controls: bool = True, **sizes: int) -> st.SearchStrategy[str]:
    """Texts of one script or of several."""
    alphabet = "".join(SCRIPTS.values()) + (CONTROLS if controls else "")
    mixed = st.text(st.sampled_from(alphabet), **sizes)
    of_one = st.sampled_from(list(SCRIPTS.values())).flatmap(
        lambda letters: st.text(st.sampled_from(letters), **sizes)
    )
    return st.one_of(of_one, mixed)


def ids() -> st.SearchStrategy[str]:
    """Texts that may be ids."""
    return texts(controls=False, min_size=1, max_size=32).map(_as_id)


def _as_id(text: str) -> str:
    return "".join(letter for letter in text if not "\x7f" <= letter < "\xa0") or "e"


numbers = st.sampled_from(
    ["0", "-0", "7", "-12", "1.50", "-0.0e-9", "6E+23", "1e400", "9" * 40, "0.1E5"]
).map(Token)
keys = st.one_of(texts(max_size=8), st.sampled_from(["market", "lines", "quantity", "a", "A", ""]))


def values() -> st.SearchStrategy:
    """Values of fields that nobody reads, nested or not."""
    plain = st.one_of(st.none(), st.booleans(), numbers, texts(max_size=20))
    return st.recursive(
        plain,
        lambda inner: st.one_of(
            st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=4)
        ),
        max_leaves=8,
    )


def spelled(tree: object, dice: Random) -> str:
    """JSON of a tree: each letter as it is or escaped, blanks here and there."""
    if isinstance(tree, Token):
        return str(tree)
    if isinstance(tree, str):
        escaped = dice.choice([0.0, 0.0, 0.2, 1.0])
        return f'"{"".join(_letter(each, escaped, dice) for each in tree)}"'
    blank = dice.choice(_BLANKS)
    if isinstance(tree, dict):
        parts = [
            f"{spelled(key, dice)}{blank}:{blank}{spelled(value, dice)}"
            for key, value in tree.items()
        ]
        return f"{{{blank}{f'{blank},{blank}'.join(parts)}{blank}}}"
    if isinstance(tree, list):
        return f"[{blank}{f'{blank},{blank}'.join(spelled(each, dice) for each in tree)}{blank}]"
    return json.dumps(tree)


def _letter(letter: str, escaped: float, dice: Random) -> str:
    if letter not in _MUST and dice.random() >= escaped:
        return letter
    if letter in _SHORT and dice.random() < 0.5:
        return f"\\{_SHORT[letter]}"
    units = letter.encode("utf-16-be").hex()
    case = dice.choice([str.lower, str.upper])
    return "".join(f"\\u{case(units[at : at + 4])}" for at in range(0, len(units), 4))

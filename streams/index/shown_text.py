"""Text from outside, made safe to be shown. Labels of an alert are whatever a shop has sent.

Each receiver escapes for its own format besides. What is removed here must reach no reader in any
format: characters that a terminal acts upon, that begin a new line or a header, or that turn the order
of what follows (bidi), and those that nobody sees. (Joiners stay: Persian and Urdu are spelt with them.)
"""

from __future__ import annotations

import re

PLACEHOLDER = "\N{REPLACEMENT CHARACTER}"
"""Stands where a character was removed: a reader must see that the text is not as it came."""
MORE = "\N{HORIZONTAL ELLIPSIS}"

_SPACES = re.compile(r"[ \t\r\n\v\f\x1c-\x1f\x85\u00a0\u2028\u2029]+")
_UNSHOWN = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f"
    "\ud800-\udfff\ufe00-\ufe0f\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff]+"
)


def one_line(text: str, most: int) -> str:
    r"""The text on one line, of at most ``most`` characters, without what must not be shown.

    >>> one_line("PK\n\x1b[31mred\u202egnp", 40)
    'PK �[31mred�gnp'
    >>> one_line("women's fashion", 8)
    "women's…"
    """
    clean = _UNSHOWN.sub(PLACEHOLDER, _SPACES.sub(" ", text)).strip()
    return clean if len(clean) <= most else clean[: most - 1].rstrip() + MORE

"""Who may answer incidents: tokens and the names of their owners, and how often each may answer."""

from __future__ import annotations

import hashlib
import hmac
from collections import deque
from collections.abc import Mapping
from pathlib import Path

from streams.index.answer_records import is_author

TOKEN_MIN = 20
"""Fewest characters of a token: nobody guesses 20 random ones."""
TOKENS_MAX = 1_000


class TokensError(ValueError):
    """The file of tokens is wrong. The text says where and what was expected, and shows no token."""


class Tokens:
    """Tokens of those who may answer. They are held as digests, so all have one length."""

    def __init__(self, names: Mapping[str, str]) -> None:
        """``names``: token -> the name of its owner."""
        self._names = [(_digest(token), name) for token, name in names.items()]

    def __bool__(self) -> bool:
        return bool(self._names)

    @property
    def authors(self) -> set[str]:
        """Names of all owners."""
        return {name for _, name in self._names}

    def author(self, token: str) -> str | None:
        """Return whose token it is; None: nobody's. It takes as long for any text of that length."""
        digest, found = _digest(token), None
        for own, name in self._names:
            if hmac.compare_digest(own, digest):
                found = name
        return found


def read_tokens(path: Path) -> Tokens:
    """Read a file of ``NAME:TOKEN`` lines; empty lines and those that begin with # say nothing.

    Raises TokensError.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TokensError(f"{path}: cannot be read: {error}") from error
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, colon, token = (part.strip() for part in line.partition(":"))
        if not colon or not is_author(name) or len(token) < TOKEN_MIN or not token.isascii():
            raise TokensError(
                f"{path}: line {number}: expected NAME:TOKEN, the token of {TOKEN_MIN} ASCII "
                "characters or more (`openssl rand -base64 24` makes one)"
            )
        if token in found:
            raise TokensError(f"{path}: line {number}: the token of {found[token]} again")
        found[token] = name
    if len(found) > TOKENS_MAX:
        raise TokensError(f"{path}: {len(found)} tokens, expected at most {TOKENS_MAX}")
    return Tokens(found)


class RateLimit:
    """At most ``most`` in any ``within_ms``, in all. Times are a steady clock's, in ms."""

    def __init__(self, most: int, within_ms: int) -> None:
        self._within_ms = within_ms
        self._times: deque[int] = deque(maxlen=most)

    def full(self, now_ms: int) -> bool:
        """Whether one more would be too many."""
        full = len(self._times) == self._times.maxlen
        return full and now_ms - self._times[0] < self._within_ms

    def count(self, now_ms: int) -> None:
        """Count one."""
        self._times.append(now_ms)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()

"""Who may send: bearer tokens, known by their SHA-256, and how many events a second each may send."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable

from streams.settings import DoorToken

PREFIX = "ecd_"
"""How a token begins, so that a scanner of repositories knows one."""
_RANDOM_BYTES = 32
_BEARER = "bearer"


def new_token() -> str:
    """A token of 256 random bits. Nothing here keeps it."""
    return PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)


def hash_of(token: str) -> str:
    """What the settings keep of a token.

    A plain hash is enough: nobody guesses 256 random bits, so there is nothing to make slow.
    """
    return hashlib.sha256(token.encode(errors="surrogateescape")).hexdigest()


def settings_lines(name: str, token: str, markets: Iterable[str], kinds: Iterable[str]) -> str:
    """The lines that let a token in, for the settings file."""
    listed = [", ".join(f'"{each}"' for each in names) for names in (markets, kinds)]
    return (
        f'[[door.tokens]]\nname = "{name}"\nsha256 = "{hash_of(token)}"\n'
        f"markets = [{listed[0]}]\nkinds = [{listed[1]}]"
    )


class Rate:
    """How many events a sender may send now: what a second allows, or one request if that is more."""

    def __init__(self, events_per_s: int, request_events_max: int) -> None:
        self._events_per_s = events_per_s
        self._most = float(max(events_per_s, request_events_max))
        self._left = self._most
        self._at_ms: int | None = None

    def wait_s(self, events: int, now_ms: int) -> float:
        """Take this many and return 0, or take none and return after how long there are as many.

        ``now_ms``: of a clock that never steps back.
        """
        if self._at_ms is not None:
            gained = (now_ms - self._at_ms) * self._events_per_s / 1_000
            self._left = min(self._most, self._left + gained)
        self._at_ms = now_ms
        if events <= self._left:
            self._left -= events
            return 0.0
        return (min(events, self._most) - self._left) / self._events_per_s


class DoorTokens:
    """The tokens that are let in. Two of one sender, while it changes to the new one, are two here."""

    def __init__(self, tokens: Iterable[DoorToken]) -> None:
        self._tokens = tuple(tokens)

    def named_by(self, authorization: str | None) -> DoorToken | None:
        """The token that a header Authorization shows; None: it shows none that is let in.

        Each one is compared, in constant time, so an answer's time says nothing of any of them.
        """
        scheme, _, shown = (authorization or "").partition(" ")
        if scheme.lower() != _BEARER:
            return None
        given, found = hash_of(shown.strip()), None
        for token in self._tokens:
            if _is_of(token, given):
                found = token
        return found


def _is_of(token: DoorToken, given: str) -> bool:
    return hmac.compare_digest(given, token.sha256)

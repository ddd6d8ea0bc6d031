"""Fields of a HASH of Redis as text, whatever somebody else has written there."""

from __future__ import annotations

from collections.abc import Mapping


def hash_texts(fields: Mapping[bytes, bytes]) -> dict[str, str]:
    """Return fields and values as text; bytes that are none are shown as such, and end no reader.

    >>> hash_texts({b"a": b"1"})
    {'a': '1'}
    """
    return {
        name.decode(errors="replace"): text.decode(errors="replace")
        for name, text in fields.items()
    }

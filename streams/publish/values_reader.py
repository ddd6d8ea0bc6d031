"""The read side of ``ecindex.values``: newest value a key, floor a market.

For the audit, which compares values with a recomputation, and for a takeover, which must not
publish below what anyone has published (exactness rule 7).
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

import msgspec

from streams.index.values import Fence, Value
from streams.publish.journal import FENCE, decode_value, version_of

KEYS_MAX = 400_000
WRITERS_MAX = 10_000
_FENCE_PARTS = 3


class Applied(StrEnum):
    """What a record did to the reader."""

    VALUE = "value"
    FENCE = "fence"
    REMOVED = "removed"
    """A tombstone of a value, or of a former writer's fence record."""
    OLDER = "older"
    """Lower than what its key has; dropped."""
    IGNORED = "ignored"
    """A value, and this reader keeps fences only."""
    UNREADABLE = "unreadable"
    """No record of ours: key, headers or JSON are not those of the contract."""


class FenceContent(NamedTuple):
    """A writer's newest fence record."""

    version: Fence
    content: bytes
    """Its JSON: the version, as_of per topic, live, and what else level 2 keeps there."""


class TooManyKeysError(RuntimeError):
    """More keys than a reader holds; whoever runs it must raise the limit or clean the topic."""


class ValuesReader:
    """Applies the records of ``ecindex.values`` in the order of their offsets."""

    def __init__(self, *, fences_only: bool = False, keys_max: int = KEYS_MAX) -> None:
        self._fences_only = fences_only
        self._keys_max = keys_max
        self._values: dict[str, tuple[Fence, Value | None]] = {}
        self._fences: dict[str, dict[str, FenceContent]] = {}
        self._floors: dict[str, Fence] = {}
        self._as_of_floors: dict[str, int] = {}
        self._writers = 0

    def apply(
        self, key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes]]
    ) -> Applied:
        """Take one record in. Raises TooManyKeysError when the reader is full."""
        text = _text(key)
        version = version_of(headers)
        if text is None or version is None:
            return Applied.UNREADABLE
        parts = text.split("|")
        if len(parts) == _FENCE_PARTS and parts[1] == FENCE:
            return self._apply_fence(parts[0], parts[2], value, version)
        if self._fences_only:
            return Applied.IGNORED
        return self._apply_value(text, value, version)

    @property
    def values(self) -> dict[str, Value]:
        """The newest value of each key (a copy)."""
        return {key: value for key, (_, value) in self._values.items() if value is not None}

    def floor(self, market: str) -> Fence | None:
        """The highest version that any writer published of ``market``; None: nobody ever did."""
        return self._floors.get(market)

    def as_of_floor_ms(self, market: str) -> int | None:
        """The latest ``as_of`` that any writer of any edition published; never to be gone below."""
        return self._as_of_floors.get(market)

    def fences(self, market: str) -> dict[str, FenceContent]:
        """Fence record of each writer of ``market`` whose record stands (a copy)."""
        return dict(self._fences.get(market, {}))

    def _apply_fence(
        self, market: str, writer: str, value: bytes | None, version: Fence
    ) -> Applied:
        floor = self._floors.get(market)
        if floor is None or version > floor:
            self._floors[market] = version
        as_of_ms = self._as_of_floors.get(market, version.as_of_ms)
        self._as_of_floors[market] = max(as_of_ms, version.as_of_ms)
        writers = self._fences.setdefault(market, {})
        known = writers.get(writer)
        if known is not None and version < known.version:
            return Applied.OLDER
        if value is None:
            # The floor stays: it was published once.
            self._writers -= known is not None
            writers.pop(writer, None)
            return Applied.REMOVED
        if known is None:
            if self._writers >= WRITERS_MAX:
                raise TooManyKeysError(
                    f"ecindex.values holds fence records of more than {WRITERS_MAX} writers; "
                    "retire those of workers that are gone"
                )
            self._writers += 1
        writers[writer] = FenceContent(version, value)
        return Applied.FENCE

    def _apply_value(self, key: str, value: bytes | None, version: Fence) -> Applied:
        known = self._values.get(key)
        if known is not None and version < known[0]:
            return Applied.OLDER
        decoded: Value | None = None
        if value is not None:
            try:
                decoded = decode_value(value)
            except msgspec.DecodeError:
                return Applied.UNREADABLE
        if known is None and len(self._values) >= self._keys_max:
            raise TooManyKeysError(
                f"ecindex.values holds more than {self._keys_max} keys; raise the reader's limit"
            )
        # A removed key keeps its version, so that an older value does not come back.
        self._values[key] = (version, decoded)
        return Applied.REMOVED if decoded is None else Applied.VALUE


def _text(key: bytes | None) -> str | None:
    if key is None:
        return None
    try:
        return key.decode()
    except UnicodeDecodeError:
        return None

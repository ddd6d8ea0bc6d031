"""Which final hours and days level 2 has still to say by the definitions in force.

It says windows at once, and what is final in slices. Until they are through, an ended day's values are
those of older definitions, and no two readings of the log could agree. A record of the merged table
names the definitions of its slot once what they changed in it was published.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

import msgspec

from streams.flow.compile import SHOWN_KIND
from streams.flow.merged import DAY_KIND, HOUR
from streams.index.formats import msgpack_reader
from streams.records.kafka_logs import Stored


class _Defined(msgspec.Struct):
    """What of a record says by which definitions its slot was published."""

    definitions: int = 0
    before: tuple[int, msgspec.Raw] | None = None
    """Of a slot that was read anew: by which it was closed, until it is said what that changed."""


_decode = msgpack_reader(_Defined)


class SlotsLeft:
    """Final slots and ended days of some markets, as the merged table's changelog has them."""

    def __init__(self, markets: Collection[str]) -> None:
        self._markets = frozenset(markets)
        self._slots: dict[str, dict[bytes, dict[bytes, int]]] = defaultdict(dict)
        """By market and slot: the definitions that each of its records names."""

    def apply_record(self, stored: Stored) -> None:
        """Apply the next record of the changelog. One that cannot be read is reported elsewhere."""
        key = stored.key or b""
        slot, _, _ = key.rpartition(b"|")
        kind, code, *rest = key.decode(errors="replace").split("|")
        if kind not in (HOUR, DAY_KIND, SHOWN_KIND) or code not in self._markets or not rest:
            return
        of_market = self._slots[code]
        if stored.value is None:
            of_market.get(slot, {}).pop(key, None)
            return
        try:
            record = _decode(stored.value)
        except msgspec.DecodeError:
            return
        found = record.definitions if record.before is None else record.before[0]
        of_market.setdefault(slot, {})[key] = found

    def behind(self, code: str, version: int) -> int:
        """Return how many slots of a market are of definitions before this version."""
        return sum(max(found.values()) < version for found in self._slots[code].values() if found)

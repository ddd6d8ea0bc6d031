"""Records that break their topic's contract: which, what was expected, what was found.

A reader keeps them beside what it could read and returns both. Otherwise a table, an explanation or a
verdict that silently left a record out would look complete.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import msgspec

from streams.index.formats import NEWER
from streams.records.kafka_logs import Stored

KEPT_MAX = 1_000
"""Unreadable records of one reading that are kept; the rest is only counted."""
_SHOWN_MAX = 10
_KEY_CHARACTERS = 200


class UnreadableRecord(msgspec.Struct, frozen=True):
    """A record that could not be read. ``replaced``: its key has a readable record since."""

    key: str
    """The key as text; only its beginning when it is long."""
    expected: str
    found: str
    where: str
    """``topic-partition@offset``."""
    replaced: bool = False

    @property
    def market(self) -> str:
        """Market that the key names in a topic keyed by market; it may be any text."""
        return self.key.partition("|")[0]

    @property
    def newer(self) -> bool:
        """Whether a newer version of ecindex wrote it, so that nothing is wrong with it."""
        return NEWER in self.found

    def line(self) -> str:
        """Return a line for people."""
        since = "; replaced since" if self.replaced else ""
        return (
            f"{self.where}, key {self.key!r}: expected {self.expected}, found {self.found}{since}"
        )


class UnreadableSummary(msgspec.Struct, frozen=True):
    """How many records could not be read, and the first thousand of them.

    ``not_replaced``: how many of them no readable record has replaced since.
    """

    total: int = 0
    not_replaced: int = 0
    records: tuple[UnreadableRecord, ...] = ()

    def lines(self) -> Iterator[str]:
        """Yield lines for people: how many records, and the first of them."""
        if not self.total:
            return
        noun = "record" if self.total == 1 else "records"
        yield f"warning: {self.total} {noun} could not be read"
        for each in self.records[:_SHOWN_MAX]:
            yield f"  {each.line()}"
        if self.total > _SHOWN_MAX:
            yield f"  and {self.total - _SHOWN_MAX} more; `ecindex audit --json` lists them"


NOTHING_UNREADABLE = UnreadableSummary()


def unreadable(stored: Stored, expected: str, found: str) -> UnreadableRecord:
    """Describe a record that could not be read."""
    key = key_text(stored.key)[:_KEY_CHARACTERS]
    return UnreadableRecord(key, expected, found, stored.where)


def key_text(key: bytes | None) -> str:
    """Return a key as text, whatever its bytes are."""
    return (key or b"").decode(errors="replace")


class UnreadableRecords:
    """The first thousand records that one reading could not read, and the number of all."""

    def __init__(self, records: Iterable[UnreadableRecord] = ()) -> None:
        self.records: list[UnreadableRecord] = []
        self.total = 0
        self._not_replaced: dict[str, list[int]] = {}
        for each in records:
            self.add(each)

    def __bool__(self) -> bool:
        return self.total > 0

    def add(self, record: UnreadableRecord) -> None:
        """Keep one more record; only count it when a thousand are kept already."""
        self.total += 1
        if len(self.records) >= KEPT_MAX:
            return
        if not record.replaced:
            self._not_replaced.setdefault(record.key, []).append(len(self.records))
        self.records.append(record)

    def add_all(self, others: UnreadableRecords) -> None:
        """Add the records of another reading."""
        for each in others.records:
            self.add(each)
        self.total += others.total - len(others.records)

    def chosen(self, wanted: Callable[[UnreadableRecord], bool]) -> UnreadableRecords:
        """Return the wanted records, and count all that were not kept: they may be wanted."""
        found = UnreadableRecords(filter(wanted, self.records))
        found.total += self.total - len(self.records)
        return found

    def replace(self, key: str) -> bool:
        """Note that a compacted topic now has a readable record of ``key``.

        Returns whether an unreadable record of that key was there.
        """
        places = self._not_replaced.pop(key[:_KEY_CHARACTERS], ())
        for at in places:
            self.records[at] = msgspec.structs.replace(self.records[at], replaced=True)
        return bool(places)

    @property
    def not_replaced(self) -> int:
        """Number of records that no readable record has replaced since."""
        return self.total - sum(each.replaced for each in self.records)

    def summary(self) -> UnreadableSummary:
        """Return the summary to print or to send."""
        return UnreadableSummary(self.total, self.not_replaced, tuple(self.records))

"""One dead letter or late event, and which records of its topic are one and the same.

A record may be set aside again (a repeated fold, another edition), and its replayed copy may be too.
What stands at the same offset of another log is another record: its topic has another id, or, where a
log was cut, it has another time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiokafka.structs import TopicPartition

from streams.index.panes import rfc3339
from streams.index.stamps import IMPORTED
from streams.records.kafka_logs import Stored
from streams.records.set_aside_record import SetAsideHeaders, SourceRecord

SEEN_MAX = 2_000_000
"""Source offsets remembered to drop repeats; beyond that number a repeat may be listed again."""
PREVIEW_BYTES = 200
REPLAY_OF = "ecindex_replay_of"
"""Header of the copy: where the original lies."""

Place = tuple[str, int, int]
"""Topic, partition, offset: in whichever log of that name."""


@dataclass(slots=True)
class DeadLetter:
    """One record that was set aside."""

    source: SourceRecord
    reason: str
    detail: str
    set_aside_ms: int
    source_timestamp_ms: int
    key: bytes | None
    value: bytes | None
    cut: bool
    """Too large to be set aside whole; the source topic holds the rest."""
    lies: TopicPartition
    replayed_as: SourceRecord | None = None
    again: str | None = None
    """Why the copy became a dead letter too; None when it did not."""
    earlier: bool = False
    """Whether it is of a log that is not there any more, or that is no input now."""
    imported: bool = False
    """Its stamp is believed, and so must that of the copy be, which without the header is doubted."""

    def copy_headers(self) -> list[tuple[str, bytes]]:
        """Return the headers of the copy that a replay sends."""
        # One that was ahead gets a new stamp, which is that of any producer.
        believed = IMPORTED if self.imported and self.reason != "ahead" else ()
        return [(REPLAY_OF, str(self.source).encode()), *believed]

    @classmethod
    def of(cls, stored: Stored, read: SetAsideHeaders) -> DeadLetter:
        """Return the dead letter, or the replay marker, that a record holds."""
        return cls(
            source=read.source,
            reason=read.reason,
            detail=read.detail,
            set_aside_ms=stored.timestamp_ms,
            source_timestamp_ms=read.source_timestamp_ms,
            key=stored.key,
            value=stored.value,
            cut=read.cut,
            lies=TopicPartition(stored.topic, stored.partition),
            replayed_as=read.replayed_as,
            imported=read.imported,
        )

    def as_json(self) -> dict[str, Any]:
        """Return the dead letter for machines."""
        return {
            "source": str(self.source),
            "source_topic_id": self.source.topic_id,
            "earlier": self.earlier,
            "reason": self.reason,
            "detail": self.detail,
            "set_aside_at": rfc3339(self.set_aside_ms),
            "key": _shown(self.key),
            "value": _shown(self.value),
            "replayed_as": None if self.replayed_as is None else str(self.replayed_as),
            "again": self.again,
        }

    def line(self) -> str:
        """Return the dead letter for people, on two lines."""
        earlier = " [of an earlier log]" if self.earlier else ""
        replayed = "" if self.replayed_as is None else f" [replayed as {self.replayed_as}]"
        again = "" if self.again is None else f" [dead again: {self.again}]"
        return (
            f"{rfc3339(self.set_aside_ms)} {self.source} {self.reason}: {self.detail}"
            f"{earlier}{replayed}{again}\n    {_shown(self.value) or '(no value)'}"
        )


class DeadLettersOnce:
    """The records of one partition, in order: which of them is a dead letter not seen before."""

    def __init__(self, topic_ids: Mapping[str, str]) -> None:
        """``topic_ids``: id of each input as it is now; empty where the broker tells none."""
        self._topic_ids = topic_ids
        self._seen: dict[Place, list[DeadLetter]] = {}
        self.outdated: list[DeadLetter] = []
        """Those that were taken, and that a later one proved to be of an earlier log."""
        self._copies: dict[Place, list[tuple[SourceRecord, DeadLetter]]] = defaultdict(list)

    def take_record(self, record: DeadLetter) -> bool:
        """Take the next record; return whether it is a dead letter of its own, no repeat or marker."""
        place = record.source[:3]
        known = self._seen.get(place, [])
        copy = record.replayed_as
        if copy is not None:
            original = next((x for x in reversed(known) if x.source.may_be(record.source)), None)
            if original is not None:
                original.replayed_as, original.again = copy, None
                self._copies[copy[:3]].append((copy, original))
            return False
        for found, original in reversed(self._copies.get(place, [])):
            if found.may_be(record.source):
                original.again = record.reason
                return False
        if any(_one(each, record) for each in known):
            return False
        now_id = self._topic_ids.get(record.source.topic)
        record.earlier = now_id is None or not record.source.may_be_of(now_id)
        for each in known:
            # Of a log that was cut, or of a version that did not say of which topic it is.
            if not each.earlier and each.source.may_be(record.source):
                each.earlier = True
                self.outdated.append(each)
        if known:
            known.append(record)
        elif len(self._seen) < SEEN_MAX:
            self._seen[place] = [record]
        return True


def _one(one: DeadLetter, other: DeadLetter) -> bool:
    """Whether two records at one place are the same record of the input, set aside twice."""
    same_time = one.source_timestamp_ms == other.source_timestamp_ms
    return same_time and one.source.may_be(other.source)


def _shown(content: bytes | None) -> str | None:
    if content is None:
        return None
    cut = ".." if len(content) > PREVIEW_BYTES else ""
    return content[:PREVIEW_BYTES].decode(errors="backslashreplace") + cut

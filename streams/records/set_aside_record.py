"""The headers of a record of ``ecindex.late`` or ``ecindex.dead-letters``, decoded.

A topic that was deleted and created again has records where the old one had some. Its id tells them
apart; what a version without that header wrote may be of either.
"""

from __future__ import annotations

from typing import NamedTuple

from streams.index.stamps import IMPORTED
from streams.records.kafka_logs import Stored
from streams.records.unreadable import UnreadableRecord, unreadable

REPLAYED_AS = "replayed_as"
"""Header of a replay marker: where the copy of a replayed dead letter lies, topic-partition@offset."""
SOURCE_TOPIC_ID, REPLAYED_AS_TOPIC_ID = ("source_topic_id", "replayed_as_topic_id")
"""Headers: the ids of the topics that a record set aside, and a copy, are in."""


class SourceRecord(NamedTuple):
    """A record of an input. ``topic_id``: of the topic that it is in; empty: not known.

    Of a delivery that the door refused, which is in no topic, partition and offset are -1.
    """

    topic: str
    partition: int
    offset: int
    topic_id: str = ""

    def may_be(self, other: SourceRecord) -> bool:
        """Return whether both are one record, as far as what is known of them tells."""
        return self[:3] == other[:3] and self.may_be_of(other.topic_id)

    def may_be_of(self, topic_id: str) -> bool:
        """Return whether it may be in the topic of this id; empty: not known."""
        return not (self.topic_id and topic_id) or self.topic_id == topic_id

    @property
    def is_delivery(self) -> bool:
        """Whether it is a delivery to the door, and in no topic."""
        return self.partition < 0

    def __str__(self) -> str:
        if self.is_delivery:
            return f"{self.topic} (door)"
        return f"{self.topic}-{self.partition}@{self.offset}"


class SetAsideHeaders(NamedTuple):
    """Headers, decoded: the record of an input, and why it was set aside or where its copy lies."""

    source: SourceRecord
    reason: str
    """Empty in a replay marker."""
    detail: str
    source_timestamp_ms: int
    cut: bool
    """Too large to be set aside whole; the source topic holds the rest."""
    replayed_as: SourceRecord | None
    """The copy that was sent to the input again; only in a replay marker."""
    imported: bool = False
    """Its producer's stamp is believed; see index/stamps.py."""


def read_set_aside(stored: Stored) -> SetAsideHeaders | UnreadableRecord:
    """Decode the headers of a record of either topic, or return why they break the contract."""
    headers = {name: content.decode(errors="replace") for name, content in stored.headers}
    copy = headers.get(REPLAYED_AS)
    try:
        return SetAsideHeaders(
            source=SourceRecord(
                headers["source_topic"],
                int(headers["source_partition"]),
                int(headers["source_offset"]),
                headers.get(SOURCE_TOPIC_ID, ""),
            ),
            reason=headers["reason"] if copy is None else "",
            detail=headers.get("detail", ""),
            source_timestamp_ms=int(headers.get("source_timestamp_ms", stored.timestamp_ms)),
            cut="original_value_bytes" in headers,
            replayed_as=None
            if copy is None
            else _parse(copy, headers.get(REPLAYED_AS_TOPIC_ID, "")),
            imported=IMPORTED[0] in stored.headers,
        )
    except (KeyError, ValueError):
        wanted = "headers reason, source_topic, source_partition, source_offset"
        return unreadable(stored, wanted, ", ".join(sorted(headers)) or "no headers")


def _parse(text: str, topic_id: str) -> SourceRecord:
    name, _, offset = text.rpartition("@")
    topic, _, partition = name.rpartition("-")
    return SourceRecord(topic, int(partition), int(offset), topic_id)

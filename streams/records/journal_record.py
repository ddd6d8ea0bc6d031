"""A record of the journal (docs/contract.md), as its readers decode it."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from streams.index.definition_edits import MemberEdit
from streams.index.formats import json_decoder
from streams.index.values import VERSION, Fence, Value
from streams.publish.journal import version_of
from streams.records.kafka_logs import Stored
from streams.records.unreadable import UnreadableRecord, key_text, unreadable


class JournaledRevision(msgspec.Struct):
    """A value that changed, the value before, and the cause."""

    cause: str
    value: Value
    previous: int | float | None = None


class JournaledSeries(msgspec.Struct):
    """One series of a vintage. All but the days are integers in millionths."""

    dimension: str
    member: str
    measure: str
    first_hour: str
    expected: list[int]
    noise_hour: int
    noise_day: int
    dispersion: int
    learnt_days: int


class JournaledBase(msgspec.Struct):
    """A base of the level index. ``net_minor``: net sales of its days; ``link``: from the last base."""

    cause: str
    first: str
    last: str
    days: int
    net_minor: int
    final: bool
    previous: str | None = None
    link: float | None = None


class JournalRecord(msgspec.Struct):
    """A record of the journal, of any kind. Fields that its kind does not have are empty."""

    kind: str
    market: str
    as_of: str
    edition: int
    part: int
    parts: int
    start: str | None = None
    end: str | None = None
    vintage: str | None = None
    cause: str | None = None
    """In an hour or day: ``definition``, where it has only what these changed since it was closed."""
    values: list[Value] = []
    gone: list[str] = []
    """``index:dimension:member`` of values that the closings before it had, and that are no more."""
    revisions: list[JournaledRevision] = []
    series: list[JournaledSeries] = []
    base: str | None = None
    bases: list[JournaledBase] = []
    definitions: int = 0
    builds_upon: int = 0
    by: str = ""
    reason: str = ""
    written_at: str = ""
    published: bool = False
    edits: list[MemberEdit] = []
    v: int = VERSION


decode_journal = json_decoder(JournalRecord, "a journal record", VERSION)


class Journaled(NamedTuple):
    """A record of the journal, the version of its publication, and its place in the topic."""

    record: JournalRecord
    version: Fence
    where: str
    written_ms: int
    """Timestamp of the record."""


def read_journaled(stored: Stored) -> Journaled | UnreadableRecord:
    """Decode a record of the journal, or return why it breaks the contract."""
    try:
        record = decode_journal(stored.value or b"")
    except msgspec.DecodeError as error:
        return unreadable(stored, "a journal record", str(error))
    version = version_of(stored.headers)
    if version is None:
        return unreadable(stored, "headers edition, as_of, applied", "none of ours")
    if key_text(stored.key) != record.market:
        return unreadable(stored, f"a record keyed {record.market!r}, its market", "another key")
    return Journaled(record, version, stored.where, stored.timestamp_ms)

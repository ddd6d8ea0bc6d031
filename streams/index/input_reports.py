"""What share of an input counts, and why the rest does not: for the page and for everybody who looks.

A report is about the events of a source partition within five minutes before its last record. It stays
when the input falls silent: whoever looks an hour later must still see why nothing counts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from streams.index.formats import json_reader
from streams.index.panes import rfc3339

SPAN_MS = 300_000
_BUCKET_MS = 10_000
SEVERE_SHARE = 0.5
"""From this share of refused events on, the values are not those of the shop."""


class InputReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """Records of one source partition between two instants (ms), by what became of them."""

    topic: str
    partition: int
    first_ms: int
    last_ms: int
    records: int
    refused: int = 0
    ignored: int = 0
    parts: int = 0
    reason: str = ""
    detail: str = ""
    offset: int = -1
    """Of the last refused event."""
    part: str = ""
    """Detail of the last part of a counted event that was not counted."""
    unmatched: int = 0
    """Cancels and refunds of orders that the log does not hold."""
    doubted: int = 0
    """Records that their producer's clock has stamped far ahead."""


encode_report = msgspec.json.Encoder().encode
decode_report = json_reader(InputReport)


class InputNote(msgspec.Struct, frozen=True):
    """A sentence about one input. ``severe``: hardly anything of it counts."""

    topic: str
    severe: bool
    refused: int
    text: str


class Taken(NamedTuple):
    """What became of some records."""

    records: int
    refused: int
    ignored: int
    parts: int
    unmatched: int = 0
    doubted: int = 0


class InputWindow:
    """The last minutes of one source partition; bounded."""

    def __init__(self, topic: str, partition: int) -> None:
        self._topic = topic
        self._partition = partition
        self._buckets: deque[tuple[int, Taken]] = deque()
        self._first_ms = self._last_ms = 0
        self.reason = ""
        self.detail = ""
        self.offset = -1
        self.part = ""

    def add(self, now_ms: int, taken: Taken) -> None:
        """Add records that were read at ``now_ms``."""
        self._last_ms = now_ms
        if self._buckets and now_ms - self._buckets[-1][0] < _BUCKET_MS:
            start_ms, before = self._buckets.pop()
            taken = Taken(*map(int.__add__, before, taken))
        else:
            start_ms = now_ms
        self._buckets.append((start_ms, taken))
        while self._buckets[0][0] <= now_ms - SPAN_MS:
            self._buckets.popleft()

    def report(self) -> InputReport | None:
        """Report of what was read; None before anything was."""
        if not self._buckets:
            return None
        records, refused, ignored, parts, unmatched, doubted = map(
            sum, zip(*(taken for _, taken in self._buckets), strict=True)
        )
        return InputReport(
            self._topic,
            self._partition,
            self._buckets[0][0],
            self._last_ms,
            records,
            refused,
            ignored,
            parts,
            self.reason if refused else "",
            self.detail if refused else "",
            self.offset if refused else -1,
            self.part if parts else "",
            unmatched,
            doubted,
        )


def refused_share(report: InputReport) -> float:
    """Part of the events that were refused; records that are ignored are no events."""
    events = report.records - report.ignored
    return report.refused / events if events else 0.0


def read_reports(fields: Mapping[bytes, bytes]) -> list[InputReport]:
    """Reports of the HASH ``:inputs``; one that cannot be read is left out."""
    found = []
    for encoded in fields.values():
        try:
            found.append(decode_report(encoded))
        except msgspec.DecodeError:
            continue  # of another version of the contract
    return found


def notes(reports: Iterable[InputReport]) -> list[InputNote]:
    """Sentences about the inputs: what does not count of one, and what counts with a reservation."""
    by_topic: dict[str, list[InputReport]] = {}
    for report in reports:
        by_topic.setdefault(report.topic, []).append(report)
    return [note for topic, each in sorted(by_topic.items()) for note in _notes(topic, each)]


def _notes(topic: str, reports: list[InputReport]) -> Iterator[InputNote]:
    newest_ms = max(report.last_ms for report in reports)
    reports = [report for report in reports if report.last_ms > newest_ms - SPAN_MS]
    records, refused, ignored, parts, unmatched, doubted = (
        sum(getattr(report, name) for report in reports)
        for name in ("records", "refused", "ignored", "parts", "unmatched", "doubted")
    )
    events = records - ignored
    when = f"between {rfc3339(min(each.first_ms for each in reports))} and {rfc3339(newest_ms)}"
    if refused:
        last = max((each for each in reports if each.refused), key=lambda each: each.last_ms)
        text = (
            f"{topic}: {refused:,} of {events:,} events were refused {when}. The last, "
            f"{topic}-{last.partition}@{last.offset}, {last.reason}: {last.detail}. "
            "See `ecindex dead-letters list`."
        )
        yield InputNote(topic, refused >= SEVERE_SHARE * events, refused, text)
    elif not events:
        text = f"{topic}: none of {ignored:,} records {when} was an event: all are of other types."
        yield InputNote(topic, severe=True, refused=0, text=text)
    elif parts:
        text = f"{topic}: {parts:,} lines or fields were not counted {when}. "
        last = max((each for each in reports if each.parts), key=lambda each: each.last_ms)
        yield InputNote(topic, severe=False, refused=0, text=f"{text}The last: {last.part}.")
    if unmatched:
        text = (
            f"{topic}: {unmatched:,} cancels or refunds {when} are of orders that the log does not "
            "hold. They are in the live windows; no day is lowered by them."
        )
        yield InputNote(topic, severe=False, refused=0, text=text)
    if doubted:
        text = (
            f"{topic}: {doubted:,} records {when} are stamped far ahead of their market by their "
            "producers' clocks. They count; see the runbook, EcindexStampsDoubted."
        )
        yield InputNote(topic, severe=False, refused=0, text=text)

"""Tells readers of Redis what became of the last records of each source partition."""

from __future__ import annotations

from collections.abc import Iterable

from streams.clock import monotonic_ms
from streams.index.input_reports import encode_report
from streams.publish.redis_store import RedisStore
from streams.worker.level1 import SourceRunner

NOTED_EVERY_MS = 30_000
"""Redis may have been emptied."""


class InputNotes:
    """What this worker last wrote of its inputs, and when."""

    def __init__(self, store: RedisStore) -> None:
        self._store = store
        self._noted: dict[str, bytes] = {}
        self._noted_ms = 0

    async def write(self, runners: Iterable[SourceRunner]) -> None:
        """Write the reports of these source partitions when they are news, or were long ago."""
        reports = (runner.taken.report() for runner in runners)
        fields = {
            f"{each.topic}-{each.partition}": encode_report(each)
            for each in reports
            if each is not None
        }
        due = monotonic_ms() - self._noted_ms >= NOTED_EVERY_MS
        if fields and (due or fields != self._noted) and await self._store.note_inputs(fields):
            self._noted, self._noted_ms = fields, monotonic_ms()

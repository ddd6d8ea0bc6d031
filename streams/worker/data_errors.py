"""Log lines about records that are set aside: their place and the reason, never their content."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import structlog

from streams.clock import monotonic_ms
from streams.flow.incarnation import in_log
from streams.flow.set_aside import LostParts, SetAside

LOG_EVERY_MS = 60_000

_log = structlog.get_logger(__name__)


class DataErrorLog:
    """Logs one line per minute and reason: one record's place, and how many there were since the last.

    A producer that breaks the contract does so thousands of times a second. The topics of late events
    and dead letters hold all of its records.
    """

    def __init__(self, clock: Callable[[], int] = monotonic_ms) -> None:
        self._clock = clock
        self._logged_at_ms: dict[tuple[str, str], int] = {}
        self._since: dict[tuple[str, str], int] = {}

    def log_set_aside(self, topic: str, partition: int, records: Sequence[SetAside]) -> None:
        """Log these records of one source partition, unless a reason was logged within the minute."""
        for record in records:
            known = self._count("record", record.reason, 1)
            if known is not None:
                _log.warning(
                    "record_set_aside",
                    reason=record.reason,
                    topic=topic,
                    partition=partition,
                    offset=in_log(record.offset),
                    records=known,
                    action="run `ecindex dead-letters list` or `ecindex late list`",
                )

    def log_parts_lost(self, topic: str, partition: int, parts: Mapping[str, LostParts]) -> None:
        """Log parts that are not counted of events that are, once a minute and reason.

        No topic holds these records: they count. So the line has the path of the part in its record.
        """
        for reason, lost in parts.items():
            known = self._count("part", reason, lost.lost)
            if known is not None:
                _log.warning(
                    "part_not_counted",
                    reason=reason,
                    topic=topic,
                    partition=partition,
                    offset=in_log(lost.offset),
                    detail=lost.detail,
                    parts=known,
                )

    def _count(self, kind: str, reason: str, more: int) -> int | None:
        """Return how many there were since the last line; None if there was one within the minute."""
        key = kind, reason
        now_ms = self._clock()
        self._since[key] = self._since.get(key, 0) + more
        logged_at_ms = self._logged_at_ms.get(key)
        if logged_at_ms is not None and now_ms - logged_at_ms < LOG_EVERY_MS:
            return None
        self._logged_at_ms[key] = now_ms
        return self._since.pop(key)

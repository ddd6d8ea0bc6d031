"""Log lines about records that are set aside: their place and the reason, never their content."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog

from streams.clock import monotonic_ms
from streams.flow.set_aside import SetAside

LOG_EVERY_MS = 60_000

_log = structlog.get_logger(__name__)


class DataErrorLog:
    """Logs one line per minute and reason: one record's place, and how many there were since the last.

    A producer that breaks the contract does so thousands of times a second. The topics of late events
    and dead letters hold all of its records.
    """

    def __init__(self, clock: Callable[[], int] = monotonic_ms) -> None:
        self._clock = clock
        self._logged_at_ms: dict[str, int] = {}
        self._since: dict[str, int] = {}

    def log_set_aside(self, topic: str, partition: int, records: Sequence[SetAside]) -> None:
        """Log these records of one source partition, unless a reason was logged within the minute."""
        now_ms = self._clock()
        for record in records:
            reason = record.reason
            self._since[reason] = self._since.get(reason, 0) + 1
            logged_at_ms = self._logged_at_ms.get(reason)
            if logged_at_ms is not None and now_ms - logged_at_ms < LOG_EVERY_MS:
                continue
            self._logged_at_ms[reason] = now_ms
            _log.warning(
                "record_set_aside",
                reason=reason,
                topic=topic,
                partition=partition,
                offset=record.offset,
                records=self._since.pop(reason),
                action="run `ecindex dead-letters list` or `ecindex late list`",
            )

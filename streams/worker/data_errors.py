"""Log lines about records that are set aside: where they are and why, never what they say."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog

from streams.clock import monotonic_ms
from streams.flow.set_aside import SetAside

LOG_EVERY_MS = 60_000

_log = structlog.get_logger(__name__)


class DataErrorLog:
    """One line a minute and reason, with the first record's place and how many came since.

    A producer that breaks the contract does so thousands of times a second; all of its records are
    in the topics of late events and dead letters.
    """

    def __init__(self, clock: Callable[[], int] = monotonic_ms) -> None:
        self._clock = clock
        self._logged_at_ms: dict[str, int] = {}
        self._since: dict[str, int] = {}

    def log_set_aside(self, topic: str, partition: int, records: Sequence[SetAside]) -> None:
        """Say of these records of one source partition what has not just been said."""
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
                action="look at `ecindex dead-letters list` or `ecindex late list`",
            )

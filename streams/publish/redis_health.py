"""Whether Redis takes what this worker publishes: for its readiness, and for the log."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import structlog

from streams.publish.redis_clients import advice, in_words, is_refusal

LOG_EVERY_MS = 60_000

_log = structlog.get_logger(__name__)


class Trouble(NamedTuple):
    """Redis does not take what this worker publishes. Times are in ms of the monotonic clock."""

    since_ms: int
    refused_since_ms: int | None
    """Since when Redis answers and refuses this very worker; None when it fails in another way."""
    detail: str


class RedisHealth:
    """Outcomes of calls by market, and what they say together."""

    def __init__(self, monotonic_ms: Callable[[], int]) -> None:
        self._monotonic_ms = monotonic_ms
        self._troubles: dict[str, Trouble] = {}
        self._logged_at_ms: dict[str, int] = {}
        self._failures = 0
        self._down_logged = False
        self.worked_at_ms: int | None = None
        """When a call last succeeded; None before the first."""

    @property
    def trouble(self) -> Trouble | None:
        """The longest trouble that lasts, of a market or of the probe; None while all is well."""
        if not self._troubles:
            return None
        longest = min(self._troubles.values())
        refused = [each for each in self._troubles.values() if each.refused_since_ms is not None]
        if not refused:
            return longest
        first = min(refused, key=lambda each: each.refused_since_ms or 0)
        return Trouble(longest.since_ms, first.refused_since_ms, first.detail)

    def failed(self, what: str, error: Exception) -> None:
        """Note that a call failed. ``what``: its market, or another name."""
        now_ms = self._monotonic_ms()
        before = self._troubles.get(what)
        refused_since_ms = None
        if is_refusal(error):
            refused_since_ms = before.refused_since_ms if before is not None else None
            refused_since_ms = now_ms if refused_since_ms is None else refused_since_ms
        hint = advice(error)
        detail = f"{type(error).__name__}: {in_words(error)}{'; ' if hint else ''}{hint}"
        since_ms = now_ms if before is None else before.since_ms
        self._troubles[what] = Trouble(since_ms, refused_since_ms, detail)
        self._failures += 1
        if self._may_log("failed"):
            self._down_logged = True
            _log.warning(
                "redis_failed",
                market=what,
                error=type(error).__name__,
                detail=in_words(error),
                failures=self._failures,
                action=hint or "folding continues; everything is rewritten when Redis answers",
            )

    def worked(self, what: str) -> None:
        """Note that a call succeeded."""
        self._troubles.pop(what, None)
        self.worked_at_ms = self._monotonic_ms()
        if not self._troubles:
            if self._down_logged:
                _log.info("redis_answers_again", failures=self._failures)
            self._down_logged = False
            self._failures = 0

    def forget(self, what: str) -> None:
        """Forget a market that this worker no longer writes."""
        self._troubles.pop(what, None)

    def refused_older(self, market: str, found: tuple[str, ...] | None) -> None:
        """Log that Redis holds a newer version of the market."""
        if self._may_log("refused"):
            _log.warning("redis_refused_older_version", market=market, found=found)

    def _may_log(self, what: str) -> bool:
        now_ms = self._monotonic_ms()
        logged_at_ms = self._logged_at_ms.get(what)
        if logged_at_ms is not None and now_ms - logged_at_ms < LOG_EVERY_MS:
            return False
        self._logged_at_ms[what] = now_ms
        return True

"""The metrics of one door, on their own registry."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector

from streams.publish.metric_table import DOOR, Spec

_SPECS = {spec.name: spec for spec in DOOR}
OUTCOMES = ("kafka", "spool", "refused", "limited", "unavailable")
"""Of requests that show a token."""
UNKNOWN = "unknown"
"""Outcome of a request whose sender is not known; its token is the empty text."""


class DoorMetrics:
    """Requests and events by token, and what waits on disk."""

    def __init__(
        self,
        tokens: Iterable[str],
        *,
        spool_bytes: Callable[[], float],
        spool_age_s: Callable[[], float],
    ) -> None:
        """``tokens``: names of those that are let in. Each counts from 0 on."""
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter(*_named("door_requests_total"), registry=self.registry)
        self._events = Counter(*_named("door_events_total"), registry=self.registry)
        self._last = Gauge(*_named("door_last_event_timestamp_seconds"), registry=self.registry)
        Gauge(*_named("door_spool_bytes"), registry=self.registry).set_function(spool_bytes)
        Gauge(*_named("door_spool_age_seconds"), registry=self.registry).set_function(spool_age_s)
        self._requests.labels("", UNKNOWN)
        for token in tokens:
            self._events.labels(token)
            for outcome in OUTCOMES:
                self._requests.labels(token, outcome)

    def count(self, token: str, outcome: str) -> None:
        """Count a request that was answered."""
        self._requests.labels(token, outcome).inc()

    def count_events(self, token: str, events: int, now_ms: int) -> None:
        """Count events that were accepted."""
        self._events.labels(token).inc(events)
        self._last.labels(token).set(now_ms / 1_000)


def _named(name: str) -> tuple[str, str, tuple[str, ...]]:
    spec: Spec = _SPECS[name]
    return spec.full_name, spec.help, spec.labels

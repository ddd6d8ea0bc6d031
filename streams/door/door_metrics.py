"""The metrics of one door, on their own registry."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector

from streams.publish.metric_table import DOOR, Spec

_SPECS = {spec.name: spec for spec in DOOR}
OUTCOMES = ("kafka", "spool", "refused", "limited", "unavailable")
"""Of requests that show a token."""
DELIVERY_OUTCOMES = (
    "kafka", "spool", "dead_letter", "ping", "unsigned", "refused", "limited", "unavailable",
)  # fmt: skip
"""Of deliveries to the path of a source."""
UNKNOWN = "unknown"
"""Outcome of a request whose sender is not known; its token is the empty text."""


class DoorMetrics:
    """Requests and events by token, deliveries by source, and what waits on disk."""

    def __init__(
        self,
        tokens: Iterable[str],
        sources: Mapping[str, int],
        *,
        spool_bytes: Callable[[], float],
        spool_age_s: Callable[[], float],
    ) -> None:
        """``tokens``: names of those that are let in; ``sources``: by name, how long each may be silent.

        Each counts from 0 on.
        """
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter(*_named("door_requests_total"), registry=self.registry)
        self._events = Counter(*_named("door_events_total"), registry=self.registry)
        self._last = Gauge(*_named("door_last_event_timestamp_seconds"), registry=self.registry)
        self._deliveries = Counter(*_named("door_deliveries_total"), registry=self.registry)
        name = "door_last_delivery_timestamp_seconds"
        self._last_delivery = Gauge(*_named(name), registry=self.registry)
        silent_after = Gauge(*_named("door_source_silent_after_seconds"), registry=self.registry)
        Gauge(*_named("door_spool_bytes"), registry=self.registry).set_function(spool_bytes)
        Gauge(*_named("door_spool_age_seconds"), registry=self.registry).set_function(spool_age_s)
        self._requests.labels("", UNKNOWN)
        for token in tokens:
            self._events.labels(token)
            for outcome in OUTCOMES:
                self._requests.labels(token, outcome)

        for source, silent_after_s in sources.items():
            silent_after.labels(source).set(silent_after_s)
            for outcome in DELIVERY_OUTCOMES:
                self._deliveries.labels(source, outcome)

    def count(self, token: str, outcome: str) -> None:
        """Count a request that was answered."""
        self._requests.labels(token, outcome).inc()

    def count_events(self, token: str, events: int, now_ms: int) -> None:
        """Count events that were accepted."""
        self._events.labels(token).inc(events)
        self._last.labels(token).set(now_ms / 1_000)

    def count_delivery(self, source: str, outcome: str) -> None:
        """Count a delivery that was answered."""
        self._deliveries.labels(source, outcome).inc()

    def note_delivery(self, source: str, now_ms: int) -> None:
        """Note that a source is not silent."""
        self._last_delivery.labels(source).set(now_ms / 1_000)


def _named(name: str) -> tuple[str, str, tuple[str, ...]]:
    spec: Spec = _SPECS[name]
    return spec.full_name, spec.help, spec.labels

"""The metrics of one `ecindex notify`, on their own registry."""

from __future__ import annotations

from collections.abc import Iterable

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector

from streams.publish.metric_table import NOTIFY, Spec

_SPECS = {spec.name: spec for spec in NOTIFY}
STATUSES = ("400", "401", "404", "405", "413", "421", "500", "503")
"""Each counts from 0 on: a rate knows the first refusal then."""
OUTCOMES = ("sent", "unchanged", "failed")


class NotifyMetrics:
    """Messages by receiver and outcome, who takes them, and what was refused."""

    def __init__(self, receivers: Iterable[str]) -> None:
        """``receivers``: names of those that are set. Each counts from 0 on."""
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.messages = Counter(*_named("notify_messages_total"), registry=self.registry)
        self.receiver_up = Gauge(*_named("notify_receiver_up"), registry=self.registry)
        self.refused = Counter(*_named("notify_refused_total"), registry=self.registry)
        for status in STATUSES:
            self.refused.labels(status)
        for receiver in receivers:
            self.receiver_up.labels(receiver).set(1)
            for outcome in OUTCOMES:
                self.messages.labels(receiver, outcome)


def _named(name: str) -> tuple[str, str, tuple[str, ...]]:
    spec: Spec = _SPECS[name]
    return spec.full_name, spec.help, spec.labels

"""The metrics of one translator, on their own registry."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector

from streams.publish.metric_table import TRANSLATOR, Spec
from streams.translate.order_book import AGE, ROOM, WAITING, OrderBook
from streams.translate.translating import EMPTY, Translated

_SPECS = {spec.name: spec for spec in TRANSLATOR}
_IGNORED = ("type", "condition", "test", EMPTY)
READY, RESTORING = ("ready", "restoring")


class SourceNow(NamedTuple):
    """What a translator has of one source at this moment."""

    ready: int
    restoring: int
    lag: int
    orders: int
    waiting: int


class TranslatorMetrics:
    """What was read and sent by source, and what is kept."""

    def __init__(self, sources: Iterable[str], now: Callable[[str], SourceNow]) -> None:
        """``sources``: names; each counts from 0 on. ``now``: asked at scrape time."""
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._records = Counter(*_named("source_records_total"), registry=registry)
        self._ignored = Counter(*_named("source_ignored_total"), registry=registry)
        self._refused = Counter(*_named("source_refused_total"), registry=registry)
        self._events = Counter(*_named("source_events_total"), registry=registry)
        self._last = Gauge(*_named("source_last_record_timestamp_seconds"), registry=registry)
        self._forgotten = Counter(*_named("source_forgotten_total"), registry=registry)
        self._missed = Counter(*_named("source_missed_total"), registry=registry)
        lag = Gauge(*_named("source_lag_records"), registry=registry)
        partitions = Gauge(*_named("source_partitions"), registry=registry)
        orders = Gauge(*_named("source_orders"), registry=registry)
        waiting = Gauge(*_named("source_waiting"), registry=registry)
        self._newest_ms: dict[str, int] = {}
        for source in sources:
            for plain in (self._records, self._refused, self._missed):
                plain.labels(source)
            for reason in _IGNORED:
                self._ignored.labels(source, reason)
            for reason in (AGE, ROOM, WAITING):
                self._forgotten.labels(source, reason)
            for topic in ("orders", "payments"):
                self._events.labels(source, topic)
            for gauge, name in (
                (lag.labels(source), "lag"),
                (orders.labels(source), "orders"),
                (waiting.labels(source), "waiting"),
                (partitions.labels(source, READY), "ready"),
                (partitions.labels(source, RESTORING), "restoring"),
            ):
                gauge.set_function(partial(_of, now, source, name))

    def count(self, source: str, found: Translated, book: OrderBook) -> None:
        """Count a batch that was committed."""
        self._records.labels(source).inc(found.read)
        self._refused.labels(source).inc(len(found.dead))
        for reason, count in found.ignored.items():
            self._ignored.labels(source, reason).inc(count)
        orders = sum(event.topic == "orders" for event in found.events)
        self._events.labels(source, "orders").inc(orders)
        self._events.labels(source, "payments").inc(len(found.events) - orders)
        if found.last_ms > self._newest_ms.get(source, 0):
            self._newest_ms[source] = found.last_ms
            self._last.labels(source).set(found.last_ms / 1_000)
        for reason, count in book.forgotten.items():
            self._forgotten.labels(source, reason).inc(count)
        book.forgotten.clear()

    def missed(self, source: str, records: int) -> None:
        """Count records that are gone."""
        self._missed.labels(source).inc(records)


def _of(now: Callable[[str], SourceNow], source: str, name: str) -> float:
    return float(getattr(now(source), name))


def _named(name: str) -> tuple[str, str, tuple[str, ...]]:
    spec: Spec = _SPECS[name]
    return spec.full_name, spec.help, spec.labels

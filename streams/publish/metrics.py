"""The metric objects of one worker, on their own registry. ``metric_table`` says what each means.

Nothing is registered globally. So a test, or each of two workers in one process, can have its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from streams.flow.admission import OUTCOMES
from streams.flow.wire import SKIPPED
from streams.index.currencies import exponent
from streams.index.event_types import IGNORED_REASONS, PART_REASONS, REASONS
from streams.publish.index_collector import IndexCollector
from streams.publish.metric_table import BY_NAME

_HASH_CHARACTERS = 12


class Metrics:
    """Every service metric as an attribute, and ``index``, the collector of the index series."""

    def __init__(
        self,
        *,
        markets: Iterable[str],
        version: str,
        edition: int,
        methodology: str,
        currencies: Mapping[str, str] | None = None,
        links: Mapping[str, str] | None = None,
        index: IndexCollector | None = None,
    ) -> None:
        """Make the metrics of one worker, those of its settings with their values.

        ``markets``: the markets of the methodology; ``currencies``: the currency of each.
        ``methodology``: the hash of its content. ``links``: the settings ``links.*`` by name.
        """
        # The creation time of each child is of no use here, and would double the number of series.
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self.index = index or IndexCollector()
        self.registry.register(self.index)
        ProcessCollector(registry=self.registry)  # memory, and the start time of the process
        self.events = self._counter("events_total")
        self.dead_letters = self._counter("dead_letters_total")
        self.ignored = self._counter("ignored_records_total")
        self.parts_lost = self._counter("parts_lost_total")
        self.revised_after_final = self._counter("revised_after_final_total")
        self.event_to_publish = self._histogram("event_to_publish_seconds")
        self.consumer_lag = self._gauge("consumer_lag_records")
        self.open_transaction = self._gauge("open_transaction_seconds")
        self.watermark = self._gauge("watermark_timestamp_seconds")
        self.flush_duration = self._histogram("flush_duration_seconds")
        self.publish_duration = self._histogram("publish_duration_seconds")
        self.publish_failures = self._counter("publish_failures_total")
        self.publish_refusals = self._counter("publish_refusals_total")
        self.can_publish = self._gauge("can_publish")
        self.snapshot_left_out = self._gauge("snapshot_left_out_values")
        self.partials_skipped = self._counter("partials_skipped_total")
        self.rebalances = self._counter("rebalances_total")
        self.clock_ahead = self._gauge("clock_ahead_seconds")
        self.open_panes = self._gauge("open_panes")
        self.dedupe_ids = self._gauge("dedupe_ids")
        self.partition_halted = self._gauge("partition_halted")
        self.refused_ratio = self._gauge("refused_ratio")
        self.topic_missing = self._gauge("topic_missing")
        self.definitions_version = self._gauge("definitions_version")
        self.definitions_published = self._gauge("definitions_published_version")
        self.definitions_unapplied = self._gauge("definitions_unapplied_version")
        self.definitions_refused = self._gauge("definitions_refused_records")
        for sink in ("journal", "redis"):  # a rate needs the 0 before the first failure
            self.publish_failures.labels(sink)
            self.publish_refusals.labels(sink)
        for reason in REASONS:
            self.dead_letters.labels(reason)
        for reason in IGNORED_REASONS:
            self.ignored.labels(reason)
        for reason in PART_REASONS:
            self.parts_lost.labels(reason)
        for reason in SKIPPED:
            self.partials_skipped.labels(reason)
        info = self._gauge("market_info")
        for market in markets:
            info.labels(market).set(1)
        minor_units = self._gauge("currency_minor_units")
        for market, currency in (currencies or {}).items():
            minor_units.labels(market, currency).set(10 ** exponent(currency))
        self._gauge("links_info").labels(
            *((links or {}).get(name, "") for name in BY_NAME["links_info"].labels)
        ).set(1)
        build = self._gauge("build_info")
        build.labels(version, str(edition), methodology[:_HASH_CHARACTERS]).set(1)

    def begin_events(self, topic: str) -> None:
        """Count each outcome of an input from 0 on.

        A burst of late orders was in the first sample, so no increase was seen and nobody was told.
        """
        for outcome in OUTCOMES:
            self.events.labels(topic, outcome)

    def drop_partition(self, topic: str, partition: int) -> None:
        """Remove the gauges of a source partition that this worker lost."""
        gauges = (
            self.consumer_lag,
            self.open_transaction,
            self.watermark,
            self.partition_halted,
            self.refused_ratio,
        )
        for gauge in gauges:
            gauge.remove(topic, str(partition))

    def drop_market(self, market: str) -> None:
        """Remove every series of a market that this worker lost, before the next scrape."""
        self.index.drop(market)
        for gauge in (
            self.snapshot_left_out, self.definitions_published, self.definitions_unapplied,
        ):  # fmt: skip
            gauge.remove(market)

    def _counter(self, name: str) -> Counter:
        spec = BY_NAME[name]
        return Counter(spec.full_name, spec.help, spec.labels, registry=self.registry)

    def _gauge(self, name: str) -> Gauge:
        spec = BY_NAME[name]
        return Gauge(spec.full_name, spec.help, spec.labels, registry=self.registry)

    def _histogram(self, name: str) -> Histogram:
        spec = BY_NAME[name]
        return Histogram(
            spec.full_name,
            spec.help,
            spec.labels,
            registry=self.registry,
            buckets=spec.buckets,
        )

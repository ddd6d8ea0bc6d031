"""Every metric, declared once: its name, what it counts, and its unit.

The exporters, docs/contract.md and the tests read this table. No other module names a metric.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

PREFIX = "ecindex_"


class Kind(StrEnum):
    """Type of a metric in Prometheus."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


class Spec(NamedTuple):
    """One metric. ``name`` lacks the prefix; ``buckets`` are the upper bounds of a histogram."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    unit: str
    help: str
    buckets: tuple[float, ...] = ()

    @property
    def full_name(self) -> str:
        """Name in a scrape."""
        return PREFIX + self.name


INDEX = (
    Spec("orders", Kind.GAUGE, ("market", "category", "window"), "orders",
         "Placed orders with a line in the category, within the window."),
    Spec("sales_minor", Kind.GAUGE, ("market", "category", "window"), "minor currency units",
         "Quantity times unit price of placed orders' lines in the category, within the window."),
    Spec("category_share_ratio", Kind.GAUGE, ("market", "category", "window", "by"), "0..1",
         "Share of the category in the market's orders or sales (by). Shares by orders may sum to "
         "more than 1, since an order can have lines in several categories."),
    Spec("payment_share_ratio", Kind.GAUGE, ("market", "method", "window", "by"), "0..1",
         "Share of the method in captured payments by count or amount, or in the placed orders "
         "that chose a method (by=chosen)."),
    Spec("payment_failure_ratio", Kind.GAUGE, ("market", "method", "window"), "0..1",
         "Failed payments of the method, divided by its failed and captured payments."),
    Spec("market_orders", Kind.GAUGE, ("market", "window"), "orders",
         "Placed orders of the market, within the window."),
    Spec("market_sales_minor", Kind.GAUGE, ("market", "window"), "minor currency units",
         "Quantity times unit price of all placed orders' lines, within the window."),
    Spec("market_payments", Kind.GAUGE, ("market", "window"), "payments",
         "Captured payments of the market, within the window."),
    Spec("market_shoppers", Kind.GAUGE, ("market", "window"), "shoppers",
         "Different shoppers of the market's placed orders within the window, estimated to a standard "
         "error of 1.6 %."),
    Spec("demand_index", Kind.GAUGE, ("market", "category", "window"), "100 = as expected",
         "100 times the category's observed orders, divided by its expected orders."),
    Spec("orders_expected", Kind.GAUGE, ("market", "category", "window"), "orders",
         "Expected orders of the category in this window."),
    Spec("orders_band", Kind.GAUGE, ("market", "category", "window", "bound"), "orders",
         "Bounds (lower, upper) of the band of the category's orders: between them is what is usual. "
         "Only of the window 5m."),
    Spec("region_orders", Kind.GAUGE, ("market", "region", "window"), "orders",
         "Placed orders of the region, within the window."),
    Spec("region_demand_index", Kind.GAUGE, ("market", "region", "window"), "100 = as expected",
         "100 times the region's observed orders, divided by its expected orders."),
    Spec("region_orders_expected", Kind.GAUGE, ("market", "region", "window"), "orders",
         "Expected orders of the region in this window."),
    Spec("market_demand_index", Kind.GAUGE, ("market", "window"), "100 = as expected",
         "100 times the market's observed orders, divided by its expected orders."),
    Spec("market_orders_expected", Kind.GAUGE, ("market", "window"), "orders",
         "Expected orders of the market in this window."),
    Spec("market_orders_band", Kind.GAUGE, ("market", "window", "bound"), "orders",
         "Bounds (lower, upper) of the band of the market's orders: between them is what is usual."),
    Spec("market_sales_expected_minor", Kind.GAUGE, ("market", "window"), "minor currency units",
         "Expected sales of the market in this window."),
    Spec("market_sales_band_minor", Kind.GAUGE, ("market", "window", "bound"), "minor currency units",
         "Bounds (lower, upper) of the band of the market's sales."),
    Spec("demand_shift_direction", Kind.GAUGE, ("market", "dimension", "member"), "-1, 0 or 1",
         "Direction of the active demand shift; 0 without one."),
    Spec("demand_shift_evidence_ratio", Kind.GAUGE, ("market", "dimension", "member"),
         "1 = page", "Evidence of a shift, divided by its paging threshold. While a shift is active: "
         "the evidence on which it was found."),
    Spec("demand_shift_start_timestamp_seconds", Kind.GAUGE, ("market", "dimension", "member"),
         "seconds since 1970",
         "Instant at which the active demand shift began, as estimated when it was found. Absent "
         "without one."),
    Spec("demand_shift_incident_info", Kind.GAUGE, ("market", "dimension", "member", "incident"),
         "1", "Incident that the active demand shift belongs to. Absent without one."),
    Spec("shift_pages", Kind.GAUGE, ("market", "days", "word"), "pages",
         "Incidents that paged in the last 30 or 365 days, by the word of operators: confirmed, false "
         "or open."),
    Spec("shift_false_pages_budget", Kind.GAUGE, ("market", "days"), "pages",
         "False pages that the market's share of the budget allows in those of the days that were "
         "watched."),
    Spec("shift_false_pages_limit", Kind.GAUGE, ("market", "days", "bound"), "pages",
         "95 % limits (lower, upper) of the false pages to be expected in as many days: the lower one "
         "of those called false, the upper one of these and the open ones."),
    Spec("local_day_orders", Kind.GAUGE, ("market",), "orders",
         "Placed orders of the newest local day so far, late ones not among them; once a minute, as the "
         "next three."),
    Spec("other_orders", Kind.GAUGE, ("market", "dimension"), "orders",
         "Of ecindex_local_day_orders those in the member other of the dimension."),
    Spec("more_orders", Kind.GAUGE, ("market", "dimension"), "orders",
         "Of ecindex_local_day_orders those of labels for which a row had no room, so that nobody can "
         "say which they are."),
    Spec("undeclared_label_orders", Kind.GAUGE, ("market", "dimension", "label"), "orders",
         "Of ecindex_local_day_orders those that name the label, which no member has. Only of the five "
         "largest labels of a dimension."),
    Spec("detector_warming", Kind.GAUGE, ("market", "dimension", "member"), "0 or 1",
         "1 while too little of the series was learnt to watch it."),
    Spec("detector_restless", Kind.GAUGE, ("market", "dimension", "member"), "0 or 1",
         "1 while the series has bursts so often that only a shift beyond them pages."),
    Spec("index_as_of_timestamp_seconds", Kind.GAUGE, ("market",), "seconds since 1970",
         "Market's as_of, from the worker that owns it: the least of those of its sources. Its "
         "distance from now is the age of the oldest source. Absent when nobody owns the market."),
    Spec("index_source_as_of_timestamp_seconds", Kind.GAUGE, ("market", "source"),
         "seconds since 1970",
         "End of the newest window of the values that are counted from the source (orders, "
         "payments). Its distance from now is their age."),
)  # fmt: skip
"""Metrics of the index values. Only values of status ok are exported; others are absent."""

SERVICE = (
    Spec("market_info", Kind.GAUGE, ("market",), "1",
         "1 for every market of the methodology, from every worker: the markets to expect."),
    Spec("currency_minor_units", Kind.GAUGE, ("market", "currency"), "minor units",
         "Minor units in one unit of the market's currency: 100 for PKR, 1 for JPY. For every market of "
         "the methodology, from every worker. Divide sales by it."),
    Spec("links_info", Kind.GAUGE, ("board", "grafana", "runbook"), "1",
         "Always 1. The labels are the settings links.*: addresses that alerts and dashboards link to. "
         "A label that is empty was not set."),
    Spec("build_info", Kind.GAUGE, ("version", "edition", "methodology"), "1",
         "Always 1. The labels name the release, the edition and the start of the methodology's "
         "hash."),
    Spec("events_total", Kind.COUNTER, ("topic", "outcome"), "events",
         "Events read, by outcome of admission: accepted, late, day_only, too_late, duplicate, "
         "dead, ignored. Some also count as: day_closed, repeated, unmatched, unremembered, doubted."),
    Spec("dead_letters_total", Kind.COUNTER, ("reason",), "records",
         "Records sent to ecindex.dead-letters, by reason."),
    Spec("refused_ratio", Kind.GAUGE, ("topic", "partition"), "0..1",
         "Dead letters among the events of an owned source partition, within five minutes before its "
         "last record. Redis and the page say the last reason."),
    Spec("ignored_records_total", Kind.COUNTER, ("reason",), "records",
         "Records of the inputs that are no events of the contract and no mistake: of another type "
         "(order.updated), or without a value (tombstone)."),
    Spec("parts_lost_total", Kind.COUNTER, ("reason",), "parts",
         "Parts of counted events that could not be counted: lines (negative_price, price, quantity, "
         "line) and fields (label, shopper_id, new_shopper, order_id, refund_id, placed_at)."),
    Spec("revised_after_final_total", Kind.COUNTER, (), "values",
         "Values that changed after they were final. Should never rise under LogAppendTime."),
    Spec("event_to_publish_seconds", Kind.HISTOGRAM, (), "seconds",
         "From as_of, the end of the newest pane, until Redis holds the value; once a publication. "
         "An event shows at most one pane later than this.",
         (0.25, 0.5, 1, 1.5, 2, 2.25, 2.5, 2.75, 3, 3.5, 4, 5, 6, 8, 10, 15, 30, 60, 300)),
    Spec("consumer_lag_records", Kind.GAUGE, ("topic", "partition"), "records",
         "Log end minus position of an owned partition."),
    Spec("open_transaction_seconds", Kind.GAUGE, ("topic", "partition"), "seconds",
         "Time for which one open transaction has held an owned partition: nothing behind its first "
         "record is read before it ends. 0 without one. Counted from the broker's stamp on that record; "
         "where producers stamp the input, since its owner saw it."),
    Spec("watermark_timestamp_seconds", Kind.GAUGE, ("topic", "partition"), "seconds since 1970",
         "Arrival watermark of an owned source partition, the largest over its markets."),
    Spec("flush_duration_seconds", Kind.HISTOGRAM, (), "seconds",
         "From building a checkpoint to its acknowledgement by Kafka.",
         (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)),
    Spec("publish_duration_seconds", Kind.HISTOGRAM, (), "seconds",
         "From the hand-over of a publication until journal, Redis and metrics have it.",
         (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)),
    Spec("publish_failures_total", Kind.COUNTER, ("sink",), "calls",
         "Publications and heartbeats that a sink (journal, redis) failed to take."),
    Spec("publish_refusals_total", Kind.COUNTER, ("sink",), "calls",
         "Publications and heartbeats that a sink refused as older than what it holds. A few "
         "after a takeover are the fence at work; a steady rate means two owners."),
    Spec("can_publish", Kind.GAUGE, (), "0 or 1",
         "1 while Redis takes what this worker publishes. 0 once it has not for 5 s, or while it "
         "stays outside the group for that reason; then the worker is not ready."),
    Spec("snapshot_left_out_values", Kind.GAUGE, ("market",), "values",
         "Values left out of the market's snapshot for lack of room; they are of its smallest members."),
    Spec("partials_skipped_total", Kind.COUNTER, ("reason",), "records",
         "Records of ecindex.partials that are in no value. foreign: of another edition, of a market "
         "that does not belong to this partition (a worker with other settings writes there), or with a "
         "key that is none of ours. "
         "expired: of an hour or day that is no longer kept."),
    Spec("clock_ahead_seconds", Kind.GAUGE, (), "seconds",
         "How far this worker's clock is ahead of the broker's stamps for sure; behind is negative. "
         "Beyond 10 s it is not ready."),
    Spec("rebalances_total", Kind.COUNTER, (), "rebalances",
         "Assignments of partitions to this worker."),
    Spec("open_panes", Kind.GAUGE, (), "panes",
         "Panes that can still change, over all owned partitions and markets."),
    Spec("dedupe_ids", Kind.GAUGE, (), "ids",
         "Event ids kept to recognise duplicates."),
    Spec("series_dropped_total", Kind.COUNTER, (), "series",
         "Index series left out of the scrape, each counted when it begins to be left out: members "
         "beyond the 40 largest of a dimension unless they are shifted, series beyond 8,000 a worker. "
         "Redis has them."),
    Spec("partition_halted", Kind.GAUGE, ("topic", "partition"), "0 or 1",
         "1 while a source partition is halted and waits for the operator."),
    Spec("topic_missing", Kind.GAUGE, ("topic",), "0 or 1",
         "1 while a topic that the service needs does not exist, or has too few partitions."),
    Spec("definitions_version", Kind.GAUGE, ("market",), "version",
         "Version of the market's definitions that is in force, as far as this worker has read "
         "ecindex.definitions; 0: methodology.toml."),
    Spec("definitions_published_version", Kind.GAUGE, ("market",), "version",
         "Version of the definitions by which the market was last published, from its owner."),
    Spec("definitions_unapplied_version", Kind.GAUGE, ("market",), "version",
         "Version of the definitions that the market's owner cannot apply; 0: there is none."),
    Spec("definitions_refused_records", Kind.GAUGE, ("market",), "records",
         "Records of ecindex.definitions since the market's version in force that change nothing, since "
         "they cannot be read or are not valid."),
)  # fmt: skip
"""Metrics of the service itself."""

NOTIFY = (
    Spec("notify_messages_total", Kind.COUNTER, ("receiver", "outcome"), "messages",
         "Messages to a receiver (slack, pagerduty, mail, webhook): sent; unchanged, as the receiver "
         "knows it; or failed, after which Alertmanager sends the notification again."),
    Spec("notify_receiver_up", Kind.GAUGE, ("receiver",), "0 or 1",
         "1 while the receiver has taken the last message to it, or has got none yet."),
    Spec("notify_refused_total", Kind.COUNTER, ("status",), "notifications",
         "Notifications of Alertmanager that were refused, by HTTP status: of 4xx nobody was told, as "
         "Alertmanager does not come again; 503 asks it to."),
)  # fmt: skip
"""Metrics of `ecindex notify`, from its own port."""

DOOR = (
    Spec("door_requests_total", Kind.COUNTER, ("token", "outcome"), "requests",
         "Requests of a token: kafka, its events are acknowledged; spool, they wait on the door's disk; "
         "refused (4xx); limited (429); unavailable (503); unknown, without a token that is let in."),
    Spec("door_events_total", Kind.COUNTER, ("token",), "events",
         "Events of a token that were accepted."),
    Spec("door_last_event_timestamp_seconds", Kind.GAUGE, ("token",), "seconds since 1970",
         "When the last event of a token was accepted. Absent before the first since the door started."),
    Spec("door_deliveries_total", Kind.COUNTER, ("source", "outcome"), "deliveries",
         "Deliveries of a source: kafka and spool, what is mapped of them is kept there; dead_letter, "
         "they cannot be decoded; ping, of a new webhook; unsigned, by no secret of the source (401); "
         "refused (other 4xx); limited (429); unavailable (503)."),
    Spec("door_last_delivery_timestamp_seconds", Kind.GAUGE, ("source",), "seconds since 1970",
         "When the last signed delivery of a source was kept. Absent before the first since the door "
         "started."),
    Spec("door_source_silent_after_seconds", Kind.GAUGE, ("source",), "seconds",
         "For how long a source may be silent, by its file."),
    Spec("door_spool_bytes", Kind.GAUGE, (), "bytes",
         "What waits on the door's disk until Kafka takes it."),
    Spec("door_spool_age_seconds", Kind.GAUGE, (), "seconds",
         "For how long the first event there has waited; 0 when none waits."),
)  # fmt: skip
"""Metrics of `ecindex door`, from its metrics port."""

TRANSLATOR = (
    Spec("source_records_total", Kind.COUNTER, ("source",), "records",
         "Records of a source that were read."),
    Spec("source_ignored_total", Kind.COUNTER, ("source", "reason"), "records",
         "Records that say nothing of orders, on purpose: type, condition or test, as the source file "
         "says; empty, without a value."),
    Spec("source_refused_total", Kind.COUNTER, ("source",), "records",
         "Records that cannot be translated; each is a dead letter."),
    Spec("source_events_total", Kind.COUNTER, ("source", "topic"), "events",
         "Events that were sent to orders or payments."),
    Spec("source_last_record_timestamp_seconds", Kind.GAUGE, ("source",), "seconds since 1970",
         "The newest record of a source, by its own stamp. Absent before the first since the start."),
    Spec("source_lag_records", Kind.GAUGE, ("source",), "records",
         "Records of this translator's partitions that are not translated yet."),
    Spec("source_partitions", Kind.GAUGE, ("source", "state"), "partitions",
         "Partitions of this translator: ready; or restoring, which translate nothing yet."),
    Spec("source_orders", Kind.GAUGE, ("source",), "orders",
         "Orders whose state this translator keeps."),
    Spec("source_waiting", Kind.GAUGE, ("source",), "records",
         "Refunds and captures that wait for their orders."),
    Spec("source_forgotten_total", Kind.COUNTER, ("source", "reason"), "orders",
         "Orders whose state was dropped: age; room, one too many; waiting, refunds or captures of it "
         "waited for it, and are counted nowhere."),
    Spec("source_missed_total", Kind.COUNTER, ("source",), "records",
         "Records that their topic deleted before they were read."),
)  # fmt: skip
"""Metrics of `ecindex translate`, from its metrics port."""

PROCESS = (
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_virtual_memory_bytes",
)
"""Prometheus' standard names for a process, without our prefix. Exported where /proc exists."""

ALL = INDEX + SERVICE
"""What a worker exports."""
BY_NAME = {spec.name: spec for spec in ALL}


def markdown_table(specs: tuple[Spec, ...]) -> str:
    """The table in docs/contract.md."""
    lines = ["| metric | type | labels | unit | meaning |", "|---|---|---|---|---|"]
    lines += [
        f"| `{spec.full_name}` | {spec.kind} | {', '.join(spec.labels) or '-'} "
        f"| {spec.unit} | {spec.help} |"
        for spec in specs
    ]
    return "\n".join(lines) + "\n"

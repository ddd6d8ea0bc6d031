"""Dashboard "Service": whether every event is counted, how soon, and by which worker."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard, timeseries

from tools.dashboards.panels import lines, number, thresholds, titled

WORKERS = 'job="ecindex"'
FAULTS = thresholds((None, "green"), (1.0, "red"))


def quantile(of: str, part: float) -> str:
    """PromQL for a quantile of all workers' histogram."""
    return f"histogram_quantile({part}, sum by (le) (rate(ecindex_{of}_bucket[$__rate_interval])))"


def duration(title: str, of: str, description: str) -> timeseries.Panel:
    """Median and 99th percentile of a histogram."""
    queries = [(quantile(of, part), legend) for part, legend in ((0.5, "p50"), (0.99, "p99"))]
    return lines(title, queries, unit="s", description=description, width=8)


def service_dashboard() -> dashboard.Dashboard:
    """Build the dashboard of all workers. A series of one worker is named by its instance."""
    board = titled("Service", "ecindex-service", "How the workers of the index are doing.")
    _now(board)
    _flow(board)
    _publishing(board)
    _workers(board)
    return board


def _now(board: dashboard.Dashboard) -> None:
    board.with_row(dashboard.Row("Now"))
    few = thresholds((None, "red"), (1.0, "green"))
    board.with_panel(number("Workers", f"count(up{{{WORKERS}}} == 1) or vector(0)", levels=few))
    board.with_panel(
        number(
            "Markets published",
            "count(market:ecindex_index_as_of_timestamp_seconds:max) or vector(0)",
            levels=few,
        )
    )
    board.with_panel(
        number(
            "Markets of the methodology",
            "count(market:ecindex_market_info:max)",
            description="A market without an event is not published.",
        )
    )
    board.with_panel(
        number(
            "Partitions halted",
            "sum(topic_partition:ecindex_partition_halted:max) or vector(0)",
            levels=FAULTS,
        )
    )
    board.with_panel(
        number(
            "Oldest values",
            "max(market:ecindex_index_age_seconds:min)",
            unit="s",
            description="Values of an import of old data stay old.",
        )
    )
    board.with_panel(
        number(
            "Revised after final",
            "sum(increase(ecindex_revised_after_final_total[1h]))",
            levels=FAULTS,
        )
    )


def _flow(board: dashboard.Dashboard) -> None:
    board.with_row(dashboard.Row("From Kafka"))
    board.with_panel(
        lines(
            "Events by outcome",
            [("topic_outcome:ecindex_events:rate1m", "{{topic}} {{outcome}}")],
            unit="eps",
        )
    )
    board.with_panel(
        lines(
            "Dead letters by reason",
            [("reason:ecindex_dead_letters:increase15m", "{{reason}}")],
            description="Records within 15 minutes.",
        )
    )
    board.with_panel(
        lines(
            "Left out by reason",
            [
                ("sum by (reason) (increase(ecindex_parts_lost_total[15m]))", "{{reason}}"),
                (
                    "sum by (reason) (increase(ecindex_ignored_records_total[15m]))",
                    "ignored: {{reason}}",
                ),
            ],
            description="Within 15 minutes: lines and fields of counted events that could not be "
            "counted, and records that are no events.",
        )
    )
    board.with_panel(
        lines(
            "Lag",
            [("topic_partition:ecindex_consumer_lag_records:max", "{{topic}} {{partition}}")],
            description="Records waiting in each partition.",
        )
    )
    board.with_panel(
        lines(
            "Watermark delay",
            [
                (
                    "time() - topic_partition:ecindex_watermark_timestamp_seconds:max",
                    "{{topic}} {{partition}}",
                )
            ],
            unit="s",
            description="Time since the newest event of each partition arrived; grows while none do.",
        )
    )


def _publishing(board: dashboard.Dashboard) -> None:
    board.with_row(dashboard.Row("Publishing"))
    board.with_panel(
        duration("Pane to Redis", "event_to_publish_seconds", "From the end of the newest pane.")
    )
    board.with_panel(
        duration("Publish", "publish_duration_seconds", "Until journal, Redis and metrics have it.")
    )
    board.with_panel(
        duration("Flush", "flush_duration_seconds", "Until Kafka has acknowledged a checkpoint.")
    )
    board.with_panel(
        lines(
            "Failures and refusals",
            [
                ("sink:ecindex_publish_failures:rate1m", "{{sink}} failed"),
                ("sum by (sink) (rate(ecindex_publish_refusals_total[1m]))", "{{sink}} refused"),
            ],
            unit="cps",
            description="A few refusals after a takeover are the fence at work.",
        )
    )
    board.with_panel(
        lines(
            "Left out",
            [
                ("max by (market) (ecindex_snapshot_left_out_values)", "{{market}} snapshot"),
                (f"sum(increase(ecindex_series_dropped_total{{{WORKERS}}}[5m]))", "series"),
                (
                    f"sum by (reason) (increase(ecindex_partials_skipped_total{{{WORKERS}}}[5m]))",
                    "partials {{reason}}",
                ),
            ],
            description="Values without room in a snapshot; series without room in a scrape; records of "
            "ecindex.partials that are in no value: of another edition or market, or too old.",
        )
    )


def _workers(board: dashboard.Dashboard) -> None:
    board.with_row(dashboard.Row("Workers"))
    for title, expr, unit, description in (
        ("Memory", f"process_resident_memory_bytes{{{WORKERS}}}", "bytes", ""),
        (
            "CPU",
            f"rate(process_cpu_seconds_total{{{WORKERS}}}[$__rate_interval])",
            "percentunit",
            "",
        ),
        ("Open files", f"process_open_fds{{{WORKERS}}}", "short", ""),
        ("Ids held", "ecindex_dedupe_ids", "short", "To recognise duplicates; 8 bytes each."),
        ("Open panes", "ecindex_open_panes", "short", "Panes that can still change."),
        (
            "Rebalances",
            "increase(ecindex_rebalances_total[5m])",
            "short",
            "Within 5 minutes; each takes every partition away for some seconds.",
        ),
        (
            "Starts",
            f"changes(process_start_time_seconds{{{WORKERS}}}[30m])",
            "short",
            "Within 30 minutes.",
        ),
        (
            "Releases",
            "count by (version, edition, methodology) (ecindex_build_info)",
            "short",
            "Workers by version, edition and methodology.",
        ),
    ):
        legend = (
            "{{version}} e{{edition}} {{methodology}}" if title == "Releases" else "{{instance}}"
        )
        board.with_panel(
            lines(title, [(expr, legend)], unit=unit, description=description, width=8)
        )

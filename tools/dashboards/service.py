"""Dashboard "Service": whether every event is counted, how soon, and by which worker."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard, timeseries

from tools.dashboards.panels import (
    LINKS,
    Marks,
    choice,
    largest,
    lines,
    names,
    number,
    thresholds,
    titled,
)

ALL = 'job="ecindex"'
CHOSEN = f'{ALL},instance=~"$instance"'
"""A panel of single workers shows those that were chosen. A total is of all of them."""
INTERVAL = "$__rate_interval"
LAG = "topic_partition:ecindex_consumer_lag_records:max"
TRANSACTION = "topic_partition:ecindex_open_transaction_seconds:max"
WATERMARK = "topic_partition:ecindex_watermark_timestamp_seconds:max"
PARTITION = "topic, partition"
FAULTS = thresholds((None, "green"), (1.0, "red"))


def quantile(of: str, part: float) -> str:
    """PromQL for a quantile of all workers' histogram."""
    rate = f"rate(ecindex_{of}_bucket{{{ALL}}}[{INTERVAL}])"
    return f"histogram_quantile({part}, sum by (le) ({rate}))"


def duration(title: str, of: str, description: str) -> timeseries.Panel:
    """Median and 99th percentile of a histogram."""
    queries = [(quantile(of, part), legend) for part, legend in ((0.5, "p50"), (0.99, "p99"))]
    return lines(title, queries, description, unit="s", width=8)


def service_dashboard() -> dashboard.Dashboard:
    """Build the dashboard of all workers. A series of one worker is named by its instance."""
    board = titled("Service", "ecindex-service", "How the workers of the index are doing.")
    board.with_variable(
        choice("instance", "Worker", f"label_values(up{{{ALL}}}, instance)", several=True)
    )
    board.annotation(
        Marks(
            "Alerts of the service",
            'ALERTS{alertname=~"Ecindex.+",alertstate="firing",market=""}',
            title="{{alertname}}",
            text="{{severity}} {{topic}} {{partition}} {{instance}}",
            color="red",
        )
    )
    _now(board)
    _flow(board)
    _publishing(board)
    _workers(board)
    _messages(board)
    _door(board)
    _sources(board)
    return board


def _now(board: dashboard.Dashboard) -> None:
    board.with_row(dashboard.Row("Now"))
    few = thresholds((None, "red"), (1.0, "green"))
    board.with_panel(
        number(
            "Workers",
            f"count(up{{{ALL}}} == 1) or vector(0)",
            "Workers that answer a scrape.",
            levels=few,
            alerts=("EcindexNoWorker", "EcindexWorkerDown"),
        )
    )
    board.with_panel(
        number(
            "Markets published",
            "count(market:ecindex_index_as_of_timestamp_seconds:max) or vector(0)",
            "Markets that a worker owns and publishes.",
            levels=few,
            alerts=("EcindexMarketWithoutOwner",),
        )
    )
    board.with_panel(
        number(
            "Markets of the methodology",
            "count(market:ecindex_market_info:max)",
            "Markets to expect. One without an event is not published.",
        )
    )
    board.with_panel(
        number(
            "Partitions halted",
            "sum(topic_partition:ecindex_partition_halted:max) or vector(0)",
            "Partitions of the inputs that wait for an operator.",
            levels=FAULTS,
            alerts=("EcindexPartitionHalted",),
        )
    )
    board.with_panel(
        number(
            "Oldest values",
            "max(market:ecindex_index_age_seconds:min)",
            "Age of the values of the market that is furthest behind. Values of an import of old "
            "data stay old.",
            unit="s",
            alerts=("EcindexNoFreshValues",),
        )
    )
    board.with_panel(
        number(
            "Revised after final",
            f"sum(increase(ecindex_revised_after_final_total{{{ALL}}}[1h]))",
            "Values that changed within the last hour although they were final.",
            levels=FAULTS,
            decimals=0,
            alerts=("EcindexRevisedAfterFinal",),
        )
    )
    board.with_panel(
        number(
            "Alerts",
            'count(ALERTS{alertname=~"Ecindex.+",alertstate="firing"}) or vector(0)',
            "Alerts of ecindex that fire now, those of markets included.",
            levels=FAULTS,
        )
    )
    board.with_panel(
        number(
            "Workers that can publish",
            f"sum(ecindex_can_publish{{{ALL}}})",
            "Workers whose publications Redis takes.",
            levels=few,
            alerts=("EcindexWorkerCannotPublish", "EcindexPublishFailing"),
        )
    )
    board.with_panel(
        number(
            "Topics missing",
            "sum(topic:ecindex_topic_missing:sum) or vector(0)",
            "Topics that do not exist or have too few partitions, times the workers that need "
            "them.",
            levels=FAULTS,
            alerts=("EcindexTopicMissing",),
        )
    )
    board.with_panel(
        names(
            "Open",
            [(f'{LINKS}{{board!=""}}', "Live page"), (f'{LINKS}{{runbook!=""}}', "Runbook")],
            "The live page, and the instructions for alerts. Their addresses are the settings "
            "links.board and links.runbook of the workers.",
            ["${__field.labels.board}/", "${__field.labels.runbook}"],
            width=12,
        )
    )


def _flow(board: dashboard.Dashboard) -> None:
    board.with_row(dashboard.Row("From Kafka"))
    board.with_panel(
        lines(
            "Events by outcome",
            [("topic_outcome:ecindex_events:rate1m", "{{topic}} {{outcome}}")],
            "Events a second. Only accepted and late ones are in live windows; the others are set "
            "aside, each with its reason.",
            unit="eps",
            many=True,
            alerts=("EcindexEventsTooLate", "EcindexStampsDoubted"),
        )
    )
    board.with_panel(
        lines(
            "Dead letters by reason",
            [("reason:ecindex_dead_letters:increase15m", "{{reason}}")],
            "Records within 15 minutes that break the contract. They are in ecindex.dead-letters.",
            many=True,
            alerts=("EcindexDeadLetters",),
        )
    )
    board.with_panel(
        lines(
            "Events refused",
            [
                (
                    f"topk(12, max by ({PARTITION}) (ecindex_refused_ratio{{{ALL}}}))",
                    "{{topic}} {{partition}}",
                )
            ],
            "Part of the events of each partition that became dead letters, within five minutes "
            "before its last record.",
            unit="percentunit",
            many=True,
            alerts=("EcindexEventsRefused",),
        )
    )
    board.with_panel(
        lines(
            "Left out by reason",
            [
                (
                    f"sum by (reason) (increase(ecindex_parts_lost_total{{{ALL}}}[15m]))",
                    "{{reason}}",
                ),
                (
                    f"sum by (reason) (increase(ecindex_ignored_records_total{{{ALL}}}[15m]))",
                    "ignored: {{reason}}",
                ),
            ],
            "Within 15 minutes: lines and fields of counted events that could not be counted, and "
            "records that are no events.",
            many=True,
        )
    )
    board.with_panel(
        lines(
            "Lag",
            [(largest(LAG, PARTITION), "{{topic}} {{partition}}")],
            "Records that wait in a partition: the 12 with the most at the end of the time shown.",
            many=True,
            alerts=("EcindexLag",),
        )
    )
    board.with_panel(
        lines(
            "Watermark delay",
            [
                (
                    largest(f"time() - {WATERMARK}", PARTITION),
                    "{{topic}} {{partition}}",
                )
            ],
            "Time since the newest event of a partition arrived; it grows while none do. The 12 "
            "longest.",
            unit="s",
            many=True,
            alerts=("EcindexWatermarkStuck",),
        )
    )
    board.with_panel(
        lines(
            "Open transactions",
            [(largest(TRANSACTION, PARTITION), "{{topic}} {{partition}}")],
            "How long a producer's open transaction has held a partition. Nothing behind it is "
            "read.",
            unit="s",
            many=True,
            alerts=("EcindexOpenTransaction",),
        )
    )
    board.with_panel(
        lines(
            "Clocks",
            [(f"ecindex_clock_ahead_seconds{{{CHOSEN}}}", "{{instance}}")],
            "How far a worker's clock is ahead of the broker's; behind is below 0.",
            unit="s",
            many=True,
            alerts=("EcindexClockDisagrees",),
        )
    )


def _publishing(board: dashboard.Dashboard) -> None:
    board.with_row(dashboard.Row("Publishing"))
    board.with_panel(
        duration(
            "Pane to Redis",
            "event_to_publish_seconds",
            "From the end of the newest pane until Redis holds its values.",
        )
    )
    board.with_panel(
        duration(
            "Publish",
            "publish_duration_seconds",
            "From handing values over until journal, Redis and metrics have them.",
        )
    )
    board.with_panel(
        duration(
            "Flush",
            "flush_duration_seconds",
            "From building a checkpoint until Kafka has acknowledged it.",
        )
    )
    board.with_panel(
        lines(
            "Failures and refusals",
            [
                ("sink:ecindex_publish_failures:rate1m", "{{sink}} failed"),
                (
                    f"sum by (sink) (rate(ecindex_publish_refusals_total{{{ALL}}}[{INTERVAL}]))",
                    "{{sink}} refused",
                ),
            ],
            "Publications a second that a sink could not take, or refused as older than what it "
            "holds. A few refusals after a takeover are the fence at work.",
            unit="cps",
            alerts=("EcindexPublishFailing",),
        )
    )
    board.with_panel(
        lines(
            "Left out",
            [
                (
                    f"max by (market) (ecindex_snapshot_left_out_values{{{ALL}}})",
                    "{{market}} snapshot",
                ),
                (f"sum(increase(ecindex_series_dropped_total{{{ALL}}}[5m]))", "series"),
                (
                    f"sum by (reason) (increase(ecindex_partials_skipped_total{{{ALL}}}[5m]))",
                    "partials {{reason}}",
                ),
            ],
            "Values without room in a snapshot; series without room in a scrape, such as members "
            "beyond the 40 largest; records of ecindex.partials that are in no value: of another "
            "edition or market, or too old.",
        )
    )
    board.with_panel(
        lines(
            "Definitions",
            [
                (
                    (
                        f"count(max by (market) (ecindex_definitions_version{{{ALL}}}) "
                        f"> max by (market) (ecindex_definitions_published_version{{{ALL}}})) "
                        "or vector(0)"
                    ),
                    "markets behind",
                ),
                (
                    (
                        "count(max by (market) "
                        f"(ecindex_definitions_unapplied_version{{{ALL}}}) > 0) or vector(0)"
                    ),
                    "markets that cannot apply them",
                ),
                (
                    f"sum(max by (market) (ecindex_definitions_refused_records{{{ALL}}}))",
                    "refused records",
                ),
            ],
            "Markets whose values are by older definitions than those in force; markets of which a "
            "version cannot be applied; records of the topic that change nothing.",
            alerts=(
                "EcindexDefinitionsLag",
                "EcindexDefinitionsNotApplied",
                "EcindexDefinitionsRefused",
            ),
        )
    )


def _messages(board: dashboard.Dashboard) -> None:
    """What `ecindex notify` does; empty where it does not run."""
    board.with_row(dashboard.Row("Messages"))
    board.with_panel(
        lines(
            "Messages",
            [
                (
                    "sum by (receiver, outcome) (increase(ecindex_notify_messages_total[5m]))",
                    "{{receiver}} {{outcome}}",
                ),
            ],
            "Messages to people within 5 minutes, by receiver: sent; unchanged, as the receiver knows "
            "it; failed, after which Alertmanager sends the notification again.",
        )
    )
    board.with_panel(
        lines(
            "Who takes messages",
            [
                ("min by (receiver) (ecindex_notify_receiver_up)", "{{receiver}}"),
                ('min(up{job="ecindex-notify"})', "ecindex notify"),
            ],
            "1 while a receiver has taken the last message to it, and while `ecindex notify` answers.",
            unit="none",
            alerts=("EcindexNotifyDown", "EcindexNotifyFailing"),
        )
    )


def _door(board: dashboard.Dashboard) -> None:
    """What `ecindex door` takes; empty where it does not run."""
    board.with_row(dashboard.Row("Door"))
    for title, expr, legend, unit, description in (
        (
            "Requests",
            "sum by (token, outcome) (increase(ecindex_door_requests_total[5m]))",
            "{{token}} {{outcome}}",
            "short",
            "Requests within 5 minutes, by token and where their events were kept, or why not.",
        ),
        (
            "Events",
            "sum by (token) (rate(ecindex_door_events_total[$__rate_interval]))",
            "{{token}}",
            "short",
            "Events a second that were accepted, by token.",
        ),
        (
            "Since the last event",
            "time() - max by (token) (ecindex_door_last_event_timestamp_seconds)",
            "{{token}}",
            "s",
            "How long each token has been silent. Silence of a sender is no outage of demand.",
        ),
    ):
        board.with_panel(lines(title, [(expr, legend)], description, unit=unit))
    for title, expr, legend, unit, description, alerts in (
        (
            "Deliveries of sources",
            "sum by (source, outcome) (increase(ecindex_door_deliveries_total[5m]))",
            "{{source}} {{outcome}}",
            "short",
            "Deliveries within 5 minutes, by source and what became of them.",
            (),
        ),
        (
            "Since the last delivery",
            "source:ecindex_door_silence_seconds:min",
            "{{source}}",
            "s",
            "How long each source has been silent. Silence of a source is no outage of demand.",
            ("EcindexSourceSilent",),
        ),
    ):
        board.with_panel(lines(title, [(expr, legend)], description, unit=unit, alerts=alerts))
    board.with_panel(
        lines(
            "Waiting for Kafka",
            [
                ("max by (instance) (ecindex_door_spool_age_seconds)", "{{instance}}: seconds"),
                ("sum by (instance) (ecindex_door_spool_bytes) / 1048576", "{{instance}}: MiB"),
            ],
            "For how long the first event has waited on the door's disk, and how much waits there.",
            alerts=("EcindexDoorHolds",),
        )
    )


def _sources(board: dashboard.Dashboard) -> None:
    """What `ecindex translate` makes of sources; empty where it does not run."""
    board.with_row(dashboard.Row("Sources"))
    for title, queries, unit, description in (
        (
            "Records of sources",
            [
                (f"sum by (source) (rate(ecindex_source_records_total[{INTERVAL}]))", "{{source}}"),
                (
                    f"sum by (source, reason) (rate(ecindex_source_ignored_total[{INTERVAL}]))",
                    "{{source}} ignored: {{reason}}",
                ),
            ],
            "short",
            "Records a second that were read, and those that say nothing of orders.",
        ),
        (
            "Events of sources",
            [
                (
                    f"sum by (source, topic) (rate(ecindex_source_events_total[{INTERVAL}]))",
                    "{{source}} {{topic}}",
                )
            ],
            "short",
            "Events a second that were made of a source's records.",
        ),
        (
            "Since the last record",
            [
                (
                    "time() - max by (source) (ecindex_source_last_record_timestamp_seconds)",
                    "{{source}}",
                )
            ],
            "s",
            "Age of the newest record, by its own stamp. Silence of a source is no outage of demand.",
        ),
        (
            "Not translated yet",
            [
                ("sum by (source) (ecindex_source_lag_records)", "{{source}}"),
                (
                    "sum by (source, state) (ecindex_source_partitions)",
                    "{{source}} partitions {{state}}",
                ),
            ],
            "short",
            "Records that wait for a translator, and the partitions that translators have.",
        ),
        (
            "Orders kept",
            [
                ("sum by (source) (ecindex_source_orders)", "{{source}}"),
                ("sum by (source) (ecindex_source_waiting)", "{{source}} waiting"),
            ],
            "short",
            "Orders of which is known what was stated, and refunds and captures that wait for theirs.",
        ),
        (
            "Refused, missed, forgotten",
            [
                (
                    "sum by (source) (increase(ecindex_source_refused_total[1h]))",
                    "{{source}} refused",
                ),
                (
                    "sum by (source) (increase(ecindex_source_missed_total[1h]))",
                    "{{source}} missed",
                ),
                (
                    "sum by (source, reason) (increase(ecindex_source_forgotten_total[1h]))",
                    "{{source}} forgotten: {{reason}}",
                ),
            ],
            "short",
            "Within an hour: records refused, or gone before they were read, and orders forgotten.",
        ),
    ):
        board.with_panel(lines(title, queries, description, unit=unit, width=8))


def _workers(board: dashboard.Dashboard) -> None:
    board.with_row(dashboard.Row("Workers"))
    each = "{{instance}}"
    for title, expr, legend, unit, description, alerts in (
        (
            "Memory",
            f"process_resident_memory_bytes{{{CHOSEN}}}",
            each,
            "bytes",
            "Resident memory of each worker.",
            (),
        ),
        (
            "CPU",
            f"rate(process_cpu_seconds_total{{{CHOSEN}}}[{INTERVAL}])",
            each,
            "percentunit",
            "Processor time a second of each worker; 100 % is one core.",
            (),
        ),
        (
            "Open files",
            f"process_open_fds{{{CHOSEN}}}",
            each,
            "short",
            "Open files and connections of each worker.",
            (),
        ),
        (
            "Ids held",
            f"ecindex_dedupe_ids{{{CHOSEN}}}",
            each,
            "short",
            "Ids of events that each worker keeps to recognise duplicates; 8 bytes each.",
            ("EcindexPartitionHalted",),
        ),
        (
            "Open panes",
            f"ecindex_open_panes{{{CHOSEN}}}",
            each,
            "short",
            "Panes of each worker that can still change.",
            (),
        ),
        (
            "Rebalances",
            f"increase(ecindex_rebalances_total{{{CHOSEN}}}[5m])",
            each,
            "short",
            "Rebalances within 5 minutes. Each takes every partition away for some seconds.",
            (),
        ),
        (
            "Starts",
            f"changes(process_start_time_seconds{{{CHOSEN}}}[30m])",
            each,
            "short",
            "Starts of each worker within 30 minutes.",
            ("EcindexWorkerRestarting",),
        ),
        (
            "Releases",
            f"count by (version, edition, methodology) (ecindex_build_info{{{ALL}}})",
            "{{version}} e{{edition}} {{methodology}}",
            "short",
            "Workers by version, edition and methodology. Two lines: a change is under way.",
            (),
        ),
    ):
        board.with_panel(
            lines(title, [(expr, legend)], description, unit=unit, width=8, alerts=alerts)
        )

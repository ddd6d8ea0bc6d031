"""Once a second: the gauges of a worker that no event moves, and the limit of what it may hold."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from streams.flow.chunk import SourcePartition
from streams.flow.incarnation import records_left
from streams.index.input_reports import refused_share
from streams.publish.metrics import Metrics
from streams.worker.intake import Intake
from streams.worker.level1 import SourceRunner
from streams.worker.log_clock import LogClock

_log = structlog.get_logger(__name__)


class Observer:
    """Reads the source partitions of a worker into its metrics."""

    def __init__(
        self,
        sources: Mapping[SourcePartition, SourceRunner],
        intake: Intake,
        metrics: Metrics,
        log_clock: LogClock,
        ids_max: int,
    ) -> None:
        """``ids_max``: event ids that this worker may hold; beyond it the fullest partition halts."""
        self._sources = sources
        self._intake = intake
        self._metrics = metrics
        self._log_clock = log_clock
        self._ids_max = ids_max
        self._clock_agreed = True

    def observe(self) -> None:
        """Set the gauges; halt the source partition that holds the most ids, when all are too many."""
        metrics = self._metrics
        open_panes = held_ids = 0
        for runner in self._sources.values():
            self._observe_source(runner)
            open_panes += runner.level.source.open_panes
            held_ids += runner.level.source.held_ids
        metrics.open_panes.set(open_panes)
        metrics.dedupe_ids.set(held_ids)
        self._observe_clock()
        if held_ids > self._ids_max and self._sources:
            fullest = max(self._sources.values(), key=lambda runner: runner.level.source.held_ids)
            if not self._intake.is_paused(fullest.sp):
                fullest.halt("dedupe_ids", f"{held_ids} ids held; add workers or lower the rate")

    def _observe_source(self, runner: SourceRunner) -> None:
        sp, intake, metrics = runner.sp, self._intake, self._metrics
        labels = (sp.topic, str(sp.partition))
        position, log_end = intake.position(sp), intake.log_end(sp)
        if position is not None and log_end is not None:
            metrics.consumer_lag.labels(*labels).set(records_left(position, log_end))
        metrics.open_transaction.labels(*labels).set(intake.open_transaction_ms(sp) / 1000)
        watermarks = runner.level.source.watermarks()
        if watermarks:
            metrics.watermark.labels(*labels).set(max(watermarks.values()) / 1000)
        metrics.partition_halted.labels(*labels).set(runner.halted is not None)
        report = runner.taken.report()
        metrics.refused_ratio.labels(*labels).set(0 if report is None else refused_share(report))

    def _observe_clock(self) -> None:
        self._metrics.clock_ahead.set(self._log_clock.ahead_ms / 1000)
        disagrees = self._log_clock.disagrees
        if (disagrees is None) is not self._clock_agreed:
            self._clock_agreed = disagrees is None
            _log.warning("clock", state="agrees again" if disagrees is None else disagrees)

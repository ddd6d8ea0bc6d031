"""Judges what was set aside: every record is counted, late or a dead letter, exactly one of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from streams.flow.chunk import SourcePartition
from streams.flow.incarnation import in_log, through_in_log
from streams.proof.audit.report import SET_ASIDE, Report
from streams.proof.recompute.batch import SET_ASIDE_MAX, TOO_LATE, SourceBatch
from streams.proof.recompute.slots import GONE
from streams.records.kafka_logs import Stored
from streams.records.set_aside_record import read_set_aside
from streams.records.unreadable import UnreadableRecord


class SetAsideLog:
    """Records of ``ecindex.late`` and ``ecindex.dead-letters``. A repeated source offset counts once."""

    def __init__(self, report: Report, topic_ids: Mapping[str, str]) -> None:
        """``topic_ids``: ids of the inputs as they are now; no log tells about those before them."""
        self._report = report
        self._topic_ids = topic_ids
        self._found: dict[SourcePartition, dict[int, set[str]]] = defaultdict(dict)
        self._count = 0

    def apply_record(self, stored: Stored) -> None:
        """Apply the next record of either topic."""
        read = read_set_aside(stored)
        if isinstance(read, UnreadableRecord):
            self._report.unreadable(SET_ASIDE, read)
            return
        if read.replayed_as is not None:
            return  # a dead letter was sent again; the copy is a record of the log itself
        if not read.source.may_be_of(self._topic_ids.get(read.source.topic, "")):
            return
        sp = SourcePartition(read.source.topic, read.source.partition)
        offset, reason = read.source.offset, read.reason
        if self._count >= SET_ASIDE_MAX:
            self._report.skip(
                SET_ASIDE, f"more than {SET_ASIDE_MAX} records set aside", stored.where
            )
            return
        reasons = self._found[sp].setdefault(offset, set())
        self._count += not reasons
        reasons.add(reason)

    def judge(self, batches: Mapping[SourcePartition, SourceBatch], complete: bool) -> None:  # noqa: FBT001 - one fact
        """Compare with the replay. ``complete``: neither topic has lost its beginning."""
        for sp, batch in batches.items():
            if batch.state is None:
                continue
            found = self._found.get(sp, {})
            if batch.blind:
                self._report.skip(SET_ASIDE, GONE, str(sp), len(batch.set_aside))
                continue
            expected = {in_log(offset): reason for offset, reason in batch.set_aside.items()}
            for offset, reason in expected.items():
                self._report.judge(SET_ASIDE)
                reasons = found.get(offset)
                if reasons is None and not complete:
                    self._report.skip(
                        SET_ASIDE, "the beginning of their log is gone", f"{sp}@{offset}"
                    )
                elif reasons is None or reason not in reasons:
                    kind = "late event" if reason == TOO_LATE else "dead letter"
                    self._report.differs(
                        SET_ASIDE, f"{sp}@{offset}", kind, reason, reasons, f"{sp}@{offset}"
                    )
            if batch.set_aside_left_out:
                self._report.skip(
                    SET_ASIDE,
                    f"more than {SET_ASIDE_MAX} records set aside",
                    str(sp),
                    batch.set_aside_left_out,
                )
                continue
            self._judge_surplus(sp, batch, found, expected)

    def _judge_surplus(
        self,
        sp: SourcePartition,
        batch: SourceBatch,
        found: Mapping[int, set[str]],
        expected: Mapping[int, str],
    ) -> None:
        state_through = batch.state_through
        through = None if state_through is None else through_in_log(state_through)
        for offset in found.keys() - expected.keys():
            if through is not None and offset <= through:
                self._report.judge(SET_ASIDE)
                self._report.differs(
                    SET_ASIDE,
                    f"{sp}@{offset}",
                    "outcome",
                    "counted",
                    found[offset],
                    f"{sp}@{offset}",
                )

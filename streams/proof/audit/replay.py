"""Replays the source logs and gives each slot to everything that must contain it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from streams.flow.chunk import SourcePartition
from streams.flow.incarnation import in_log, through_in_log
from streams.flow.state import DAY, SlotKey
from streams.flow.wire import MarkRecord
from streams.index.methodology import Methodology
from streams.proof.audit.checkpoints import CheckpointChain, judge_chain
from streams.proof.audit.cuts import Cut, PartialRow, PartialsLog
from streams.proof.audit.judge_journal import FinalSums
from streams.proof.audit.judge_merged import MergedLog
from streams.proof.audit.report import CHECKPOINT, PARTIALS, Report
from streams.proof.recompute.asking import Ask, blind_before
from streams.proof.recompute.batch import SourceBatch
from streams.proof.recompute.defined_markets import DefinedMarkets
from streams.proof.recompute.label_columns import read_row
from streams.proof.recompute.label_sums import LabelSums, differences
from streams.proof.recompute.member_sums import SumsByVersion
from streams.proof.recompute.slots import GONE, Blind, SlotCalendar, slot_name
from streams.records.kafka_logs import Extent, Stored


class Replay:
    """Replays one source partition after another. Level 1 is judged at the end of each."""

    def __init__(
        self,
        methodology: Methodology,
        payments_topic: str,
        calendar: SlotCalendar,
        blind: Blind,
        cuts: Mapping[str, Sequence[Cut]],
        partials: Sequence[PartialsLog],
        merged: MergedLog,
        report: Report,
        defined: DefinedMarkets,
        published: Mapping[str, int],
    ) -> None:
        """``published``: version of the definitions by which each market is published."""
        self.finals = FinalSums(methodology, defined, published)
        self._methodology = methodology
        self._payments_topic = payments_topic
        self._calendar = calendar
        self._blind = blind
        self._cuts = cuts
        self._partials = partials
        self._merged = merged
        self._report = report
        self._defined = defined

    def start(
        self, sp: SourcePartition, chain: CheckpointChain, extent: Extent, first: Stored | None
    ) -> SourceBatch:
        """Begin a source partition. ``first``: the first record that its log still holds."""
        first_ms = None if first is None else first.timestamp_ms
        before_ms = blind_before(extent.begin, first_ms, self._methodology)
        self._blind.add(sp, before_ms)
        self._report.sources[str(sp)] = {
            "begin": in_log(extent.begin),
            "end": in_log(extent.end),
            "through": through_in_log(chain.through),
            "arrival": "none" if first is None else first.arrival,
        }
        return SourceBatch(
            sp,
            self._methodology,
            payments=sp.topic == self._payments_topic,
            sink=self._take_slot,
            ask=self._ask(sp, chain),
            blind_before_ms=before_ms,
        )

    def finish(self, batch: SourceBatch, chain: CheckpointChain, extent: Extent) -> None:
        """End a source partition: judge what level 1 holds of it, and complete the cuts."""
        batch.finish()
        sp, report = batch.sp, self._report
        report.sources[str(sp)]["outcomes"] = dict(batch.outcomes)
        if chain.through >= extent.end:
            report.differs(
                CHECKPOINT, str(sp), "through", f"below the log's end {in_log(extent.end)}",
                through_in_log(chain.through), chain.where,
            )  # fmt: skip
        judge_chain(sp, chain, batch, self._blind, report)
        for cut in (cut for cuts in self._cuts.values() for cut in cuts):
            for (source, slot), through in cut.rows.items():
                row = batch.rows.get((through, slot)) if source == sp else None
                if row is not None:
                    self._add_to(cut, sp, slot, self._by_version(slot, row))
        for log in self._partials:
            for (source, slot), held in log.rows.items():
                if source == sp:
                    self._judge_row(batch, slot, held)
            mark = log.marks.get(sp)
            if mark is not None and mark.through >= 0:
                self._judge_mark(batch, mark)

    def _ask(self, sp: SourcePartition, chain: CheckpointChain) -> Ask:
        ask = chain.ask()
        for cuts in self._cuts.values():
            for cut in cuts:
                for (source, slot), through in cut.rows.items():
                    if source == sp:
                        ask.rows_at.setdefault(through, set()).add(slot)
        for log in self._partials:
            for (source, slot), row in log.rows.items():
                if source == sp:
                    ask.rows_at.setdefault(row.through, set()).add(slot)
            mark = log.marks.get(sp)
            if mark is not None and mark.through >= 0:
                ask.watermarks_at.add(mark.through)
        return ask

    def _take_slot(self, sp: SourcePartition, slot: SlotKey, row: LabelSums, closed: bool) -> None:  # noqa: FBT001 - the sink's signature
        by = self._by_version(slot, row)
        if closed:
            self._merged.add(sp, slot, by, row, self._blind)
            for cut in self._cuts.get(slot.market, ()):
                if cut.closed(sp, slot, self._calendar):
                    self._add_to(cut, sp, slot, by)
        self.finals.add(slot, by, self._calendar.local_days(slot.market))

    def _by_version(self, slot: SlotKey, row: LabelSums) -> SumsByVersion:
        return SumsByVersion(self._defined.members(slot.market), row)

    @staticmethod
    def _add_to(cut: Cut, sp: SourcePartition, slot: SlotKey, by: SumsByVersion) -> None:
        sums = by.of(cut.definitions)
        assert sums is not None  # the audit makes no cut of a version that it does not know
        cut.add(sp, slot, sums)

    def _judge_mark(self, batch: SourceBatch, mark: MarkRecord) -> None:
        """Judge a mark: one ahead of its log would move ``as_of`` past events not counted yet."""
        expected = batch.watermarks_at[mark.through]
        for market, found in mark.watermarks.items():
            key = f"{batch.sp} {market} mark"
            if batch.blind:
                self._report.skip(PARTIALS, GONE, key)
                continue
            self._report.judge(PARTIALS)
            if expected.get(market) != found:
                where = f"through {through_in_log(mark.through)}"
                self._report.differs(
                    PARTIALS, key, "watermark_ms", expected.get(market), found, where
                )

    def _judge_row(self, batch: SourceBatch, slot: SlotKey, row: PartialRow) -> None:
        key = f"{batch.sp} {slot_name(slot)}"
        if self._blind.of(batch.sp, slot):
            self._report.skip(PARTIALS, GONE, key)
            return
        self._report.judge(PARTIALS)
        try:
            found = read_row(row.packed, day=slot.book == DAY, sketch=row.sketch)
        except ValueError as error:
            self._report.differs(PARTIALS, key, "row", "a row by label", str(error), row.where)
            return
        for difference in differences(batch.rows.get((row.through, slot), LabelSums()), found):
            self._report.differs(PARTIALS, key, *difference, row.where)

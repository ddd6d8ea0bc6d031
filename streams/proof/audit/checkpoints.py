"""Judges level 1: the best complete chain of each source partition against a replay of its prefix."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field

from streams.flow.chain import CheckpointRecord, source_of
from streams.flow.chunk import SourcePartition
from streams.flow.remembered import closes_ms, note_starts, read_note
from streams.flow.state import DAY, LIVE, ORDERS, SlotKey
from streams.index.methodology import Methodology
from streams.proof.audit.report import CHECKPOINT, Report
from streams.proof.recompute.asking import Ask, PrefixState
from streams.proof.recompute.batch import SourceBatch
from streams.proof.recompute.label_columns import read_row
from streams.proof.recompute.label_sums import LabelSums, differences
from streams.proof.recompute.slots import GONE, Blind, slot_name
from streams.records.kafka_logs import Stored
from streams.records.state_records import read_checkpoint
from streams.records.unreadable import UnreadableRecord, UnreadableRecords, key_text

UNREADABLE = "record"
"""Name of what differs where a record cannot be read."""


@dataclass(slots=True)
class CheckpointChain:
    """State of one source partition that a recovery would load, from its best complete chain."""

    through: int = -1
    watermarks: dict[str, int] = field(default_factory=dict)
    floors: dict[str, int] = field(default_factory=dict)
    doubts: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    rows: dict[SlotKey, tuple[LabelSums, str]] = field(default_factory=dict)
    """Newest row of each slot, and the place of its record."""
    ids: dict[SlotKey, array[int]] = field(default_factory=dict)
    notes: dict[SlotKey, list[tuple[int, int]]] = field(default_factory=dict)
    """(hash of the order, kind) of each correction that is remembered."""
    where: str = ""
    content_hash: str = ""
    topic_id: str = ""
    partitions: int = 0

    def ask(self) -> Ask:
        """Return what the replay must keep so that this chain can be judged."""
        if self.through < 0:
            return Ask()
        return Ask(state_at=self.through, keep=set(self.rows))


class CheckpointLog:
    """Records of one changelog partition, as compaction will leave them."""

    def __init__(self, methodology: Methodology, report: Report) -> None:
        self._methodology = methodology
        self._report = report
        self._records: dict[bytes, tuple[CheckpointRecord, str]] = {}
        self.unreadable = UnreadableRecords()
        self.through = -1
        """Largest ``through`` of any record."""

    def apply_record(self, stored: Stored) -> None:
        """Apply the next record of the log."""
        if stored.key is None:
            return
        if stored.value is None:
            self._records.pop(stored.key, None)
            self.unreadable.replace(key_text(stored.key))
            return
        record = read_checkpoint(stored)
        if isinstance(record, UnreadableRecord):
            self.unreadable.add(record)
            self._report.differs(
                CHECKPOINT,
                repr(stored.key),
                UNREADABLE,
                record.expected,
                record.found,
                stored.where,
            )
            return
        self.unreadable.replace(key_text(stored.key))
        self._records[stored.key] = (record, stored.where)
        if not record.part:
            self.through = max(self.through, record.through)

    def chain(self, sp: SourcePartition) -> CheckpointChain:
        """Return the complete chain with the largest ``through``, or an empty chain if there is none."""
        records: dict[str, tuple[CheckpointRecord, str]] = {}
        for key, found in self._records.items():
            if source_of(key) == sp:
                records[key.decode()] = found
            else:
                self._report.differs(
                    CHECKPOINT, key.decode(), "key", f"a key of {sp}", source_of(key), found[1]
                )
        path = _complete_path(records)
        if not path:
            if records:
                self._report.differs(
                    CHECKPOINT,
                    str(sp),
                    "chain",
                    "a complete chain",
                    f"{len(records)} records without one",
                    next(iter(records.values()))[1],
                )
            return CheckpointChain()
        return self._read([records[key] for key in path])

    def _read(self, path: list[tuple[CheckpointRecord, str]]) -> CheckpointChain:
        head, where = path[-1]
        chain = CheckpointChain(
            head.through,
            dict(head.watermarks),
            dict(head.floors),
            dict(head.doubts),
            where=where,
            content_hash=head.content_hash,
            topic_id=head.topic_id,
            partitions=head.partitions,
        )
        own = self._methodology.content_hash
        if head.content_hash != own:
            self._report.differs(
                CHECKPOINT, "methodology", "content_hash", own, head.content_hash, where
            )
        for record, where in path:
            sketches = {(market, LIVE, slot): held for market, slot, held in record.sketches}
            for market, book, slot, packed_row in record.rows:
                if market not in self._methodology.markets:
                    self._report.differs(
                        CHECKPOINT, market, "market", "one of methodology.toml", market, where
                    )
                    continue
                try:
                    sketch = sketches.pop((market, book, slot), b"")
                    row = read_row(packed_row, day=book == DAY, sketch=sketch)
                except ValueError as error:
                    self._report.differs(
                        CHECKPOINT, f"{market} {slot}", "row", "a row by label", str(error), where
                    )
                    continue
                chain.rows[SlotKey(market, book, slot)] = (row, where)
            for orphan in sketches:
                self._report.differs(
                    CHECKPOINT, str(orphan), "shoppers", "a sketch beside its row", "no row", where
                )
            for market, slot, packed in record.ids:
                key = SlotKey(market, LIVE, slot)
                chain.ids.setdefault(key, array("Q")).frombytes(packed)
            for market, arrived_day, packed in record.notes:
                words = array("Q", packed)
                chain.notes.setdefault(SlotKey(market, ORDERS, arrived_day), []).extend(
                    (note.order, note.kind)
                    for note in (read_note(words, start) for start in note_starts(words))
                )
        return chain


def _complete_path(records: Mapping[str, tuple[CheckpointRecord, str]]) -> list[str]:
    """Return the keys of the best complete chain, oldest first; empty if there is none."""
    heads = sorted(
        records, key=lambda key: (records[key][0].through, records[key][0].seq, key), reverse=True
    )
    for head in heads:
        if records[head][0].part:
            continue
        path = [head]
        wanted = records[head][0].n
        while len(path) < wanted:
            previous = records[path[-1]][0].previous
            if previous is None or previous not in records:
                break
            path.append(previous)
        if len(path) == wanted:
            return path[::-1]
    return []


def judge_chain(
    sp: SourcePartition, chain: CheckpointChain, batch: SourceBatch, blind: Blind, report: Report
) -> None:
    """Compare a chain with the replayed state after the same prefix of the log."""
    if chain.through < 0:
        return
    state = batch.state
    assert state is not None
    compared: tuple[tuple[str, Mapping[str, object], Mapping[str, object]], ...] = (
        ("watermark_ms", state.watermarks, chain.watermarks),
        ("floor_ms", state.floors, chain.floors),
        ("doubts", state.doubts, chain.doubts),
    )
    for name, wanted, held in compared:
        for market in sorted(held.keys() | wanted.keys()):
            key = f"{sp} {market}"
            if batch.blind:
                report.skip(CHECKPOINT, GONE, f"{key} {name}")
                continue
            report.judge(CHECKPOINT)
            if wanted.get(market) != held.get(market):
                report.differs(
                    CHECKPOINT, key, name, wanted.get(market), held.get(market), chain.where
                )
    for slot in sorted(chain.rows.keys() | state.open):
        if blind.of(sp, slot):
            report.skip(CHECKPOINT, GONE, f"{sp} {slot_name(slot)}")
        else:
            _judge_slot(sp, slot, chain, state, report)
    if batch.blind:
        report.skip(CHECKPOINT, GONE, f"{sp} corrections")
    else:
        _judge_notes(sp, chain, state, report)


def _judge_notes(
    sp: SourcePartition, chain: CheckpointChain, state: PrefixState, report: Report
) -> None:
    """Compare what is remembered of corrections; what the watermark has closed may still be there."""
    held = {
        slot: found
        for slot, found in chain.notes.items()
        if closes_ms(slot.slot) > state.watermarks.get(slot.market, 0)
    }
    for slot in sorted(held.keys() | state.notes.keys()):
        report.judge(CHECKPOINT)
        wanted, found = sorted(state.notes.get(slot, ())), sorted(held.get(slot, ()))
        if wanted != found:
            counts = f"{len(wanted)} corrections", f"{len(found)} corrections"
            report.differs(CHECKPOINT, f"{sp} {slot_name(slot)}", "notes", *counts, chain.where)


def _judge_slot(
    sp: SourcePartition, slot: SlotKey, chain: CheckpointChain, state: PrefixState, report: Report
) -> None:
    key = f"{sp} {slot_name(slot)}"
    found, where = chain.rows.get(slot, (None, chain.where))
    expected = state.rows.get(slot)
    report.judge(CHECKPOINT)
    if found is None or expected is None:
        report.differs(CHECKPOINT, key, "row", expected, found, where)
        return
    for difference in differences(expected, found):
        report.differs(CHECKPOINT, key, *difference, where)
    if slot not in state.ids:
        return
    report.judge(CHECKPOINT)
    wanted, held = list(state.ids[slot]), sorted(chain.ids.get(slot, ()))
    if wanted != held:
        right = len(set(wanted) & set(held))
        counts = f"{len(wanted)} ids", f"{len(held)} ids, {right} of them correct"
        report.differs(CHECKPOINT, key, "ids", *counts, where)

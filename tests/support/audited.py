"""What a worker checkpoints of a log, judged by the audit's replay; rows have any room for labels."""

from __future__ import annotations

from contextlib import contextmanager
from typing import NamedTuple

import msgspec
import pytest

from streams.flow.chain import CheckpointRecord, Identity
from streams.flow.chunk import SourcePartition
from streams.flow.source import SourceLevel
from streams.index.label_rows import DAY_BOOK, LIVE_BOOK
from streams.proof.audit.checkpoints import CheckpointLog, judge_chain
from streams.proof.audit.report import Report
from streams.proof.recompute.batch import SourceBatch
from streams.proof.recompute.slots import Blind, SlotCalendar
from streams.records.kafka_logs import Stored
from tests.support.events import Sent, chunk_of
from tests.support.flow_harness import METHODOLOGY

ORDERS = SourcePartition("orders", 0)
IDENTITY = Identity(1, METHODOLOGY.content_hash, "topic-id", 1)
Record = tuple[bytes, bytes | None]


class Limits(NamedTuple):
    """Of labels and label sets in a row."""

    pane_labels: int = 1_024
    day_labels: int = 4_096
    row_bytes: int = 128 * 1024
    sets: int = 512
    set_labels: int = 32


@contextmanager
def limited(worker: Limits, audit: Limits | None = None):
    """Narrow what rows have room for, in the worker and in the audit."""
    audit = audit or worker
    with pytest.MonkeyPatch.context() as patch:
        for module in ("streams.flow.state", "streams.flow.chain"):
            live = LIVE_BOOK._replace(labels_max=worker.pane_labels)
            patch.setattr(f"{module}.LIVE_BOOK", live)
            patch.setattr(f"{module}.DAY_BOOK", DAY_BOOK._replace(labels_max=worker.day_labels))
        patch.setattr("streams.index.label_rows.ROW_BYTES_MAX", worker.row_bytes)
        patch.setattr("streams.index.label_rows.SETS_MAX", worker.sets)
        patch.setattr("streams.index.label_rows.SET_SIZE_MAX", worker.set_labels)
        batch, sums = "streams.proof.recompute.batch", "streams.proof.recompute.label_sums"
        patch.setattr(f"{batch}.PANE_LABELS_MOST", audit.pane_labels)
        patch.setattr(f"{batch}.DAY_LABELS_MOST", audit.day_labels)
        patch.setattr(f"{sums}.ROW_BYTES_MOST", audit.row_bytes)
        patch.setattr(f"{sums}.SETS_MOST", audit.sets)
        patch.setattr(f"{sums}.SET_LABELS_MOST", audit.set_labels)
        yield


def new_level(sp: SourcePartition = ORDERS) -> SourceLevel:
    payments = sp.topic == "payments"
    return SourceLevel(sp, METHODOLOGY, IDENTITY, "w", 3, payments=payments)


def checkpoint(log: list[Sent], sp: SourcePartition = ORDERS) -> Record:
    """Fold a log at once, and return its one checkpoint."""
    level = new_level(sp)
    level.fold_chunk(chunk_of(log, sp, 0, len(log)))
    flush = level.flush()
    return flush.key, flush.value


def decoded(value: bytes) -> CheckpointRecord:
    return msgspec.msgpack.decode(value, type=CheckpointRecord)


def stored(key: bytes, value: bytes | None, offset: int) -> Stored:
    return Stored("changelog", 0, offset, key, value, (), 0, 0)


def columns_of(log) -> tuple:
    return tuple(map(list, zip(*log, strict=True))) or ([], [], [])


def audited(sp, records, log, methodology, payments) -> Report:
    report = Report()
    changelog = CheckpointLog(methodology, report)
    for offset, (key, value) in enumerate(records):
        changelog.apply_record(stored(key, value, offset))
    chain = changelog.chain(sp)
    batch = SourceBatch(sp, methodology, payments=payments, sink=lambda *_: None, ask=chain.ask())
    half = len(log) // 2
    for start, part in ((0, log[:half]), (half, log[half:])):
        batch.feed(range(start, start + len(part)), *columns_of(part))
    batch.finish()
    judge_chain(sp, chain, batch, Blind(SlotCalendar(methodology)), report)
    return report

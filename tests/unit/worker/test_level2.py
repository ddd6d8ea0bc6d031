"""Level 2's runner: what it takes from the log, and what it tells of records that count nowhere."""

from __future__ import annotations

from streams.flow.chunk import Chunk, SourcePartition
from streams.flow.compile import PartitionCompile
from streams.flow.state import LIVE, SlotKey
from streams.flow.wire import encode_partial, partial_key, partition_of
from streams.publish.metrics import Metrics
from streams.worker.intake import Intake
from streams.worker.level2 import Level2Parts, MarketsRunner
from tests.support.events import T0, tuned

PARTIALS = "ecindex.partials"
INPUT = SourcePartition("orders", 0)


class Reader:
    def reseek(self, sp): ...
    def hold(self, sp): ...
    def unhold(self, sp): ...


def test_skipped_records_are_counted_once_by_reason_and_their_offsets_passed():
    methodology = tuned()
    own = partition_of("PK", 3)
    sp = SourcePartition(PARTIALS, own)
    metrics = Metrics(markets=["PK"], version="0", edition=1, methodology="0")
    intake = Intake([PARTIALS], monotonic=lambda: 0)
    intake.bind(Reader())
    intake.open(sp, 0)
    parts = Level2Parts(None, None, intake, metrics, None, lambda: T0, None, lambda: True)
    compiled = PartitionCompile(own, 3, methodology, {"orders": [INPUT], "payments": []}, "one")
    runner = MarketsRunner(parts, sp, compiled, "table")

    def take(first, *editions):
        key = partial_key(SlotKey("PK", LIVE, T0), INPUT, "w")
        row = [0] * compiled.markets["PK"].ledger.layout.live_width
        values = [encode_partial([edition, 9, row]) for edition in editions]
        last = first + len(values) - 1
        runner.take(
            intake.accept(Chunk(sp, first, last, [key] * len(values), values, [T0] * len(values)))
        )

    def told(reason):
        name = "ecindex_partials_skipped_total"
        return metrics.registry.get_sample_value(name, {"reason": reason})

    assert told("foreign") == told("expired") == 0
    take(0, methodology.edition + 1, methodology.edition)
    assert told("foreign") == 1
    take(2, methodology.edition, methodology.edition + 1)
    assert (told("foreign"), told("expired")) == (2, 0)
    assert intake.position(sp) == 4

"""Level 2's runner: what it takes from the log, which records it counts as skipped, its pace."""

from __future__ import annotations

import asyncio
import dataclasses
from types import SimpleNamespace

import pytest

from streams.flow.chunk import Chunk, SourcePartition
from streams.flow.compile import PartitionCompile
from streams.flow.state import LIVE, SlotKey
from streams.flow.wire import (
    MarkRecord,
    PartialRecord,
    encode_partial,
    partial_key,
    partition_of,
)
from streams.index.label_rows import PackedRow
from streams.index.values import Fence
from streams.publish import journal
from streams.publish.metrics import Metrics
from streams.settings import Settings
from streams.worker import level2
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
    parts = Level2Parts(None, None, intake, metrics, None, lambda: T0, None, lambda: True, None)
    compiled = PartitionCompile(own, 3, methodology, {"orders": [INPUT], "payments": []}, "one")
    runner = MarketsRunner(parts, sp, compiled, "table")

    def take(first, *editions):
        key = partial_key(SlotKey("PK", LIVE, T0), INPUT, "w")
        values = [encode_partial(PartialRecord(each, 9, PackedRow([]))) for each in editions]
        last = first + len(values) - 1
        runner.apply_chunk(
            intake.accept(Chunk(sp, first, last, [key] * len(values), values, [T0] * len(values)))
        )

    def skipped(reason):
        name = "ecindex_partials_skipped_total"
        return metrics.registry.get_sample_value(name, {"reason": reason})

    assert skipped("foreign") == skipped("expired") == 0
    take(0, methodology.edition + 1, methodology.edition)
    assert skipped("foreign") == 1
    take(2, methodology.edition, methodology.edition + 1)
    assert (skipped("foreign"), skipped("expired")) == (2, 0)
    assert intake.position(sp) == 4


class Stepped:
    """Counts what a runner asks of its compile; each step has something to publish."""

    def __init__(self, compiled: PartitionCompile) -> None:
        self.markets = compiled.markets
        self.behind = self.detecting = False
        self.lost = None
        self.outdated = self.following = False
        self.unapplied = {}
        self.catching_up = compiled.catching_up
        self.steps = 0
        self.stepped = asyncio.Event()

    def replayed(self) -> None: ...

    def follow(self) -> bool:
        return False

    def step(self, _now_ms: int) -> list[object]:
        self.steps += 1
        self.stepped.set()
        return [object()]


class Ready:
    ready = True


@pytest.fixture
def paced(monkeypatch):
    """A runner that has read its log and always has something to publish, and what it steps."""
    monkeypatch.setattr(level2, "CATCHING_UP_EVERY_MS", 60_000)
    monkeypatch.setattr(level2, "REPLAYED_STEP_S", 0)
    monkeypatch.setattr(level2, "STEP_IDLE_S", 0)
    methodology = tuned()
    sp = SourcePartition(PARTIALS, partition_of("PK", 3))
    intake = Intake([PARTIALS], monotonic=lambda: 0)
    intake.bind(Reader())
    intake.open(sp, 0)
    intake.on_response(sp, 0, 0, T0)
    settings = Settings(intervals={"publish_min_interval_ms": 10})
    parts = Level2Parts(settings, None, intake, None, None, lambda: T0, Ready(), lambda: True, None)
    compiled = PartitionCompile(
        sp.partition, 3, methodology, {"orders": [INPUT], "payments": []}, "one"
    )
    stepped = Stepped(compiled)
    runner = MarketsRunner(parts, sp, stepped, "table")

    async def published(_publication):
        """Send nothing: these tests are about the pace."""

    monkeypatch.setattr(runner, "_publish", published)

    def read_to_its_end(at_ms: int | None) -> None:
        compiled.marks[INPUT] = MarkRecord(methodology.edition, 1, {"PK": T0}, at_ms, T0)

    return runner, stepped, read_to_its_end


async def steps_reach(stepped: Stepped, count: int) -> None:
    while stepped.steps < count:
        stepped.stepped.clear()
        await stepped.stepped.wait()


async def test_publications_wait_while_old_records_are_read_and_no_longer(paced):
    runner, stepped, read_to_its_end = paced
    read_to_its_end(T0 - 60_000)
    publishing = asyncio.create_task(runner._publishing())
    await steps_reach(stepped, 2)  # the second makes the first whole
    for _ in range(20):  # many times the interval between steps
        await asyncio.sleep(0.01)
    assert stepped.steps == 2
    read_to_its_end(T0 - 1_000)
    await steps_reach(stepped, 4)
    read_to_its_end(None)
    stepped.behind = True  # vintages that nothing is compared with yet
    seen = stepped.steps
    for _ in range(20):
        await asyncio.sleep(0.01)
    assert stepped.steps <= seen + 1
    stepped.detecting = True  # a detector that has minutes to read waits for nobody
    seen = stepped.steps
    await steps_reach(stepped, seen + 3)
    publishing.cancel()


async def test_definitions_are_followed_between_steps_and_a_table_read_too_early_is_read_again(
    paced, monkeypatch
):
    runner, stepped, read_to_its_end = paced
    read_to_its_end(T0 - 1_000)
    done, again = [], []
    monkeypatch.setattr(stepped, "follow", lambda: done.append(f"follow {stepped.steps}") or False)
    runner._parts = dataclasses.replace(runner._parts, read_again=lambda: again.append(1))

    async def published(_publication):
        done.append("begin")
        await asyncio.sleep(0.01)
        done.append("acknowledged")

    monkeypatch.setattr(runner, "_publish", published)
    publishing = asyncio.create_task(runner._publishing())
    await steps_reach(stepped, 3)
    assert done[:8] == [
        "follow 0", "begin", "acknowledged", "follow 1", "begin", "acknowledged", "follow 2", "begin",
    ]  # fmt: skip
    stepped.outdated = True
    await asyncio.wait_for(publishing, 5)
    assert again == [1]


@pytest.fixture
def two(paced, monkeypatch):
    """Two runners: the first publishes when it is let go, the second takes its turn after it."""
    runner, stepped, read_to_its_end = paced
    read_to_its_end(T0 - 1_000)
    let_go = asyncio.Event()

    async def published(_publication):
        await let_go.wait()

    monkeypatch.setattr(runner, "_publish", published)
    other = MarketsRunner(runner._parts, runner.sp, Stepped(stepped), "table")

    async def at_once(_publication):
        """Publish without waiting."""

    monkeypatch.setattr(other, "_publish", at_once)
    return runner, other, let_go


async def running(runner: MarketsRunner) -> asyncio.Task[None]:
    task = asyncio.create_task(runner._publishing())
    await steps_reach(runner.compiled, 1)
    return task


async def test_a_long_step_is_published_before_another_market_steps(two, monkeypatch):
    monkeypatch.setattr(level2, "LONG_STEP_MS", 0)
    monkeypatch.setattr(level2, "TURN_S", 60)
    first, second, let_go = two
    tasks = [await running(first), asyncio.create_task(second._publishing())]
    for _ in range(20):
        await asyncio.sleep(0.01)
    assert second.compiled.steps == 0
    let_go.set()
    await steps_reach(second.compiled, 2)
    for task in tasks:
        task.cancel()


@pytest.mark.parametrize(("long_ms", "turn_s"), [(60_000, 60), (0, 0.01)])
async def test_nobody_waits_for_a_short_step_or_for_ever(two, monkeypatch, long_ms, turn_s):
    monkeypatch.setattr(level2, "LONG_STEP_MS", long_ms)
    monkeypatch.setattr(level2, "TURN_S", turn_s)
    first, second, let_go = two
    tasks = [await running(first), await running(second)]
    await steps_reach(second.compiled, 3)
    assert first.compiled.steps == 1
    assert not let_go.is_set()
    for task in tasks:
        task.cancel()


def test_a_table_that_seems_lost_is_read_again_before_it_is_told():
    # A zombie wrote its first records just after the new owner had read the table, and deleted their
    # rows. The new owner halted, and advised to raise the edition.
    metrics = Metrics(markets=["PK"], version="0", edition=1, methodology="0")
    asked = []
    parts = Level2Parts(
        None, None, None, metrics, None, lambda: T0, None, lambda: True, lambda: asked.append(1)
    )

    def judged(lost):
        compiled = PartitionCompile(0, 3, tuned(), {"orders": [INPUT], "payments": []}, "one")
        compiled.lost = lost
        MarketsRunner(parts, SourcePartition(PARTIALS, 0), compiled, "table")._judge_table()
        labels = {"topic": PARTIALS, "partition": "0"}
        halted = metrics.registry.get_sample_value("ecindex_partition_halted", labels)
        return bool(halted), len(asked)

    assert judged("gone") == (False, 1)
    assert judged(None) == (False, 1)
    assert judged("gone") == (False, 2)
    assert judged("gone") == (True, 2)


def test_values_that_are_no_more_are_deleted_under_the_version_that_says_so():
    gone = SimpleNamespace(
        gone=["PK|orders|category|books|1m"], fence=Fence(1, 0, 3, 5, 6), market="PK"
    )
    (record,) = level2._tombstones(gone, "ecindex.values")
    assert (record.topic, record.key, record.value) == (
        "ecindex.values",
        gone.gone[0].encode(),
        None,
    )
    assert journal.version_of(record.headers) == gone.fence


def test_a_replaced_list_of_members_is_deleted_with_the_fence_records_of_former_writers():
    sent = []
    outbox = SimpleNamespace(put=lambda *record: sent.append(record[:4]))
    parts = Level2Parts(
        Settings(), outbox, None, None, None, lambda: T0, None, lambda: True, lambda: None
    )
    compiled = SimpleNamespace(compiled=None)
    runner = MarketsRunner(parts, SourcePartition(PARTIALS, 2), compiled, "table")
    publication = SimpleNamespace(lists_gone=[0, 3], fence=Fence(1, 0, 5, 5, 6), market="PK")
    runner._retire(["w1"], publication)
    keys = [b"PK|fence|w1", b"PK|members|0", b"PK|members|3"]
    assert sent == [("ecindex.values", 2, key, None) for key in keys]

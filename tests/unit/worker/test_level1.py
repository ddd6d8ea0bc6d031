"""Level 1's runner: what must be acknowledged before the checkpoint that covers it is written."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from streams.flow.chain import Identity
from streams.flow.chunk import Chunk, SourcePartition
from streams.flow.incarnation import begin_of_next_log
from streams.flow.log_change import log_moved, recreated
from streams.flow.state import DAY
from streams.publish.metrics import Metrics
from streams.settings import Settings
from streams.worker.intake import Intake
from streams.worker.level1 import Level1Parts, SourceRunner
from streams.worker.log_clock import LogClock
from tests.support.events import T0, tuned
from tests.support.flow_harness import order

SP = SourcePartition("orders", 0)
CHANGELOG = "changelog"
TOPICS = Settings().topics


class Reader:
    def reseek(self, sp): ...
    def hold(self, sp): ...
    def unhold(self, sp): ...


class Acknowledging:
    """What is put, in order; everything is acknowledged at once but ``withheld`` topics."""

    def __init__(self, withheld) -> None:
        self.withheld = withheld
        self.put_topics: list[str] = []
        self.waiting: list[asyncio.Future[int]] = []

    def put(self, topic, *_record) -> asyncio.Future[int]:
        self.put_topics.append(topic)
        sent: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        if topic == self.withheld:
            self.waiting.append(sent)
        else:
            sent.set_result(0)
        return sent

    def put_all(self, topic, partition, _records) -> asyncio.Future[int]:
        return self.put(topic, partition)


def runner_with(outbox) -> SourceRunner:
    methodology = tuned()
    intake = Intake([SP.topic], monotonic=lambda: 0)
    intake.bind(Reader())
    intake.open(SP, 0)
    metrics = Metrics(markets=["PK"], version="0", edition=1, methodology="0")
    parts = Level1Parts(Settings(), methodology, outbox, intake, metrics, LogClock(lambda: T0))
    identity = Identity(methodology.edition, methodology.content_hash, "topic-id", 1)
    runner = SourceRunner(
        parts, SP, identity=identity, changelog=CHANGELOG, nonce="one", partials_id="id"
    )
    runner.recover({})
    return runner


async def test_no_mark_is_sent_while_nobody_knows_how_many_partitions_there_are():
    known = False
    outbox = Acknowledging(withheld=None)
    runner = runner_with(outbox)
    runner._parts = replace(runner._parts, topics_known=lambda: known)
    marks = []
    runner._send = lambda sends: marks.extend(s for s in sends if s.key.startswith(b"mark|"))
    runner._send_partials()
    assert not marks
    known = True
    runner._send_partials()
    assert marks


async def test_a_mark_does_not_run_ahead_of_the_rows_of_days_however_rare_checkpoints_are():
    """With `intervals.checkpoint_ms` at a minute, a day lacked a minute of orders and looked fresh."""
    runner = runner_with(Acknowledging(withheld=None))
    sent = []
    runner._send = lambda sends: sent.extend(each.key.decode().split("|")[:2] for each in sends)
    for offset in range(2):
        runner._send_partials()  # the first sends the day
        placed = json.dumps(order(f"e{offset}", T0)).encode()
        await runner.fold_chunk(Chunk(SP, offset, offset, [b"k"], [placed], [T0]))
    day, mark = ["PK", DAY], ["mark", str(SP)]
    for age_ms, expected in ((0, [mark]), (runner._parts.methodology.out_of_order_ms, [day, mark])):
        runner._days_sent_at_ms -= age_ms
        runner._marked_at_ms = 0
        sent.clear()
        runner._send_partials()
        assert [each for each in sent if each in (day, mark)][: len(expected)] == expected


async def test_a_change_of_the_log_halts_until_it_is_accepted_and_then_the_next_offset_moves():
    runner = runner_with(Acknowledging(withheld=None))
    await runner.fold_chunk(Chunk(SP, 0, 1, [b"k"] * 2, [LATE] * 2, [T0] * 2))
    intake = runner._parts.intake
    runner.halt_for(log_moved(SP, 2, 10, 20, "topic-id"))
    assert runner.halted.endswith("; run `ecindex topics accept orders 0:2..9`")
    assert intake.is_paused(SP)
    runner.accept(runner.change)
    assert (runner.halted, runner.change, intake.position(SP)) == (None, None, 10)
    assert not intake.is_paused(SP)
    assert runner.level.chain.due


def log_of_halt(runner, *halt, **how):
    with capture_logs() as lines:
        runner.halt(*halt, **how)
    return lines[0]["action"]


async def test_a_halt_names_what_mends_it_as_it_is_to_be_typed():
    """It said `ecindex dead-letters release`, which lacks its topic, also where no release helps."""
    runner = runner_with(Acknowledging(withheld=None))
    runner._parts = replace(runner._parts, release_url=lambda: "http://127.0.0.1:9464")
    action = log_of_halt(runner, "rejects", "half of the last records are dead letters")
    release = "`ecindex dead-letters release orders 0 --worker http://127.0.0.1:9464`"
    assert release in action
    assert runner.releasable
    advice = "topic orders is missing: create it again (`ecindex topics create --inputs 4`)"
    assert log_of_halt(runner, "missing", advice, releasable=False) == advice
    assert not runner.releasable
    assert log_of_halt(runner, "gap", "offsets 2..9", "ecindex topics accept orders 0:2..9") == (
        "run `ecindex topics accept orders 0:2..9`"
    )
    assert not runner.releasable
    runner._parts = replace(runner._parts, release_url=lambda: None)
    assert "set metrics.host" in log_of_halt(runner, "dedupe_ids", "too many ids")


LATE = (
    b'{"event_id":"e","type":"order.placed","occurred_at":"2010-01-01T00:00:00Z","market":"PK",'
    b'"order_id":"o","currency":"PKR",'
    b'"lines":[{"sku":"s","category":"Books","quantity":1,"unit_price_minor":1}]}'
)


async def test_a_fetch_of_nothing_but_aborted_records_is_progress():
    """It ended every worker that got one, for as long as no other record came."""
    runner = runner_with(Acknowledging(withheld=None))
    await runner.fold_chunk(Chunk(SP, 0, 0, [b"k"], [LATE], [T0]))
    await runner.fold_chunk(Chunk(SP, 1, 3, (), (), (), fetch_offset=1))
    assert runner.level.through == 3
    await runner.fold_chunk(Chunk(SP, 4, 4, [b"k"], [LATE], [T0]))
    assert runner.level.through == 4


@pytest.mark.parametrize(
    ("topic", "value"), [(TOPICS.dead_letters, b'{"no": "order"}'), (TOPICS.late, LATE)]
)
async def test_no_checkpoint_before_what_it_covers_is_set_aside(topic, value):
    """Sequence V1. A broker that refuses ends the worker; one that is slow is only waited for."""
    outbox = Acknowledging(withheld=topic)
    runner = runner_with(outbox)
    runner.start(lambda _task: None)
    await runner.fold_chunk(Chunk(SP, 0, 0, [b"k"], [value], [T0]))
    stopping = asyncio.create_task(runner.drain())
    for _ in range(100):  # all that it would do without waiting
        await asyncio.sleep(0)
    assert topic in outbox.put_topics
    assert CHANGELOG not in outbox.put_topics
    (set_aside,) = outbox.waiting
    set_aside.set_result(0)
    await asyncio.wait_for(stopping, 60)
    assert CHANGELOG in outbox.put_topics


async def test_what_is_said_of_a_log_that_took_anothers_place_are_its_own_offsets():
    """People were told of orders-0@2199023255561, which is in no log."""
    runner = runner_with(Acknowledging(withheld=None))
    runner._parts.log_clock.now_ms = lambda: T0
    await runner.fold_chunk(Chunk(SP, 0, 0, [b"k"], [LATE], [T0]))
    runner.accept(recreated(SP, 1, "topic-id", "another"))
    begin = begin_of_next_log(1)
    with capture_logs() as said:
        runner.halt("rejects", "before anything of the new log was read")
        bad = [b'{"no": "order"}'] * 2
        await runner.fold_chunk(Chunk(SP, begin, begin + 1, [b"k"] * 2, bad, [T0] * 2))
        runner.halt("rejects", "then two records were")
    assert runner.taken.report().offset == 1
    offsets = [(each["event"], each["offset"]) for each in said]
    assert offsets == [("partition_halted", -1), ("record_set_aside", 0), ("partition_halted", 1)]

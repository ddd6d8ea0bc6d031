"""Level 1's runner: what must be acknowledged before the checkpoint that covers it is written."""

from __future__ import annotations

import asyncio

import pytest

from streams.flow.chain import Identity
from streams.flow.chunk import Chunk, SourcePartition
from streams.publish.metrics import Metrics
from streams.settings import Settings
from streams.worker.intake import Intake
from streams.worker.level1 import Level1Parts, SourceRunner
from tests.support.events import T0, tuned

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
    parts = Level1Parts(Settings(), methodology, outbox, intake, metrics, lambda: T0)
    identity = Identity(methodology.edition, methodology.content_hash, "topic-id", 1)
    runner = SourceRunner(parts, SP, identity=identity, changelog=CHANGELOG, nonce="one")
    runner.recover({})
    return runner


LATE = (
    b'{"event_id":"e","type":"order.placed","occurred_at":"2010-01-01T00:00:00Z","market":"PK",'
    b'"order_id":"o","currency":"PKR",'
    b'"lines":[{"sku":"s","category":"Books","quantity":1,"unit_price_minor":1}]}'
)


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

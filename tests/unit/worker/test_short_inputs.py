"""An input with fewer partitions than there are states of: what is missing holds ``as_of``."""

from __future__ import annotations

from types import SimpleNamespace

from streams.flow.chunk import Chunk, SourcePartition
from streams.flow.wire import MarkRecord, encode_partial, mark_key, partition_of
from streams.settings import Settings
from streams.worker import names
from streams.worker.app import IndexWorker
from streams.worker.topic_ids import TopicIdentity
from tests.support.events import T0
from tests.support.flow_harness import METHODOLOGY

SETTINGS = Settings()
TOPICS = SETTINGS.topics
PARTITION = partition_of("PK", TOPICS.partials_partitions)
NOW_MS = T0 + 60_000
LATER_MS = NOW_MS + 30_000


def mark(topic, number, at_ms):
    """A mark of the owner of a partition of a topic that has one."""
    sp = SourcePartition(topic, number)
    caught_up = MarkRecord(METHODOLOGY.edition, 9, {"PK": T0}, at_ms, at_ms, ["PK"], partitions=1)
    return mark_key(sp, "nonce"), encode_partial(caught_up)


def headline(compiled, offset, *marks):
    """``as_of`` once these marks, and none before, are applied."""
    keys, values = zip(*marks, strict=True)
    sp = SourcePartition(TOPICS.partials, PARTITION)
    stamps = [LATER_MS] * len(marks)
    last = offset + len(marks) - 1
    compiled.apply_chunk(Chunk(sp, offset, last, list(keys), list(values), stamps))
    compiled.step(LATER_MS)
    return compiled.markets["PK"].progress.headline_ms


async def test_as_of_stands_while_an_input_lacks_partitions_that_were_counted(tmp_path):
    # Those that existed were taken into it. Once the operator had accepted them it went on, live,
    # without what the others were to hold.
    settings = SETTINGS.model_copy(update={"data_dir": tmp_path})
    has = {TOPICS.orders: 1, TOPICS.payments: 1}
    worker = IndexWorker(settings, METHODOLOGY, dict(has))
    worker.create()
    try:
        changelogs = names.inputs_of(settings, METHODOLOGY.edition)
        counts = has | {log: 2 if of == TOPICS.orders else 1 for log, of in changelogs.items()}
        known = {name: TopicIdentity(name, count) for name, count in counts.items()}
        worker._needs._watch = SimpleNamespace(known=known)
        worker._own_markets(SourcePartition(TOPICS.partials, PARTITION), "nonce")
        compiled = worker._markets[PARTITION].compiled
        both = mark(TOPICS.orders, 0, NOW_MS), mark(TOPICS.payments, 0, NOW_MS)
        before = headline(compiled, 0, *both, mark(TOPICS.orders, 1, T0 + 20_000))
        assert T0 < before < NOW_MS - 30_000
        both = mark(TOPICS.orders, 0, LATER_MS), mark(TOPICS.payments, 0, LATER_MS)
        assert headline(compiled, 3, *both) == before
        assert headline(compiled, 5, mark(TOPICS.orders, 1, NOW_MS)) > before
    finally:
        await worker.outbox.close()

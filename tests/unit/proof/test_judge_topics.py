"""What the audit asks of the broker itself: which topics it reads, and when a mark was written."""

from __future__ import annotations

import pytest

from streams.flow.chunk import SourcePartition
from streams.flow.wire import MarkRecord, encode_partial, mark_key
from streams.proof.audit import judge_topics
from streams.proof.audit.checkpoints import CheckpointChain
from streams.proof.audit.cuts import PartialsLog
from streams.proof.audit.judge_set_aside import SetAsideLog
from streams.proof.audit.judge_topics import TopicsJudge
from streams.proof.audit.report import Report
from streams.proof.recompute.asking import Ask
from streams.proof.recompute.batch import SourceBatch
from streams.proof.recompute.slots import SlotCalendar
from streams.records.kafka_logs import Stored
from streams.settings import KafkaSettings
from streams.worker.topic_ids import TopicIdentity
from tests.support.events import T0
from tests.support.flow_harness import METHODOLOGY

SP = SourcePartition("orders", 0)


def found(report):
    return [
        (each.stage, each.key, each.field, each.expected, each.found) for each in report.differences
    ]


@pytest.fixture
def broker(monkeypatch):
    """What the broker says of its topics; the test changes it."""
    said = {"orders": TopicIdentity("one", 2)}

    class Connected:
        def __init__(self, _kafka): ...
        async def __aenter__(self): ...
        async def __aexit__(self, *_): ...

    async def identities(_admin, _topics):
        return dict(said)

    monkeypatch.setattr(judge_topics, "connected", Connected)
    monkeypatch.setattr(judge_topics, "topic_identities", identities)
    return said


async def test_a_topic_made_anew_during_the_audit_is_a_difference(broker):
    report = Report()
    judge = TopicsJudge(KafkaSettings(), ["orders"], report)
    await judge.ask()
    broker["orders"] = TopicIdentity("one", 3)
    await judge.ask()
    assert found(report) == []
    broker["orders"] = TopicIdentity("two", 2)
    await judge.ask()
    broker.clear()
    await judge.ask()
    assert found(report) == [
        ("progress", "orders", "topic id", "one", "two"),
        ("progress", "orders", "topic id", "one", "none"),
    ]


async def test_a_checkpoint_of_another_topic_of_that_name_is_a_difference(broker):
    report = Report()
    judge = TopicsJudge(KafkaSettings(), ["orders"], report)
    await judge.ask()
    judge.judge_chain(SP, CheckpointChain(3, {}, {}, topic_id="one"))
    judge.judge_chain(SP, CheckpointChain(3, {}, {}, topic_id=""))  # of before ids were known
    assert found(report) == []
    judge.judge_chain(SP, CheckpointChain(3, {}, {}, topic_id="other"))
    assert found(report) == [("checkpoint", "orders-0", "topic id", "one", "other")]


@pytest.mark.parametrize(
    ("stamp_type", "caught_up_at", "sent_at", "differs"),
    [
        (1, T0, T0, False),
        (1, None, T0, False),
        (1, T0 + 1, T0, True),
        (1, T0 - 5, T0 + 3_600_000, True),
        (0, T0 + 1, T0, False),  # of before the topic was stamped by the broker
    ],
)
def test_a_mark_that_claims_more_than_its_stamp_is_a_difference(
    stamp_type, caught_up_at, sent_at, differs
):
    report = Report()
    log = PartialsLog(METHODOLOGY, SlotCalendar(METHODOLOGY), (), report)
    mark = MarkRecord(METHODOLOGY.edition, 5, {}, caught_up_at, sent_at)
    log.apply_record(Stored("p", 0, 7, mark_key(SP, "w"), encode_partial(mark), (), T0, stamp_type))
    assert bool(found(report)) is differs


def test_what_was_set_aside_of_an_earlier_log_is_not_judged_by_the_one_that_is_there():
    """A new edition begins at offset 0 of the log that is there; the old one's are still kept."""
    report = Report()
    log = SetAsideLog(report, {"orders": "new"})
    for offset, topic_id, reason in (
        (0, "old", "schema"),
        (1, "old", "schema"),
        (1, "new", "invalid_json"),
    ):
        headers = {"source_topic": "orders", "source_partition": "0", "source_offset": str(offset)}
        headers |= {"source_topic_id": topic_id, "reason": reason}
        pairs = tuple((name, value.encode()) for name, value in headers.items())
        log.apply_record(Stored("dead", 0, 0, b"k", b"v", pairs, T0, 1))
    batch = SourceBatch(SP, METHODOLOGY, payments=False, sink=lambda *_: None, ask=Ask(state_at=1))
    batch.feed([0, 1], [None, b"{"], [T0, T0])
    batch.finish()
    log.judge({SP: batch}, complete=True)
    assert batch.set_aside == {1: "invalid_json"}
    assert (report.judged["set_aside"], report.differences) == (1, [])

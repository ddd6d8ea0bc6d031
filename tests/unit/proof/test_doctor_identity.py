"""The doctor on logs that changed: growth is no fault, and each fault names what mends it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from streams.flow.chunk import SourcePartition
from streams.proof.doctor.findings import Level
from streams.proof.doctor.worker_checks import check_identity, check_lag
from streams.records.kafka_logs import Extent
from streams.records.kafka_topics import Changelog, wanted_topics
from streams.settings import Settings
from streams.worker.topic_ids import TopicIdentity

SP = SourcePartition("orders", 0)
LOG = 1 << 40
WHOLE = Extent(0, 20)


def examined(through, topic_id="a", partitions=2, extent=WHOLE):
    chain = SimpleNamespace(through=through, topic_id="a", partitions=2)
    chains, extents = {SP: chain}, {SP: extent}
    there = {"orders": TopicIdentity(topic_id, partitions)}
    findings = [*check_identity(chains, there, extents), *check_lag(chains, extents)]
    return [each.fix for each in findings if each.level is Level.WRONG]


@pytest.mark.parametrize("through", [19, 5, LOG - 1, LOG + 19])
def test_a_log_that_goes_on_or_has_more_partitions_is_no_fault(through):
    assert examined(through) == examined(through, partitions=5) == []


def test_an_input_that_has_lost_partitions_is_said_to_need_them_and_gets_them_by_the_command():
    # A new edition was advised, which counts all anew; and what the changelog has was called too many.
    chain = SimpleNamespace(through=5, topic_id="a", partitions=6)
    (finding,) = check_identity({SP: chain}, {"orders": TopicIdentity("a", 2)}, {SP: WHOLE})
    assert (finding.expected, finding.found) == ("6 partitions", "2 partitions")
    assert finding.fix == "ecindex topics migrate --inputs 6"
    log = Changelog("changelog", 2, has=6, of="orders")
    (*_, wanted) = wanted_topics(Settings(), changelogs=[log])
    differs = wanted.partitions_differ(6)
    assert (differs.topic, differs.found, differs.fix) == ("orders", "2", finding.fix)
    assert differs.wanted == "6, as many as changelog holds states of"
    assert wanted.partitions_differ(2) is None
    assert wanted.partitions_differ(1).topic == "changelog"


def test_each_change_names_the_command_that_accepts_it():
    assert examined(19, topic_id="b") == ["ecindex topics accept orders id=b"]
    assert examined(30) == ["ecindex topics accept orders 0:31..end=20"]
    assert examined(5, extent=Extent(10, 20)) == ["ecindex topics accept orders 0:6..9"]
    assert examined(LOG + 5, extent=Extent(10, 20)) == ["ecindex topics accept orders 0:6..9"]

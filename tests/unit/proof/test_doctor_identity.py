"""The doctor on logs that changed: growth is no fault, and each fault names what mends it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from streams.flow.chunk import SourcePartition
from streams.proof.doctor.findings import Level
from streams.proof.doctor.worker_checks import check_identity, check_lag
from streams.records.kafka_logs import Extent
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


def test_each_change_names_the_command_that_accepts_it():
    assert examined(19, topic_id="b") == ["ecindex topics accept orders id=b"]
    assert examined(30) == ["ecindex topics accept orders 0:31..end=20"]
    assert examined(5, extent=Extent(10, 20)) == ["ecindex topics accept orders 0:6..9"]
    assert examined(LOG + 5, extent=Extent(10, 20)) == ["ecindex topics accept orders 0:6..9"]

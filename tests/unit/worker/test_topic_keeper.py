"""What halts, and what is recovered anew, when an input is another topic than it was."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from streams.flow.chunk import SourcePartition
from streams.settings import Settings
from streams.worker.intake import Intake
from streams.worker.topic_ids import TopicIdentity
from streams.worker.topic_keeper import TopicKeeper
from streams.worker.topic_watch import TopicEvent

SP = SourcePartition("orders", 0)


class Runner:
    """A source partition's runner as far as the keeper asks it."""

    def __init__(self, through: int) -> None:
        self.sp = SP
        self.halted = self.change = None
        self.level = SimpleNamespace(topic_id="old", through=through, grow=lambda _count: None)

    def halt_for(self, change) -> None:
        self.change = change


class Group:
    """Notes whether the group was asked to recover every state anew."""

    rejoin: bool | None = None

    def ask_anew(self, *, rejoin: bool) -> None:
        self.rejoin = rejoin


@pytest.mark.parametrize(("through", "halts"), [(-1, False), (0, True), (41, True)])
def test_a_recreated_input_halts_what_was_counted_of_it_and_begins_the_rest_anew(through, halts):
    # An empty partition that was accepted numbered its records as those of a second log. Its next
    # owner found no checkpoint and numbered them from 0: they lost against rows that were there.
    runner, group = Runner(through), Group()
    watch = SimpleNamespace(known={}, exists={}, missing=[])
    keeper = TopicKeeper(
        Settings(), 1, watch, Intake(["orders"]), None,
        sources={SP: runner}, accepted={}, group=group, grow=None,
    )  # fmt: skip
    keeper._on_event(TopicEvent("orders", TopicIdentity("old", 1), TopicIdentity("new", 1)))
    assert (runner.change is not None) is halts
    assert group.rejoin is not halts

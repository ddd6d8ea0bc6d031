"""What halts, and what is recovered anew, when an input is another topic than it was."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from aiokafka.errors import ClusterAuthorizationFailedError
from aiokafka.structs import TopicPartition
from structlog.testing import capture_logs

from streams.flow.chunk import SourcePartition
from streams.index.history_records import AcceptedChange
from streams.publish.metrics import Metrics
from streams.settings import Settings
from streams.worker.consumer_thread import ChunkConsumerThread
from streams.worker.intake import Intake
from streams.worker.names import (
    MERGED_TABLE,
    app_id,
    changelog_topic,
    checkpoint_table,
    own_topics,
)
from streams.worker.topic_ids import TopicIdentity
from streams.worker.topic_keeper import DURABLE_WITHIN_CHECKS, TopicKeeper
from streams.worker.topic_needs import TopicNeeds
from streams.worker.topic_watch import TopicEvent

SP = SourcePartition("orders", 0)
RECREATED = TopicEvent("orders", TopicIdentity("old", 1), TopicIdentity("new", 1))


class Watch:
    """A broker of which nothing more is heard."""

    exists, missing = {}, ()

    def __init__(self) -> None:
        self.known = {}

    async def ask_again(self) -> list[TopicEvent]:
        return []


class Runner:
    """A source partition's runner as far as the keeper asks it."""

    def __init__(self, through: int, *, durable: bool = True) -> None:
        self.sp = SP
        self.durable = durable
        self.halted = self.change = None
        self.level = SimpleNamespace(topic_id="old", through=through, grow=lambda _count: None)

    def halt(self, reason: str, _detail: str, **_how) -> None:
        self.halted = reason

    def halt_for(self, change) -> None:
        self.change = change

    def accept(self, change) -> None:
        self.change = None
        self.level.topic_id, self.resumed_at = change.topic_id, change.resume_at


class Group:
    """Notes whether the group was asked to recover every state anew."""

    rejoin: bool | None = None

    def ask_anew(self, *, rejoin: bool) -> None:
        self.rejoin = rejoin


def accepting(*changes: str) -> dict[tuple[str, str], AcceptedChange]:
    return {("orders", change): AcceptedChange("orders", change, "") for change in changes}


def keeper_of(
    runner: Runner, group: Group, accepted: dict, stated: set = frozenset()
) -> TopicKeeper:
    async def stated_by_others(_changelog: str, owned: set) -> set[str]:
        assert owned == {0}
        return stated

    watch = Watch()
    return TopicKeeper(
        Settings(), watch, TopicNeeds(Settings(), 1, watch, None, None), Intake(["orders"]),
        sources={SP: runner}, accepted=accepted, group=group, stated=stated_by_others,
    )  # fmt: skip


async def check(keeper: TopicKeeper, *events: TopicEvent) -> None:
    """Let the keeper check once, when this is what has changed."""

    async def ask_again():
        return events

    for event in events:
        known = {} if event.new is None else {event.topic: event.new}
        keeper._watch.known = {**keeper._watch.known, **known}
    keeper._watch.ask_again = ask_again
    await keeper.check()


@pytest.mark.parametrize(("through", "halts"), [(-1, False), (0, True), (41, True)])
async def test_a_recreated_input_halts_what_was_counted_of_it_and_begins_the_rest_anew(
    through, halts
):
    # An empty partition that was accepted numbered its records as those of a second log. Its next
    # owner found no checkpoint and numbered them from 0: they lost against rows that were there.
    runner, group = Runner(through), Group()
    await check(keeper_of(runner, group, {}), RECREATED)
    assert (runner.change is not None) is halts
    assert group.rejoin is not halts


@pytest.mark.parametrize(
    ("through", "others", "accepted", "begins"),
    [
        (-1, {"older"}, (), False),
        (-1, {"older", "old"}, (), False),
        (-1, {"older"}, ("id=old",), True),
        (-1, {"old"}, (), True),  # partitions were added
        (-1, set(), (), True),
        (41, {"older"}, (), True),  # it says itself what it is of
    ],
)
async def test_what_no_state_is_of_begins_unless_another_partition_is_of_another_topic(
    through, others, accepted, begins
):
    # Those that a topic has got when it was created again were counted before anybody accepted it.
    runner = Runner(through)
    keeper = keeper_of(runner, Group(), accepting(*accepted), others)
    keeper._intake.topic_ids["orders"] = "old"
    await keeper.judge_new()
    assert (runner.change is None) is begins
    if not begins:
        assert runner.change.command == "ecindex topics accept orders id=old"
        assert (
            runner.change.resume_at == 0
        )  # its next owner finds no checkpoint, and begins there too


async def test_the_command_for_lost_checkpoints_holds_for_the_next_owner_whose_log_begins_later():
    # It named where the log began, and retention had taken more by then: accepted, nothing went on.
    tp, intake = TopicPartition(*SP), Intake(["orders"])
    begins = [40, 55]

    class Consumer:
        async def beginning_offsets(self, _tps):
            return {tp: begins.pop(0)}

        async def end_offsets(self, _tps):
            return {tp: 99}

        async def committed(self, _tp):
            return 90

        def seek(self, _tp, target):
            self.target = target

    accepted, commands = {}, []
    for resumes_at in (40, 55):
        intake.close([SP])
        intake.open(SP, None)
        consumer, runner = Consumer(), Runner(-1)
        thread = SimpleNamespace(_ensure_consumer=lambda: consumer, _intake=intake, moved={})  # noqa: B023
        assert await ChunkConsumerThread._seek_open(thread, [tp]) == {tp: resumes_at}
        keeper = keeper_of(runner, Group(), accepted)
        keeper._intake = intake
        (found,) = thread.moved.items()
        keeper.on_log_moved(found[0], *found[1])
        if not accepted:
            commands.append(runner.change.command)
            accepted |= accepting("0:checkpoints-before=90")
    assert commands == ["ecindex topics accept orders 0:checkpoints-before=90"]
    assert (runner.change, runner.resumed_at) == (None, 55)


@pytest.mark.parametrize(("changelogs", "advised"), [({"orders": 4, "payments": 5}, 4), ({}, 6)])
def test_a_missing_input_is_advised_with_the_partitions_that_it_had(changelogs, advised):
    # With fewer it could not be paired with the changelog of its checkpoints, which is still there.
    keeper = keeper_of(Runner(41), Group(), {})
    group = app_id(1, Settings().topics.prefix)
    logs = {
        changelog_topic(group, checkpoint_table(topic)): TopicIdentity(topic, count)
        for topic, count in changelogs.items()
    }
    keeper._watch.known = logs | {"payments": TopicIdentity("payments", 5)}
    keeper._watch.missing = ("orders",)
    assert f"`ecindex topics create --inputs {advised}`" in keeper._needs.advice("orders")


async def test_a_state_goes_on_in_another_log_once_all_of_it_is_durable():
    # Its next owner goes on from what is durable. It would number the records by an older state, and
    # count less of the log that is gone than the rows that were sent.
    runner = Runner(41, durable=False)
    keeper = keeper_of(runner, Group(), accepting("id=new"))
    await check(keeper, RECREATED)
    assert runner.change is not None
    runner.durable = True
    await check(keeper)
    assert (runner.change, runner.level.topic_id) == (None, "new")


@pytest.mark.parametrize(("read_by", "rejoin"), [("old", True), ("new", False)])
def test_metadata_are_asked_for_when_partials_were_made_anew_during_a_recovery(read_by, rejoin):
    # The group had been formed while there were none: for half a minute nobody had a market.
    group = Group()
    keeper = keeper_of(Runner(41), group, {})
    partials = Settings().topics.partials
    keeper._intake.topic_ids[partials] = read_by
    keeper._on_event(TopicEvent(partials, TopicIdentity("old", 6), TopicIdentity("new", 6)))
    assert group.rejoin is rejoin


@pytest.mark.parametrize(
    ("new", "durable_at", "asked_at"),
    [
        (TopicIdentity("new", 1), 0, 0),
        (TopicIdentity("new", 1), 2, 2),
        (TopicIdentity("new", 1), 99, DURABLE_WITHIN_CHECKS - 1),
        (None, 2, 2),  # deleted: with new metadata aiokafka joins anew by itself
        (TopicIdentity("old", 2), 99, 0),  # the log that has partitions added is read again
    ],
)
async def test_the_group_joins_anew_once_what_was_folded_of_the_old_log_is_durable(
    new, durable_at, asked_at
):
    # A partition without a record has all recovered anew. What another one had folded since its last
    # checkpoint was in no state then, and in no log.
    empty, counted, group = Runner(-1), Runner(41, durable=durable_at == 0), Group()
    keeper = keeper_of(counted, group, {})
    keeper._sources = {SP: counted, SourcePartition("orders", 1): empty}
    checks, events = 0, [RECREATED._replace(new=new)]
    while group.rejoin is None:
        counted.durable = checks >= durable_at
        await check(keeper, *events)
        checks, events = checks + 1, []
    assert checks - 1 == asked_at
    assert group.rejoin is (new is not None and new.topic_id == "new")


@pytest.mark.parametrize(("through", "halts"), [(-1, False), (41, True)])
async def test_an_event_that_came_while_nothing_was_owned_is_acted_on_once_it_is(through, halts):
    runner, group = Runner(through), Group()
    keeper = keeper_of(runner, group, {})
    keeper._sources = {}
    await check(keeper, RECREATED)
    keeper._sources, group.rejoin = {SP: runner}, None
    await check(keeper)
    assert (runner.change is not None, group.rejoin) == (halts, not halts)


SETTINGS = Settings()
TOPICS = SETTINGS.topics
MERGED = changelog_topic(app_id(1, TOPICS.prefix), MERGED_TABLE)
CHECKPOINTS = {
    topic: changelog_topic(app_id(1, TOPICS.prefix), checkpoint_table(topic))
    for topic in (TOPICS.orders, TOPICS.payments)
}
AS_NEEDED = {
    **own_topics(SETTINGS),
    MERGED: TOPICS.partials_partitions,
    **dict.fromkeys((*CHECKPOINTS, *CHECKPOINTS.values()), 4),
}


class Told(Watch):
    """A broker that answers with these partition counts."""

    def __init__(self, counts: dict[str, int]) -> None:
        self.known = {topic: TopicIdentity(topic, count) for topic, count in counts.items()}
        self.exists = dict.fromkeys(counts, True)


def keeper_told(grow, **counts: int) -> tuple[TopicKeeper, Metrics]:
    watch = Told(AS_NEEDED | counts)
    metrics = Metrics(markets={}, version="1", edition=1, methodology="")
    keeper = TopicKeeper(
        SETTINGS, watch, TopicNeeds(SETTINGS, 1, watch, metrics, grow), Intake(["orders"]),
        sources={}, accepted={}, group=Group(), stated=None,
    )  # fmt: skip
    return keeper, metrics


async def forbidden(_wanted):
    raise ClusterAuthorizationFailedError


@pytest.mark.parametrize(
    ("made", "grown", "stands"),
    [
        ({TOPICS.values: 1}, {TOPICS.values: 12}, True),
        ({TOPICS.partials: 1}, {TOPICS.partials: 12}, True),
        ({TOPICS.dead_letters: 1}, {TOPICS.dead_letters: 4}, False),
        ({TOPICS.partials: 24}, {MERGED: 24}, True),
        ({MERGED: 24}, {TOPICS.partials: 24}, True),
        ({TOPICS.values: 24, TOPICS.history: 3, TOPICS.late: 9}, {}, False),
    ],
)
async def test_a_topic_with_too_few_partitions_gets_them_or_is_named_with_the_command(
    made, grown, stands
):
    asked = []

    async def grow(wanted):
        asked.append(dict(wanted))
        return wanted

    for granted in (grow, forbidden):
        keeper, metrics = keeper_told(granted, **made)
        await keeper.check()
        gauge = metrics.registry.get_sample_value
        for topic in AS_NEEDED:
            missing = gauge("ecindex_topic_missing", {"topic": topic})
            assert missing == (topic in grown), topic
        assert keeper._needs.publishing_stands is stands
        for topic, count in grown.items():
            found = (AS_NEEDED | made)[topic]
            assert keeper._needs.advice(topic) == (
                f"{topic} has {found} partitions and needs {count}; run `ecindex topics migrate`"
            )
    assert asked == ([grown] if grown else [])


async def test_an_input_that_was_made_with_fewer_partitions_is_advised_with_those_that_it_had():
    # A changelog loses none. `topics create`, then `topics migrate` was advised, which changes nothing.
    keeper, metrics = keeper_told(forbidden, orders=2)
    action = "orders has 2 partitions and needs 4; run `ecindex topics migrate --inputs 4`"
    assert (
        keeper._needs.advice_unpaired(SourcePartition("orders", 0))
        == keeper._needs.advice("orders")
        == action
    )
    await keeper.check()
    missing = metrics.registry.get_sample_value("ecindex_topic_missing", {"topic": "orders"})
    assert missing == 1


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ({}, {}),
        (
            {TOPICS.orders: 2, TOPICS.partials: 5},
            {
                TOPICS.orders: "2 partitions and needs 4; run `ecindex topics migrate --inputs 4`",
                TOPICS.partials: "5 partitions and needs 12; run `ecindex topics migrate`",
            },
        ),
    ],
)
async def test_a_start_says_which_topics_have_too_few_partitions(made, said):
    # Nothing changes while it runs, so no event says it. The start was refused, with advice to create
    # the topic again or to raise the edition.
    keeper, _metrics = keeper_told(forbidden)
    broker = Told(AS_NEEDED | made).known

    async def ask():
        keeper._watch.known = broker
        return []

    keeper._watch.known, keeper._watch.ask = {}, ask
    for expected in (said, {}):  # a later recovery says nothing twice
        with capture_logs() as logged:
            await keeper.refresh()
        found = {each["topic"]: each["action"] for each in logged}
        assert found == {topic: f"{topic} has {lacks}" for topic, lacks in expected.items()}
        assert {each["event"] for each in logged} <= {"topic_too_short"}

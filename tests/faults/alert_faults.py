"""The faults of docs/faults.md that name an alert, and the index on which each is caused.

A ``Fault`` causes one thing and may be behind several rows. Faults of one turn run at once, since they
do not touch each other; a chapter is one index, whose turns follow each other.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from faults import alert_causes as cause
from support.alarmed import OF_ORDERS, ORDERS, PAYMENTS, USERS, VALUES, Alarmed, alarmed
from support.valkeys import Cluster

Step = Callable[[Alarmed], Awaitable[None]]


@dataclass(frozen=True)
class Expected:
    """An alert that a row of the table names, and the metric that shows the fault before it."""

    row: str
    """Beginning of the row, of no other row, or all of its first cell."""
    alert: str
    metric: str
    """PromQL that has a result once the fault is seen."""
    within_s: float
    """From the fault to the alert: what the row says, and the alert's ``for``."""
    ends_within_s: float
    """From the mend to the alert's end: its range, and its ``keep_firing_for``."""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Fault:
    name: str
    cause: Step
    mend: Step
    expected: tuple[Expected, ...]
    prepare: Step | None = None
    """What is no fault yet and takes time."""
    counts_again: bool = False
    """Whether workers read records again that they had counted, dead letters too. An alert over a range
    of minutes would begin anew: in a chapter nothing with such an alert stands beside it."""

    @property
    def remembered(self):
        """Whether an alert of it lasts as long as the range of its counter, whatever is mended."""
        return any(each.ends_within_s >= LONG_S for each in self.expected)


LONG_S = 900
"""Alerts that end no sooner look back over a range of minutes."""
HALTED = "topic_partition:ecindex_partition_halted:max{{topic='{}',partition='{}'}} == 1"
MISSING = "topic:ecindex_topic_missing:sum{{topic='{}'}} > 0"
DEAD = "reason:ecindex_dead_letters:increase15m{{reason='{}'}} > 0"
LATE = "topic_outcome:ecindex_events:increase15m{topic='watched-orders',outcome='day_only'} > 0"
DOUBTED = "topic_outcome:ecindex_events:increase15m{topic='watched-orders',outcome='doubted'} > 0"
OLD = "market_source:ecindex_index_source_age_seconds:min{market='PK'} > 60"
FAILING = "sink:ecindex_publish_failures:rate1m{sink='redis'} > 0"
AT_ONCE_S = 20
"""A scrape and an evaluation, each every 5 s, and what a busy machine adds."""


def halts(row, topic, partition, within_s=50):
    return Expected(
        row, "EcindexPartitionHalted", HALTED.format(topic, partition), within_s, 90,
        {"topic": topic, "partition": str(partition)},
    )  # fmt: skip


def misses(row, topic):
    return Expected(row, "EcindexTopicMissing", MISSING.format(topic), 60, 120, {"topic": topic})


def dead(row, reason):
    return Expected(row, "EcindexDeadLetters", DEAD.format(reason), 90, 1_920, {"reason": reason})


def too_late(row):
    return Expected(row, "EcindexEventsTooLate", LATE, 330, 1_920, {"topic": ORDERS})


def publish_fails(row):
    return Expected(row, "EcindexPublishFailing", FAILING, 230, 180, {"sink": "redis"})


def cannot_publish(row):
    return Expected(row, "EcindexWorkerCannotPublish", "ecindex_can_publish == 0", 170, 120)


FIRST_USER = Fault(
    "first-user", cause.refuse_all, cause.mend_the_producer,
    (
        Expected(
            "Every order of a first user is refused", "EcindexEventsRefused",
            "ecindex_refused_ratio > 0.05", 15 + AT_ONCE_S, 420, {"topic": ORDERS},
        ),
    ),
)  # fmt: skip
REJECTS = Fault(
    "rejects", cause.break_the_contract, cause.release,
    (
        halts("A producer sends records that break the contract", PAYMENTS, 0),
        dead("A producer sends records that break the contract", "invalid_json"),
        Expected(
            "One input stands still", "EcindexNoFreshValues", OLD, 150, 120, {"market": "PK"}
        ),
    ),
)  # fmt: skip
AHEAD = Fault(
    "ahead",
    cause.send_ahead,
    cause.nothing,
    (dead("A producer's clock is an hour ahead", "ahead"),),
)
CUT_OFF = Fault("cut-off", cause.send_late, cause.nothing, (too_late("A shop was cut off"),))
STRAY_CLOCK = Fault(
    "stray-clock", cause.stamp_ahead, cause.nothing,
    (
        Expected(
            "One server's clock is an hour ahead, inputs with CreateTime", "EcindexStampsDoubted",
            DOUBTED, 330, 1_920, {"topic": ORDERS},
        ),
    ),
)  # fmt: skip
SENT_AGAIN = Fault(
    "sent-again",
    cause.send_again,
    cause.nothing,
    (too_late("A producer sends old orders again"),),
    cause.grow_old,
)
TRANSACTION = Fault(
    "transaction", cause.leave_open, cause.end_it,
    (
        Expected(
            "A producer leaves a transaction open", "EcindexOpenTransaction",
            "topic_partition:ecindex_open_transaction_seconds:max > 0", 60 + AT_ONCE_S, 120,
            {"topic": PAYMENTS, "partition": "1"},
        ),
    ),
)  # fmt: skip
CLOCK = Fault(
    "clock", cause.set_clock_ahead, cause.set_clock_right,
    (
        Expected(
            "A worker's clock is wrong", "EcindexClockDisagrees",
            "abs(ecindex_clock_ahead_seconds) > 10", 30 + AT_ONCE_S, 120,
        ),
    ),
)  # fmt: skip
TOPIC_GONE = Fault(
    "topic-gone", cause.delete_values, cause.type_create(VALUES),
    (misses("A topic that the service needs is deleted", VALUES),),
)  # fmt: skip
CHECKPOINTS_GONE = Fault(
    "checkpoints-gone", cause.delete_checkpoints, cause.type_create(OF_ORDERS),
    (misses("A changelog of checkpoints is deleted", OF_ORDERS),), counts_again=True,
)  # fmt: skip
RECREATED = Fault(
    "recreated", cause.recreate(2), cause.type_accept(ORDERS, 0, "recreated"),
    tuple(halts("An input is deleted and created again", ORDERS, n) for n in range(2)),
)  # fmt: skip
WITH_MORE = Fault(
    "recreated-with-more", cause.recreate(3), cause.type_accept(ORDERS, 0, "recreated"),
    tuple(
        halts("An input is deleted and created again with more partitions", ORDERS, n)
        for n in range(3)
    ),
)  # fmt: skip
WITH_FEWER = Fault(
    "recreated-with-fewer", cause.recreate(2), cause.give_back_and_accept,
    tuple(
        halts("An input is deleted and created again with fewer partitions", ORDERS, n)
        for n in range(2)
    ),
)  # fmt: skip
ADDED = Fault(
    "added",
    cause.add_partitions,
    cause.migrate,
    (halts("An input gets more partitions", PAYMENTS, 2),),
)
GAP = Fault(
    "gap", cause.delete_unread, cause.type_accept(PAYMENTS, 1, "gap"),
    (halts("Retention, or somebody, deletes records", PAYMENTS, 1, 80),), cause.fall_behind,
)  # fmt: skip
LOST_END = Fault(
    "lost-end", cause.lose_the_end, cause.type_accept(ORDERS, 0, "cut"),
    (halts("The log of an input loses its end", ORDERS, 0, 150),), cause.have_much_to_lose,
)  # fmt: skip
RESTARTS = Fault(
    "restarts", cause.kill_often, cause.nothing,
    (
        Expected(
            "A worker ends again and again", "EcindexWorkerRestarting",
            "changes(process_start_time_seconds{job='ecindex'}[30m]) >= 3", 150, 2_520,
        ),
    ),
)  # fmt: skip
ONE_KILLED = Fault(
    "one-killed",
    cause.kill_one,
    cause.start_workers,
    (Expected("A worker is killed", "EcindexWorkerDown", "up == 0", 300 + AT_ONCE_S, 120),),
)
ALL_KILLED = Fault(
    "all-killed",
    cause.kill_both,
    cause.start_workers,
    (Expected("No worker is left", "EcindexNoWorker", "up == 0", 60 + AT_ONCE_S, 120),),
)
FROZEN = Fault(
    "frozen-broker", cause.freeze_the_broker, cause.thaw_the_broker,
    tuple(
        Expected(
            row, "EcindexMarketWithoutOwner",
            "market:ecindex_market_info:max unless on (market) "
            "market:ecindex_index_as_of_timestamp_seconds:max", 180, 120, {"market": "PK"},
        )
        for row in (
            "No worker publishes a market",
            "A broker stands still during a recovery",
        )
    ),
    cause.be_patient,
)  # fmt: skip
STRANGER = Fault(
    "stranger", cause.take_the_group, cause.leave_the_group,
    (
        Expected(
            "Somebody else's consumer is in the group", "EcindexNoWorker", "up == 0", 300, 120,
        ),
    ),
    cause.empty_the_group,
)  # fmt: skip
REPLICA = Fault(
    "replica", cause.make_it_a_replica, cause.make_it_a_master, (publish_fails("Redis fails over"),)
)
MEMORY = Fault(
    "memory", cause.take_memory, cause.free_memory, (publish_fails("Redis has no memory left"),)
)
SLOW = Fault(
    "slow", cause.slow_down, cause.raise_the_time_out, (publish_fails("The way to Redis is slow"),)
)
ONE_REFUSED = Fault(
    "one-refused",
    cause.refuse(USERS[1]),
    cause.let_in(USERS[1]),
    (cannot_publish("Redis refuses one worker"),),
)
ALL_REFUSED = Fault(
    "all-refused", cause.refuse(*USERS), cause.let_in(*USERS),
    (
        cannot_publish("Redis refuses every worker"),
        publish_fails("Redis refuses every worker"),
    ),
)  # fmt: skip
NODE = Fault(
    "node", cause.hang_a_node, cause.thaw_it, (publish_fails("A node of a Redis Cluster"),)
)


@dataclass(frozen=True)
class Chapter:
    """Turns on one index."""

    name: str
    turns: tuple[tuple[Fault, ...], ...]
    users: bool = False
    """Each worker has a user of its own in Redis."""
    cluster: bool = False
    authorizer: bool = False
    arrival: str = "broker"
    """Who stamps the inputs."""


CHAPTERS = (
    Chapter(
        "inputs",
        (
            (FIRST_USER,),
            (REJECTS, AHEAD, CUT_OFF),
            (TRANSACTION, CLOCK, TOPIC_GONE),
            (RECREATED,),
            (WITH_MORE,),
            (WITH_FEWER,),
        ),
    ),
    Chapter("logs", ((ADDED,), (GAP,), (CHECKPOINTS_GONE,), (LOST_END,)), authorizer=True),
    Chapter("workers", ((RESTARTS,), (ALL_KILLED,), (ONE_KILLED, SENT_AGAIN))),
    Chapter("broker", ((STRANGER,), (FROZEN,))),
    Chapter("redis", ((REPLICA,), (MEMORY,), (SLOW,))),
    Chapter("rights", ((ONE_REFUSED,), (ALL_REFUSED,)), users=True),
    Chapter("cluster", ((NODE,),), cluster=True),
    Chapter("stamps", ((STRAY_CLOCK,),), arrival="producer"),
)
NOT_RUN = {
    "`ecindex notify` ends, or a receiver": "it is no part of an index; tests/unit/notify has every "
    "refusal of a receiver, tests/rules/service.yml both alerts",
    "A vendor delivers nothing to `ecindex door`": "it is no part of an index, and a matter of hours; "
    "tests/rules/sources.yml has the alert",
    "Kafka does not take what `ecindex door`": "it is no part of an index; the fault is in "
    "tests/integration/test_door.py, tests/rules/service.yml the alert",
    "A market's values stand still for days": "days; the alert is that of `rejects`, which stays as "
    "long as its cause (tests/rules/days.yml)",
    "Checkpoints are lost of an input": "the alert is that of a gap, by the same gauge",
    "A partition of an input halts before": "the alert is that of `rejects`, by the same gauge",
}
"""Rows that name an alert and are not run, and why."""
AUTHORIZER = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "true",
}


@contextlib.asynccontextmanager
async def index_of(chapter, directory, cache_dir):
    """Run the index of a chapter."""
    with contextlib.ExitStack() as servers:
        cluster = None
        if chapter.cluster:
            cluster = servers.enter_context(Cluster(directory / "cluster", replicas=False))
        async with alarmed(
            directory,
            cache_dir,
            redis_url=None if cluster is None else cluster.url,
            users=chapter.users,
            arrival=chapter.arrival,
            kafka_settings=AUTHORIZER if chapter.authorizer else None,
        ) as index:
            index.cluster = cluster
            yield index

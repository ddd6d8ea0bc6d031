"""Topics and their configs: plans what is wanted, creates what is missing, lists what differs.

Topics are created here and nowhere else: a topic that a broker creates by itself has neither the
partitions nor the clean-up policy that exactness needs. Nothing existing is ever changed. A difference
is listed together with the command that fixes it, and the operator decides.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaError

from streams import clock
from streams.console.errors import OperationError
from streams.settings import KafkaSettings, Settings, TopicSettings, load_methodology
from streams.worker import names

Arrival = Literal["broker", "producer"]
"""Whose clock stamps the inputs: the broker's (LogAppendTime) or the producer's (CreateTime)."""

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
KEPT_DAYS = 400
"""Retention of journal, shifts, late events and dead letters: a year, and a month to compare with."""
INPUT_KEPT_DAYS = 40
"""Retention of inputs: longer than the 35 days that an order's day stays open, so that an audit can
recompute."""
RECORD_BYTES_MAX = 2 * 1024 * 1024
"""Room for a checkpoint of 900 KB, and for a dead letter: an original of 1 MiB and its headers."""
SEGMENT_BYTES = 16 * 1024 * 1024
REPLICAS = 3
READY_DEADLINE_MS = 30_000
_TOPIC_EXISTS = 36  # Kafka's error code TOPIC_ALREADY_EXISTS

_COMPACTED = {
    "cleanup.policy": "compact",
    # The active segment is never compacted: with the default of 1 GiB a recovery reads everything.
    "segment.bytes": str(SEGMENT_BYTES),
    "segment.ms": str(MINUTE_MS),
    "min.cleanable.dirty.ratio": "0.1",
    "delete.retention.ms": str(DAY_MS),
    "max.message.bytes": str(RECORD_BYTES_MAX),
}
_KEPT = {
    "cleanup.policy": "delete",
    "retention.ms": str(KEPT_DAYS * DAY_MS),
    "max.message.bytes": str(RECORD_BYTES_MAX),
}
_CHANGELOG = _COMPACTED | {"compression.type": "lz4"}


class TopicsError(OperationError):
    """The broker did not answer, or refused; the message says what failed and who must act."""


@dataclass(frozen=True, slots=True)
class Changelog:
    """A table's changelog topic: ``partitions`` equals its source topic's."""

    name: str
    partitions: int


@dataclass(frozen=True, slots=True)
class WantedTopic:
    """A topic as it must be. ``partitions`` None: any count, and it is not ours to create."""

    name: str
    partitions: int | None
    configs: Mapping[str, str] = field(default_factory=dict)
    missing_fix: str = "ecindex topics create"
    partitions_fix: str = "ecindex topics migrate"


@dataclass(frozen=True, slots=True)
class TopicDifference:
    """A setting that is not as wanted, and the command that fixes it."""

    topic: str
    setting: str
    found: str
    wanted: str
    fix: str

    def __str__(self) -> str:
        return f"{self.topic}: {self.setting}: found {self.found}, wanted {self.wanted}; {self.fix}"


@dataclass(frozen=True, slots=True)
class TopicsReport:
    """Outcome of `create_topics`: names created, and how existing topics differ from those wanted."""

    created: tuple[str, ...]
    differences: tuple[TopicDifference, ...]


def wanted_topics(
    settings: Settings,
    *,
    inputs: int | None = None,
    arrival: Arrival | None = None,
    changelogs: Sequence[Changelog] = (),
) -> list[WantedTopic]:
    """Return every topic of an installation.

    ``inputs``: partition count of `orders` and `payments`; None leaves both to their owner and only
    requires that they exist. ``arrival``: whose clock stamps them; None accepts either, and creates
    them with the broker's.
    """
    topics = settings.topics
    fixed = "set topics.partials_partitions to the number found: it is fixed at creation"
    by_market = {
        topics.partials: _COMPACTED | {"min.compaction.lag.ms": str(HOUR_MS)},
        topics.values: _COMPACTED,
        topics.journal: _KEPT,
    }
    # They hold few records and need no order between markets; one partition is read in one go.
    single = {topics.shifts: _KEPT, topics.history: _COMPACTED}
    set_aside = {topics.late: _KEPT, topics.dead_letters: _KEPT}
    return [
        *_inputs(topics, inputs, arrival),
        *(
            WantedTopic(name, topics.partials_partitions, configs, partitions_fix=fixed)
            for name, configs in by_market.items()
        ),
        *(WantedTopic(name, 1, configs) for name, configs in single.items()),
        *(WantedTopic(name, 4, configs) for name, configs in set_aside.items()),
        *(WantedTopic(log.name, log.partitions, _CHANGELOG) for log in changelogs),
    ]


async def require_inputs(settings: Settings, *, producer_time: bool) -> None:
    """Raise TopicsError unless `orders` and `payments` exist, stamped as the events need it.

    ``producer_time``: the events carry times of the past. If the broker stamped them on arrival,
    every one of them would be too late.
    """
    wanted = _inputs(settings.topics, None, "producer" if producer_time else None)
    differences = await check_topics(settings.kafka, wanted)
    if differences:
        raise TopicsError("; ".join(map(str, differences)))


def _inputs(
    topics: TopicSettings, inputs: int | None, arrival: Arrival | None
) -> list[WantedTopic]:
    names = (topics.orders, topics.payments)
    fix = f"ecindex topics create --inputs {inputs or 6}"
    if inputs is None:
        asked = {} if arrival is None else {"message.timestamp.type": _timestamp_type(arrival)}
        return [WantedTopic(name, None, asked, missing_fix=fix) for name in names]
    configs = {
        "cleanup.policy": "delete",
        "message.timestamp.type": _timestamp_type(arrival or "broker"),
        # Retention goes by record timestamps. Under the producer's clock an import of old data
        # would be deleted as soon as it arrived.
        "retention.ms": "-1" if arrival == "producer" else str(INPUT_KEPT_DAYS * DAY_MS),
    }
    return [WantedTopic(name, inputs, configs, missing_fix=fix) for name in names]


def _timestamp_type(arrival: Arrival) -> str:
    return "LogAppendTime" if arrival == "broker" else "CreateTime"


async def plan_topics(
    settings: Settings, *, inputs: int | None = None, arrival: Arrival | None = None
) -> list[WantedTopic]:
    """Return every topic wanted, with the tables' changelogs, which have the inputs' counts.

    Inputs that exist keep their partition count. When one is missing and ``inputs`` is None, no
    changelog can be planned. Raises TopicsError when the broker does not answer.
    """
    async with _admin(settings.kafka) as admin:
        counts = await _partition_counts(admin)
    topics = settings.topics
    found = {topic: counts.get(topic, inputs) for topic in (topics.orders, topics.payments)}
    known = {topic: count for topic, count in found.items() if count is not None}
    logs: list[Changelog] = []
    if len(known) == len(found):
        edition = load_methodology(settings).edition
        logs = [Changelog(*each) for each in names.changelogs(settings, edition, known).items()]
    return wanted_topics(settings, inputs=inputs, arrival=arrival, changelogs=logs)


async def existing_partitions(kafka: KafkaSettings) -> dict[str, int]:
    """Return the partition count of every existing topic. Raises TopicsError."""
    async with _admin(kafka) as admin:
        return await _partition_counts(admin)


async def create_topics(
    kafka: KafkaSettings, wanted: Iterable[WantedTopic], *, replication_factor: int | None = None
) -> TopicsReport:
    """Create what is missing, wait until each partition has a leader, report what differs.

    Changes nothing that exists. Raises TopicsError when the broker does not answer or refuses.
    """
    wanted = list(wanted)
    async with _admin(kafka) as admin:
        existing = await _partition_counts(admin)
        missing = [t for t in wanted if t.name not in existing and t.partitions is not None]
        if missing:
            brokers = len((await admin.describe_cluster())["brokers"])
            replicas = replication_factor or min(REPLICAS, brokers)
            await _create(admin, missing, replicas)
            await _await_leaders(admin, [topic.name for topic in missing])
        differences = await _differences(admin, kafka, wanted)
    return TopicsReport(tuple(topic.name for topic in missing), tuple(differences))


async def check_topics(
    kafka: KafkaSettings, wanted: Iterable[WantedTopic]
) -> list[TopicDifference]:
    """Return how topics differ from those wanted; empty when none does. Raises TopicsError."""
    async with _admin(kafka) as admin:
        return await _differences(admin, kafka, list(wanted))


async def ask_for_coordinator(kafka: KafkaSettings, group: str) -> None:
    """Make a new broker create its topic of group offsets. Raises TopicsError.

    A broker creates it when it is first asked for a coordinator, and refuses until the topic exists.
    That is half a second which the first worker need not wait if somebody asked before.
    """
    async with _admin(kafka) as admin:
        with suppress(GroupCoordinatorNotAvailableError):
            await admin.find_coordinator(group)


@asynccontextmanager
async def _admin(kafka: KafkaSettings) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(
        **kafka.client_options(), request_timeout_ms=min(kafka.request_timeout_ms, 30_000)
    )
    try:
        await admin.start()
        yield admin
    except KafkaError as error:
        raise TopicsError(
            f"Kafka at {kafka.bootstrap_servers} (kafka.bootstrap_servers): {error}"
        ) from error
    finally:
        await admin.close()


async def _partition_counts(admin: AIOKafkaAdminClient) -> dict[str, int]:
    # This asks for all: a request by name would make a broker with auto-creation create the topic.
    described = await admin.describe_topics()
    return {topic["topic"]: len(topic["partitions"]) for topic in described}


async def _create(
    admin: AIOKafkaAdminClient, missing: Sequence[WantedTopic], replicas: int
) -> None:
    response = await admin.create_topics(
        [NewTopic(t.name, t.partitions, replicas, topic_configs=dict(t.configs)) for t in missing]
    )
    for name, code, *text in response.topic_errors:
        if code not in (0, _TOPIC_EXISTS):
            raise TopicsError(f"topic {name}: the broker refused to create it: {code} {text}")


async def _await_leaders(admin: AIOKafkaAdminClient, names: Sequence[str]) -> None:
    deadline = clock.monotonic_ms() + READY_DEADLINE_MS
    waiting = set(names)
    while waiting:
        for topic in await admin.describe_topics():
            partitions = topic["partitions"]
            if partitions and all(p["error_code"] == 0 and p["leader"] >= 0 for p in partitions):
                waiting.discard(topic["topic"])
        if waiting and clock.monotonic_ms() > deadline:
            raise TopicsError(f"no leader after {READY_DEADLINE_MS} ms: {sorted(waiting)}")
        await asyncio.sleep(0.05 if waiting else 0)


async def _differences(
    admin: AIOKafkaAdminClient, kafka: KafkaSettings, wanted: Sequence[WantedTopic]
) -> list[TopicDifference]:
    counts = await _partition_counts(admin)
    found = await _configs(admin, [topic for topic in wanted if topic.name in counts])
    differences: list[TopicDifference] = []
    for topic in wanted:
        if topic.name not in counts:
            differences.append(
                TopicDifference(topic.name, "topic", "none", "one", topic.missing_fix)
            )
            continue
        if topic.partitions not in (None, counts[topic.name]):
            differences.append(
                TopicDifference(
                    topic.name,
                    "partitions",
                    str(counts[topic.name]),
                    str(topic.partitions),
                    topic.partitions_fix,
                )
            )
        for name, value in topic.configs.items():
            actual = found[topic.name].get(name, "unknown to this broker")
            if actual != value:
                fix = _alter_command(kafka, topic.name, f"{name}={value}")
                differences.append(TopicDifference(topic.name, name, actual, value, fix))
    return differences


def _alter_command(kafka: KafkaSettings, topic: str, config: str) -> str:
    return (
        f"kafka-configs.sh --bootstrap-server {kafka.bootstrap_servers} --alter "
        f"--entity-type topics --entity-name {topic} --add-config {config}"
    )


async def _configs(
    admin: AIOKafkaAdminClient, topics: Sequence[WantedTopic]
) -> dict[str, dict[str, str]]:
    asked = [
        ConfigResource(ConfigResourceType.TOPIC, topic.name, dict.fromkeys(topic.configs, ""))
        for topic in topics
        if topic.configs
    ]
    found: dict[str, dict[str, str]] = {topic.name: {} for topic in topics}
    if not asked:
        return found
    responses: list[Any] = await admin.describe_configs(asked)
    for response in responses:
        for code, message, _kind, name, entries in response.resources:
            if code:
                raise TopicsError(f"topic {name}: its configs cannot be read: {code} {message}")
            found[name] = {entry[0]: entry[1] for entry in entries}
    return found

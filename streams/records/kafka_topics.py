"""Topics and their configs: plans what is wanted, creates what is missing, lists what differs.

Topics are created here and nowhere else: a topic that a broker creates by itself has neither the
partitions nor the clean-up policy that exactness needs. Nothing existing is changed. A difference is
listed together with the command that fixes it, and the operator decides. Topics of `ecindex up` are the
exception: nobody else sets them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, Literal

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaError

from streams import clock
from streams.console.errors import OperationError
from streams.flow.own_records import OwnRecordError
from streams.index.hours import LEARNT_DAYS
from streams.index.methodology import Methodology
from streams.records.kafka_words import in_words
from streams.settings import (
    DeclaredSource,
    KafkaSettings,
    Settings,
    TopicSettings,
    load_methodology,
    load_sources,
)
from streams.worker import names
from streams.worker.counted_inputs import OtherInput, other_inputs
from streams.worker.stated_topics import other_places
from streams.worker.topic_growth import grow_topics

Arrival = Literal["broker", "producer"]
"""Whose clock stamps the inputs: the broker's (LogAppendTime) or the producer's (CreateTime)."""

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
KEPT_DAYS = 400
"""Retention of journal, shifts, late events and dead letters: a year, and a month to compare with."""
DELIVERIES_KEPT_DAYS = 40
"""Retention of what sources deliver to the door: long enough to translate it anew."""
DELIVERY_PARTITIONS = 6
BY_ORDER_DAYS = 7
"""Retention of what sources' records say, by order: time to start translators that were stopped."""
INPUT_SPARE_DAYS = 18
"""Inputs are kept this much longer than an audit needs: time to notice, and to look back."""
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
_BY_BROKER = {"message.timestamp.type": "LogAppendTime"}
"""For a topic whose stamps say what time it is: a worker's or an operator's own clock may be off."""
_PARTIALS = _BY_BROKER | {"min.compaction.lag.ms": str(HOUR_MS)}
_KEPT = {
    "cleanup.policy": "delete",
    "retention.ms": str(KEPT_DAYS * DAY_MS),
    "max.message.bytes": str(RECORD_BYTES_MAX),
}
_BY_ORDER = _BY_BROKER | {
    "cleanup.policy": "delete",
    "retention.ms": str(BY_ORDER_DAYS * DAY_MS),
    "max.message.bytes": str(RECORD_BYTES_MAX),
}
_DELIVERIES = {"cleanup.policy": "delete", "retention.ms": str(DELIVERIES_KEPT_DAYS * DAY_MS)}
_CHANGELOG = _COMPACTED | {"compression.type": "lz4"}


class TopicsError(OperationError):
    """The broker did not answer, or refused; the message says what failed and who must act."""


@dataclass(frozen=True, slots=True)
class Changelog:
    """A table's changelog topic: ``partitions`` equals its source topic's.

    ``has``: its partitions now; 0 where it does not exist. It may have had a source with more.
    ``of``: the input whose states it holds; empty: it is no input's.
    """

    name: str
    partitions: int
    has: int = 0
    of: str = ""


@dataclass(frozen=True, slots=True)
class WantedTopic:
    """A topic as it must be. ``partitions`` None: any count, and it is not ours to create.

    ``surplus_fix``: what helps when it has more partitions, which cannot be taken away; None: they do
    no harm. ``of``: the topic that has too few when this one has more; empty: this one has too many.
    """

    name: str
    partitions: int | None
    configs: Mapping[str, str] = field(default_factory=dict)
    advised: Mapping[str, str] = field(default_factory=dict)
    """Configs to create it with; an existing topic may have others."""
    missing_fix: str = "ecindex topics create"
    partitions_fix: str = "ecindex topics migrate"
    surplus_fix: str | None = None
    of: str = ""
    other: OtherInput | None = None
    """A setting that names it, while the state is of another topic: nothing may be counted of it."""

    def partitions_differ(self, has: int) -> TopicDifference | None:
        """Return what is wrong with a count of partitions; None: nothing is."""
        wants = self.partitions
        if wants is None or wants == has:
            return None
        if has > wants and self.of:
            # A changelog was said to have more than expected: it held what its input had lost.
            wanted = f"{has}, as many as {self.name} holds states of"
            return TopicDifference(
                self.of, "partitions", str(wants), wanted, self.surplus_fix or ""
            )
        fix = self.partitions_fix if has < wants else self.surplus_fix
        if fix is None:
            return None
        return TopicDifference(self.name, "partitions", str(has), str(wants), fix)


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


def input_needed_ms(methodology: Methodology) -> int:
    """Return how long an input must keep its records, in ms, so that an audit can recompute.

    A day stays open for ``day_grace_ms`` after its end, and an expectation learns from ``LEARNT_DAYS``.
    """
    return max(methodology.day_grace_ms, LEARNT_DAYS * DAY_MS) + DAY_MS


def input_kept_ms(methodology: Methodology) -> int:
    """Return the retention of inputs that are created here, in ms."""
    return input_needed_ms(methodology) + INPUT_SPARE_DAYS * DAY_MS


def wanted_topics(
    settings: Settings,
    *,
    inputs: int | None = None,
    arrival: Arrival | None = None,
    kept_ms: int = -1,
    had: int | None = None,
    changelogs: Sequence[Changelog] = (),
    own: Mapping[str, int] | None = None,
) -> list[WantedTopic]:
    """Return every topic of an installation.

    ``inputs``: partition count of `orders` and `payments`; None leaves both to their owner and only
    requires that they exist. ``arrival``: whose clock stamps them; None accepts either, and creates
    them with the broker's. ``kept_ms``: retention of inputs that the broker stamps, -1: for ever.
    ``had``: the count that the advice to create missing inputs names (`names.partitions_had`).
    ``own``: what our own topics need (`names.needed`); None: what they need at first.
    """
    topics = settings.topics
    own = names.own_topics(settings) if own is None else own
    configs = {
        topics.partials: _COMPACTED | _PARTIALS,
        topics.values: _COMPACTED,
        topics.journal: _KEPT,
        topics.shifts: _KEPT,
        topics.history: _COMPACTED,
        topics.answers: _COMPACTED | _BY_BROKER,
        topics.definitions: _COMPACTED | _BY_BROKER,
        topics.late: _KEPT,
        topics.dead_letters: _KEPT,
    }
    return [
        *_inputs(topics, inputs, arrival, had or inputs or names.INPUT_PARTITIONS, kept_ms),
        *(WantedTopic(name, own[name], configs[name]) for name in configs),
        *(
            WantedTopic(
                log.name,
                log.partitions,
                _CHANGELOG,
                # It holds states of an input that had as many, and more are always taken in.
                surplus_fix=f"ecindex topics migrate --inputs {log.has}",
                of=log.of,
            )
            for log in changelogs
        ),
    ]


def source_topics(
    settings: Settings, sources: Iterable[DeclaredSource], counts: Mapping[str, int]
) -> list[WantedTopic]:
    """Return the topics of sources: those that are read, and those that translators and door write.

    ``counts``: partitions of the topics that exist. What is read belongs to whoever writes it, the door
    or another; while it does not exist, nobody knows how many partitions its changelog needs.
    """
    prefix = settings.topics.prefix
    found: list[WantedTopic] = []
    for source in sources:
        missing = f"create it where source {source.name} is written, or mend its where.topics"
        delivered = source.topics[:1] if source.file.webhook is not None else ()
        read = {
            topic: counts.get(topic, DELIVERY_PARTITIONS if topic in delivered else 0)
            for topic in source.topics
        }
        found += [
            WantedTopic(topic, read[topic], advised=_DELIVERIES)
            if topic in delivered
            else WantedTopic(topic, None, missing_fix=missing)
            for topic in source.topics
        ]
        if source.is_keyed:
            # States stay where they are: with more partitions an order would be sought elsewhere.
            (topic,) = source.topics
            read[topic] = counts.get(names.translated_topic(prefix, topic), read[topic])
        elif source.topics:
            by_order = names.by_order_topic(prefix, source.name)
            read[by_order] = counts.get(by_order, settings.sources.order_partitions)
            found.append(WantedTopic(by_order, read[by_order], _BY_ORDER))
        found += [
            WantedTopic(names.translated_topic(prefix, topic), partitions, _CHANGELOG)
            for topic, partitions in read.items()
            if partitions
        ]
    return found


def _of_another_number(
    wanted: WantedTopic, settings: Settings, counts: Mapping[str, int], created: int
) -> WantedTopic:
    """Return the topic as it is while the settings say another number of places for markets."""
    places = settings.topics.partials_partitions
    fix = (
        f"set topics.partials_partitions to {created}: the topics were created with it, and with "
        "another number markets are sought where they are not"
    )
    if wanted.name not in counts:
        return replace(wanted, partitions=created)
    return replace(wanted, partitions=places, partitions_fix=fix, surplus_fix=fix)


async def require_inputs(settings: Settings, *, producer_time: bool) -> None:
    """Raise TopicsError unless `orders` and `payments` exist, stamped as the events need it.

    ``producer_time``: the events carry times of the past. If the broker stamped them on arrival,
    every one of them would be too late. Where the settings allow it, producers stamp the inputs from
    then on.
    """
    counts = await existing_partitions(settings.kafka)
    had = names.partitions_had(settings, load_methodology(settings).edition, counts)
    wanted = _inputs(settings.topics, None, "producer" if producer_time else None, had)
    differing = await check_topics(settings.kafka, wanted)
    if settings.topics.import_restamps and any(_is_stamp(found) for found in differing):
        configs = input_configs("producer")
        inputs = [WantedTopic(topic.name, None, configs) for topic in wanted]
        await set_configs(settings.kafka, inputs)
        differing = await check_topics(settings.kafka, wanted)
    if differing:
        raise TopicsError("; ".join(map(str, differing)))


def _inputs(
    topics: TopicSettings,
    inputs: int | None,
    arrival: Arrival | None,
    had: int,
    kept_ms: int = -1,
) -> list[WantedTopic]:
    both = (topics.orders, topics.payments)
    fix = f"ecindex topics create --inputs {had}"
    if inputs is None:
        asked = {} if arrival is None else {"message.timestamp.type": _timestamp_type(arrival)}
        return [WantedTopic(name, None, asked, missing_fix=fix) for name in both]
    advised = input_configs(arrival or "broker", kept_ms)
    configs = {"cleanup.policy": advised["cleanup.policy"]} if arrival is None else advised
    # Without --inputs an input may have any count, and `topics migrate` leaves it alone.
    grow = f"ecindex topics migrate --inputs {inputs}"
    keep = "ask for the number found with --inputs: partitions cannot be taken away from an input"
    return [WantedTopic(name, inputs, configs, advised, fix, grow, keep) for name in both]


def input_configs(arrival: Arrival, kept_ms: int = -1) -> dict[str, str]:
    """Return the configuration of inputs that ecindex creates; ``kept_ms`` as in `wanted_topics`."""
    return {
        "cleanup.policy": "delete",
        "message.timestamp.type": _timestamp_type(arrival),
        # Retention goes by record timestamps. Under the producer's clock an import of old data
        # would be deleted as soon as it arrived.
        "retention.ms": "-1" if arrival == "producer" else str(kept_ms),
    }


def _is_stamp(difference: TopicDifference) -> bool:
    return difference.setting == "message.timestamp.type" and difference.wanted == "CreateTime"


async def set_configs(kafka: KafkaSettings, wanted: Sequence[WantedTopic]) -> None:
    """Give topics that `ecindex up` created the configs wanted, and wait until they have them.

    A config that is not among them gets its default again. Raises TopicsError.
    """
    async with connected(kafka) as admin:
        responses = await admin.alter_configs(
            [ConfigResource(ConfigResourceType.TOPIC, t.name, dict(t.configs)) for t in wanted]
        )
        for code, text, _kind, name in chain.from_iterable(each.resources for each in responses):
            if code:
                raise TopicsError(f"topic {name}: the broker refused its configs: {code} {text}")
        deadline = clock.monotonic_ms() + READY_DEADLINE_MS
        while await differences(admin, wanted):
            if clock.monotonic_ms() > deadline:
                return  # whoever asked finds what differs, and says so
            await asyncio.sleep(0.05)


def _timestamp_type(arrival: Arrival) -> str:
    return "LogAppendTime" if arrival == "broker" else "CreateTime"


async def plan_topics(
    settings: Settings, *, inputs: int | None = None, arrival: Arrival | None = None
) -> list[WantedTopic]:
    """Return every topic wanted, with the tables' changelogs, which have the inputs' counts.

    Inputs that exist keep their partition count. When one is missing and ``inputs`` is None, no
    changelog can be planned. Raises TopicsError when the broker does not answer.
    """
    async with connected(settings.kafka) as admin:
        counts = await _partition_counts(admin)
    topics = settings.topics
    both = dict.fromkeys((topics.orders, topics.payments), inputs)
    known = {topic: count for topic, count in both.items() if count is not None} | counts
    methodology = load_methodology(settings)
    edition = methodology.edition
    own = names.needed(settings, edition, known)
    inputs_of = names.inputs_of(settings, edition)
    logs = [
        Changelog(name, own[name], counts.get(name, 0), inputs_of.get(name, ""))
        for name in own.keys() - names.own_topics(settings).keys()
        if both.keys() <= known.keys()
    ]
    wanted = wanted_topics(
        settings,
        inputs=inputs,
        arrival=arrival,
        kept_ms=input_kept_ms(methodology),
        had=names.partitions_had(settings, edition, counts, inputs or names.INPUT_PARTITIONS),
        changelogs=sorted(logs, key=lambda log: log.name),
        own=own,
    )
    wanted += source_topics(settings, load_sources(settings), counts)
    try:
        other = await other_inputs(settings, edition, counts)
        created = await other_places(settings, edition, counts)
    except (KafkaError, OwnRecordError) as error:
        raise TopicsError(f"the checkpoints cannot be read: {error}") from error
    if other is not None:
        named = topics.orders if other.is_of_orders else topics.payments
        wanted = [replace(each, other=other) if each.name == named else each for each in wanted]
    if created is None:
        return wanted
    places = names.by_market(settings, edition)
    return [
        _of_another_number(each, settings, counts, created) if each.name in places else each
        for each in wanted
    ]


async def existing_partitions(kafka: KafkaSettings) -> dict[str, int]:
    """Return the partition count of every existing topic. Raises TopicsError."""
    async with connected(kafka) as admin:
        return await _partition_counts(admin)


async def create_topics(
    kafka: KafkaSettings, wanted: Iterable[WantedTopic], *, replication_factor: int | None = None
) -> TopicsReport:
    """Create what is missing, wait until each partition has a leader, report what differs.

    Changes nothing that exists. Raises TopicsError when the broker does not answer or refuses.
    """
    wanted = list(wanted)
    async with connected(kafka) as admin:
        existing = await _partition_counts(admin)
        missing = [
            each
            for each in wanted
            if each.name not in existing and each.partitions is not None and each.other is None
        ]
        if missing:
            brokers = len((await admin.describe_cluster())["brokers"])
            replicas = replication_factor or min(REPLICAS, brokers)
            await _create(admin, missing, replicas)
            await _await_leaders(admin, [topic.name for topic in missing])
        found = await differences(admin, wanted)
    return TopicsReport(tuple(topic.name for topic in missing), tuple(found))


async def migrate_topics(kafka: KafkaSettings, wanted: Iterable[WantedTopic]) -> dict[str, int]:
    """Give topics the partitions that they lack; return those that grew, with their new count.

    An input may get partitions at any time; then its changelog needs as many, and workers see to it
    themselves where the broker lets them. Raises TopicsError.
    """
    counts = {
        topic.name: topic.partitions
        for topic in wanted
        if topic.partitions is not None and "migrate" in topic.partitions_fix
    }
    try:
        return await grow_topics(kafka, counts)
    except KafkaError as error:
        raise TopicsError(
            f"Kafka at {kafka.bootstrap_servers} (kafka.bootstrap_servers): {in_words(error)}"
        ) from error


async def check_topics(
    kafka: KafkaSettings, wanted: Iterable[WantedTopic]
) -> list[TopicDifference]:
    """Return how topics differ from those wanted; empty when none does. Raises TopicsError."""
    async with connected(kafka) as admin:
        return await differences(admin, list(wanted))


async def ask_for_coordinator(kafka: KafkaSettings, group: str) -> None:
    """Make a new broker create its topic of group offsets. Raises TopicsError.

    A broker creates it when it is first asked for a coordinator, and refuses until the topic exists.
    That is half a second which the first worker need not wait if somebody asked before.
    """
    async with connected(kafka) as admin:
        with suppress(GroupCoordinatorNotAvailableError):
            await admin.find_coordinator(group)


@asynccontextmanager
async def connected(kafka: KafkaSettings) -> AsyncIterator[AIOKafkaAdminClient]:
    """Yield an admin client. Raises TopicsError when the broker does not answer or refuses."""
    admin = AIOKafkaAdminClient(
        **kafka.client_options(), request_timeout_ms=min(kafka.request_timeout_ms, 30_000)
    )
    try:
        await admin.start()
        yield admin
    except KafkaError as error:
        raise TopicsError(
            f"Kafka at {kafka.bootstrap_servers} (kafka.bootstrap_servers): {in_words(error)}"
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
        [
            NewTopic(t.name, t.partitions, replicas, topic_configs={**t.configs, **t.advised})
            for t in missing
        ]
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


async def differences(
    admin: AIOKafkaAdminClient, wanted: Sequence[WantedTopic]
) -> list[TopicDifference]:
    """Return how topics differ from those wanted. Raises KafkaError, TopicsError."""
    counts = await _partition_counts(admin)
    found = await _configs(admin, [topic for topic in wanted if topic.name in counts])
    differing: list[TopicDifference] = []
    for topic in wanted:
        if topic.other is not None:
            differing.append(TopicDifference(topic.name, *topic.other))
            continue
        if topic.name not in counts:
            differing.append(TopicDifference(topic.name, "topic", "none", "one", topic.missing_fix))
            continue
        differ = topic.partitions_differ(counts[topic.name])
        if differ is not None:
            differing.append(differ)
        for name, value in topic.configs.items():
            actual = found[topic.name].get(name, "unknown to this broker")
            if actual != value:
                fix = alter_command(topic.name, f"{name}={value}")
                differing.append(TopicDifference(topic.name, name, actual, value, fix))
    return differing


def alter_command(topic: str, config: str) -> str:
    """Return the command that sets one configuration of a topic (``name=value``)."""
    return f"ecindex topics alter {topic} {config}"


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

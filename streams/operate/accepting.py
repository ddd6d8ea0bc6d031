"""``topics accept``: the operator accepts a change of an input's log that halted its partitions.

A worker looks for the very change that it halted for. One that names another id, a partition that does
not exist or offsets that are there was accepted without a word, and the partition stayed halted.
"""

from __future__ import annotations

import re

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from streams.clock import now_ms
from streams.console.errors import OperationError
from streams.flow.chunk import SourcePartition
from streams.flow.log_change import lost_checkpoints
from streams.index.history_records import AcceptedChange, accepted_record
from streams.index.panes import rfc3339
from streams.operate.seeding import send_history
from streams.records.kafka_topics import connected
from streams.settings import Settings, load_methodology
from streams.worker.names import app_id
from streams.worker.topic_ids import TopicIdentity, topic_identities

_CHANGE = re.compile(
    r"id=(?P<id>[0-9a-f-]{36})|(?P<partition>\d{1,9}):"
    r"((?P<first>\d{1,18})\.\.(?P<last>\d{1,18})|\d{1,19}\.\.end=(?P<end>\d{1,18})"
    r"|checkpoints-before=(?P<before>\d{1,18}))"
)


async def accept(settings: Settings, topic: str, change: str, reason: str) -> AcceptedChange:
    """Record that a change is accepted; workers read it within a second.

    Raises OperationError, also for a change that no worker can mean: the log shows that it is not so.
    """
    inputs = (settings.topics.orders, settings.topics.payments)
    if topic not in inputs:
        raise OperationError(f"topic {topic!r}: expected an input, {' or '.join(inputs)}")
    named = _CHANGE.fullmatch(change)
    if named is None:
        raise OperationError(
            f"change {change!r}: expected what the halt names, such as id=ID, 0:10..14 or 0:120..end=99"
        )
    topic_id = await _id_of_like(settings, topic, change, named)
    accepted = AcceptedChange(topic, change, rfc3339(now_ms()), reason, topic_id=topic_id)
    await send_history(settings, [accepted_record(accepted)])
    return accepted


async def _id_of_like(settings: Settings, topic: str, change: str, named: re.Match[str]) -> str:
    """Return the id of the topic if the change fits it as it is now, else raise OperationError."""
    async with connected(settings.kafka) as admin:
        identity = (await topic_identities(admin, [topic])).get(topic)
        found = f"there is no topic {topic}"
        if identity is not None:
            found = await _unlike(settings, topic, identity, named)
            if not found:
                return identity.topic_id
    raise OperationError(
        f"change {change!r}: no worker can have halted for it: {found}; nothing is accepted. "
        "`ecindex doctor` and the log of the worker name the change as it is now"
    )


async def _unlike(
    settings: Settings, topic: str, identity: TopicIdentity, named: re.Match[str]
) -> str:
    """Return what the topic is now where the change does not fit it; empty where it fits."""
    if named["id"] is not None:
        return "" if named["id"] == identity.topic_id else _as_it_stands(topic, identity)
    number = int(named["partition"])
    if number >= identity.partitions:
        return _as_it_stands(topic, identity)
    tp = TopicPartition(topic, number)
    group = None
    if named["before"] is not None:
        group = app_id(load_methodology(settings).edition, settings.topics.prefix)
    options = settings.kafka.client_options()
    # It asks for what the workers' group has committed, and subscribes to nothing: so it does not join.
    # Uncommitted, as workers see the end: what an open transaction holds back is there.
    async with AIOKafkaConsumer(**options, group_id=group, enable_auto_commit=False) as consumer:
        begin = (await consumer.beginning_offsets([tp]))[tp]
        end = (await consumer.end_offsets([tp]))[tp]
        stands = f"partition {number} of topic {topic} begins at offset {begin} and ends at {end}"
        if named["before"] is None:
            return "" if _fits(named, begin, end) else stands
        if begin == 0:
            return stands
        committed = await consumer.committed(tp) or 0
    lost = lost_checkpoints(SourcePartition(*tp), committed, begin, "")
    if named[0] == lost.name:
        return ""
    return f"{stands}, and the workers' group {group} would name `{lost.command}`"


def _fits(named: re.Match[str], begin: int, end: int) -> bool:
    """Return whether a log that is [begin, end) now can have been as a gap or a cut says.

    A log only ever moves on: what a worker found gone is still gone, its end lies at that end or later.
    """
    if named["first"] is not None:
        return int(named["first"]) <= int(named["last"]) < begin
    return int(named["end"]) <= end


def _as_it_stands(topic: str, identity: TopicIdentity) -> str:
    known = f"id {identity.topic_id}" if identity.topic_id else "no id that the broker tells"
    return f"topic {topic} has {known}, and its partitions are 0 to {identity.partitions - 1}"

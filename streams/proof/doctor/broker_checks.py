"""Checks of the broker, the topics, and risks in the configuration of the inputs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from streams.index.methodology import Methodology
from streams.proof.doctor.findings import Finding, Level
from streams.records import kafka_topics
from streams.settings import Settings

DAY_MS = 86_400_000
_ASKED = ("message.timestamp.type", "retention.ms", "retention.bytes", "cleanup.policy")


async def check_broker(settings: Settings, admin: AIOKafkaAdminClient) -> Finding:
    """Check that the broker answers. Raises KafkaError."""
    cluster = await admin.describe_cluster()
    brokers = len(cluster["brokers"])
    return Finding(
        "broker",
        Level.OK,
        settings.kafka.bootstrap_servers,
        "an answer",
        f"{brokers} broker{'s' if brokers > 1 else ''}",
    )


async def check_topics(settings: Settings) -> list[Finding]:
    """Check that every topic exists with its partitions and configuration."""
    wanted = await kafka_topics.plan_topics(settings)
    differences = await kafka_topics.check_topics(settings.kafka, wanted)
    if not differences:
        found = f"{len(wanted)} as wanted"
        return [Finding("topics", Level.OK, "broker", "as planned", found)]
    return [
        Finding(
            "topics",
            Level.WRONG,
            f"{each.topic} {each.setting}",
            each.wanted,
            each.found,
            each.fix,
        )
        for each in differences
    ]


async def check_inputs(
    settings: Settings, methodology: Methodology, admin: AIOKafkaAdminClient
) -> list[Finding]:
    """Check what the configuration of the input topics risks."""
    topics = (settings.topics.orders, settings.topics.payments)
    configs = await _configs(admin, topics)
    return [
        finding
        for topic in topics
        if topic in configs
        for finding in _check_input(methodology, topic, configs[topic])
    ]


def _check_input(methodology: Methodology, topic: str, config: dict[str, str]) -> Iterator[Finding]:
    def alter(change: str) -> str:
        return kafka_topics.alter_command(topic, change)

    stamped = config.get("message.timestamp.type", "unknown")
    yield Finding(
        "input arrival",
        Level.OK if stamped == "LogAppendTime" else Level.WARNING,
        topic,
        "LogAppendTime, unless old data is imported: with producers' clocks, one that is an hour "
        "fast and sends three orders in a row makes all other events of its market too late for an "
        "hour, and an event that arrives after others were seen to be caught up changes values that "
        "were final",
        stamped,
        alter("message.timestamp.type=LogAppendTime"),
    )
    needed_ms = kafka_topics.input_needed_ms(methodology)
    kept_ms = int(config.get("retention.ms", "-1"))
    short = 0 <= kept_ms < needed_ms
    kept = "for ever" if kept_ms < 0 else f"{kept_ms / DAY_MS:g} days"
    yield Finding(
        "input retention",
        Level.WARNING if short else Level.OK,
        topic,
        f"at least {needed_ms // DAY_MS} days, because a day stays open, and an expectation learns, "
        "that long: with less, an audit or another edition could not recompute them",
        kept,
        alter(f"retention.ms={kafka_topics.input_kept_ms(methodology)}"),
    )
    kept_bytes = int(config.get("retention.bytes", "-1"))
    if kept_bytes >= 0:
        yield Finding(
            "input retention",
            Level.WARNING,
            topic,
            "no limit in bytes: on a busy day it deletes events of days that are still open",
            f"retention.bytes={kept_bytes}",
            alter("retention.bytes=-1"),
        )
    policy = config.get("cleanup.policy", "delete")
    if "compact" in policy:
        yield Finding(
            "input compaction",
            Level.WRONG,
            topic,
            "cleanup.policy=delete: the key is the order, and compaction drops its earlier events",
            f"cleanup.policy={policy}",
            alter("cleanup.policy=delete"),
        )


async def _configs(
    admin: AIOKafkaAdminClient, topics: tuple[str, ...]
) -> dict[str, dict[str, str]]:
    asked = [
        ConfigResource(ConfigResourceType.TOPIC, topic, dict.fromkeys(_ASKED, ""))
        for topic in topics
    ]
    found: dict[str, dict[str, str]] = {}
    responses: list[Any] = await admin.describe_configs(asked)
    for response in responses:
        for code, _message, _kind, name, entries in response.resources:
            if code == 0:
                found[name] = {entry[0]: entry[1] for entry in entries}
    return found

"""Which input topics the state of an edition is of, by the names of its checkpoints' changelogs.

A setting of an input that names another topic is another log: a worker found no checkpoint of it, and
counted it from its beginning on top of what it had of the old one. ``as_of`` waited for the old one for
ever. No acceptance can be meant for that, so nothing starts with it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from streams.index.formats import RAISE_EDITION
from streams.settings import KafkaSettings, Settings
from streams.worker.names import app_id, changelog_topic, checkpoint_table


class OtherInput(NamedTuple):
    """A setting that names an input, where the state is of another topic."""

    setting: str
    """``topics.orders`` or ``topics.payments``; both, where nothing tells which it is."""
    found: str
    expected: str
    fix: str

    @property
    def is_of_orders(self) -> bool:
        """Whether the setting is, or may be, that of orders."""
        return "topics.orders" in self.setting

    def __str__(self) -> str:
        return (
            f"{self.setting}: found {self.found}, expected {self.expected}, of which the state is: "
            f"another log would be counted on top of it; {self.fix}"
        )


async def other_inputs(
    settings: Settings, edition: int, counts: Mapping[str, int]
) -> OtherInput | None:
    """Return what the inputs' settings are and ought to be; None: the state is of no other topic.

    ``counts``: partitions of the topics that exist. Raises KafkaError.
    """
    changelogs = inputs_by_changelog(settings, edition, counts)
    topics = settings.topics
    if set(changelogs.values()) <= {topics.orders, topics.payments}:
        return None  # a connection would cost every start 0.3 s
    filled = await _filled(settings.kafka, {log: counts[log] for log in changelogs})
    return judge_inputs(settings, {changelogs[log] for log in filled})


def inputs_by_changelog(settings: Settings, edition: int, topics: Iterable[str]) -> dict[str, str]:
    """Return the changelogs of an edition's checkpoints among ``topics`` -> the input of each."""
    group = app_id(edition, settings.topics.prefix)
    before, after = changelog_topic(group, checkpoint_table("|")).split("|")
    return {
        topic: topic[len(before) : -len(after)]
        for topic in topics
        if topic.startswith(before) and topic.endswith(after)
    }


def judge_inputs(settings: Settings, counted: Collection[str]) -> OtherInput | None:
    """Compare the settings with the inputs that have checkpoints."""
    topics = settings.topics
    set_to = {"topics.orders": topics.orders, "topics.payments": topics.payments}
    others = sorted(set(counted) - set(set_to.values()))
    if not others:
        return None
    unknown = {name: topic for name, topic in set_to.items() if topic not in counted}
    wrong = unknown or set_to
    if not unknown:  # it was counted on top before anything refused it: no setting takes that back
        fix = RAISE_EDITION
    elif len(unknown) == len(others) == 1:
        fix = f"set {next(iter(unknown))} to {others[0]} again, or {RAISE_EDITION}"
    else:
        fix = f"set them back (with {', '.join(others)} among them), or {RAISE_EDITION}"
    return OtherInput(", ".join(wrong), ", ".join(wrong.values()), ", ".join(others), fix)


async def _filled(kafka: KafkaSettings, counts: Mapping[str, int]) -> set[str]:
    """Return the topics that hold any record: one may have been created and never written."""
    tps = [TopicPartition(topic, number) for topic in counts for number in range(counts[topic])]
    async with AIOKafkaConsumer(**kafka.client_options(), enable_auto_commit=False) as consumer:
        begins = await consumer.beginning_offsets(tps)
        ends = await consumer.end_offsets(tps)
    return {tp.topic for tp in tps if begins[tp] < ends[tp]}
